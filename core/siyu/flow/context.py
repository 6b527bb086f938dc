"""What every step of the loop needs: the database, the plugins, the data directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from siyu.contract.errors import InputError, NotFound
from siyu.contract.manager import PluginManager
from siyu.flow.kept import Kept
from siyu.store.db import Connection, Database
from siyu.store.models import Brand

if TYPE_CHECKING:
    from siyu.contract.program import Program
    from siyu.flow.columns import Column
    from siyu.flow.programs import On
    from siyu.flow.rulebooks import Bound
    from siyu.flow.selection import Counted

__all__ = ["Context", "ask_refresh", "aware", "brand_by_id", "brand_by_slug", "now", "open_context", "zone"]


FRESH_SECONDS = 60.0
"""How old the facts of all users, and counts, may be that are shown."""
COLUMN_BYTES = 256 * 2**20
"""Of all columns that are kept: of a million users, one takes up to 32 MiB."""
MOST_COUNTS = 10_000


@dataclass(frozen=True)
class Context:
    """Handed to every step; jobs and requests share it.

    ``home`` is where this database's files lie, ``engine`` what refreshes run on unless told otherwise. The others are
    what this process has at hand: the rulebooks of brands (``bound``), versions of playbooks (``programs``) and those
    that are on (``playbooks``), facts of all users (``columns``) and how many a filter finds (``counts``).
    """

    db: Database
    plugins: PluginManager
    home: Path
    engine: str = "polars"
    bound: dict[int, Bound] = field(default_factory=dict, repr=False, compare=False)
    programs: dict[int, Program] = field(default_factory=dict, repr=False, compare=False)
    playbooks: dict[int, tuple[str, On]] = field(default_factory=dict, repr=False, compare=False)
    columns: Kept[Any, Column] = field(
        default_factory=lambda: Kept(FRESH_SECONDS, COLUMN_BYTES, size=lambda column: column.size),
        repr=False,
        compare=False,
    )
    counts: Kept[Any, Counted] = field(
        default_factory=lambda: Kept(FRESH_SECONDS, MOST_COUNTS), repr=False, compare=False
    )


@asynccontextmanager
async def open_context(
    database_url: str, plugins: PluginManager, home: Path, engine: str = "polars", *, redis_url: str | None = None
) -> AsyncIterator[Context]:
    """Connect, bring the tables up to date, and close again. Without ``redis_url`` nobody is told of changes."""
    db = await Database.open(database_url)
    try:
        await db.migrate()
        # The lake of one database must never be read for another's, whatever home they share.
        name = await db.name()
        if redis_url is not None:
            db.signals.open(redis_url, name)
        async with db.connection() as connection:
            plugins.expect(row["plugin"] for row in await connection.fetch(_ON))
        yield Context(db, plugins, home / "databases" / name, engine)
    finally:
        await db.close()


_ON = "SELECT DISTINCT plugin FROM plugin_setting WHERE enabled OR (base->>'enabled')::boolean ORDER BY plugin"


def now(brand: Brand) -> datetime:
    """The moment that the brand lives at: the present, or the newest event of a brand that is replayed."""
    return brand.replayed_to or datetime.now(UTC)


def aware(moment: datetime | None, field: str) -> None:
    """Refuse a moment that could be any of a day's, or is not on every clock: :class:`InputError`."""
    if moment is None:
        return
    if moment.tzinfo is None:
        raise InputError(
            f"the moment {moment} has no time zone", field=field, remedy="write it like 2027-01-01T00:00:00Z"
        )
    if not 1970 <= moment.year < MAXYEAR:
        raise InputError(
            f"{moment} lies before 1970 or at the end of time", field=field, remedy="write it like 2027-01-01T00:00:00Z"
        )


def zone(name: str) -> ZoneInfo:
    """The time zone of that name, or an :class:`InputError`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(f"no time zone {name!r}", field="zone", remedy="use a name like Asia/Shanghai") from None


async def ask_refresh(connection: Connection, brand_id: int) -> None:
    """Note that the brand is to be refreshed; it stays noted until a refresh that began later has ended."""
    await connection.execute("UPDATE brand SET refresh_asked = clock_timestamp() WHERE id = $1", brand_id)


async def brand_by_slug(slug: str) -> Brand:
    """The brand, or :class:`NotFound`."""
    brand = await Brand.named(slug)
    if brand is None:
        raise NotFound(f"no brand {slug!r}", field="brand", remedy="`siyu brand list` shows them")
    return brand


async def brand_by_id(brand_id: int) -> Brand:
    """The brand, or :class:`NotFound`."""
    brand = await Brand.get_or_none(id=brand_id)
    if brand is None:
        raise NotFound(f"no brand with id {brand_id}", field="brand")
    return brand
