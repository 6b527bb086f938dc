"""Scalars with a meaning of our own."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from typing import Any

import strawberry
from siyu import InputError
from strawberry.exceptions import StrawberryInputCoercionError
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

__all__ = ["JSON", "SCALARS", "checked_json", "checked_text"]


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise StrawberryInputCoercionError(
        f"DateTime cannot represent {value!r}: write a moment with its time zone, like 2026-11-21T09:30:00+08:00"
    )


def _day(value: object) -> date:
    try:
        if isinstance(value, str) and len(value) == len("2026-11-21"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise StrawberryInputCoercionError(f"Date cannot represent {value!r}: write a day like 2026-11-21")


SCALARS: dict[object, ScalarDefinition] = {
    date: strawberry.scalar(
        name="Date",
        description="A day (ISO 8601): `2026-11-21`.",
        serialize=lambda value: value.isoformat(),
        parse_value=_day,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment with its time zone (ISO 8601). Given back in UTC: `2026-11-21T01:30:00+00:00`.",
        serialize=lambda value: value.astimezone(UTC).isoformat(),
        parse_value=_moment,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value: an object, a list, a text, a number, true, false or null.",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}


def checked_text(value: str, field: str) -> str:
    """``value`` if the database can keep it, or an :class:`siyu.InputError`."""
    if "\x00" in value or not _encodes(value):
        raise InputError("a text with a NUL or half a character", field=field, remedy="send whole Unicode characters")
    return value


def checked_json(value: Any, field: str) -> dict[str, Any]:
    """``value`` if it is a JSON object that can be kept, or an :class:`siyu.InputError`."""
    if not isinstance(value, dict):
        raise InputError(f"not an object: {json.dumps(value)[:100]}", field=field, remedy='send one, like {"a": 1}')
    waiting: list[tuple[Any, str]] = [(value, field)]
    while waiting:
        item, where = waiting.pop()
        match item:
            case str():
                checked_text(item, where)
            case float() if not math.isfinite(item):
                raise InputError(f"the number {item}", field=where, remedy="send null for what is not known")
            case dict():
                for name, inner in item.items():
                    waiting.append((inner, f"{where}.{checked_text(name, where)}"))
            case list():
                waiting += [(inner, f"{where}.{index}") for index, inner in enumerate(item)]
    return value


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
