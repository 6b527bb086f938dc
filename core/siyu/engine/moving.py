"""Users moved along the steps of a playbook.

A step is followed only by later ones, so one pass over the steps moves any number of users as far as they get.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import narwhals as nw
import polars as pl

from siyu.contract.conditions import ALWAYS, And, Compare, Condition, HasTag, Kind, Leaf, Not, Or, lift
from siyu.contract.events import MOMENT, Catalog
from siyu.contract.playbooks import (
    Assign,
    Happened,
    Reentry,
    Send,
    Split,
    StageChanged,
    StageOf,
    Stop,
    TagGained,
    TagLost,
    Wait,
    When,
)
from siyu.contract.program import Instruction, Program
from siyu.engine.compile import to_narwhals
from siyu.engine.days import window_start

__all__ = [
    "AWAKE",
    "CANDIDATES",
    "Advanced",
    "Known",
    "TagOf",
    "advance",
    "ahead",
    "at_the_start",
    "hear",
    "kinds",
    "looked_up",
    "moved_by",
    "next_clock",
    "set_off",
    "simulate",
    "since",
    "standing",
]


class TagOf(Leaf):
    """Whether a user has a tag, as decided last: what :class:`siyu.HasTag` means in a playbook."""

    kind: Kind = "flag"

    def __init__(self, key: str) -> None:
        self.key = key

    @property
    def name(self) -> str:
        return f"TagOf({self.key!r})"


# ----------------------------------------------------------------------------------------------------------


@dataclass
class Advanced:
    """How far users came. ``sent`` has, by step, whom it is for; ``waiting`` where they wait and until when; ``done``
    who is at an end, and why. All by enrolment: ``id`` and ``user_id``."""

    sent: list[tuple[Instruction, pl.DataFrame]]
    waiting: pl.DataFrame
    done: pl.DataFrame


CANDIDATES = {"user_id": pl.Int64(), "occasion": pl.String(), "because": pl.String(), "rulebook_id": pl.Int64()}
"""Users who may come in: by what, and why."""
EVER = datetime(1, 1, 1, tzinfo=UTC)

Holds = Callable[[Condition, pl.Series], pl.Series]
"""For which of the users (ids, in their order) a condition holds: flags without nulls."""

WAITING = {"id": pl.Int64(), "user_id": pl.Int64(), "step": pl.Int64(), "due_at": MOMENT, "listens": pl.Boolean()}
DONE = {"id": pl.Int64(), "user_id": pl.Int64(), "why": pl.String()}


def advance(made: Program, members: pl.DataFrame, at: datetime, zone: ZoneInfo, holds: Holds) -> Advanced:
    """Move ``members`` on, each from its ``step``. ``heard`` says of those who waited there for an event whether it
    came; it is null for all others."""
    sent: list[tuple[Instruction, pl.DataFrame]] = []
    waiting = [pl.DataFrame(schema=WAITING)]
    done = [pl.DataFrame(schema=DONE)]
    here = members.select("id", "user_id", "step", "heard")
    for each in made.instructions:
        mine = here.filter(pl.col("step") == each.number)
        if mine.is_empty():
            continue
        here = here.filter(pl.col("step") != each.number)
        if made.ends_when is not None:
            over = holds(made.ends_when, mine.get_column("user_id"))
            done.append(mine.filter(over).select("id", "user_id", why=pl.lit("ended by a condition")))
            mine = mine.filter(~over)
        step = each.step
        match step:
            case Send() | Assign():
                sent.append((each, mine.select("id", "user_id")))
                moved = mine.with_columns(step=pl.lit(each.next, pl.Int64))
            case Stop(why):
                done.append(mine.select("id", "user_id", why=pl.lit(why or "stopped")))
                continue
            case When(condition):
                held = holds(condition, mine.get_column("user_id"))
                moved = mine.with_columns(step=pl.when(held).then(each.ways["then"]).otherwise(each.ways["otherwise"]))
            case Split(key, arms):
                weights = {name: arm.weight for name, arm in arms.items()}
                chosen = [_arm(f"{made.name}/{key}", user, weights) for user in mine.get_column("user_id")]
                moved = mine.with_columns(step=pl.Series([each.ways[name] for name in chosen], dtype=pl.Int64))
            case Wait(event=event) if event:
                back = mine.filter(pl.col("heard").is_not_null())
                stay = mine.filter(pl.col("heard").is_null())
                waiting.append(_waits(stay, each.number, _due(step, at, zone), listens=True))
                moved = back.with_columns(step=pl.when("heard").then(each.ways["heard"]).otherwise(each.ways["silent"]))
            case Wait():
                waiting.append(_waits(mine, each.next, _due(step, at, zone), listens=False))
                continue
        here = pl.concat([here, moved.with_columns(pl.col("step").cast(pl.Int64), heard=pl.lit(None, pl.Boolean))])
    done.append(here.select("id", "user_id", why=pl.lit("")))
    return Advanced(sent, pl.concat(waiting), pl.concat(done))


def _waits(members: pl.DataFrame, step: int, due: datetime, *, listens: bool) -> pl.DataFrame:
    return members.select("id", "user_id", step=pl.lit(step, pl.Int64), due_at=pl.lit(due, MOMENT), listens=listens)


def _due(step: Wait, at: datetime, zone: ZoneInfo) -> datetime:
    due = at.astimezone(UTC) + step.duration
    return due if step.until is None else next_clock(due, step.until, zone)


def next_clock(at: datetime, clock: time, zone: ZoneInfo) -> datetime:
    """The first moment from ``at`` on at which clocks in the zone show ``clock``. An hour that they skip is the next
    one, one that they show twice its first."""
    day = at.astimezone(zone).date()
    while True:
        moment = datetime.combine(day, clock, zone).astimezone(at.tzinfo)
        if moment >= at:
            return moment
        day += timedelta(days=1)


def _arm(name: str, user: int, weights: Mapping[str, int]) -> str:
    number = int.from_bytes(hashlib.blake2b(f"{name}/{user}".encode(), digest_size=8).digest())
    place = number % sum(weights.values())
    for arm, weight in weights.items():
        place -= weight
        if place < 0:
            return arm
    raise AssertionError(weights)


def simulate(
    made: Program, members: pl.DataFrame, at: datetime, zone: ZoneInfo, holds: Holds, until: datetime
) -> Iterator[tuple[datetime, Instruction, pl.Series]]:
    """Who of ``members`` (as :func:`advance` takes them, from ``at`` on) would be sent what and when, if nothing
    happened to them until then."""
    moments = [(at, members)]
    while moments:
        moment, group = moments.pop()
        moved = advance(made, group, moment, zone, holds)
        for each, rows in moved.sent:
            if len(rows):
                yield moment, each, rows.get_column("user_id")
        for (due, listens), rows in moved.waiting.group_by("due_at", "listens"):
            if due <= until:
                silent = pl.lit(False if listens else None, pl.Boolean)
                moments.append((due, rows.select("id", "user_id", "step", heard=silent)))


def ahead(
    made: Program, start: int, at: datetime, zone: ZoneInfo, *, waited: bool = False
) -> Iterator[tuple[datetime, Instruction]]:
    """The steps that somebody may come to who takes step ``start`` at a moment (or has ``waited`` there until then),
    each with the earliest moment: of a branch both ways, and nothing that is waited for is heard."""
    moments = {start: at}
    for each in made.instructions[start:]:
        if each.number not in moments:
            continue
        moment = moments[each.number]
        yield moment, each
        ways = each.ways
        if isinstance(each.step, Wait):
            ways = {way: number for way, number in ways.items() if way != "heard"}
            if not (waited and each.number == start):
                moment = _due(each.step, moment, zone)
        for number in ways.values():
            moments[number] = min(moment, moments.get(number, moment))


def at_the_start(users: pl.Series) -> pl.DataFrame:
    """Users before the first step, as :func:`advance` takes them."""
    first = {"step": pl.lit(0, pl.Int64), "heard": pl.lit(None, pl.Boolean)}
    return users.alias("user_id").to_frame().select("user_id", id="user_id", **first)


# -- coming in -------------------------------------------------------------------------------------------------------


def kinds(catalog: Catalog, event: str) -> Collection[str]:
    """The kinds that a kind or group of events stands for; none of one that no plugin declares any more."""
    return catalog.groups.get(event) or ([event] if event in catalog.kinds else ())


AWAKE = ("awake", "")


def hear(
    catalog: Catalog,
    made: Program,
    events: Iterable[tuple[str, datetime]],
    began_at: datetime,
    step: int | None,
    since: datetime | None,
) -> tuple[str, str] | None:
    """What events (kind, moment) of a user who is under way mean: that it has reached its goal, or ended, and by what,
    or that the user, who listens at ``step`` since a moment, goes on."""
    listened = made.instructions[step].step if step is not None else None
    later = [(kind, at) for kind, at in events if at > began_at]
    for status, names in (("goal", [made.goal] if made.goal else []), ("ended", made.ending_events)):
        for name in names:
            if any(kind in kinds(catalog, name) for kind, _ in later):
                return status, f"ended by {name}" if status == "ended" else name
    if isinstance(listened, Wait) and since is not None:
        awaited = kinds(catalog, listened.event)
        if any(kind in awaited and at > since for kind, at in later):
            return AWAKE
    return None


def set_off(catalog: Catalog, made: Program, occasions: pl.DataFrame) -> pl.DataFrame:
    """Of occasions (user_id, noun, key, before, after, ref, at), those that set a playbook off, one a user:
    :data:`CANDIDATES`."""
    noun, key = pl.col("noun"), pl.col("key")
    match made.trigger:
        case Happened(event):
            rows = occasions.filter((noun == "event") & key.is_in(list(kinds(catalog, event))))
            because = pl.format("{} {}", "key", pl.col("at").dt.to_string("%Y-%m-%d %H:%M"))
        case TagGained(tag):
            rows = occasions.filter((noun == "tag") & _means(tag, "after"))
            because = pl.format("+ {}", "after")
        case TagLost(tag):
            rows = occasions.filter((noun == "tag") & _means(tag, "before"))
            because = pl.format("- {}", "before")
        case StageChanged() as trigger:
            rows = moved_by(trigger, occasions.filter(noun == "stage"))
            because = pl.format("{}: {} → {}", "key", pl.col("before").fill_null("—"), pl.col("after").fill_null("—"))
        case _:
            return pl.DataFrame(schema=CANDIDATES)
    if rows.is_empty():
        return pl.DataFrame(schema=CANDIDATES)
    occasion = pl.format("{}-{}", "noun", pl.coalesce("ref", "id"))
    return rows.select("user_id", occasion=occasion, because=because, rulebook_id="rulebook_id").unique(
        "user_id", keep="first", maintain_order=True
    )


def _means(tag: str, column: str) -> pl.Expr:
    held = pl.col(column)
    return held.str.starts_with(tag[:-1]) if tag.endswith("*") else held == tag


def moved_by(trigger: StageChanged, stages: pl.DataFrame) -> pl.DataFrame:
    """Of changes of stage (key, before, after), those that the trigger means."""
    hit = stages.filter(pl.col("key") == trigger.track)
    if trigger.before:
        hit = hit.filter(pl.col("before").is_in(sorted(trigger.before)))
    if trigger.after:
        hit = hit.filter(pl.col("after").is_in(sorted(trigger.after)))
    return hit


def since(reentry: Reentry, at: datetime, days: ZoneInfo) -> datetime | None:
    """Who came in after this does not come in again; None: everybody does."""
    match reentry:
        case "never":
            return EVER
        case "always":
            return None
        case int():
            return at - timedelta(days=reentry)
    today = at.astimezone(days)
    first = {"day": today, "month": today.replace(day=1), "year": today.replace(month=1, day=1)}[reentry]
    return window_start(first, days, 1) - timedelta(microseconds=1)


# -- what is known of users ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """Facts, tags and stages of users, for conditions."""

    frame: pl.DataFrame

    def holds(self, condition: Condition, users: pl.Series) -> pl.Series:
        """Of which of ``users`` it holds."""
        if condition is ALWAYS or not len(users):
            return pl.Series([True] * len(users), dtype=pl.Boolean)
        wanted = looked_up(condition)
        columns = {leaf.name: leaf.name for leaf in wanted.leaves()}
        frame = users.alias("user_id").to_frame().join(self.frame, on="user_id", how="left", maintain_order="left")
        flags = pl.col([leaf.name for leaf in wanted.leaves() if isinstance(leaf, TagOf)]).fill_null(False)
        lazy = to_narwhals(nw.from_native(frame.with_columns(flags).lazy()), columns, {"holds": wanted}, {})
        held: pl.LazyFrame = lazy.select("holds").to_native()
        return held.collect().get_column("holds")


def standing(leaf: TagOf | StageOf, stood: pl.DataFrame) -> pl.Expr:
    """What a leaf stands for among decisions in a wide frame."""
    if isinstance(leaf, TagOf):
        return pl.col(leaf.key) if leaf.key in stood.columns else pl.lit(False)
    column = f"@{leaf.track}"
    return pl.col(column).cast(pl.String) if column in stood.columns else pl.lit(None, pl.String)


def looked_up(condition: Condition) -> Condition:
    """``condition`` with tags as leaves, so that it can be compiled over a column each."""
    match condition:
        case HasTag(key):
            return Compare("==", TagOf(key), lift(True))
        case And(terms):
            return And(tuple(looked_up(term) for term in terms))
        case Or(terms):
            return Or(tuple(looked_up(term) for term in terms))
        case Not(term):
            return Not(looked_up(term))
    return condition
