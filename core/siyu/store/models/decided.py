"""Snapshots of decisions, and who was decided since."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class DecidedUser(Model):
    """A user whose decisions were written since the brand's snapshot was made."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()

    class Meta:
        table = "decided_user"


class DecisionSnapshot(Model):
    """A snapshot that holds for a range of a brand's users, as of the decision with id ``upto``."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    low = fields.BigIntField()
    below = fields.BigIntField()
    upto = fields.BigIntField()

    class Meta:
        table = "decision_snapshot"
        indexes = (("brand_id", "low"),)
