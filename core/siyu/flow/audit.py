"""The audit log: who did or read what. Rows are only ever appended; the database refuses anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siyu.store.models import AuditEntry

__all__ = ["PERSONAL_READ", "note"]

PERSONAL_READ = "readPersonalData"
"""What stands in the log where personal data was shown."""


async def note(
    brand_id: int,
    by: str,
    what: str,
    *,
    target: str = "",
    users: int | None = None,
    operation: str = "",
    request_id: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append a row, in the transaction that is open if one is. ``brand_id`` is 0 for what belongs to no brand."""
    await AuditEntry.create(
        brand_id=brand_id,
        by=by[:200],
        what=what[:80],
        target=target[:200],
        users=users,
        operation=operation[:200],
        request_id=request_id,
        before=None if before is None else dict(before),
        after=None if after is None else dict(after),
    )
