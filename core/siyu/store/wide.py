"""The decisions on many users as one frame, as the engine has them: ``user_id``, sorted, a Boolean column a tag (or
null where there was none), and of each track ``@track`` and ``@track.since``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import polars as pl
import polars.selectors as cs

from siyu.frames import written_over

__all__ = ["overlaid", "together", "wide", "with_users"]

PIECES = 1000
"""Of so many pieces a frame is put together in a small part of the time that a join takes."""


def together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Decisions on different users, each frame sorted by user, as one; stages become plain texts."""
    if len(frames) == 1:
        return frames[0]
    # Enums of what a track has under one rulebook and under another do not go together.
    plain = [frame.cast({cs.enum(): pl.String}) for frame in frames]
    columns = {name: dtype for frame in plain for name, dtype in frame.schema.items()}
    alike = [
        frame.select(
            pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name)
            for name, dtype in columns.items()
        )
        for frame in plain
    ]
    return reduce(lambda one, other: one.merge_sorted(other, key="user_id"), alike)


def wide(users: pl.DataFrame, tags: pl.DataFrame, stages: pl.DataFrame) -> pl.DataFrame:
    """Long rows as the engine's wide frame: a Boolean column a tag, ``@track`` and ``@track.since``."""
    frame = users
    held = {str(key[0]): rows for key, rows in tags.partition_by("tag", as_dict=True).items()}
    if held:
        frame = frame.with_columns(
            pl.col("user_id").is_in(rows.get_column("user_id").implode()).alias(key)
            for key, rows in sorted(held.items())
        )
    for key, rows in sorted(stages.partition_by("track", as_dict=True).items()):
        mine = rows.select("user_id", pl.col("stage").alias(f"@{key[0]}"), pl.col("since").alias(f"@{key[0]}.since"))
        frame = frame.join(mine, on="user_id", how="left", maintain_order="left")
    return frame


def with_users(frame: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """``frame`` with a row of nothing for those of ``users`` whom it lacks, if they lie in few places; both are sorted.

    Frames on the same users are compared and written as they lie: but for this, one new user among a million would
    have all of them looked up.
    """
    ids = frame.get_column("user_id")
    lacking = users.filter(~users.is_in(ids.implode()))
    places = ids.search_sorted(lacking).rle().struct.unnest()
    if frame.is_empty() or len(places) > PIECES:
        return frame
    rows = pl.concat([frame.clear(), lacking.to_frame()], how="diagonal")
    pieces, done, taken = [], 0, 0
    for count, place in places.rows():
        pieces += [frame[done:place], rows[taken : taken + count]]
        done, taken = place, taken + count
    return pl.concat([*pieces, frame[done:]]).rechunk() if pieces else frame


def overlaid(frame: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with the decisions of ``fresh`` in the place of those on the same users.

    Where they are few, and hold nothing that the frame has no column or no code for, they are written over the others.
    """
    columns, stages = frame.schema, frame.select(cs.enum()).columns
    alike = set(fresh.columns) <= set(columns) and all(
        name not in fresh.columns or set(fresh.get_column(name).drop_nulls().unique()) <= set(_codes(columns[name]))
        for name in stages
    )
    if not alike:
        kept = frame.join(fresh, on="user_id", how="anti", maintain_order="left")
        return together([kept, fresh])
    given = (
        fresh.get_column(name).cast(dtype) if name in fresh.columns else pl.Series(name, [], dtype).clear(len(fresh))
        for name, dtype in columns.items()
    )
    return written_over(frame, pl.DataFrame(given))


def _codes(dtype: pl.DataType) -> list[str]:
    assert isinstance(dtype, pl.Enum)
    return dtype.categories.to_list()
