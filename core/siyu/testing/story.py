"""Playbooks as stories: given, when, after 24 hours, then. No server, and time passes when it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.conditions import Condition
from siyu.contract.events import MOMENT, TAG_ADDED
from siyu.contract.facts import Fact
from siyu.contract.manager import PluginManager
from siyu.contract.playbooks import AddTag, Assign, Daily, OnDate, Send, StageOf
from siyu.contract.program import Instruction, Program, program, texts
from siyu.engine.days import window_start
from siyu.engine.diff import diff
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.fit import fit, fit_facts
from siyu.engine.moving import AWAKE, Known, TagOf, advance, hear, looked_up, set_off, since, standing
from siyu.engine.rulebook import Rulebook, bind
from siyu.testing.events import USER, Event, frames_of

__all__ = ["Sent", "Story"]

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Sent:
    """What a playbook had done: ``step`` is ``playbook.step``; of a task ``channel`` is ``tasks``."""

    at: datetime
    step: str
    channel: str
    purpose: str
    text: str


@dataclass
class _UnderWay:
    program: Program
    began_at: datetime
    step: int
    due_at: datetime
    listens_from: datetime | None = None
    heard: bool | None = None
    over: str | None = None


class Story:
    """One user of a brand, the plugins that are on, and a clock that stands still until it is told otherwise.

        story = Story(siyu_care, at="2026-05-01T10:00")
        story.happens("contact.added")
        story.after(hours=24)
        assert story.sent() == ["first_touch.greeting", "first_touch.follow_up"]

    ``at`` and the clock are in ``zone``. Playbooks plan here as in a brand; no guard holds anything back.
    """

    def __init__(
        self,
        *plugins: ModuleType,
        at: str | datetime,
        params: Mapping[str, Mapping[str, Any]] | None = None,
        zone: str = "Asia/Shanghai",
        language: str = "",
    ) -> None:
        manager = PluginManager()
        for module in plugins:
            manager.register(module.__name__.removeprefix("siyu_"), module)
        manager.check()
        self._catalog, self._zone, self._language = manager.catalog, ZoneInfo(zone), language
        self._on = [(plugin, plugin.params((params or {}).get(name, {}))) for name, plugin in manager.plugins.items()]
        self._programs = [
            program(plugin.name, playbook, given[playbook.key], manager.catalog)
            for plugin, given in self._on
            for playbook in plugin.playbooks
        ]
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
        self.at = (moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).astimezone(UTC)
        self._events: list[Event] = []
        self._frames: dict[str, pl.LazyFrame] = frames_of(self._catalog, [])
        self._rulebook: Rulebook | None = None
        self._decided = pl.DataFrame({"user_id": [USER]})
        self._under_way: list[_UnderWay] = []
        self.log: list[Sent] = []
        self._told = 0

    # -- given, when

    def happens(self, kind: str, /, **payload: Any) -> Story:
        """An event of the user, now."""
        self._events.append(Event(kind, self.at, payload))
        self._frames = frames_of(self._catalog, self._events)
        events = [(kind, self.at)]
        for each in self._active():
            what = hear(
                self._catalog,
                each.program,
                events,
                each.began_at,
                each.step if each.listens_from else None,
                each.listens_from,
            )
            if what == AWAKE:
                each.heard, each.due_at = True, self.at
            elif what is not None:
                each.over = what[0]
        self._occasions([("event", kind, None, None)])
        self._decide()
        self._run()
        return self

    def after(self, *, days: float = 0, hours: float = 0, minutes: float = 0) -> Story:
        """Let time pass: midnights with their nightly runs, and whatever falls due."""
        until = self.at + timedelta(days=days, hours=hours, minutes=minutes)
        while True:
            midnight = window_start(self.at, self._zone, 1) + DAY + timedelta(hours=3)
            midnight = window_start(midnight, self._zone, 1)
            moments = [midnight, *(each.due_at for each in self._active())]
            nearest = max(min(moments), self.at)
            if nearest > until:
                break
            self.at = nearest
            if nearest == midnight:
                self._decide()
                self._daily()
            self._run()
        self.at = until
        return self

    def start(self, playbook: str) -> Story:
        """Take the user into a playbook by hand."""
        for each in self._programs:
            if playbook in (each.key, each.name):
                self._enter(each)
        self._run()
        return self

    # -- then

    def sent(self) -> list[str]:
        """The steps that were carried out since this was last asked, as ``playbook.step``."""
        new = [each.step for each in self.log[self._told :]]
        self._told = len(self.log)
        return new

    @property
    def under_way(self) -> list[str]:
        """The playbooks that the user is in."""
        return [each.program.key for each in self._active()]

    def tags(self) -> set[str]:
        """The tags that the user has."""
        row = self._decided.row(0, named=True)
        return {name for name, value in row.items() if value is True}

    def stage(self, track: str) -> str | None:
        """The user's stage in a track."""
        found = self._decided.row(0, named=True).get(f"@{track}")
        return None if found is None else str(found)

    # -- how it goes

    def _active(self) -> list[_UnderWay]:
        return [each for each in self._under_way if each.over is None]

    def _facts(self, wanted: Iterable[Fact]) -> pl.DataFrame:
        user = pl.DataFrame({"user_id": [USER]})
        return compute(list(wanted), self._catalog, self._frames, self.at, self._zone, user)

    def _bound(self) -> Rulebook:
        """The rules; those that are fitted, to this user as they are now."""
        learnt = fit_facts([plugin for plugin, _ in self._on])
        if self._rulebook is None or learnt:
            self._rulebook = bind(self._on, fit(self._on, self._facts(learnt)))
        return self._rulebook

    def _decide(self) -> None:
        """What the rules say now; what changes is an occasion."""
        rulebook = self._bound()
        facts = self._facts(rulebook.facts)
        before, decider = self._decided, Decider(rulebook, self._zone)
        row = decider.user(facts.row(0, named=True), before.row(0, named=True), self.at)
        self._decided = pl.DataFrame([{"user_id": USER, **row}], schema=decider.schema)
        changes = diff(rulebook, before, self._decided, facts)
        self._occasions(
            [
                ("tag", row["tag"], None if row["gained"] else row["tag"], row["tag"] if row["gained"] else None)
                for row in changes.tags.iter_rows(named=True)
            ]
            + [("stage", row["track"], row["before"], row["after"]) for row in changes.stages.iter_rows(named=True)]
        )

    def _occasions(self, rows: list[tuple[str, str, str | None, str | None]]) -> None:
        if not rows:
            return
        schema = {"noun": pl.String, "key": pl.String, "before": pl.String, "after": pl.String}
        frame = (
            pl.DataFrame(rows, schema=schema, orient="row")
            .with_row_index("id")
            .select(
                pl.col("id").cast(pl.Int64),
                pl.lit(USER, pl.Int64).alias("user_id"),
                *schema,
                ref=pl.lit(None, pl.Int64),
                rulebook_id=pl.lit(None, pl.Int64),
                at=pl.lit(self.at, MOMENT),
            )
        )
        for each in self._programs:
            if len(set_off(self._catalog, each, frame)):
                self._enter(each)

    def _daily(self) -> None:
        today = self.at.astimezone(self._zone).date()
        days = [(each, each.trigger.when) for each in self._programs if isinstance(each.trigger, Daily)]
        holds = self._holds([when for _, when in days])
        mine = [each for each, when in days if holds(when, _one()).item()]
        for each in (*mine, *(each for each in self._programs if each.trigger == OnDate(today.month, today.day))):
            self._enter(each)

    def _enter(self, made: Program) -> None:
        after = since(made.reentry, self.at, self._zone)
        mine = [each for each in self._under_way if each.program.name == made.name]
        if any(each.over is None or (after is not None and each.began_at > after) for each in mine):
            return
        if self._holds([made.audience])(made.audience, _one()).item():
            self._under_way.append(_UnderWay(made, self.at, 0, self.at))

    def _run(self) -> None:
        """Move on whoever is due, as often as it takes."""
        while due := [each for each in self._active() if each.due_at <= self.at]:
            for each in due:
                self._advance(each)

    def _advance(self, each: _UnderWay) -> None:
        heard = bool(each.heard) if each.listens_from else None
        here = pl.DataFrame(
            {"id": [1], "user_id": [USER], "step": [each.step], "heard": [heard]},
            schema_overrides={"heard": pl.Boolean},
        )
        holds = self._holds(each.program.asks(each.step))
        moved = advance(each.program, here, self.at, self._zone, holds)
        carried_out = [instruction for instruction, rows in moved.sent if len(rows)]
        self.log += [self._sent(each.program, instruction) for instruction in carried_out]
        each.heard, each.listens_from = None, None
        if len(moved.done):
            each.over = "done"
        else:
            row = moved.waiting.row(0, named=True)
            each.step, each.due_at = row["step"], row["due_at"]
            each.listens_from = self.at if row["listens"] else None
        for instruction in carried_out:
            if isinstance(instruction.step, AddTag):
                by = f"{each.program.name}/{instruction.key}"
                self._events.append(Event(TAG_ADDED, self.at, {"tag": instruction.step.text, "by": by}))
                self._frames = frames_of(self._catalog, self._events)
                self._decide()

    def _sent(self, made: Program, each: Instruction) -> Sent:
        step = each.step
        assert isinstance(step, Send | Assign)
        said = texts(step.text)
        text = said.get(self._language) or next(iter(said.values()), "")
        return Sent(self.at.astimezone(self._zone), f"{made.key}.{each.key}", step.channel, step.purpose, text)

    def _holds(self, conditions: list[Condition]) -> Any:
        leaves = {leaf.name: leaf for each in conditions for leaf in looked_up(each).leaves()}
        found = self._facts(leaf for leaf in leaves.values() if isinstance(leaf, Fact))
        others = [leaf for leaf in leaves.values() if isinstance(leaf, TagOf | StageOf)]
        decided = self._decided.select(standing(leaf, self._decided).alias(leaf.name) for leaf in others)
        return Known(found.hstack(decided) if others else found).holds


def _one() -> pl.Series:
    return pl.Series("user_id", [USER], pl.Int64)
