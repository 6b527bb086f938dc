"""Hold a rulebook against facts: which tags, and which stage of each track.

Decisions of a brand are one wide frame: ``user_id``, one Boolean column a tag under its key, and for each track the
stage's key under ``@track`` and since when under ``@track.since``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import narwhals as nw
import polars as pl

from siyu.contract.events import MOMENT
from siyu.engine.compile import Frame, to_narwhals, to_python
from siyu.engine.days import window_start
from siyu.engine.rulebook import Rulebook, Track

__all__ = ["Decider", "since_column", "stage_column"]


def stage_column(track: str) -> str:
    """The column with the stage of a track."""
    return f"@{track}"


def since_column(track: str) -> str:
    """The column with the moment since when the stage has held."""
    return f"@{track}.since"


@dataclass(frozen=True)
class Decider:
    """A rulebook, compiled when first asked for. ``zone`` decides what a day of a minimum stay is.

    A stage entered on a day with a stay of 7 is kept for that day and the six after it. So of all that a rulebook
    says, nothing changes by time alone but at midnight.
    """

    rulebook: Rulebook
    zone: ZoneInfo

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns of decisions."""
        columns: dict[str, pl.DataType] = {"user_id": pl.Int64()}
        columns |= {rule.tag.key: pl.Boolean() for rule in self.rulebook.tags}
        for track in self.rulebook.tracks:
            columns |= {stage_column(track.key): stages_enum(track), since_column(track.key): MOMENT}
        return columns

    def frame(self, facts: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
        """Decide for all rows of ``facts``. ``before`` holds earlier decisions, for users in any order or none.

        A stage is kept while its minimum stay has not passed. ``since`` moves only when the stage changes. What fenced
        rules decided is taken over from ``before``.
        """
        columns = {name: name for name in facts.columns}
        held: pl.LazyFrame = self.held(nw.from_native(facts.lazy()), columns).to_native()
        return self.settle(held.collect(), before, at)

    def held(self, facts: Frame, columns: Mapping[str, str]) -> Frame:
        """What the rules say by themselves: ``user_id``, each tag under its number, then of each track the index of the
        first stage that holds. Runs in whatever engine the frame belongs to; ``columns`` says where the facts lie."""
        tags = {f"t{number}": rule.tag.when for number, rule in enumerate(self.rulebook.tags)}
        tracks = {f"s{n}": [stage.when for stage in track.stages] for n, track in enumerate(self.rulebook.tracks)}
        return to_narwhals(facts, columns, tags, tracks).select("user_id", *tags, *tracks)

    def settle(self, held: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
        """The decisions, once what :meth:`held` says is put beside what stood: see :meth:`frame`."""
        tracks = self.rulebook.tracks
        tags = [pl.col(f"t{number}").alias(rule.tag.key) for number, rule in enumerate(self.rulebook.tags)]
        stages = [
            # The index of a stage is what its member of the Enum is stored as.
            pl.col(f"s{number}").cat.to(stages_enum(track)).alias(stage_column(track.key))
            for number, track in enumerate(tracks)
        ]
        decided = held.select("user_id", *tags, *stages)
        standing = [name for name in self._standing_columns if name in before.columns]
        known = [name for track in tracks for name in (stage_column(track.key), since_column(track.key))]
        past = before.select("user_id", *standing, *(name for name in known if name in before.columns))
        if past.get_column("user_id").equals(decided.get_column("user_id")):
            # The usual case, the same users: nothing to look up.
            beside = past.drop("user_id")
            decided = decided.hstack(beside.rename({c: f"{c}.before" for c in beside.columns if c in decided.columns}))
        elif past.width > 1:
            decided = decided.join(past, on="user_id", how="left", suffix=".before", maintain_order="left")
        return decided.select(
            "user_id",
            *(rule.tag.key for rule in self.rulebook.tags),
            *(expr for track in tracks for expr in _settle(track, at, self.zone, decided.columns)),
            *standing,
        )

    @property
    def _standing_columns(self) -> list[str]:
        tracks = self.rulebook.standing.tracks
        return [
            *self.rulebook.standing.tags,
            *(name(track) for track in tracks for name in (stage_column, since_column)),
        ]

    @cached_property
    def row(self) -> Callable[[tuple[Any, ...]], tuple[tuple[bool, ...], tuple[int | None, ...]]]:
        """From the facts of one user (in the order of ``rulebook.facts``) to tags held and candidate stages."""
        return to_python(
            self.names,
            [rule.tag.when for rule in self.rulebook.tags],
            [[stage.when for stage in track.stages] for track in self.rulebook.tracks],
        )

    @cached_property
    def names(self) -> list[str]:
        """Of the facts, made once: for one user that costs more than the rules."""
        return [fact.name for fact in self.rulebook.facts]

    def user(self, facts: Mapping[str, Any], before: Mapping[str, Any], at: datetime) -> dict[str, Any]:
        """Decide for one user: the row that :meth:`frame` would give, without ``user_id``."""
        held, candidates = self.row(tuple(facts[name] for name in self.names))
        result: dict[str, Any] = {rule.tag.key: flag for rule, flag in zip(self.rulebook.tags, held, strict=True)}
        for track, index in zip(self.rulebook.tracks, candidates, strict=True):
            old = before.get(stage_column(track.key))
            since = before.get(since_column(track.key))
            new = None if index is None else track.stages[index].key
            stay = {stage.key: stage.stay for stage in track.stages}.get(old or "", 0)
            stays = stay > 0 and since is not None and since >= window_start(at, self.zone, stay)
            if old is not None and (new == old or stays):
                new = old
            else:
                since = at
            result[stage_column(track.key)] = new
            result[since_column(track.key)] = since if new is not None else None
        return result


def stages_enum(track: Track) -> pl.Enum:
    """The type of the stage column: the keys of the stages."""
    return pl.Enum([stage.key for stage in track.stages])


def _settle(track: Track, at: datetime, zone: ZoneInfo, columns: list[str]) -> list[pl.Expr]:
    """The stage and its ``since`` once minimum stay is honoured."""
    name, since_name = stage_column(track.key), since_column(track.key)
    new = pl.col(name)
    now = pl.lit(at).cast(MOMENT)
    if f"{name}.before" not in columns:
        return [new, pl.when(new.is_not_null()).then(now).alias(since_name)]
    # A stage of an earlier variant of the track is no member of the Enum and counts as none.
    old = pl.col(f"{name}.before").cast(stages_enum(track), strict=False)
    since = pl.col(since_name)
    held: pl.Expr = pl.lit(False)
    for each in track.stages:
        if each.stay:
            held |= (old == each.key) & (since >= pl.lit(window_start(at, zone, each.stay)).cast(MOMENT))
    keep = (old.is_not_null() & (held | (old == new))).fill_null(False)
    stage = pl.when(keep).then(old).otherwise(new)
    return [
        stage.alias(name),
        pl.when(keep).then(since).when(new.is_not_null()).then(now).alias(since_name),
    ]
