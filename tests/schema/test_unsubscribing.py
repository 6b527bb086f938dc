"""A link in a message ends messages of its kind: the button on its page does, and looking at the page does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from siyu import InputError
from siyu.flow import unsubscribe
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.unsubscribe import Leaving
from siyu.store.models import Brand, Event, Identity, Installation

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def link(ctx: Context, brand: Brand) -> str:
    await record(ctx, brand, [IncomingEvent("c", "contact.added", {"member": "1"}, {}, AT)])
    user = await Identity.get(brand_id=brand.id, value="1")
    async with ctx.db.connection() as connection:
        secret = await unsubscribe.secret(connection)
    return "/unsubscribe/" + unsubscribe.token(secret, Leaving(brand.id, user.user_id, "sales", "email"))


async def withdrawn(brand: Brand) -> list[Any]:
    return [row.payload for row in await Event.filter(brand_id=brand.id, kind="consent.withdrawn")]


async def test_looking_at_the_link_changes_nothing_and_the_button_does(api: Any, brand: Brand, link: str) -> None:
    page = await api.http.get(link)
    assert (page.status_code, '<form method="post">' in page.text) == (200, True)
    assert page.headers["cache-control"] == "no-store"
    assert await withdrawn(brand) == []
    # As mail programs send it (RFC 8058): without a cookie, a token of ours, or anybody looking.
    for _ in range(2):
        done = await api.http.post(link, data={"List-Unsubscribe": "One-Click"})
        assert (done.status_code, "unsubscribed" in done.text) == (200, True)
    assert await withdrawn(brand) == [{"purpose": "sales", "channel": "email", "source": "unsubscribe"}]
    assert ("decide", brand.id) in api.queue.pushed


@pytest.mark.parametrize("broken", ["x", "a.b", "", "ä.ö", "YWJj.YWJj", "{link}x", "x{link}", "{link}.{link}"])
async def test_a_link_that_is_not_ours_is_refused(api: Any, brand: Brand, link: str, broken: str) -> None:
    token = broken.format(link=link.removeprefix("/unsubscribe/"))
    for answer in (await api.http.get(f"/unsubscribe/{token}"), await api.http.post(f"/unsubscribe/{token}")):
        assert answer.status_code == 404
    assert await withdrawn(brand) == []


async def test_a_link_is_signed_by_this_installation_and_names_one_user(ctx: Context, brand: Brand, link: str) -> None:
    token = link.removeprefix("/unsubscribe/")
    [installation] = await Installation.all()
    assert len(installation.secret) >= 64
    secret = installation.secret.encode()
    wanted = unsubscribe.read(secret, token)
    assert (wanted.brand_id, wanted.purpose, wanted.channel) == (brand.id, "sales", "email")
    with pytest.raises(InputError):
        unsubscribe.read(b"another", token)
    _, _, signature = token.partition(".")
    other = unsubscribe.token(secret, Leaving(brand.id, wanted.user_id + 1, "sales", "email"))
    with pytest.raises(InputError):
        unsubscribe.read(secret, f"{other.partition('.')[0]}.{signature}")
