"""For authors of plugins: what would siyu decide about one user, and what would it do? No server, no clock.

from siyu.testing import decide, event

def test_an_empty_tin():
    bought = event("order.paid", "2026-01-01", amount=30, items=[{"category": "tea"}])
    assert "tea.running_out" in decide(siyu_tea, [bought, bought], at="2026-03-01").tags

def test_who_runs_out_is_reminded():
    story = Story(siyu_tea, at="2026-01-01T10:00")
    story.happens("order.paid", amount=30, items=[{"category": "tea"}])
    story.after(days=25)
    assert story.sent() == ["refill.reminder"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.manager import PluginManager
from siyu.engine.diff import diff
from siyu.engine.evaluate import Decider
from siyu.engine.explain import render
from siyu.engine.facts import compute
from siyu.engine.fit import fit, fit_facts
from siyu.engine.rulebook import bind
from siyu.testing.events import USER, Event, event, frames_of, moment_of
from siyu.testing.story import Sent, Story

__all__ = ["Event", "Sent", "Story", "Verdict", "decide", "event"]


@dataclass(frozen=True)
class Verdict:
    """``tags``: key → reason. ``stages``: track → (stage, reason)."""

    tags: Mapping[str, str]
    stages: Mapping[str, tuple[str, str]]


def decide(
    plugin: ModuleType,
    events: Sequence[Event],
    *,
    at: str | datetime,
    params: Mapping[str, Any] | None = None,
    zone: str = "Asia/Shanghai",
) -> Verdict:
    """What the plugin says about a user with these events, as of ``at``; what is fitted is fitted on this user."""
    manager = PluginManager()
    name = plugin.__name__.removeprefix("siyu_")
    loaded = manager.register(name, plugin)
    manager.check()
    on = [(loaded, loaded.params(params))]
    frames, moment, days = frames_of(manager.catalog, events), moment_of(at), ZoneInfo(zone)
    user = pl.DataFrame({"user_id": [USER]})
    states = fit(on, compute(fit_facts([loaded]), manager.catalog, frames, moment, days, user))
    rulebook = bind(on, states)
    facts = compute(rulebook.facts, manager.catalog, frames, moment, days, user)
    nothing = pl.DataFrame(schema={"user_id": pl.Int64})
    changes = diff(rulebook, nothing, Decider(rulebook, days).frame(facts, nothing, moment), facts)
    tags = {r["tag"]: _words(rulebook.content["tags"][r["tag"]], r["why"]) for r in changes.tags.iter_rows(named=True)}
    stages = {
        r["track"]: (r["after"], _words(rulebook.content["tracks"][r["track"]]["stages"][r["after"]], r["why"]))
        for r in changes.stages.iter_rows(named=True)
    }
    return Verdict(tags, stages)


def _words(reason: Mapping[str, Any], why: str) -> str:
    return render(reason, json.loads(why))
