"""The figures of the API."""

from __future__ import annotations

from prometheus_client import Counter, Histogram
from siyu.telemetry.metrics import REGISTRY

__all__ = ["ERRORS", "OPERATIONS", "Names"]

LONGEST_NAME = 80

OPERATIONS = Histogram(
    "siyu_graphql_operation_seconds",
    "GraphQL operations by name: `anonymous` have none, `other` came after the first 100 names, `refused` did not"
    " begin; subscriptions last until they end.",
    ["operation", "type"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    registry=REGISTRY,
)
ERRORS = Counter("siyu_graphql_errors", "Errors in answers, by code.", ["code"], registry=REGISTRY)


class Names:
    """The first names that came, up to a number: what they label stays small, whatever clients send."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, name: str | None) -> str:
        """The name itself, ``other`` where there are too many, ``anonymous`` where there is none."""
        if not name:
            return "anonymous"
        if name not in self._known:
            if len(self._known) >= self._most or len(name) > LONGEST_NAME:
                return "other"
            self._known.add(name)
        return name
