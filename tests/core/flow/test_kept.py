"""What takes long to make is made once for all who ask at the same time, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from siyu.flow.kept import Kept

Make = Callable[[list[str]], Awaitable[dict[str, str]]]


def maker(made: list[list[str]]) -> Make:
    async def make(keys: list[str]) -> dict[str, str]:
        made.append(keys)
        await asyncio.sleep(0.01)
        return {key: key * 3 for key in keys}

    return make


async def test_who_asks_meanwhile_waits_for_what_is_being_made() -> None:
    kept, made = Kept[str, str](60, 100), list[list[str]]()
    answers = await asyncio.gather(*(kept.get(keys, maker(made)) for keys in (["a", "b"], ["b", "c"], ["c", "a"])))
    assert answers == [{"a": "aaa", "b": "bbb"}, {"b": "bbb", "c": "ccc"}, {"c": "ccc", "a": "aaa"}]
    assert made == [["a", "b"], ["c"]]


async def test_what_is_old_is_made_anew() -> None:
    kept, made = Kept[str, str](-1, 100), list[list[str]]()
    for _ in range(2):
        assert await kept.get(["a"], maker(made)) == {"a": "aaa"}
    assert made == [["a"], ["a"]]


async def test_what_was_used_longest_ago_makes_room() -> None:
    kept, made = Kept[str, str](60, 6, size=len), list[list[str]]()
    for key in ("a", "b", "a", "c", "a", "b"):
        await kept.get([key], maker(made))
    assert made == [["a"], ["b"], ["c"], ["b"]]


async def test_what_is_too_large_is_given_and_not_kept() -> None:
    kept, made = Kept[str, str](60, 2, size=len), list[list[str]]()
    for _ in range(2):
        assert await kept.get(["a"], maker(made)) == {"a": "aaa"}
    assert len(made) == 2


async def test_it_goes_on_for_others_when_one_goes_away() -> None:
    kept, made = Kept[str, str](60, 100), list[list[str]]()
    first = asyncio.ensure_future(kept.get(["a"], maker(made)))
    second = asyncio.ensure_future(kept.get(["a"], maker(made)))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == {"a": "aaa"}
    assert made == [["a"]]


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    kept, made = Kept[str, str](60, 100), list[list[str]]()

    async def fail(_: list[str]) -> dict[str, str]:
        await asyncio.sleep(0)
        raise ValueError("no")

    failed = await asyncio.gather(*(kept.get(["a"], fail) for _ in range(2)), return_exceptions=True)
    assert [str(each) for each in failed] == ["no", "no"]
    assert await kept.get(["a"], maker(made)) == {"a": "aaa"}


async def test_only_so_many_are_made_at_once() -> None:
    kept, running, most = Kept[str, str](60, 100, at_once=2), 0, 0

    async def make(keys: list[str]) -> dict[str, str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return dict.fromkeys(keys, "")

    await asyncio.gather(*(kept.get([key], make) for key in "abcdef"))
    assert most == 2


async def test_what_was_forgotten_is_made_anew() -> None:
    kept, made = Kept[str, str](60, 100), list[list[str]]()
    await kept.get(["a"], maker(made))
    kept.forget()
    await kept.get(["a"], maker(made))
    assert made == [["a"], ["a"]]
