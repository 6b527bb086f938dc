"""What all workers know of the channels of a brand: whether they work, how busy they are, and what was used of them.

It lies in the database, so that it stays when Valkey goes, and is as true as the ledger. The caller holds the guard of
the brand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from siyu.store.db import Connection

__all__ = ["FAILURES", "State", "add_used", "close_for", "fared", "keep_busy", "state", "used"]

FAILURES = 3
"""So many failures in a row close a channel."""
CLOSED = timedelta(seconds=30)
"""How long it is closed at first; twice as long each time that it fails again, up to :data:`LONGEST`."""
LONGEST = timedelta(hours=1)


@dataclass(frozen=True)
class State:
    """``failures`` in a row, whether it is ``closed``, and for how many more seconds it is ``busy``."""

    failures: int = 0
    closed: bool = False
    busy: float = 0.0


async def state(connection: Connection, brand_id: int, channel: str) -> State:
    """How a channel fares."""
    row = await connection.fetchrow(
        "SELECT failures, COALESCE(closed_until > clock_timestamp(), false) AS closed,"
        " GREATEST(0, COALESCE(extract(epoch FROM busy_until - clock_timestamp()), 0))::float8 AS busy"
        " FROM channel_state WHERE brand_id = $1 AND channel = $2",
        brand_id,
        channel,
    )
    return State(*row) if row else State()


async def keep_busy(connection: Connection, brand_id: int, channel: str, seconds: float) -> None:
    """Note that it is busy for so much longer."""
    await connection.execute(
        "INSERT INTO channel_state (brand_id, channel, busy_until)"
        " VALUES ($1, $2, clock_timestamp() + $3::interval) ON CONFLICT (brand_id, channel) DO UPDATE"
        " SET busy_until = GREATEST(channel_state.busy_until, clock_timestamp()) + $3::interval",
        brand_id,
        channel,
        timedelta(seconds=seconds),
    )


async def close_for(connection: Connection, brand_id: int, channel: str, seconds: float) -> None:
    """Let nobody else use it for a while."""
    await connection.execute(
        "UPDATE channel_state SET closed_until = clock_timestamp() + $3::interval WHERE brand_id = $1 AND channel = $2",
        brand_id,
        channel,
        timedelta(seconds=seconds),
    )


async def fared(connection: Connection, brand_id: int, channel: str, *, well: bool) -> bool:
    """Note how it fared; returns whether it is open."""
    if well:
        await connection.execute(
            "UPDATE channel_state SET failures = 0, closed_until = NULL"
            " WHERE brand_id = $1 AND channel = $2 AND failures > 0",
            brand_id,
            channel,
        )
        return True
    # One statement: between two, somebody else would find it failing and not closed.
    failures = await connection.fetchval(
        "INSERT INTO channel_state (brand_id, channel, failures) VALUES ($1, $2, 1) ON CONFLICT (brand_id, channel)"
        " DO UPDATE SET failures = channel_state.failures + 1, closed_until = CASE"
        "   WHEN channel_state.failures + 1 >= $3 THEN clock_timestamp()"
        "     + LEAST($4::interval * 2 ^ LEAST(channel_state.failures + 1 - $3, 20), $5::interval)"
        "   ELSE channel_state.closed_until END RETURNING failures",
        brand_id,
        channel,
        FAILURES,
        CLOSED,
        LONGEST,
    )
    return int(failures) < FAILURES


async def used(connection: Connection, brand_id: int, channel: str, since: date) -> dict[date, int]:
    """How many actions it took on each day since then."""
    rows = await connection.fetch(
        "SELECT day, used FROM channel_use WHERE brand_id = $1 AND channel = $2 AND day >= $3", brand_id, channel, since
    )
    return {row["day"]: row["used"] for row in rows}


async def add_used(connection: Connection, brand_id: int, channel: str, day: date, number: int) -> None:
    """Count actions that it took, or (less than none) did not take after all."""
    if number:
        await connection.execute(
            "INSERT INTO channel_use (brand_id, channel, day, used) VALUES ($1, $2, $3, GREATEST($4::bigint, 0))"
            " ON CONFLICT (brand_id, channel, day) DO UPDATE SET used = GREATEST(channel_use.used + $4, 0)",
            brand_id,
            channel,
            day,
            number,
        )
