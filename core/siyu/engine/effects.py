"""What tells two rulebooks apart: who would enter and leave each tag and stage, how many have it, who goes where."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from siyu.engine.diff import Changes, diff
from siyu.engine.evaluate import stage_column
from siyu.engine.explain import RULE_GONE, render
from siyu.engine.rulebook import Reason, Rulebook

__all__ = ["Effect", "Flow", "InStage", "Moved", "Sample", "Size", "effects", "flows", "sizes"]

NO_STAGE = "no stage of the track holds"


@dataclass(frozen=True)
class InStage:
    """How many of some users stand in a stage under today's rules (None: in none of the track)."""

    track: str
    stage: str | None
    users: int


@dataclass(frozen=True)
class Sample:
    """One of the users who move, and why."""

    user_id: int
    because: str


@dataclass(frozen=True)
class Moved:
    """Who would enter, or leave: how many, where they stand today, and some of them."""

    users: int = 0
    by_stage: tuple[InStage, ...] = ()
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Effect:
    """What would become of a tag (``track`` is None) or a stage: users under today's rules and the proposed ones."""

    track: str | None
    key: str
    title: str
    plugin: str
    today: int
    proposed: int
    enter: Moved
    leave: Moved


@dataclass(frozen=True)
class Size:
    """How many users have a tag or stand in a stage. Without a change ``proposed`` is None; ``enter`` and ``leave`` are
    those whom only the proposed rules, or only today's, put there."""

    track: str | None
    key: str
    title: str
    today: int
    proposed: int | None
    enter: int
    leave: int


@dataclass(frozen=True)
class Flow:
    """How many went from one stage to another since the moment before (None: were in none, or are)."""

    track: str
    before: str | None
    after: str | None
    today: int
    proposed: int | None


Key: TypeAlias = tuple[str | None, str]
"""Of a tag (None, key), of a stage (track, key)."""
Move: TypeAlias = tuple[str | None, str, bool]
"""Into (True) or out of a tag or stage."""


def effects(
    rulebooks: tuple[Rulebook, Rulebook],
    decided: tuple[pl.DataFrame, pl.DataFrame],
    facts: pl.DataFrame,
    samples: int,
) -> tuple[list[Effect], Changes]:
    """What becomes of every tag and stage, with up to ``samples`` users each, and the changes that make it.

    ``rulebooks`` are today's and the proposed; ``decided`` is what each decides for the rows of ``facts``.
    """
    changes = diff(rulebooks[1], *decided, facts)
    moves = _moves(changes)
    counts = _counted(moves)
    by_stage = _by_stage(moves, rulebooks[0], decided[0])
    some = _samples(rulebooks[1], moves, samples)
    today, new = (_held(rulebook, frame) for rulebook, frame in zip(rulebooks, decided, strict=True))

    def moved(move: Move) -> Moved:
        return Moved(counts.get(move, 0), tuple(by_stage[move]), tuple(some[move]))

    return [
        Effect(
            track,
            key,
            title,
            plugin,
            today.get((track, key), 0),
            new.get((track, key), 0),
            moved((track, key, True)),
            moved((track, key, False)),
        )
        for (track, key), (title, plugin) in _listed(rulebooks).items()
    ], changes


def sizes(rulebooks: Sequence[Rulebook], decided: Sequence[pl.DataFrame], facts: pl.DataFrame) -> list[Size]:
    """How many have each tag and stage under one rulebook, or under today's and the proposed one."""
    held = [_held(rulebook, frame) for rulebook, frame in zip(rulebooks, decided, strict=True)]
    compared = len(rulebooks) == 2
    moved = _counted(_moves(diff(rulebooks[1], decided[0], decided[1], facts))) if compared else {}
    return [
        Size(
            track,
            key,
            title,
            held[0].get((track, key), 0),
            held[1].get((track, key), 0) if compared else None,
            moved.get((track, key, True), 0),
            moved.get((track, key, False), 0),
        )
        for (track, key), (title, _) in _listed(rulebooks).items()
    ]


def flows(rulebooks: Sequence[Rulebook], before: Sequence[pl.DataFrame], after: Sequence[pl.DataFrame]) -> list[Flow]:
    """Who went from stage to stage between two moments, under one rulebook or under both."""
    found: dict[tuple[str, str | None, str | None], list[int]] = {}
    for side, rulebook in enumerate(rulebooks):
        for track in rulebook.tracks:
            stages = [_stages(track.key, frame) for frame in (before[side], after[side])]
            pairs = stages[1].join(stages[0], on="user_id", how="left", suffix=".before")
            ways = pairs.group_by(pl.col("stage.before").alias("was"), pl.col("stage").alias("then")).len()
            for was, then, users in ways.sort("was", "then").iter_rows():
                if was != then:
                    found.setdefault((track.key, was, then), [0] * len(rulebooks))[side] = users
    return [Flow(*way, users[0], users[1] if len(users) == 2 else None) for way, users in found.items()]


def _moves(changes: Changes) -> pl.DataFrame:
    """One row a user and tag or stage that they enter or leave; ``said`` is the stage that gives the reason."""
    tags, stages = changes.tags, changes.stages
    parts = [
        tags.select(
            "user_id",
            pl.lit(None, pl.String).alias("track"),
            pl.col("tag").alias("key"),
            pl.col("gained").alias("enter"),
            pl.col("tag").alias("said"),
            "why",
        )
    ]
    for side, enter in (("after", True), ("before", False)):
        rows = stages.filter(pl.col(side).is_not_null())
        parts.append(
            rows.select(
                "user_id",
                "track",
                pl.col(side).alias("key"),
                pl.lit(enter).alias("enter"),
                pl.col("after").alias("said"),
                "why",
            )
        )
    return pl.concat(parts)


def _counted(moves: pl.DataFrame) -> dict[Move, int]:
    rows = moves.group_by("track", "key", "enter").len().iter_rows()
    return {(track, key, enter): users for track, key, enter, users in rows}


def _by_stage(moves: pl.DataFrame, rulebook: Rulebook, decided: pl.DataFrame) -> dict[Move, list[InStage]]:
    found: dict[Move, list[InStage]] = defaultdict(list)
    for track in rulebook.tracks:
        joined = moves.join(_stages(track.key, decided), on="user_id", how="left")
        counted = joined.group_by("track", "key", "enter", "stage").len()
        for to, key, enter, stage, users in counted.sort("len", "stage", descending=[True, False]).iter_rows():
            found[to, key, enter].append(InStage(track.key, stage, users))
    return found


def _samples(rulebook: Rulebook, moves: pl.DataFrame, samples: int) -> dict[Move, list[Sample]]:
    reasons: dict[Key, Reason] = {(None, rule.tag.key): rule.reason for rule in rulebook.tags}
    for track in rulebook.tracks:
        reasons |= {(track.key, s.key): reason for s, reason in zip(track.stages, track.reasons, strict=True)}
    tracks = {track.key for track in rulebook.tracks}
    found: dict[Move, list[Sample]] = defaultdict(list)
    # Polars' head(0) of a group is the whole group.
    some = moves.group_by("track", "key", "enter", maintain_order=True).head(samples) if samples else moves.clear()
    for row in some.iter_rows(named=True):
        if reason := reasons.get((row["track"], row["said"])):
            because = render(reason.to_json(), json.loads(row["why"]))
        else:
            because = NO_STAGE if row["track"] in tracks else RULE_GONE
        found[row["track"], row["key"], row["enter"]].append(Sample(row["user_id"], because))
    return found


def _listed(rulebooks: Sequence[Rulebook]) -> dict[Key, tuple[str, str]]:
    """Title and plugin of every tag and stage of the rulebooks, the last first, as people read them."""
    named: dict[Key, tuple[str, str]] = {}
    for rulebook in reversed(rulebooks):
        for rule in rulebook.tags:
            named.setdefault((None, rule.tag.key), (rule.tag.title, rule.plugin))
        for track in rulebook.tracks:
            for stage in reversed(track.stages):
                named.setdefault((track.key, stage.key), (stage.title, track.plugin))
    return named


def _held(rulebook: Rulebook, decided: pl.DataFrame) -> dict[Key, int]:
    """How many have each tag and stage; stages that nobody is in may be left out."""
    keys = [rule.tag.key for rule in rulebook.tags]
    found: dict[Key, int] = {}
    if keys:
        counts = decided.select(pl.col(keys).sum()).row(0)
        found = {(None, key): users for key, users in zip(keys, counts, strict=True)}
    for track in rulebook.tracks:
        counted = _stages(track.key, decided).get_column("stage").drop_nulls().value_counts()
        found |= {(track.key, stage): users for stage, users in counted.iter_rows()}
    return found


def _stages(track: str, decided: pl.DataFrame) -> pl.DataFrame:
    """``user_id`` and ``stage``: texts, as Enums of two rulebooks cannot be compared."""
    column = stage_column(track)
    if column not in decided.columns:
        return pl.DataFrame(schema={"user_id": pl.Int64, "stage": pl.String})
    return decided.select("user_id", pl.col(column).cast(pl.String).alias("stage"))
