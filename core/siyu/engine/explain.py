"""Put a reason in words: the template of the rule, with the values that stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["render"]

NO_VALUE = "—"


def render(reason: Mapping[str, Any], why: Sequence[Any]) -> str:
    """``reason`` as :meth:`siyu.engine.rulebook.Reason.to_json` stored it, ``why`` the values of its facts."""
    values = dict(zip((name for name, _ in reason.get("facts", ())), why, strict=False))
    words = {name: _words(value) for name, value in {**reason.get("params", {}), **values}.items()}
    template: str = reason.get("because", "")
    try:
        return template.format_map(words)
    except (KeyError, ValueError, IndexError):
        # A rulebook written by another version of siyu; its words still tell more than an error.
        return template


def _words(value: Any) -> Any:
    if value is None:
        return NO_VALUE
    if isinstance(value, float):
        return f"{value:,.2f}".removesuffix(".00")
    return value
