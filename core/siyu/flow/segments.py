"""Segments: filters that are kept under a name. Whom one finds is looked up anew each time."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from tortoise.exceptions import IntegrityError

from siyu.contract.errors import InputError, NotFound
from siyu.flow.columns import check_tests
from siyu.flow.context import Context
from siyu.flow.filters import UserFilter, filter_of
from siyu.store.models import Brand, Segment, Stage, Tag

__all__ = ["MOST_SEGMENTS", "change", "create", "delete", "filter_in", "find", "listed", "named", "restore"]

MOST_SEGMENTS = 500
"""Of a brand, deleted ones included."""
MOST_NAMED = 20
"""So many names are told to whom has a wrong one; of more, those that are like it."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")


async def listed(brand: Brand, *, deleted: bool = False) -> list[Segment]:
    """The segments of a brand, by name."""
    found = Segment.filter(brand_id=brand.id).order_by("name")
    return await (found if deleted else found.filter(deleted_at=None))


async def find(brand: Brand, name: str, *, deleted: bool = False, field: str = "name") -> Segment:
    """The segment of that name, or :class:`NotFound`; one that is deleted only if ``deleted`` are looked for."""
    segment = await named(brand.id, name)
    if segment is None or (segment.deleted_at is None) == deleted:
        kind, list_of = ("deleted segment", "(includeDeleted: true)") if deleted else ("segment", "")
        raise NotFound(f"no {kind} {name!r}", field=field, remedy=f"`brand.segments{list_of}` lists them")
    return segment


async def named(brand_id: int, name: str) -> Segment | None:
    """The segment of that name, deleted or not, if there is one."""
    return await Segment.get_or_none(brand_id=brand_id, name=name) if _NAME.fullmatch(name) else None


def filter_in(segment: Segment) -> UserFilter:
    """What the segment keeps."""
    return filter_of(segment.selection)


async def create(ctx: Context, brand: Brand, name: str, filter: Any, *, title: str = "", by: str = "") -> Segment:
    """Keep a filter. Everything that it names must be there."""
    if not _NAME.fullmatch(name):
        remedy = "use up to 80 lower-case letters, digits, - and _"
        raise InputError(f"the name {name!r}", field="name", remedy=remedy)
    if await Segment.filter(brand_id=brand.id).count() >= MOST_SEGMENTS:
        raise InputError(f"{MOST_SEGMENTS} segments", field="name", remedy="change one that is no longer needed")
    kept = await _checked(ctx, brand, filter)
    segment = Segment(
        brand_id=brand.id, name=name, title=_title(title or name), selection=kept, created_by=by, changed_by=by
    )
    try:
        await segment.save()
    except IntegrityError:
        remedy = "choose another, or update or restore that one"
        raise InputError(f"there is or was a segment {name!r}", field="name", remedy=remedy) from None
    return segment


async def change(
    ctx: Context, brand: Brand, name: str, *, filter: Any = None, title: str | None = None, by: str = ""
) -> Segment:
    """Give a segment another filter, title, or both."""
    segment = await find(brand, name)
    if filter is not None:
        segment.selection = await _checked(ctx, brand, filter)
    if title is not None:
        segment.title = _title(title)
    segment.changed_by = by
    await segment.save(update_fields=["selection", "title", "changed_by", "changed_at"])
    return segment


async def delete(brand: Brand, name: str, *, by: str = "") -> Segment:
    """Show a segment no longer."""
    segment = await find(brand, name)
    segment.deleted_at, segment.changed_by = datetime.now(UTC), by
    await segment.save(update_fields=["deleted_at", "changed_by", "changed_at"])
    return segment


async def restore(brand: Brand, name: str, *, by: str = "") -> Segment:
    """Show a segment again that was deleted."""
    segment = await find(brand, name, deleted=True)
    segment.deleted_at, segment.changed_by = None, by
    await segment.save(update_fields=["deleted_at", "changed_by", "changed_at"])
    return segment


def _title(title: str) -> str:
    if not title.strip() or len(title) > 200 or not title.isprintable():
        raise InputError(f"the title {title[:50]!r}", field="title", remedy="give up to 200 characters in one line")
    return title


async def _checked(ctx: Context, brand: Brand, data: Any) -> dict[str, Any]:
    filter = filter_of(data)
    tags = await Tag.filter(brand_id=brand.id).values_list("key", flat=True)
    stages = [(row.track, row.key) for row in await Stage.filter(brand_id=brand.id)]
    for field, key in _tags(filter, "filter"):
        _known(key, [str(tag) for tag in tags], "tag", field)
    for field, track, key in _stages(filter, "filter"):
        _known(track, sorted({each for each, _ in stages}), "track", f"{field}.track")
        _known(key, [each for of, each in stages if of == track], "stage", f"{field}.key")
    await check_tests(ctx, brand.id, filter.facts("filter"))
    return filter.data


def _known(name: str, names: Sequence[str], what: str, field: str) -> None:
    if name not in names:
        near = names if len(names) <= MOST_NAMED else difflib.get_close_matches(name, names, n=5, cutoff=0.4)
        remedy = f"there are: {', '.join(near or names[:MOST_NAMED]) or 'none yet'}"
        raise InputError(f"no {what} {name!r}", field=field, remedy=remedy)


def _tags(filter: UserFilter, field: str) -> Iterator[tuple[str, str]]:
    for place, each in filter.within(field):
        yield from ((f"{place}.tag.{n}", key) for n, key in enumerate(each.tag or ()))
        yield from ((f"{place}.anyTag.{n}", key) for n, key in enumerate(each.any_tag or ()))


def _stages(filter: UserFilter, field: str) -> Iterable[tuple[str, str, str]]:
    for place, each in filter.within(field):
        if each.stage is not None:
            yield f"{place}.stage", each.stage.track, each.stage.key
        for number, stage in enumerate(each.any_stage or ()):
            yield f"{place}.anyStage.{number}", stage.track, stage.key
