"""Declarations as JSON, and back: conditions, facts, triggers and steps of playbooks.

Whoever is under way goes on by what they began with, whatever has become of the plugin since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from types import ModuleType
from typing import Any

from siyu.contract import conditions, facts, filters, playbooks

__all__ = ["from_json", "to_json"]


def _classes(*modules: ModuleType) -> dict[str, type]:
    found = (vars(module) for module in modules)
    return {
        name: value
        for each in found
        for name, value in each.items()
        if isinstance(value, type) and value.__module__ in {module.__name__ for module in modules}
    }


_KNOWN = _classes(conditions, facts, filters, playbooks)
_DERIVED = {"name"}
"""What is worked out from the rest, and kept beside it."""


def to_json(value: Any) -> Any:
    """``value`` as JSON data; what no declaration is made of is a ``TypeError``."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case timedelta():
            return {"is": "timedelta", "seconds": value.total_seconds()}
        case date() | time():
            return {"is": type(value).__name__, "iso": value.isoformat()}
        case frozenset():
            return {"is": "frozenset", "of": sorted(value)}
        case Mapping():
            return {"is": "map", "of": [[key, to_json(each)] for key, each in value.items()]}
        case Sequence():
            return [to_json(each) for each in value]
    kind = type(value)
    if _KNOWN.get(kind.__name__) is not kind:
        raise TypeError(value)
    fields = {name: each for name, each in _fields(value).items() if name not in _DERIVED}
    return {"is": kind.__name__, **{name: to_json(each) for name, each in fields.items()}}


def from_json(data: Any) -> Any:
    """What :func:`to_json` was given; lists come back as tuples."""
    if isinstance(data, list):
        return tuple(from_json(each) for each in data)
    if not isinstance(data, dict):
        return data
    match data["is"]:
        case "timedelta":
            return timedelta(seconds=data["seconds"])
        case "date":
            return date.fromisoformat(data["iso"])
        case "time":
            return time.fromisoformat(data["iso"])
        case "frozenset":
            return frozenset(data["of"])
        case "map":
            return {key: from_json(each) for key, each in data["of"]}
    made: Any = object.__new__(_KNOWN[data["is"]])
    for name, each in data.items():
        if name != "is":
            # As it was checked when it was declared.
            object.__setattr__(made, name, from_json(each))
    return made


def _fields(value: Any) -> dict[str, Any]:
    named = getattr(value, "__dataclass_fields__", ()) if is_dataclass(value) else ()
    return {**{name: getattr(value, name) for name in named}, **getattr(value, "__dict__", {})}
