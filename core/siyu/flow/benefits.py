"""Benefits: coupons and gifts, of which there are so many; a step ``Grant`` gives one, with a code to show for it."""

from __future__ import annotations

import re
import secrets
from collections import defaultdict
from collections.abc import Sequence

from siyu.contract.channels import Channel, Message, Receipt
from siyu.contract.errors import InputError
from siyu.contract.params import Params
from siyu.contract.playbooks import BENEFITS
from siyu.flow import audit
from siyu.flow.context import Context
from siyu.store import benefits as store
from siyu.store.db import Database
from siyu.store.models import Benefit, Brand

__all__ = ["SOLD_OUT", "Benefits", "listed", "put"]

SOLD_OUT = "sold_out"
MOST_BENEFITS = 1_000
MOST_STOCK = 10_000_000
LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Of codes: none that is taken for another when it is read out."""
_KEY = re.compile(r"[a-z][a-z0-9_]{0,79}\Z")


class Benefits(Channel):
    """The channel of what is given: each message gives the benefit whose key it says."""

    key = BENEFITS
    title = "权益"
    repeatable = True
    counts = False

    def __init__(self, db: Database, brand_id: int) -> None:
        self._db = db
        self._brand_id = brand_id

    async def deliver(self, messages: Sequence[Message], p: Params) -> Sequence[Receipt]:
        by_key: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            by_key[message.text].append(message)
        receipts = []
        # In one order, so that two workers never wait for each other.
        for key, mine in sorted(by_key.items()):
            wanted = [(each.action_id, each.user_id, _code(), each.at) for each in mine]
            async with self._db.transaction() as connection:
                given = await store.give(connection, self._brand_id, key, wanted)
            for each in mine:
                if given is None:
                    receipts.append(Receipt(each.action_id, "failed", f"the brand has no benefit {key!r}"))
                elif each.action_id in given:
                    receipts.append(Receipt(each.action_id, "sent", given[each.action_id]))
                else:
                    receipts.append(Receipt(each.action_id, "failed", SOLD_OUT))
        return receipts


async def put(
    ctx: Context, brand: Brand, key: str, *, stock: int, title: str = "", expires_days: int | None = None, by: str = ""
) -> Benefit:
    """Set how many there are of a benefit in all, those that are given included, and for how many days one is good."""
    if not _KEY.match(key):
        raise InputError(f"the key {key!r}", field="key", remedy="use up to 80 lower-case letters, digits and _")
    if len(title) > 200 or not (title or key).isprintable():
        raise InputError(f"the title {title[:50]!r}", field="title", remedy="give up to 200 letters in one line")
    if not 0 <= stock <= MOST_STOCK:
        raise InputError(f"a stock of {stock:,}", field="stock", remedy=f"give 0 to {MOST_STOCK:,}")
    if expires_days is not None and not 1 <= expires_days <= 3_650:
        raise InputError(f"good for {expires_days} days", field="days", remedy="give 1 to 3,650, or none")
    before = await Benefit.get_or_none(brand_id=brand.id, key=key)
    if before is None and await Benefit.filter(brand_id=brand.id).count() >= MOST_BENEFITS:
        raise InputError(f"{MOST_BENEFITS} benefits", field="key", remedy="change one that is no longer needed")
    async with ctx.db.transaction() as connection:
        row = await store.put(connection, brand.id, key, title or key, stock, expires_days)
    if row is None:
        raise InputError(f"more than {stock:,} are given already", field="stock", remedy="give a greater one")
    shown = {"title": title or key, "stock": stock, "expiresDays": expires_days}
    was = None
    if before is not None:
        was = {"title": before.title, "stock": before.stock, "expiresDays": before.expires_days}
    await audit.note(brand.id, by, "setBenefit", target=key, before=was, after=shown)
    return await Benefit.get(id=row["id"])


async def listed(brand: Brand) -> list[Benefit]:
    """The benefits of a brand, by key."""
    return await Benefit.filter(brand_id=brand.id).order_by("key")


def _code() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(10))
