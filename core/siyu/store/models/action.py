"""The ledger of actions, and the outbox."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Action(Model):
    """Something to be done for a user: planned → leased → sent, failed or unknown.

    ``key`` is the idempotency key, unique in the brand. ``detail`` says what became of it.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    key = fields.CharField(max_length=200)
    user_id = fields.BigIntField()
    plugin = fields.CharField(max_length=80)
    playbook = fields.CharField(max_length=80)
    channel = fields.CharField(max_length=80)
    purpose = fields.CharField(max_length=20)
    text = fields.TextField()
    because = fields.TextField()
    status = fields.CharField(max_length=20, default="planned")
    detail = fields.TextField(default="")
    attempts = fields.IntField(default=0)
    rulebook_id = fields.BigIntField()
    planned_at = fields.DatetimeField()
    due_at = fields.DatetimeField()
    leased_until = fields.DatetimeField(null=True)
    done_at = fields.DatetimeField(null=True)

    class Meta:
        table = "action"


class OutboxMessage(Model):
    """A message in the outbox: what a person would have received."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    action_id = fields.BigIntField()
    user_id = fields.BigIntField()
    text = fields.TextField()
    at = fields.DatetimeField()

    class Meta:
        table = "outbox_message"
        unique_together = (("brand_id", "action_id"),)
