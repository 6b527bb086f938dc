"""A figure and a line of the log for each operation."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import cache

from prometheus_client import Histogram
from siyu.telemetry import logs, tracing
from strawberry.extensions import SchemaExtension

from siyu_graphql.ops.figures import OPERATIONS, Names

__all__ = ["MOST_NAMES", "Observed", "label", "observed"]

log = logging.getLogger("siyu.graphql")

MOST_NAMES = 100
"""Operations that have figures of their own; clients choose the names, and each costs a dozen series."""

_names = Names(MOST_NAMES)


@cache
def _figure(operation: str, kind: str) -> Histogram:
    return OPERATIONS.labels(operation, kind)


def observed(operation: str, kind: str, seconds: float) -> None:
    """Note an operation that has ended, by its label; for those who answer some without Strawberry, too."""
    _figure(operation, kind).observe(seconds)
    if log.isEnabledFor(logging.INFO):
        log.info("operation", extra={"kind": kind, "seconds": round(seconds, 4)})


def label(name: str | None) -> str:
    """What an operation of this name is called in figures and in the log."""
    return _names.label(name)


class Observed(SchemaExtension):
    """Times operations, and says in the log which one it is; never what it was asked with."""

    # What did not begin names nothing: anybody may write anything there.
    _operation, _kind = "refused", "none"

    def on_operation(self) -> Iterator[None]:
        began = time.perf_counter()
        logs.begin(request_id=getattr(self.execution_context.context, "request_id", None))
        try:
            yield
        finally:
            observed(self._operation, self._kind, time.perf_counter() - began)

    def on_execute(self) -> Iterator[None]:
        context = self.execution_context
        self._operation, self._kind = label(context.operation_name), context.operation_type.value
        logs.bind(operation=self._operation)
        about = {"graphql.operation.name": self._operation, "graphql.operation.type": self._kind}
        with tracing.span(f"{self._kind} {self._operation}", attributes=about):
            yield
