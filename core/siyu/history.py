"""What users did, as tables: nearly all of it in the order of users, and behind that what has come since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import polars as pl

__all__ = ["MOST", "Block", "Frames", "History"]

Frames: TypeAlias = Mapping[str, pl.LazyFrame]
"""By name of the table, with the columns of :attr:`siyu.contract.events.Source.schema`, rows in any order."""

MOST = 2**63 - 1
"""More than any id."""
Change: TypeAlias = Callable[[pl.LazyFrame], pl.LazyFrame]


@dataclass(frozen=True)
class Block:
    """The tables of the users from ``low`` up to where the next block begins; rows in the order of
    :attr:`siyu.contract.events.Source.order`."""

    low: int
    frames: Frames


@dataclass(frozen=True)
class History:
    """Tables of events: ``behind`` are rows of any users in any order, few beside those in ``blocks``."""

    behind: Frames
    blocks: Sequence[Block] = ()

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Of each block, its users: from the first, up to but without the second."""
        return list(pairwise([0, *(block.low for block in self.blocks[1:]), MOST])) if self.blocks else []

    def of(self, users: tuple[int, int]) -> History:
        """What a range of users did."""
        low, below = users
        mine = (pl.col("user_id") >= low) & (pl.col("user_id") < below)
        blocks = []
        for block, (first, end) in zip(self.blocks, self.ranges, strict=True):
            if low <= first and end <= below:
                blocks.append(block)
            elif first < below and low < end:
                blocks.append(Block(block.low, _each(block.frames, lambda frame: frame.filter(mine))))
        return replace(self, behind=_each(self.behind, lambda frame: frame.filter(mine)), blocks=blocks)

    def held(self, users: pl.Series) -> History:
        """What some users did, read now and held in memory."""
        mine = pl.col("user_id").is_in(users.implode())

        def read(frames: Frames) -> Frames:
            found = pl.collect_all([frame.filter(mine) for frame in frames.values()])
            return {name: frame.lazy() for name, frame in zip(frames, found, strict=True)}

        return replace(
            self, behind=read(self.behind), blocks=[Block(block.low, read(block.frames)) for block in self.blocks]
        )


def _each(frames: Frames, change: Change) -> Frames:
    return {name: change(frame) for name, frame in frames.items()}
