"""What was read a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from siyu_graphql.plans.recent import Bounded, Recent


async def test_of_many_who_want_a_value_one_reads_it() -> None:
    reads: list[str] = []

    async def read(key: str) -> str:
        reads.append(key)
        await asyncio.sleep(0)
        return key.upper()

    recent = Recent(read, seconds=60)
    assert await asyncio.gather(*(recent.get("a") for _ in range(5))) == ["A"] * 5
    assert await recent.get("b") == "B"
    assert reads == ["a", "b"]
    recent.forget()
    await recent.get("a")
    assert reads == ["a", "b", "a"]


async def test_a_value_is_read_anew_when_its_time_is_over() -> None:
    reads = iter(range(10))

    async def read(key: str) -> int:
        return next(reads)

    recent = Recent(read, seconds=0)
    assert [await recent.get("a") for _ in range(3)] == [0, 1, 2]


async def test_a_reading_that_failed_is_tried_again_and_one_who_leaves_takes_it_from_nobody() -> None:
    answers: Iterator[str | OSError] = iter([OSError("away"), "here"])

    async def read(key: str) -> str:
        await asyncio.sleep(0.01)
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    recent = Recent(read, seconds=60)
    with pytest.raises(OSError, match="away"):
        await recent.get("a")
    leaving, staying = (asyncio.create_task(recent.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == "here"


def test_what_was_not_asked_for_the_longest_is_let_go() -> None:
    kept: Bounded[int, int] = Bounded(2)
    for number in (1, 2):
        kept.put(number, number)
    assert kept.get(1) == 1
    kept.put(3, 3)
    assert [kept.get(number) for number in (1, 2, 3)] == [1, None, 3]
