"""Messages that somebody asks for: a shop's notice, an operator's word. They pass the guard as all others do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from siyu.contract.errors import InputError, NotFound
from siyu.contract.playbooks import BENEFITS, TAGS, TASKS, Send
from siyu.flow import content
from siyu.flow.context import Context, now
from siyu.store.actions import ORDINARY, URGENT, plan_actions
from siyu.store.models import Brand, User

__all__ = ["MOST_USERS", "send"]

MOST_USERS = 1_000
"""In one call; for more there are playbooks."""
MESSAGE = "message"
"""What stands where an action of a playbook names it."""


async def send(ctx: Context, brand: Brand, users: Sequence[int], message: Send, *, key: str, by: str) -> int:
    """Plan the message for each of the users; returns how many are new.

    ``key`` is the caller's own name of it: asked for again, nobody is sent it twice. If one of them cannot be told it
    (:class:`InputError` says whom and why), nobody is.
    """
    if not 0 < len(key.strip()) <= 80:
        raise InputError("a message needs a name of 1 to 80 letters", field="key", remedy="name it, e.g. order-771")
    if not 0 < len(users) <= MOST_USERS:
        raise InputError(f"{len(users)} users", field="users", remedy=f"give 1 to {MOST_USERS:,}; to more, a playbook")
    channels = sorted(set(ctx.plugins.channels) - {TASKS, BENEFITS, TAGS})
    if message.channel not in channels:
        raise NotFound(
            f"no channel {message.channel!r} for messages", field="channel", remedy=f"use one of: {', '.join(channels)}"
        )
    there = {row.id for row in await User.filter(brand_id=brand.id, id__in=list(users)).only("id")}
    if unknown := [user for user in users if user not in there]:
        raise NotFound(f"no user {unknown[0]}", field="users", remedy="give users of the brand")
    said = await content.say(ctx, brand, replace(message, key=MESSAGE), sorted(there))
    for user, each in said.items():
        if each.wrong:
            raise InputError(f"user {user}: {each.wrong}", field="text", remedy="nobody was sent it")
    rows = pl.DataFrame(
        {
            "key": [f"by/{key}/{user}" for user in said],
            "user_id": list(said),
            "text": [each.text for each in said.values()],
            "body": [json.dumps(each.body, ensure_ascii=False) for each in said.values()],
        }
    ).with_columns(
        plugin=pl.lit("core"),
        playbook=pl.lit(MESSAGE),
        channel=pl.lit(message.channel),
        purpose=pl.lit(message.purpose),
        because=pl.lit(f"asked for: {key}"),
        lane=pl.lit(URGENT if message.urgent else ORDINARY),
    )
    async with ctx.db.transaction() as connection:
        planned = await plan_actions(connection, brand.id, rows, at=now(brand), asked_by=by)
    if planned:
        await ctx.db.signals.tell(brand.id, "action")
    return planned
