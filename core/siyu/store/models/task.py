"""What people are to do."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class Task(Model):
    """Something that a person is to do for a user, by a deadline: open → taken → done, or escalated where nobody did.

    Made from an action, once. ``role`` is whose it is now. ``log`` is the whole story, an entry a change: the moment,
    the status, who changed it, and words.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    action_id = fields.BigIntField()
    user_id = fields.BigIntField()
    role = fields.CharField(max_length=80)
    title = fields.TextField()
    text = fields.TextField(default="")
    deadline = fields.DatetimeField()
    escalate_to = fields.CharField(max_length=80, default="")
    status = fields.CharField(max_length=10, default="open")
    assignee = fields.CharField(max_length=200, default="")
    outcome = fields.TextField(default="")
    made_at = fields.DatetimeField()
    taken_at = fields.DatetimeField(null=True)
    escalated_at = fields.DatetimeField(null=True)
    done_at = fields.DatetimeField(null=True)
    log: fields.Field[list[Any]] = fields.JSONField(default=list)

    class Meta:
        table = "task"
