"""What tells two rulebooks apart: who would enter and leave each tag and stage, how many have it, who goes where."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from siyu.engine.diff import Changes, diff
from siyu.engine.evaluate import stage_column
from siyu.engine.explain import RULE_GONE, render
from siyu.engine.rulebook import Reason, Rulebook

__all__ = ["Effect", "Flow", "InStage", "Moved", "Part", "Sample", "Size", "effects", "flows", "sizes"]

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


@dataclass(frozen=True)
class Part:
    """Some of the users: the rulebook that they live under, or today's and the proposed, what each decides for the rows
    of ``facts``, and these."""

    rulebooks: tuple[Rulebook, ...]
    decided: tuple[pl.DataFrame, ...]
    facts: pl.DataFrame

    def changes(self) -> Changes:
        """What changes from today's rulebook to the proposed one."""
        return diff(self.rulebooks[1], self.decided[0], self.decided[1], self.facts)


def effects(parts: Sequence[Part], samples: int) -> tuple[list[Effect], list[Changes]]:
    """What becomes of every tag and stage, with up to ``samples`` users each, and the changes that make it, a part
    each."""
    changes = [part.changes() for part in parts]
    moves = [_moves(each) for each in changes]
    counts = _counted(pl.concat(moves))
    by_stage = _by_stage(pl.concat(moves), parts)
    some: dict[Move, list[Sample]] = defaultdict(list)
    for part, moved in zip(parts, moves, strict=True):
        for move, named in _samples(part.rulebooks[1], moved, samples).items():
            some[move] += named[: samples - len(some[move])]
    today, new = (_held(parts, side) for side in range(2))

    def all_moved(move: Move) -> Moved:
        return Moved(counts.get(move, 0), tuple(by_stage[move]), tuple(some[move]))

    return [
        Effect(
            track,
            key,
            title,
            plugin,
            today.get((track, key), 0),
            new.get((track, key), 0),
            all_moved((track, key, True)),
            all_moved((track, key, False)),
        )
        for (track, key), (title, plugin) in (_standing(parts) | _listed(parts)).items()
    ], changes


def sizes(parts: Sequence[Part]) -> list[Size]:
    """How many have each tag and stage under one rulebook, or under today's and the proposed one."""
    held = [_held(parts, side) for side in range(len(parts[0].rulebooks))]
    compared = len(held) == 2
    moved = _counted(pl.concat([_moves(part.changes()) for part in parts])) if compared else {}
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
        for (track, key), (title, _) in _listed(parts).items()
    ]


def flows(before: Sequence[pl.DataFrame], parts: Sequence[Part]) -> list[Flow]:
    """Who went from stage to stage since the moment of ``before`` (all users, a frame a side), under one rulebook or
    under both."""
    found: dict[tuple[str, str | None, str | None], list[int]] = {}
    for side in range(len(before)):
        for track in _tracks(parts, side):
            stages = pl.concat([_stages(track, part.decided[side]) for part in parts])
            pairs = stages.join(_stages(track, before[side]), on="user_id", how="left", suffix=".before")
            ways = pairs.group_by(pl.col("stage.before").alias("was"), pl.col("stage").alias("then")).len()
            for was, then, users in ways.sort("was", "then").iter_rows():
                if was != then:
                    found.setdefault((track, was, then), [0] * len(before))[side] = users
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


def _by_stage(moves: pl.DataFrame, parts: Sequence[Part]) -> dict[Move, list[InStage]]:
    found: dict[Move, list[InStage]] = defaultdict(list)
    for track in _tracks(parts, 0):
        stages = pl.concat([_stages(track, part.decided[0]) for part in parts])
        counted = moves.join(stages, on="user_id", how="left").group_by("track", "key", "enter", "stage").len()
        for to, key, enter, stage, users in counted.sort("len", "stage", descending=[True, False]).iter_rows():
            found[to, key, enter].append(InStage(track, stage, users))
    return found


def _tracks(parts: Sequence[Part], side: int) -> list[str]:
    return list(dict.fromkeys(track.key for part in parts for track in part.rulebooks[side].tracks))


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


def _listed(parts: Sequence[Part]) -> dict[Key, tuple[str, str]]:
    """Title and plugin of every tag and stage of the rulebooks, as people read them; the proposed ones' come first."""
    named: dict[Key, tuple[str, str]] = {}
    for side in reversed(range(len(parts[0].rulebooks))):
        for part in parts:
            for rule in part.rulebooks[side].tags:
                named.setdefault((None, rule.tag.key), (rule.tag.title, rule.plugin))
            for track in part.rulebooks[side].tracks:
                for stage in reversed(track.stages):
                    named.setdefault((track.key, stage.key), (stage.title, track.plugin))
    return named


def _standing(parts: Sequence[Part]) -> dict[Key, tuple[str, str]]:
    """As :func:`_listed`, of what stands because its rule fails."""
    named: dict[Key, tuple[str, str]] = {}
    for standing in [rulebook.standing for part in parts for rulebook in part.rulebooks]:
        named |= {(None, key): (entry["title"], entry["plugin"]) for key, entry in standing.tags.items()}
        for track, entry in standing.tracks.items():
            named |= {(track, key): (stage["title"], entry["plugin"]) for key, stage in entry["stages"].items()}
    return named


def _held(parts: Sequence[Part], side: int) -> Counter[Key]:
    """How many have each tag and stage on a side; those that nobody has may be left out."""
    found: Counter[Key] = Counter()
    for part in parts:
        rulebook, decided = part.rulebooks[side], part.decided[side]
        keys = [rule.tag.key for rule in rulebook.tags]
        keys += [key for key in rulebook.standing.tags if key in decided.columns]
        if keys:
            counts = decided.select(pl.col(keys).sum()).row(0)
            found.update({(None, key): users for key, users in zip(keys, counts, strict=True)})
        for track in [*(track.key for track in rulebook.tracks), *rulebook.standing.tracks]:
            counted = _stages(track, decided).get_column("stage").drop_nulls().value_counts()
            found.update({(track, stage): users for stage, users in counted.iter_rows()})
    return found


def _stages(track: str, decided: pl.DataFrame) -> pl.DataFrame:
    """``user_id`` and ``stage``: texts, as Enums of two rulebooks cannot be compared."""
    column = stage_column(track)
    if column not in decided.columns:
        return pl.DataFrame(schema={"user_id": pl.Int64, "stage": pl.String})
    return decided.select("user_id", pl.col(column).cast(pl.String).alias("stage"))
