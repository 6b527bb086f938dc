"""Step 1: take events in. Validate, drop duplicates, resolve the user, append, mark dirty; all or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import polars as pl
import pydantic

from siyu.contract.errors import InputError
from siyu.contract.events import MOMENT, PROFILE_UPDATED, Catalog, EventKind
from siyu.flow.context import Context, ask_refresh, aware, now
from siyu.flow.identities import MergeNeeded, Name, Named, identify
from siyu.store.db import Connection, note_sizes
from siyu.store.events import Appended, append, attach, resolve
from siyu.store.models import Brand
from siyu.telemetry.metrics import EVENTS

__all__ = ["MAX_EVENTS", "IncomingEvent", "Recorded", "Rejection", "load", "record", "validated"]

MAX_EVENTS = 5_000
"""The most events in one call of :func:`record`; larger amounts are imported as files."""
MAX_AHEAD = timedelta(days=1)
_Row: TypeAlias = tuple[str, str, datetime, str]
"""Key, kind, moment and payload, as the log has them."""


@dataclass(frozen=True)
class IncomingEvent:
    """An event as somebody reports it.

    ``id`` is the sender's and makes the call repeatable. ``user`` names the user by one or more identities, e.g.
    ``{"member": "900", "openid": "o6_…"}``. Without ``at`` it happened now.
    """

    id: str
    kind: str
    user: Mapping[str, str]
    payload: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True)
class Rejection:
    """An event that was refused: its place in the call, where it is wrong, why, and what to do."""

    index: int
    field: str | None
    message: str
    remedy: str | None = None


@dataclass(frozen=True)
class Recorded:
    """What became of a call; ``occasions`` are the events that playbooks wait for."""

    new: int
    duplicate: int
    rejected: Sequence[Rejection]
    occasions: int = 0


async def record(ctx: Context, brand: Brand, events: Sequence[IncomingEvent]) -> Recorded:
    """Append single events. Good ones are kept although others are refused; those are kept aside with the reason."""
    if len(events) > MAX_EVENTS:
        raise InputError(
            f"{len(events)} events in one call", field="events", remedy=f"send at most {MAX_EVENTS}, or import a file"
        )
    moment = now(brand)
    rejected: list[Rejection] = []
    rows: dict[int, _Row] = {}
    for index, event in enumerate(events):
        try:
            rows[index] = _row(event, ctx.plugins.catalog, moment, live=brand.replayed_to is None)
        except InputError as error:
            rejected.append(Rejection(index, error.field, error.message, error.remedy))
    try:
        return await _record(ctx, brand, events, rows, rejected, merging=False)
    except MergeNeeded:
        return await _record(ctx, brand, events, rows, rejected, merging=True)


async def _record(
    ctx: Context,
    brand: Brand,
    events: Sequence[IncomingEvent],
    rows: Mapping[int, _Row],
    refused: Sequence[Rejection],
    *,
    merging: bool,
) -> Recorded:
    named = {index: Named(events[index].id, list(events[index].user.items())) for index in rows}
    async with ctx.db.recording, ctx.db.transaction() as connection:
        who = await identify(connection, brand.id, named, ctx.plugins.identity_kinds, merging=merging)
        conflicts = [Rejection(index, "user", *conflict) for index, conflict in who.conflicts.items()]
        rejected = [*refused, *conflicts]
        known = [
            (key, kind, at, *who.primary[index], payload)
            for index, (key, kind, at, payload) in rows.items()
            if index in who.primary
        ]
        appended = await append(connection, brand.id, known)
        await _attach_others(connection, brand.id, who.others)
        if rejected:
            await _keep_rejected(connection, brand.id, [(events[each.index], each) for each in rejected])
        await _advance(connection, brand, max((at for _, _, at, *_ in known), default=None))
    rejected.sort(key=lambda rejection: rejection.index)
    recorded = Recorded(appended.new, appended.duplicate, rejected, appended.occasions)
    for outcome, number in (("new", recorded.new), ("duplicate", recorded.duplicate), ("rejected", len(rejected))):
        EVENTS.labels(outcome).inc(number)
    return recorded


async def load(ctx: Context, brand: Brand, events: pl.DataFrame) -> Appended:
    """Append a frame of events in bulk: ``key``, ``kind``, ``at``, ``identity_kind``, ``identity``, ``payload``.

    The payloads must have the shape of their kinds; the whole brand becomes due for a refresh.
    """
    async with ctx.db.transaction() as connection:
        appended = await append(connection, brand.id, events, mark_dirty=False)
        if appended.new:
            await ask_refresh(connection, brand.id)
            await note_sizes(connection)
        await _advance(connection, brand, events.select(pl.col("at").cast(MOMENT).max()).item())
    return appended


def _row(event: IncomingEvent, catalog: Catalog, moment: datetime, *, live: bool) -> _Row:
    """The event as a row of the log, or an :class:`InputError`."""
    _refuse_unstorable(event.id, "id")
    _refuse_unstorable(event.user, "user")
    if not 0 < len(event.id) <= 200:
        raise InputError(
            "an event needs an id of 1 to 200 letters", field="id", remedy="use the id it has in your system"
        )
    if not event.user:
        raise InputError("no identity of the user", field="user", remedy="name the user, e.g. member: 900")
    for kind, value in event.user.items():
        if not (0 < len(kind) <= 40 and 0 < len(value) <= 200):
            raise InputError(f"the identity {kind}={value!r}", field="user", remedy="use 1 to 40 and 1 to 200 letters")
    at = event.at or moment
    aware(at, "at")
    if live and at > moment + MAX_AHEAD:
        raise InputError(f"{at} lies in the future", field="at", remedy="send events when they have happened")
    payload = validated(event, catalog)
    _refuse_unstorable(payload, "payload")
    return event.id, event.kind, at.astimezone(UTC), json.dumps(payload)


def validated(event: IncomingEvent, catalog: Catalog) -> dict[str, Any]:
    """The payload in the shape of its kind, as JSON data, or an :class:`InputError`."""
    kind = catalog.kind(event.kind)
    if kind.name == PROFILE_UPDATED:
        return _profile(event.payload)
    try:
        return kind.payload.model_validate(event.payload).model_dump(mode="json", exclude_none=True)
    except pydantic.ValidationError as error:
        raise _input_error(error, kind) from None


def _profile(payload: Mapping[str, Any]) -> dict[str, str | None]:
    attributes: dict[str, str | None] = {}
    for name, value in payload.items():
        text = value if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, dict | list) or not 0 < len(name) <= 80 or (text is not None and len(text) > 1000):
            raise InputError(
                f"the attribute {name!r}", field=f"payload.{name}"[:100], remedy="give a short text or null"
            )
        attributes[name] = text
    if len(attributes) > 100:
        raise InputError(f"{len(attributes)} attributes at once", field="payload", remedy="send at most 100")
    return attributes


def _refuse_unstorable(value: Any, where: str) -> None:
    """Refuse what neither PostgreSQL nor a table of the lake can hold; one such event would stop all others."""
    # Not by `match`: it asks every text whether it is a Mapping, a quarter of the time that an event takes.
    if isinstance(value, str):
        if _storable(value) != value:
            raise InputError(f"the text {value[:100]!r}", field=where, remedy="send Unicode text without NUL")
    elif isinstance(value, int):
        if abs(value) > 2**53:
            raise InputError(f"the number {value}", field=where, remedy="send whole numbers up to 2**53, or texts")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _refuse_unstorable(item, f"{where}.{number}")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_unstorable(name, where)
            _refuse_unstorable(item, f"{where}.{name}")


def _storable(value: Any) -> Any:
    """``value`` as JSON that PostgreSQL can keep, for a person to look at."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode(errors="replace").decode()
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping():
            return {_storable(str(name)): _storable(item) for name, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
    return str(value)


def _input_error(error: pydantic.ValidationError, kind: EventKind) -> InputError:
    first = error.errors(include_url=False)[0]
    where = ".".join(["payload", *(str(part) for part in first["loc"])])
    fields = ", ".join(kind.payload.model_fields) or "none"
    # Pydantic speaks of Python's types, and whoever sends JSON has others.
    message = first["msg"].replace("a valid tuple", "a list").replace("a valid dictionary", "an object")
    if first["type"] != "missing":
        message += f", got {first['input']!r:.100}"
    return InputError(message, field=where, remedy=f"fields of {kind.name} are: {fields}")


async def _attach_others(connection: Connection, brand_id: int, others: Mapping[Name, Name]) -> None:
    """Give names to the users who go by others; those that no event has made by now get none."""
    if not others:
        return
    firsts = pl.DataFrame(sorted(set(others.values())), schema=["kind", "value"], orient="row")
    found = await resolve(connection, brand_id, firsts)
    users = {(kind, value): user for kind, value, user, _ in found.iter_rows()}
    rows = [(*name, users[first]) for name, first in others.items() if first in users]
    if rows:
        await attach(connection, brand_id, pl.DataFrame(rows, schema=["kind", "value", "user_id"], orient="row"))


async def _keep_rejected(
    connection: Connection, brand_id: int, refused: Sequence[tuple[IncomingEvent, Rejection]]
) -> None:
    """On the connection at hand: callers that each wait for a second one would wait for each other."""
    await connection.executemany(
        "INSERT INTO rejected_event (brand_id, field, reason, received, received_at)"
        " VALUES ($1, $2, $3, $4::jsonb, now())",
        [
            (
                brand_id,
                _storable(rejection.field),
                _storable(rejection.message),
                json.dumps(_storable({"id": e.id, "kind": e.kind, "user": e.user, "payload": e.payload})),
            )
            for e, rejection in refused
        ],
    )


async def _advance(connection: Connection, brand: Brand, newest: datetime | None) -> None:
    """A replayed brand lives at its newest event."""
    if brand.replayed_to is not None and newest is not None:
        await connection.execute(
            "UPDATE brand SET replayed_to = GREATEST(replayed_to, $2) WHERE id = $1 AND replayed_to IS NOT NULL",
            brand.id,
            newest,
        )
