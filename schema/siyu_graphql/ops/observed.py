"""A figure and a line of the log for each operation."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from siyu.telemetry import logs, tracing
from strawberry.extensions import SchemaExtension

from siyu_graphql.ops.figures import OPERATIONS, Names

__all__ = ["MOST_NAMES", "Observed"]

log = logging.getLogger("siyu.graphql")

MOST_NAMES = 100
"""Operations that have figures of their own; clients choose the names, and each costs a dozen series."""

_names = Names(MOST_NAMES)


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
            seconds = time.perf_counter() - began
            OPERATIONS.labels(self._operation, self._kind).observe(seconds)
            log.info("operation", extra={"kind": self._kind, "seconds": round(seconds, 4)})

    def on_execute(self) -> Iterator[None]:
        context = self.execution_context
        self._operation, self._kind = _names.label(context.operation_name), context.operation_type.value
        logs.bind(operation=self._operation)
        about = {"graphql.operation.name": self._operation, "graphql.operation.type": self._kind}
        with tracing.span(f"{self._kind} {self._operation}", attributes=about):
            yield
