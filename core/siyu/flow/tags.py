"""Tags that playbooks give: a step ``AddTag`` becomes an event of its user, and a rule of the rulebook says who has the
tag by these events. So it is decided, explained, replayed and taken back as any other."""

from __future__ import annotations

import json
from collections.abc import Sequence

from siyu.contract.channels import Channel, Message, Receipt
from siyu.contract.events import TAG_ADDED
from siyu.contract.params import Params
from siyu.contract.playbooks import TAGS
from siyu.store.db import Database
from siyu.store.events import append, names_of

__all__ = ["Tags"]


class Tags(Channel):
    """The channel of tags: each message gives its user the tag whose key it says."""

    key = TAGS
    title = "标签"
    repeatable = True
    counts = False
    batch = 1_000

    def __init__(self, db: Database, brand_id: int) -> None:
        self._db = db
        self._brand_id = brand_id

    async def deliver(self, messages: Sequence[Message], p: Params) -> Sequence[Receipt]:
        async with self._db.transaction() as connection:
            names = await names_of(connection, self._brand_id, [message.user_id for message in messages])
            rows = [
                (f"tag.added/{each.action_id}", TAG_ADDED, each.at, *names[each.user_id], _payload(each))
                for each in messages
                if each.user_id in names
            ]
            # The same again is known by its key.
            await append(connection, self._brand_id, rows)
        return [
            Receipt(each.action_id, "sent") if each.user_id in names else Receipt(each.action_id, "failed", "no name")
            for each in messages
        ]


def _payload(message: Message) -> str:
    # Of the key the playbook and the step; not whose enrolment it was.
    by = message.key.rpartition("/")[0]
    return json.dumps({"tag": message.text, "by": by}, ensure_ascii=False)
