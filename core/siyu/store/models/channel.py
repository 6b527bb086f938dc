"""How channels fare, and how much of them was used."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class ChannelState(Model):
    """A channel of a brand, as all workers see it.

    After too many ``failures`` in a row it is left alone until ``closed_until``. Until ``busy_until`` it has as many
    messages as it may be handed.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    channel = fields.CharField(max_length=80)
    failures = fields.IntField(default=0, db_default=0)
    closed_until = fields.DatetimeField(null=True)
    busy_until = fields.DatetimeField(null=True)

    class Meta:
        table = "channel_state"
        unique_together = (("brand_id", "channel"),)


class ChannelUse(Model):
    """How many actions a channel took on a day of the brand; those that failed are not counted."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    channel = fields.CharField(max_length=80)
    day = fields.DateField()
    used = fields.BigIntField()

    class Meta:
        table = "channel_use"
        unique_together = (("brand_id", "channel", "day"),)
