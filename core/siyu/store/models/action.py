"""The ledger of actions, the outbox, and what users consent to."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault
from tortoise.models import Model


class Action(Model):
    """Something to be done for a user: planned → held | suppressed | leased → sent | failed | unknown → delivered →
    opened | clicked | replied.

    ``key`` is the idempotency key, unique in the brand. ``log`` is the whole story, an entry a transition: the moment,
    the status, the reason's code, and words; ``reason`` and ``detail`` are those of the last. ``body`` is what there is
    besides the text. Of actions that are not urgent the ``lane`` is greater. ``touched_at`` is when it left for the
    user, in the brand's time.
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
    rulebook_id = fields.BigIntField(null=True)
    enrolment_id = fields.BigIntField(null=True)
    version_id = fields.BigIntField(null=True)
    step = fields.CharField(max_length=80, default="", db_default="")
    lane = fields.SmallIntField(default=5, db_default=5)
    body: fields.Field[dict[str, Any]] = fields.JSONField(default=dict, db_default=SqlDefault("'{}'"))
    reason = fields.CharField(max_length=40, default="", db_default="")
    log: fields.Field[list[Any]] = fields.JSONField(default=list, db_default=SqlDefault("'[]'"))
    asked_by = fields.CharField(max_length=300, default="", db_default="")
    planned_at = fields.DatetimeField()
    due_at = fields.DatetimeField()
    leased_until = fields.DatetimeField(null=True)
    touched_at = fields.DatetimeField(null=True)
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


class Consent(Model):
    """What a user said last to messages of a purpose by a channel (empty: of any)."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()
    purpose = fields.CharField(max_length=20, default="")
    channel = fields.CharField(max_length=80, default="")
    given = fields.BooleanField()
    at = fields.DatetimeField()
    event_id = fields.BigIntField(null=True)

    class Meta:
        table = "consent"
