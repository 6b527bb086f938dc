"""Playbooks: what sets them off, for whom, and what is done, step by step.

    class Birthday(Playbook):
        \"\"\"生日祝福\"\"\"

        def trigger(self, p):
            return Daily(DaysUntil("birthday", yearly=True) == 0)

        def steps(self, p):
            yield Wait(until=time(10))
            yield Send(p.channel, "{{ name }}，生日快乐！", key="wish")

Steps are data. A playbook is drawn, checked when it is loaded, and kept as a version: whoever is under way goes on by
the version that they began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from typing import Any, ClassVar, Literal, TypeAlias

from siyu.contract.conditions import ALWAYS, Condition, Kind, Leaf
from siyu.contract.errors import PluginError
from siyu.contract.events import TAG_ADDED
from siyu.contract.facts import DaysSince, Fact, Last
from siyu.contract.rules import Declaration, Tag

__all__ = [
    "BENEFITS",
    "TAGS",
    "TASKS",
    "AddTag",
    "Arm",
    "Assign",
    "Daily",
    "Grant",
    "Happened",
    "Manual",
    "MessageKind",
    "OnDate",
    "Playbook",
    "Purpose",
    "Reentry",
    "Send",
    "Split",
    "StageChanged",
    "StageOf",
    "Step",
    "Stop",
    "TagGained",
    "TagLost",
    "Text",
    "Trigger",
    "Wait",
    "When",
]

LONGEST = timedelta(days=400)
"""Of a wait."""
MOST_DAYS = 3_650
"""Of a tag."""
BENEFITS = "benefits"
"""The channel of what is given."""
TAGS = "tags"
"""The channel of tags that are given."""
TASKS = "tasks"
"""The channel of what people are to do."""

Purpose: TypeAlias = Literal["service", "care", "sales"]
"""What consent is asked for: what somebody asked for, what does them good, what they are to buy."""

MessageKind: TypeAlias = Literal["text", "image", "video", "mini_program", "link"]

Text: TypeAlias = str | Mapping[str, str]
"""A template, or one a language: ``{"zh": …, "en": …}``; the first is for users of whom no language is known."""


class StageOf(Leaf):
    """The stage of a user in a track, as decided last: ``StageOf("lifecycle") == "dormant"``. For playbooks."""

    kind: Kind = "text"

    def __init__(self, track: str) -> None:
        self.track = track

    @property
    def name(self) -> str:
        return f"StageOf({self.track!r})"


# -- triggers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """An event of a kind, or of a group of kinds such as ``interaction``."""

    event: str


@dataclass(frozen=True)
class TagGained:
    """A user gained the tag, or (``pets.next_*``) one of those that begin so."""

    tag: str


@dataclass(frozen=True)
class TagLost:
    """A user lost the tag, or (``pets.next_*``) one of those that begin so."""

    tag: str


@dataclass(frozen=True)
class StageChanged:
    """A user moved in ``track`` from one of ``before`` to one of ``after`` (empty = any other)."""

    track: str
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Daily:
    """Each day, with the nightly run, the users for whom the condition holds: a birthday, a due date."""

    when: Condition


@dataclass(frozen=True)
class OnDate:
    """A day of every year, for all users."""

    month: int
    day: int

    def __post_init__(self) -> None:
        try:
            date(2000, self.month, self.day)
        except ValueError:
            raise PluginError(f"{self!r}: there is no such day", field="day", remedy="give month and day") from None


@dataclass(frozen=True)
class Manual:
    """Whomever a person chooses."""


Trigger: TypeAlias = Happened | TagGained | TagLost | StageChanged | Daily | OnDate | Manual

Reentry: TypeAlias = Literal["never", "day", "month", "year", "always"] | int
"""When a user may come in again: never, once in a calendar day, month or year, after so many days, or each time. Nobody
is in one playbook twice at a time."""


# -- steps --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Send:
    """Send a message by the channel with that key, now or (``best``) at the user's best time of the next 24 hours.

    ``text`` is a template (:mod:`siyu.contract.templates`): ``name``, ``brand``, ``adviser.name``, attributes as
    ``user.city``. A brand may put its own in its place, under the step's key, or under a key of its content library
    that ``template`` names. ``because`` tells the reader why they get it: it is the last line.
    """

    channel: str
    text: Text
    purpose: Purpose = "care"
    key: str = ""
    kind: MessageKind = "text"
    title: Text = ""
    url: str = ""
    because: Text = ""
    template: str = ""
    at: Literal["now", "best"] = "now"
    urgent: bool = False
    """Overtakes everything that is not: the greeting of somebody who waits for it."""


@dataclass(frozen=True, init=False)
class Grant(Send):
    """Give a benefit of the brand (a coupon, a gift) while there are any, by its key.

    Texts that follow say its code: ``{{ benefit.old_friend }}``, and wait until it is given; before one that is
    ``urgent`` it is to be urgent, too.
    """

    def __init__(self, benefit: str, key: str = "", purpose: Purpose = "care", *, urgent: bool = False) -> None:
        super().__init__(BENEFITS, benefit, purpose, key, urgent=urgent)


@dataclass(frozen=True, init=False)
class AddTag(Send):
    """Give the user a tag of the plugin (``care.courted``), for good or for some ``days``.

    The rulebook has a rule for it: who was given it has it, for as long as the plugin is on. Steps may give the same
    tag, as long as they say the same of it.
    """

    days: int | None = None

    def __init__(self, tag: str, title: str, days: int | None = None, key: str = "") -> None:
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise PluginError(f"a tag for {days} days", field="days", remedy=f"use 1 to {MOST_DAYS}, or None")
        super().__init__(TAGS, tag, "service", key, title=title)
        object.__setattr__(self, "days", days)

    @property
    def tag(self) -> Tag:
        """What the rulebook says of it."""
        where = {"tag": self.text}
        given = DaysSince(TAG_ADDED, where=where)
        when = given >= 0 if self.days is None else given < self.days
        by = {"by": Last(TAG_ADDED, "by", where=where)}
        return Tag(str(self.text), str(self.title), when=when, because="given by {by}", facts=by)


@dataclass(frozen=True)
class Assign:
    """A task for a person: a ``role`` (adviser, operator, service), by when, and whose it becomes if nobody does it."""

    channel: ClassVar[str] = TASKS
    purpose: ClassVar[Purpose] = "service"

    role: str
    title: Text
    text: Text = ""
    key: str = ""
    within: timedelta = timedelta(days=1)
    escalate_to: str = ""


@dataclass(frozen=True)
class Wait:
    """Wait for a while, until the clock says ``until`` in the brand's zone (today, or tomorrow where it has passed), or
    until an event of a kind or group, ``duration`` at most: then ``heard``, else ``silent``."""

    duration: timedelta = timedelta()
    until: time | None = None
    event: str = ""
    heard: Sequence[Step] = ()
    silent: Sequence[Step] = ()

    def __post_init__(self) -> None:
        if not timedelta() <= self.duration <= LONGEST:
            raise PluginError(
                f"a wait of {self.duration}", field="duration", remedy=f"wait at most {LONGEST.days} days"
            )
        if self.event and not self.duration:
            raise PluginError(
                f"it waits for {self.event!r} without end", field="duration", remedy="say how long at most"
            )
        if not self.duration and self.until is None:
            raise PluginError("it waits for nothing", field="duration", remedy="say how long, or until which time")
        if (self.heard or self.silent) and not self.event:
            raise PluginError("heard and silent belong to an event", field="event", remedy="name the event")


@dataclass(frozen=True)
class When:
    """One way or the other, by a condition over facts, tags and stages as they are at that moment."""

    condition: Condition
    then: Sequence[Step] = ()
    otherwise: Sequence[Step] = ()


@dataclass(frozen=True)
class Arm:
    """A way through an experiment, for ``weight`` parts of the users."""

    weight: int
    steps: Sequence[Step] = ()


@dataclass(frozen=True)
class Split:
    """An experiment: each user goes one way, the same at every time."""

    key: str
    arms: Mapping[str, Arm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.arms) < 2 or any(not 1 <= arm.weight <= 10_000 for arm in self.arms.values()):
            raise PluginError(
                f"the arms of {self.key!r}", field="arms", remedy="give at least two, each with a weight from 1"
            )


@dataclass(frozen=True)
class Stop:
    """The end, for those who come this way."""

    why: str = ""


Step: TypeAlias = Send | Assign | Wait | When | Split | Stop


# -- the playbook -------------------------------------------------------------------------------------------------


class Playbook(Declaration, ABC):
    """What is done for users, from a trigger on.

    Facts are attributes of the class, as in a rule. ``goal`` is the kind (or group) of event that counts as success and
    ends it.
    """

    facts: ClassVar[dict[str, Fact]] = {}
    reentry: ClassVar[Reentry] = "never"
    goal: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.facts = {
            name: value
            for parent in reversed(cls.__mro__)
            for name, value in vars(parent).items()
            if isinstance(value, Fact)
        }

    @abstractmethod
    def trigger(self, p: Any) -> Trigger:
        """What sets it off, under parameters ``p``."""

    def audience(self, p: Any) -> Condition:
        """For whom, at the moment at which it is set off."""
        return ALWAYS

    def ends(self, p: Any) -> Iterable[str | Condition]:
        """What ends it early: kinds (or groups) of events, and conditions that are looked at before each step."""
        return ()

    @abstractmethod
    def steps(self, p: Any) -> Iterable[Step]:
        """What is done, in order."""
