"""For authors of plugins: what would siyu decide about one user? No server, no clock.

from siyu.testing import decide, event

def test_an_empty_tin():
    bought = event("order.paid", "2026-01-01", amount=30, items=[{"category": "tea"}])
    assert "tea.running_out" in decide(siyu_tea, [bought, bought], at="2026-03-01").tags
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.events import PROFILE_UPDATED, Catalog
from siyu.contract.manager import PluginManager
from siyu.engine.diff import diff
from siyu.engine.evaluate import Decider
from siyu.engine.explain import render
from siyu.engine.facts import compute
from siyu.engine.fit import fit, fit_facts
from siyu.engine.rulebook import bind
from siyu.flow.ingest import IncomingEvent, validated
from siyu.store.lake import LOG_SCHEMA, tables

__all__ = ["Event", "Verdict", "decide", "event"]

USER = 1


@dataclass(frozen=True)
class Event:
    """Something that happened to the user."""

    kind: str
    at: datetime
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """``tags``: key → reason. ``stages``: track → (stage, reason)."""

    tags: Mapping[str, str]
    stages: Mapping[str, tuple[str, str]]


def event(kind: str, at: str | datetime, /, **payload: Any) -> Event:
    """An event; ``at`` is a moment or ISO text (UTC where it names no zone)."""
    return Event(kind, _moment(at), payload)


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
    frames, moment, days = _frames(manager.catalog, events), _moment(at), ZoneInfo(zone)
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


def _frames(catalog: Catalog, events: Sequence[Event]) -> dict[str, pl.LazyFrame]:
    rows = []
    for number, each in enumerate(events):
        payload: Any = validated(IncomingEvent(str(number), each.kind, {"user": "1"}, each.payload), catalog)
        if each.kind == PROFILE_UPDATED:
            payload = [{"name": name, "value": value} for name, value in payload.items()]
        rows.append({"id": number, "user_id": USER, "kind": each.kind, "at": each.at, "payload": json.dumps(payload)})
    log = pl.DataFrame(rows, schema=LOG_SCHEMA)
    return {
        name: frame.lazy()
        for kind in catalog.kinds.values()
        for name, frame in tables(kind, log.filter(pl.col("kind") == kind.name)).items()
    }


def _words(reason: Mapping[str, Any], why: str) -> str:
    return render(reason, json.loads(why))


def _moment(at: str | datetime) -> datetime:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
