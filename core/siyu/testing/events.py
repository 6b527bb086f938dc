"""What happened to the one user of a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from siyu.contract.events import PROFILE_UPDATED, Catalog
from siyu.flow.ingest import IncomingEvent, validated
from siyu.store.lake import LOG_SCHEMA, tables

__all__ = ["USER", "Event", "event", "frames_of", "moment_of"]

USER = 1


@dataclass(frozen=True)
class Event:
    """Something that happened to the user."""

    kind: str
    at: datetime
    payload: Mapping[str, Any]


def event(kind: str, at: str | datetime, /, **payload: Any) -> Event:
    """An event; ``at`` is a moment or ISO text (UTC where it names no zone)."""
    return Event(kind, moment_of(at), payload)


def frames_of(catalog: Catalog, events: Sequence[Event]) -> dict[str, pl.LazyFrame]:
    """The events as the tables that facts are computed from."""
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


def moment_of(at: str | datetime) -> datetime:
    """A moment, or ISO text (UTC where it names no zone)."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
