"""The event log: only ever appended."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class Event(Model):
    """Something that happened. ``key`` is the sender's id of it, unique in the brand."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    key = fields.CharField(max_length=200)
    user_id = fields.BigIntField()
    kind = fields.CharField(max_length=80)
    at = fields.DatetimeField()
    payload: fields.Field[dict[str, Any]] = fields.JSONField()
    received_at = fields.DatetimeField()

    class Meta:
        table = "event"


class DirtyUser(Model):
    """A user with events that no decision has seen yet; a row a mark, so that marking never waits.

    ``quiet`` is the mark of one who was merged or parted: that sets off no playbook, though something may have happened
    to them at the same time, too. Better no message than a wrong one.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    quiet = fields.BooleanField(default=False, db_default=False)

    class Meta:
        table = "dirty_user"


class RejectedEvent(Model):
    """An event that was refused, kept with the reason."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    field = fields.TextField(null=True)
    reason = fields.TextField()
    received: fields.Field[Any] = fields.JSONField()
    received_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "rejected_event"
        indexes = (("brand_id", "id"),)


class SealedRange(Model):
    """A closed range of event ids that the lake holds as Parquet."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    first_id = fields.BigIntField()
    last_id = fields.BigIntField()

    class Meta:
        table = "sealed_range"
        unique_together = (("brand_id", "first_id"),)
