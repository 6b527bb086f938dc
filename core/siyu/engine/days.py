"""Days, as a brand's time zone has them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["window_start"]


def window_start(at: datetime, zone: ZoneInfo, days: int) -> datetime:
    """The first moment of a window of ``days`` that ends with the day of ``at``: midnight of the first of them."""
    first = at.astimezone(zone).date() - timedelta(days=days - 1)
    return datetime.combine(first, time(), zone).astimezone(UTC)
