"""Code that takes too long is stopped where it runs, and nowhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
from siyu import RuleError
from siyu.contract.budget import Call, given_up, make, stopped_for_good


def spin() -> None:
    while True:
        pass


def stubborn() -> None:
    while True:
        try:
            spin()
        except Exception:
            continue


def deaf_once() -> None:
    try:
        spin()
    except BaseException:
        spin()


def busy(seconds: float) -> str:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return "done"


def ask(*runs: Callable[[], Any], seconds: float = 0.3) -> list[Any]:
    return make([Call(f"rule {number}", (number,), run) for number, run in enumerate(runs)], seconds)


def helpers() -> int:
    return sum(thread.name == "siyu-rules" for thread in threading.enumerate())


def test_answers_come_in_order_and_what_is_raised_is_one() -> None:
    def broken() -> None:
        raise KeyError("no")

    first, error, last = ask(lambda: 1, broken, lambda: 3)
    assert (first, last) == (1, 3)
    assert isinstance(error, KeyError)
    assert make([], 1) == []


def test_a_rule_that_exits_ends_nothing_but_itself() -> None:
    error, after = ask(sys.exit, lambda: "on")
    assert isinstance(error, RuleError)
    assert "SystemExit" in str(error)
    assert after == "on"


@pytest.mark.parametrize("hangs", [spin, stubborn, deaf_once])
def test_a_call_that_does_not_end_is_stopped_and_the_others_are_made(hangs: Callable[[], None]) -> None:
    ask(lambda: None)
    before = helpers()
    started = time.perf_counter()
    first, error, last = ask(lambda: 1, hangs, lambda: 3)
    assert time.perf_counter() - started < 3
    assert (first, last) == (1, 3)
    assert isinstance(error, RuleError)
    assert str(error) == "rule 1: no answer after 0.3 s (let it do less)"
    assert helpers() <= before + 1
    # Whoever was interrupted works on.
    assert ask(*[lambda: "again"] * 50) == ["again"] * 50


def test_a_call_that_cannot_be_stopped_is_left_behind_and_not_made_again_while_it_lasts() -> None:
    asked: list[str] = []

    def waits(queue: str) -> Call[str]:
        def run() -> str:
            asked.append(queue)
            return queues[queue].get()  # in C, for as long as it takes

        return Call("waiter", (queue,), run)

    queues: dict[str, SimpleQueue[str]] = {"empty": SimpleQueue(), "full": SimpleQueue()}
    queues["full"].put("in")
    [error] = make([waits("empty")], 0.1)
    [again, other] = make([waits("empty"), waits("full")], 5)
    assert str(error).startswith("waiter: no answer")
    assert "has not ended" in str(again)
    assert (other, asked) == ("in", ["empty", "full"])
    # One for the call that was left behind, which ends by it, and one to ask again.
    queues["empty"].put("late")
    queues["empty"].put("in")
    deadline = time.monotonic() + 20
    while (answer := make([waits("empty")], 5)) != ["in"]:
        assert "has not ended" in str(answer[0])
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_call_that_does_not_end_costs_its_time_once_behind_quick_ones() -> None:
    asked: list[int] = []

    def hangs() -> None:
        asked.append(1)
        spin()

    first, error, last = ask(lambda: 1, hangs, lambda: 3)
    assert (first, last, asked) == (1, 3, [1])
    assert "no answer" in str(error)


def test_what_was_stopped_is_not_called_again_while_it_is_stopped_for_good() -> None:
    asked: list[int] = []

    def hangs(number: int) -> Call[None]:
        def run() -> None:
            asked.append(number)
            spin()

        return Call("hangs", (number,), run)

    with stopped_for_good():
        first = make([hangs(1)], 0.1)
        again = make([Call("quick", (), lambda: "quick"), hangs(1), hangs(2)], 0.1)
    assert (again[0], str(again[1]), asked) == ("quick", str(first[0]), [1, 2])
    assert "no answer" in str(make([hangs(1)], 0.1)[0])
    assert asked == [1, 2, 1]


def test_nobody_waits_for_an_answer_once_the_process_is_to_end() -> None:
    asked = threading.Event()

    def hangs() -> None:
        asked.set()
        spin()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, hangs, seconds=60)
        assert asked.wait(10)
        started = time.perf_counter()
        given_up.set()
        try:
            [error] = waiting.result()
        finally:
            given_up.clear()
    assert time.perf_counter() - started < 5
    assert isinstance(error, RuleError)


def test_an_answer_at_the_last_moment_costs_no_other_call_its_own() -> None:
    seconds = 0.004
    for turn in range(120):
        late = seconds * (0.94 + turn % 12 / 100)
        first, *others = ask(lambda late=late: busy(late), *[lambda: "quick"] * 20, seconds=seconds)  # type: ignore[misc]
        assert first == "done" or "no answer" in str(first)
        # On a loaded machine even these may not be quick; they are never lost or mixed up.
        assert all(other == "quick" or "no answer" in str(other) for other in others)
    assert ask(lambda: busy(0.01), seconds=5) == ["done"]


def test_those_who_ask_at_the_same_time_do_not_wait_for_each_other() -> None:
    with ThreadPoolExecutor(4) as pool:
        hung = [pool.submit(ask, spin, seconds=1.5) for _ in range(2)]
        started = time.perf_counter()
        assert pool.submit(ask, lambda: 1, seconds=5).result() == [1]
        assert time.perf_counter() - started < 1
        assert all("no answer" in str(each.result()[0]) for each in hung)
