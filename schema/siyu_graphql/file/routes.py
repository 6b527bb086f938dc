"""Where files are fetched and sent. Whoever has a signed link needs no token."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from siyu import InputError, NotFound, SiyuError
from siyu.flow import files
from siyu.flow.context import Context
from siyu.store.models import File
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from siyu_graphql.context import Queue
from siyu_graphql.errors import error_body, log

__all__ = ["MOST_SENT", "routes"]

MOST_SENT = 2 * 1024**3
"""The largest file that can be sent."""
SEND_SECONDS = 3600.0
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}


def routes(ctx: Context, queue: Queue) -> list[Route]:
    """The routes of files."""

    async def fetch(request: Request) -> Response:
        part: files.Part = "rejects" if request.url.path.endswith("/rejects") else ""
        try:
            file = await _file(ctx, request, "GET", part)
        except SiyuError as error:
            return _refused(error)
        path = files.path_of(ctx, file, part)
        if not path.exists():
            return _refused(NotFound("the file is gone", field="url", remedy="ask for another"))
        name = f"{file.what}-{file.id}{'-rejects' if part else ''}.{'csv' if part else file.format}"
        kind = TYPES["csv" if part else file.format]
        return FileResponse(path, media_type=kind, filename=name, headers={"Cache-Control": "private, no-store"})

    async def send(request: Request) -> Response:
        try:
            file = await _file(ctx, request, "PUT", "")
            half = files.path_of(ctx, file).with_suffix(f".{secrets.token_hex(4)}.part")
            half.parent.mkdir(parents=True, exist_ok=True)
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await _written(request, half)
                await files.received(ctx, file, half)
            finally:
                half.unlink(missing_ok=True)
        except SiyuError as error:
            return _refused(error)
        except (ClientDisconnect, TimeoutError):
            return _refused(InputError("the file did not come whole", field="body", remedy="send it again"))
        try:
            await queue.push("files", file.brand_id)
        except Exception:
            log.warning("could not queue the files of brand %s", file.brand_id, exc_info=True)
        return JSONResponse({"status": "waiting"}, 202)

    return [
        Route("/files/{number}", fetch, methods=["GET"]),
        Route("/files/{number}/rejects", fetch, methods=["GET"]),
        Route("/files/{number}", send, methods=["PUT"]),
    ]


async def _file(ctx: Context, request: Request, method: str, part: files.Part) -> File:
    asked = request.query_params
    return await files.opened(
        ctx, method, request.path_params["number"], part, asked.get("expires", ""), asked.get("signature", "")
    )


async def _written(request: Request, path: Path) -> None:
    """The body on disk, as it comes."""
    size = 0
    with path.open("wb") as target:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MOST_SENT:
                raise InputError(f"more than {MOST_SENT} bytes", field="body", remedy="send it in parts")
            await asyncio.to_thread(target.write, chunk)
    if not size:
        raise InputError("an empty file", field="body", remedy="send one with lines")


def _refused(error: SiyuError) -> JSONResponse:
    return JSONResponse(error_body(error.code, str(error)), 404 if isinstance(error, NotFound) else 400)
