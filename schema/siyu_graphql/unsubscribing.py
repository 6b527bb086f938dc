"""Where readers of messages end them. Whoever has the signed link needs no token.

The link only shows a page: whatever looks through mail follows links. The button on it, or the reader's own mail
program (RFC 8058), sends what counts.
"""

from __future__ import annotations

from siyu import SiyuError
from siyu.flow import unsubscribe
from siyu.flow.context import Context
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from siyu_graphql.context import Queue
from siyu_graphql.errors import log

__all__ = ["routes"]

PAGE = """<!doctype html><html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>退订 / Unsubscribe</title>
<body style="font-family:sans-serif;max-width:30em;margin:15vh auto;text-align:center">{body}</body></html>
"""
ASK = """<p>不再接收这类消息？<br>No more messages of this kind?</p>
<form method="post"><button style="font-size:1.1em;padding:.5em 1.5em">退订 / Unsubscribe</button></form>"""
DONE = "<p>已退订。<br>You are unsubscribed.</p>"
BROKEN = "<p>链接不完整，请从消息里重新打开。<br>The link is not whole: open it as it stands in the message.</p>"
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


def routes(ctx: Context, queue: Queue) -> list[Route]:
    """The route of links in messages."""

    async def answer(request: Request) -> Response:
        async with ctx.db.connection() as connection:
            secret = await unsubscribe.secret(connection)
        try:
            wanted = unsubscribe.read(secret, request.path_params["token"])
            if request.method == "POST":
                await unsubscribe.leave(ctx, wanted)
        except SiyuError:
            return _page(BROKEN, 404)
        if request.method != "POST":
            return _page(ASK)
        try:
            await queue.push("decide", wanted.brand_id)
        except Exception:
            log.warning("could not queue the decisions of brand %s", wanted.brand_id, exc_info=True)
        return _page(DONE)

    return [Route("/unsubscribe/{token}", answer, methods=["GET", "POST"])]


def _page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(body=body), status, HEADERS)
