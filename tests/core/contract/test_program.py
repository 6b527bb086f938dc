"""Playbooks as programs: what they are made of, what is refused, and that a version comes back as it was kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import time, timedelta
from typing import Any

import pytest
from siyu import (
    Age,
    Arm,
    Assign,
    Attribute,
    AttributeKind,
    Contains,
    Count,
    Daily,
    DaysUntil,
    FirstKnown,
    Happened,
    HasTag,
    OnDate,
    Playbook,
    RuleError,
    Send,
    SiyuError,
    Split,
    StageChanged,
    StageOf,
    Stop,
    Total,
    Wait,
    When,
    Within,
)
from siyu.contract import kinds
from siyu.contract.conditions import Condition
from siyu.contract.events import Catalog
from siyu.contract.playbooks import Step
from siyu.contract.program import MOST_STEPS, Program, program

DECLARED = [AttributeKind("birthday", "生日", "date"), AttributeKind("skin", "肤质", "text", ("dry", "oily"))]
CATALOG = Catalog(list(kinds.siyu_event_kinds()), {"made": DECLARED})
HOUR = timedelta(hours=1)


class FirstTouch(Playbook):
    """新客首触"""

    calls = Count("interaction", days=3)
    spent = Total("order.paid", "amount", where={"channel": ["app", "web"], "amount": Within(low=5)})
    goal = "order.paid"
    reentry = "month"

    def trigger(self, p: Any) -> Happened:
        return Happened("contact.added")

    def audience(self, p: Any) -> Condition:
        return (StageOf("lifecycle") != "lost") & ~HasTag("rfm.high_value")

    def ends(self, p: Any) -> Iterable[str | Condition]:
        yield "contact.removed"
        yield self.spent > 1000

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", {"zh": "你好", "en": "hello"}, "service", key="greeting", urgent=True)
        yield Wait(HOUR)
        yield Split("story", {"long": Arm(1, [Send("outbox", "long", key="long")]), "none": Arm(3)})
        yield Wait(24 * HOUR, event="interaction", silent=[Send("outbox", "still there?", key="nudge")])
        yield When(self.calls > 3, then=[Assign("adviser", "call", key="call"), Stop("called")])
        yield Wait(until=time(20, 30))
        yield Send("outbox", "good evening", key="evening")


def made(*steps: Step, trigger: Any = None, **more: Any) -> Program:
    class Made(Playbook):
        goal = more.get("goal", "")

        def trigger(self, p: Any) -> Any:
            return trigger or Happened("contact.added")

        def audience(self, p: Any) -> Any:
            return more.get("audience", super().audience(p))

        def steps(self, p: Any) -> Iterable[Step]:
            return steps

    return program("made", Made(), Made.Params(), CATALOG, {"outbox"})


def first_touch() -> Program:
    return program("care", FirstTouch(), FirstTouch.Params(), CATALOG, {"outbox"})


def test_steps_lie_in_a_row_each_with_what_may_follow_it() -> None:
    laid = [(each.key, dict(each.ways)) for each in first_touch().instructions]
    assert laid == [
        ("greeting", {"": 1}),
        ("wait_2", {"": 2}),
        ("story", {"long": 3, "none": 4}),
        ("long", {"": 4}),
        ("wait_5", {"heard": 6, "silent": 5}),
        ("nudge", {"": 6}),
        ("when_7", {"then": 7, "otherwise": 9}),
        ("call", {"": 8}),
        ("stop_9", {}),
        ("wait_10", {"": 10}),
        ("evening", {"": 11}),
    ]


@pytest.mark.parametrize(
    "one",
    [
        first_touch(),
        made(Send("outbox", "hi"), trigger=Daily(DaysUntil("birthday", yearly=True) == 0)),
        made(Send("outbox", "hi"), trigger=OnDate(6, 18)),
        made(Send("outbox", "hi"), trigger=StageChanged("lifecycle", after=frozenset({"b", "a"}))),
        made(
            When(Count("group.message", {"text": Contains("奶粉", "formula")}).is_in([1, 2]), then=[Stop()]),
            Send("outbox", "hi"),
            audience=Attribute("skin", values=("dry", "oily"), default="dry") == "oily",
        ),
        made(Send("outbox", "hi"), audience=FirstKnown(Age("birthday"), Count("order.paid") / 2, 7) >= 8),
    ],
    ids=lambda one: repr(one.trigger)[:30],
)
def test_a_version_comes_back_as_it_was_kept(one: Program) -> None:
    again = Program.of(json.loads(json.dumps(one.content, ensure_ascii=False)))
    assert again.content == one.content
    assert again.version == one.version
    leaves = [[leaf.name for leaf in each.leaves()] for each in (again.audience, *again.conditions)]
    assert leaves == [[leaf.name for leaf in each.leaves()] for each in (one.audience, *one.conditions)]


def test_whatever_it_does_is_in_its_version() -> None:
    versions = {
        made(Send("outbox", text), *rest, trigger=trigger, audience=audience, goal=goal).version
        for text in ("a", "b")
        for rest in ((), (Stop(),))
        for trigger in (OnDate(6, 18), OnDate(11, 11))
        for audience in (HasTag("x.y"), ~HasTag("x.y"))
        for goal in ("", "order.paid")
    }
    assert len(versions) == 32


def test_it_listens_for_all_that_begins_ends_or_wakes() -> None:
    assert first_touch().events == {"contact.added", "order.paid", "contact.removed", "interaction"}


def test_what_it_asks_is_known_before_anybody_arrives_there() -> None:
    one = first_touch()
    ends = one.ends_when
    assert one.asks(0) == [ends]
    assert one.asks(1) == [ends]
    assert [repr(each) for each in one.asks(4)] == [repr(ends), repr(FirstTouch.calls > 3)]


def test_a_picture_names_every_step_and_every_way() -> None:
    drawn = first_touch().mermaid()
    assert drawn.startswith("flowchart TD")
    assert "s4 -- heard --> s6" in drawn
    assert "s10 --> end_" in drawn
    assert all(f"  s{number}" in drawn for number in range(11))


def endless() -> Iterable[Step]:
    while True:
        yield Wait(HOUR)


REFUSED = {
    "no steps": lambda: made(),
    "what follows a Stop": lambda: made(Stop(), Send("outbox", "never")),
    "what follows two ends": lambda: made(
        When(HasTag("a.b"), then=[Stop()], otherwise=[Stop()]), Send("outbox", "never")
    ),
    "two of a key": lambda: made(Send("outbox", "a", key="k"), Send("outbox", "b", key="k")),
    "an unknown channel": lambda: made(Send("pigeon", "a")),
    "an empty text": lambda: made(Send("outbox", " ")),
    "a wait without end": lambda: made(Wait(event="interaction"), Send("outbox", "a")),
    "a wait for nothing": lambda: made(Wait(), Send("outbox", "a")),
    "a wait of years": lambda: made(Wait(timedelta(days=4000))),
    "an unknown event": lambda: made(Send("outbox", "a"), goal="order.piad"),
    "an unknown event to wait for": lambda: made(Wait(HOUR, event="nothing")),
    "an unknown field": lambda: made(When(Total("order.paid", "amuont") > 1), Send("outbox", "a")),
    "a day that there is not": lambda: made(Send("outbox", "a"), trigger=OnDate(2, 30)),
    "one arm": lambda: made(Split("s", {"a": Arm(1)})),
    "no condition": lambda: made(Send("outbox", "a"), audience=True),
    "a reason": lambda: made(Send("outbox", "a"), audience=(Count("order.paid") > 1).because("often")),
    "something else": lambda: made("hello"),  # type: ignore[arg-type]
    "a task without a title": lambda: made(Assign("adviser", "")),
    "too many": lambda: made(*[Wait(HOUR)] * (MOST_STEPS + 1)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_carried_out_is_refused_with_a_remedy(what: str) -> None:
    with pytest.raises(SiyuError) as refused:
        REFUSED[what]()
    assert refused.value.remedy


def test_steps_without_end_are_refused() -> None:
    class Endless(Playbook):
        def trigger(self, p: Any) -> Happened:
            return Happened("contact.added")

        def steps(self, p: Any) -> Iterable[Step]:
            return endless()

    with pytest.raises(RuleError, match="more than 200 steps"):
        program("made", Endless(), Endless.Params(), CATALOG)
