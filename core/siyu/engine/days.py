"""Days, as a brand's time zone has them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

__all__ = ["fixed_offset", "window_start"]


def window_start(at: datetime, zone: ZoneInfo, days: int) -> datetime:
    """The first moment of a window of ``days`` that ends with the day of ``at``: midnight of the first of them."""
    first = at.astimezone(zone).date() - timedelta(days=days - 1)
    return datetime.combine(first, time(), zone).astimezone(UTC)


def fixed_offset(zone: ZoneInfo, first: datetime, last: datetime) -> timedelta | None:
    """How far the zone was from UTC at all moments from ``first`` to ``last``; None if that has changed."""
    return _fixed_offset(zone, first.astimezone(UTC).date(), last.astimezone(UTC).date())


@lru_cache(maxsize=256)
def _fixed_offset(zone: ZoneInfo, first: date, last: date) -> timedelta | None:
    # No zone leaves its offset and comes back to it within a day.
    days = range((last - first).days + 2)
    offsets = {(datetime.combine(first, time(), UTC) + timedelta(days=n)).astimezone(zone).utcoffset() for n in days}
    return offsets.pop() if len(offsets) == 1 else None
