"""Exports and imports as files below the data directory, reached by links that are signed and expire.

A file belongs to one brand and lives for a day. The table says what is to be done; a job does it, one at a time a
brand, and begins anew with what a process that died had not finished.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl
import polars.selectors as cs

from siyu.contract.errors import InputError, NotFound, SiyuError
from siyu.flow.context import Context, ask_refresh, brand_by_id, now
from siyu.flow.filters import ALL_OF, UserFilter, filter_of
from siyu.flow.importing import FORMULA, ColumnMapping, import_file
from siyu.flow.runs import run
from siyu.flow.selection import select
from siyu.store.db import Lock, copy_out
from siyu.store.models import Brand, File, Run

__all__ = [
    "EXPORTS",
    "FORMATS",
    "KEPT",
    "LINK",
    "create_export",
    "create_import",
    "link",
    "opened",
    "path_of",
    "received",
    "remove_old",
    "work",
]

CHUNK = 20_000
"""Rows that are in memory at a time."""
KEPT = timedelta(days=1)
LINK = timedelta(hours=1)
"""How long a link is good for."""
MOST_FILES = 20
"""Of a brand, that wait to be made or sent."""
FORMATS = ("csv", "jsonl", "parquet")
Part = Literal["", "rejects"]

TEXT, MOMENT = pl.String(), pl.String()
_USERS = {
    "id": pl.Int64(),
    "first_seen": MOMENT,
    "last_seen": MOMENT,
    "identities": TEXT,
    "attributes": TEXT,
    "tags": TEXT,
    "stages": TEXT,
}
_EVENTS = {
    "id": pl.Int64(),
    "key": TEXT,
    "user_id": pl.Int64(),
    "kind": TEXT,
    "at": MOMENT,
    "payload": TEXT,
}
_ACTIONS = {
    "id": pl.Int64(),
    "user_id": pl.Int64(),
    "plugin": TEXT,
    "playbook": TEXT,
    "channel": TEXT,
    "purpose": TEXT,
    "status": TEXT,
    "text": TEXT,
    "because": TEXT,
    "detail": TEXT,
    "planned_at": MOMENT,
    "done_at": MOMENT,
}
EXPORTS: Mapping[str, Mapping[str, pl.DataType]] = {"users": _USERS, "events": _EVENTS, "actions": _ACTIONS}
"""The columns of each; what has parts of its own is JSON text. Users are persons: of several who were merged the one
that they count as, with the names of all."""

_SELECT_USERS = f"""
SELECT t.id, to_json(t.first_seen)#>>'{{}}', to_json(t.last_seen)#>>'{{}}',
    (SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'value', i.value) ORDER BY i.kind, i.value)
        FROM identity i WHERE i.brand_id = $1 AND i.user_id IN {ALL_OF})::text,
    t.attributes::text,
    (SELECT jsonb_agg(g.key ORDER BY g.key) FROM tag_assignment a JOIN tag g ON g.brand_id = $1 AND g.id = a.tag_id
        WHERE a.brand_id = $1 AND a.user_id = t.id)::text,
    (SELECT jsonb_object_agg(s.track, s.stage) FROM user_stage s WHERE s.brand_id = $1 AND s.user_id = t.id)::text
FROM users t WHERE t.brand_id = $1 AND t.id = ANY($2::bigint[]) ORDER BY t.id
"""
_SELECT_ROWS = """
SELECT {columns} FROM {table} t WHERE brand_id = $1 AND id > $2 AND id <= $5
    AND ($3::timestamptz IS NULL OR {moment} >= $3) AND ($4::timestamptz IS NULL OR {moment} < $4)
ORDER BY id LIMIT {limit}
"""
_PERSON = """COALESCE(
    (SELECT m.into_id FROM merged_user m WHERE m.brand_id = $1 AND m.user_id = t.user_id), t.user_id)"""


async def create_export(
    brand: Brand,
    what: str,
    *,
    format: str = "csv",
    filter: Any = None,
    since: datetime | None = None,
    until: datetime | None = None,
    by: str = "",
) -> File:
    """Ask for a file of the users that a filter finds, or of the events or planned actions of a time."""
    if what not in EXPORTS:
        raise InputError(f"what={what!r}", field="what", remedy=f"use one of: {', '.join(EXPORTS)}")
    if filter is not None and what != "users":
        raise InputError(f"a filter of {what}", field="filter", remedy="leave it out, or give since and until")
    if (since or until) and what == "users":
        raise InputError("a time of users", field="since", remedy="leave it out, or give a filter")
    options = {
        "filter": None if filter is None else filter_of(filter).data,
        "since": since and since.isoformat(),
        "until": until and until.isoformat(),
    }
    return await _create(brand, "export", what, format, options, "waiting", by)


async def create_import(
    ctx: Context, brand: Brand, kind: str, mapping: ColumnMapping, *, format: str = "csv", by: str = ""
) -> File:
    """Make ready for a file of events of one kind, to be sent by its link."""
    ctx.plugins.catalog.kind(kind)
    return await _create(brand, "import", kind, format, asdict(mapping), "open", by)


async def _create(
    brand: Brand, direction: str, what: str, format: str, options: dict[str, Any], status: str, by: str
) -> File:
    if format not in FORMATS:
        raise InputError(f"format={format!r}", field="format", remedy=f"use one of: {', '.join(FORMATS)}")
    if await File.filter(brand_id=brand.id, status__in=["open", "waiting"]).count() >= MOST_FILES:
        raise InputError(f"{MOST_FILES} files wait already", field="brand", remedy="wait until one of them is done")
    return await File.create(
        brand_id=brand.id,
        direction=direction,
        what=what,
        format=format,
        options=options,
        status=status,
        created_by=by,
    )


def path_of(ctx: Context, file: File, part: Part = "") -> Path:
    """Where a file lies."""
    name = f"{file.id}.rejects.csv" if part else f"{file.id}.{file.format}"
    return ctx.home / "files" / str(file.brand_id) / name


def link(ctx: Context, file: File, method: str, part: Part = "") -> str:
    """The path of a link to a file, good for :data:`LINK`; whoever has it needs nothing else."""
    expires = int(time.time() + LINK.total_seconds())
    signature = _signature(ctx, method, f"{file.id}", part, expires)
    return f"/files/{file.id}{part and '/' + part}?expires={expires}&signature={signature}"


async def opened(ctx: Context, method: str, number: str, part: Part, expires: str, signature: str) -> File:
    """The file that a link leads to; :class:`NotFound` where the link is not ours or has expired, or it is gone."""
    plain = all(text.isascii() and text.isdecimal() and len(text) < 19 for text in (number, expires))
    wanted = _signature(ctx, method, number, part, int(expires) if plain else 0)
    if (
        plain
        and hmac.compare_digest(wanted.encode(), signature.encode(errors="replace"))
        and int(expires) > time.time()
    ):
        file = await File.get_or_none(id=int(number))
        if file is not None:
            return file
    raise NotFound("no such file, or the link has expired", field="url", remedy="ask for the file's link again")


def _signature(ctx: Context, method: str, number: str, part: str, expires: int) -> str:
    text = f"{method}\n{number}\n{part}\n{expires}"
    return hmac.new(_secret(ctx), text.encode(), hashlib.sha256).hexdigest()


def _secret(ctx: Context) -> bytes:
    """What links are signed with: made once, and read by the account that siyu runs as only."""
    path = ctx.home / "files" / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as made:
            made.write(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(half, path)  # of several processes the first
        half.unlink()
    return path.read_bytes()


async def received(ctx: Context, file: File, sent: Path) -> None:
    """Take a file that was sent whole; what it was taken for once, it is not taken for again."""
    async with ctx.db.transaction() as connection:
        query = "SELECT FROM file WHERE id = $1 AND status = 'open' FOR UPDATE"
        if await connection.fetchrow(query, file.id) is None:
            raise InputError("the file was sent already", field="url", remedy="create another import")
        size = await asyncio.to_thread(_moved, sent, path_of(ctx, file))
        await connection.execute("UPDATE file SET status = 'waiting', size = $2 WHERE id = $1", file.id, size)


def _moved(source: Path, target: Path) -> int:
    source.replace(target)
    return target.stat().st_size


async def work(ctx: Context, brand_id: int) -> None:
    """Make what is waited for, until nothing is. Does nothing while another process does it."""
    async with ctx.db.connection() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", Lock.FILES, brand_id):
            return
        try:
            while file := await File.filter(brand_id=brand_id, status="waiting").order_by("id").first():
                await _work(ctx, await brand_by_id(brand_id), file)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1, $2)", Lock.FILES, brand_id)


async def _work(ctx: Context, brand: Brand, file: File) -> None:
    path_of(ctx, file).parent.mkdir(parents=True, exist_ok=True)
    await Run.filter(id=file.run_id, status="running").update(
        status="failed", error="the process died", finished_at=datetime.now(UTC)
    )
    try:
        async with run(ctx, brand.id, file.direction, now(brand)) as running:
            file.run_id = running.row.id
            await file.save(update_fields=["run_id"])
            if file.direction == "export":
                await _export(ctx, file, running.phase)
            else:
                await _import(ctx, brand, file, running.phase)
        file.status = "done"
    except SiyuError as error:
        file.status, file.error = "failed", str(error)
    except Exception as error:
        file.status, file.error = "failed", type(error).__name__
        raise
    finally:
        if file.status != "waiting":
            await file.save()


async def _export(ctx: Context, file: File, phase: Any) -> None:
    path = path_of(ctx, file)
    half = path.with_suffix(".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    schema = EXPORTS[file.what]
    try:
        number, file.rows = 0, 0
        async for frame, share in _frames(ctx, file):
            await asyncio.to_thread(_write, half / f"{number:06}", frame, file.format, number == 0)
            number, file.rows = number + 1, file.rows + len(frame)
            await phase(file.what, share)
        if not number:
            empty = pl.DataFrame(schema=dict(schema))
            await asyncio.to_thread(_write, half / "000000", empty, file.format, True)
        whole = await asyncio.to_thread(_joined, half, file.format)
        file.size = whole.stat().st_size
        whole.replace(path)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _write(path: Path, frame: pl.DataFrame, format: str, first: bool) -> None:
    match format:
        case "parquet":
            frame.write_parquet(path)
        case "jsonl":
            frame.write_ndjson(path)
        case _:
            safe = frame.with_columns(cs.string().str.replace(f"^({FORMULA})", "'$1"))
            safe.write_csv(path, include_header=first)


def _joined(folder: Path, format: str) -> Path:
    """One file of all parts."""
    whole = folder / "whole"
    parts = sorted(path for path in folder.iterdir() if path != whole)
    if format == "parquet":
        pl.scan_parquet(parts).sink_parquet(whole)
        return whole
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
            part.unlink()
    return whole


async def _frames(ctx: Context, file: File) -> AsyncIterator[tuple[pl.DataFrame, float]]:
    """The rows in pieces, each with the share that is done with it."""
    schema = EXPORTS[file.what]
    if file.what == "users":
        kept = file.options["filter"]
        filter = filter_of(kept) if kept else UserFilter()
        selection = await select(ctx, file.brand_id, filter)
        async with ctx.db.connection() as connection:
            users = (await selection.ids(connection)).to_list()
        for start in range(0, len(users), CHUNK):
            some = users[start : start + CHUNK]
            async with ctx.db.connection() as connection:
                frame = await copy_out(connection, _SELECT_USERS, file.brand_id, some, schema=schema)
            yield frame, min(1.0, (start + CHUNK) / len(users))
        return
    table, moment = ("event", "at") if file.what == "events" else ("action", "planned_at")
    columns = [f"to_json({name})#>>'{{}}'" if name.endswith("at") else name for name in schema]
    columns[columns.index("user_id")] = _PERSON
    query = _SELECT_ROWS.format(columns=", ".join(columns), table=table, moment=moment, limit=CHUNK)
    since, until = (at and datetime.fromisoformat(at) for at in (file.options["since"], file.options["until"]))
    async with ctx.db.connection() as connection:
        end = await connection.fetchval(f"SELECT max(id) FROM {table} WHERE brand_id = $1", file.brand_id) or 0
    last = 0
    while True:
        async with ctx.db.connection() as connection:
            frame = await copy_out(connection, query, file.brand_id, last, since, until, end, schema=schema)
        if frame.is_empty():
            return
        last = frame.get_column("id")[-1]
        yield frame, last / end


async def _import(ctx: Context, brand: Brand, file: File, phase: Any) -> None:
    shown = [0.0]
    task = asyncio.create_task(
        import_file(
            ctx,
            brand,
            path_of(ctx, file),
            file.what,
            ColumnMapping(**file.options),
            rejects=path_of(ctx, file, "rejects"),
            file_format=file.format,  # type: ignore[arg-type]
            progress=lambda share: shown.append(share),
        )
    )
    try:
        while not task.done():
            await phase("import", shown[-1])
            await asyncio.wait([task], timeout=1)
        done = await task
    finally:
        task.cancel()
    file.rows, file.rejects = done.lines, done.rejected
    path_of(ctx, file).unlink(missing_ok=True)
    async with ctx.db.connection() as connection:
        await ask_refresh(connection, brand.id)


async def remove_old(ctx: Context) -> None:
    """Remove files that are older than :data:`KEPT`, and what is left of them."""
    for file in await File.filter(created_at__lt=datetime.now(UTC) - KEPT).exclude(status="waiting"):
        for part in get_args(Part):
            path_of(ctx, file, part).unlink(missing_ok=True)
        await file.delete()
