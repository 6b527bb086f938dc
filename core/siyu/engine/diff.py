"""What changed between two decisions, and why: only that is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl

from siyu.engine.compile import to_narwhals
from siyu.engine.evaluate import stage_column
from siyu.engine.rulebook import Reason, Rulebook

__all__ = ["Changes", "FewChanges", "diff", "diff_few"]

STAGE_CHANGES = {
    "user_id": pl.Int64,
    "track": pl.String,
    "before": pl.String,
    "after": pl.String,
    "why": pl.String,
}
FEW = 100
"""Of so many users a fact is written down for all at once, not for each of the changes that name it."""
TAG_CHANGES = {"user_id": pl.Int64, "tag": pl.String, "gained": pl.Boolean, "why": pl.String}


@dataclass(frozen=True)
class Changes:
    """``tags``: user_id, tag, gained, why. ``stages``: user_id, track, before, after (null = none), why.

    ``why`` is a JSON array of the values of the facts that the reason names, in its order, and behind them the number
    of its case, where it has cases.
    """

    tags: pl.DataFrame
    stages: pl.DataFrame

    def __len__(self) -> int:
        return len(self.tags) + len(self.stages)

    @classmethod
    def all(cls, several: Sequence[Changes]) -> Changes:
        """Several on different users as one."""
        return cls(
            pl.concat([pl.DataFrame(schema=TAG_CHANGES), *(each.tags for each in several)]),
            pl.concat([pl.DataFrame(schema=STAGE_CHANGES), *(each.stages for each in several)]),
        )


@dataclass(frozen=True)
class FewChanges:
    """As :class:`Changes`, of a few users: rows, with the same columns."""

    tags: Sequence[tuple[int, str, bool, str]]
    stages: Sequence[tuple[int, str, str | None, str | None, str]]

    def __len__(self) -> int:
        return len(self.tags) + len(self.stages)


def diff(rulebook: Rulebook, before: pl.DataFrame, after: pl.DataFrame, facts: pl.DataFrame) -> Changes:
    """Compare decisions. ``after`` and ``facts`` have the same users in the same order; ``before`` any.

    Tags and tracks that the rulebook no longer has are lost. Those of fenced rules, and users that ``after`` lacks, are
    left as they were.
    """
    reasons = {rule.tag.key: rule.reason for rule in rulebook.tags}
    old = _aligned(before, after)
    why = _Why(facts)
    tags = []
    held_before = {name for name, dtype in before.schema.items() if dtype == pl.Boolean}
    for key in [*reasons, *sorted(held_before - set(reasons) - set(rulebook.standing.tags))]:
        had = _flags(old.get_column(key)) if key in held_before else None
        has = after.get_column(key) if key in reasons else None
        tags += [
            _tag_rows(after, mask, key, gained, why, reasons.get(key))
            for mask, gained in ((_only(has, had), True), (_only(had, has), False))
            if mask is not None and mask.any()
        ]
    stages = [rows for track in rulebook.tracks for rows in _stage_rows(track.key, rulebook, old, after, why)]
    tracked = {stage_column(key) for key in (*(track.key for track in rulebook.tracks), *rulebook.standing.tracks)}
    for name in old.columns:
        if name.startswith("@") and not name.endswith(".since") and name not in tracked:
            had_stage = old.get_column(name).cast(pl.String)
            stages.append(_stage_frame(after, had_stage, pl.Series([None] * len(old), dtype=pl.String), name[1:], None))
    return Changes(
        pl.concat([pl.DataFrame(schema=TAG_CHANGES), *tags]),
        pl.concat([pl.DataFrame(schema=STAGE_CHANGES), *stages]).filter(
            pl.col("before").is_not_null() | pl.col("after").is_not_null()
        ),
    )


def diff_few(
    rulebook: Rulebook,
    before: Mapping[int, Mapping[str, Any]],
    after: Mapping[int, Mapping[str, Any]],
    facts: Mapping[int, Mapping[str, Any]],
) -> FewChanges:
    """As :func:`diff`, of a few users: by user, the columns of decisions and the facts."""
    reasons = {rule.tag.key: rule.reason for rule in rulebook.tags}
    tracks = {
        stage_column(track.key): dict(zip((stage.key for stage in track.stages), track.reasons, strict=True))
        for track in rulebook.tracks
    }
    standing = {*rulebook.standing.tags, *map(stage_column, rulebook.standing.tracks)}
    tags: list[tuple[int, str, bool, str]] = []
    stages: list[tuple[int, str, str | None, str | None, str]] = []
    for user, now in after.items():
        old = before.get(user, {})
        gone = [name for name in old if name not in now and name not in standing and not name.endswith(".since")]
        for key in [*reasons, *(name for name in gone if not name.startswith("@"))]:
            held = bool(now.get(key))
            if held != bool(old.get(key)):
                tags.append((user, key, held, _json(reasons.get(key), facts[user])))
        for name in [*tracks, *(name for name in gone if name.startswith("@"))]:
            had, has = old.get(name), now.get(name)
            if had != has:
                reason = tracks[name].get(has) if has is not None else None
                stages.append((user, name[1:], had, has, _json(reason, facts[user])))
    return FewChanges(tags, stages)


def _json(reason: Reason | None, facts: Mapping[str, Any]) -> str:
    return _encode(reason.values(facts) if reason else [])


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=date.isoformat).encode


def _aligned(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """``before`` in the order of ``after``; the usual case, the same users, costs one comparison."""
    if before.get_column("user_id").equals(after.get_column("user_id")):
        return before
    return after.select("user_id").join(before, on="user_id", how="left", maintain_order="left")


def _only(one: pl.Series | None, other: pl.Series | None) -> pl.Series | None:
    if one is None or other is None:
        return one
    return one & ~other


def _tag_rows(
    after: pl.DataFrame, mask: pl.Series, key: str, gained: bool, why: _Why, reason: Reason | None
) -> pl.DataFrame:
    users = after.get_column("user_id").filter(mask)
    return pl.DataFrame(
        {
            "user_id": users,
            "tag": _repeat(key, len(users)),
            "gained": _repeat(gained, len(users)),
            "why": why.values(reason, mask),
        }
    )


def _stage_rows(
    track: str, rulebook: Rulebook, old: pl.DataFrame, after: pl.DataFrame, why: _Why
) -> list[pl.DataFrame]:
    name = stage_column(track)
    new = after.get_column(name).cast(pl.String)
    had = old.get_column(name).cast(pl.String) if name in old.columns else pl.Series([None] * len(new), dtype=pl.String)
    changed = had.ne_missing(new)
    if not changed.any():
        return []
    mine = next(t for t in rulebook.tracks if t.key == track)
    rows = []
    for stage, reason in [*zip((s.key for s in mine.stages), mine.reasons, strict=True), (None, None)]:
        mask = changed & (new == stage if stage is not None else new.is_null())
        if mask.any():
            rows.append(
                _stage_frame(after.filter(mask), had.filter(mask), new.filter(mask), track, why.values(reason, mask))
            )
    return rows


def _stage_frame(
    after: pl.DataFrame, had: pl.Series, new: pl.Series, track: str, why: pl.Series | None
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": after.get_column("user_id"),
            "track": _repeat(track, len(after)),
            "before": had,
            "after": new,
            "why": why if why is not None else _repeat("[]", len(after)),
        }
    )


def _repeat(value: str | bool, times: int) -> pl.Series:
    return pl.Series([value]).new_from_index(0, times)


def _flags(column: pl.Series) -> pl.Series:
    """Without the nulls of users who had no decisions."""
    return column.fill_null(False) if column.null_count() else column


class _Why:
    """The values that a reason names, as JSON text, for the rows of a mask."""

    def __init__(self, facts: pl.DataFrame) -> None:
        self._facts = facts
        self._known: dict[str, list[str]] = {}

    def values(self, reason: Reason | None, mask: pl.Series) -> pl.Series:
        names = [fact.name for fact in reason.facts.values()] if reason else []
        if reason is None or not (names or reason.cases):
            return _repeat("[]", int(mask.sum()))
        if len(self._facts) <= FEW and not reason.cases:
            rows = zip(*(self._texts(name) for name in names), strict=True)
            return pl.Series([f"[{','.join(row)}]" for row, held in zip(rows, mask, strict=True) if held])
        # Polars 2.1 panics where texts are put together of columns that lie in several pieces.
        changed = self._facts.select({"user_id", *names, *reason.asked}).filter(mask).rechunk()
        if len(changed) <= FEW and reason.cases:
            return pl.Series([_json(reason, row) for row in changed.iter_rows(named=True)])
        told = [*map(changed.get_column, names), *([_cases(reason, changed)] if reason.cases else ())]
        texts = pl.DataFrame([_text(column).alias(f"{number}") for number, column in enumerate(told)])
        return texts.select(pl.format("[{}]", pl.concat_str(pl.all(), separator=",")).alias("why")).to_series()

    def _texts(self, name: str) -> list[str]:
        """A fact of every user."""
        if name not in self._known:
            self._known[name] = _text(self._facts.get_column(name)).to_list()
        return self._known[name]


def _cases(reason: Reason, facts: pl.DataFrame) -> pl.Series:
    """For each row the number of the first case that holds; null where none does."""
    chains = {"@case": [when for when, _ in reason.cases]}
    numbered = to_narwhals(nw.from_native(facts.lazy()), {name: name for name in reason.asked}, {}, chains)
    found: pl.LazyFrame = numbered.select(*chains).to_native()
    return found.collect().to_series()


def _text(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Enum:
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        text = column.cast(pl.String)
        if column.dtype == pl.Date:
            text = '"' + text + '"'
        return text.fill_null("null") if text.null_count() else text
    # Polars writes JSON of structs only: the text is cut out of {"_":"text"}.
    json = column.alias("_").to_frame().to_struct().struct.json_encode()
    return json.str.slice(5).str.strip_suffix("}").alias(column.name)
