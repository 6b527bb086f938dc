"""Benefits: what there is to give, and to whom it was given."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Benefit(Model):
    """Something of which there are ``stock`` to give, ``given`` of them by now, each good for some days (null: for
    good)."""

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    key = fields.CharField(max_length=80)
    title = fields.CharField(max_length=200)
    stock = fields.IntField()
    given = fields.IntField(default=0)
    expires_days = fields.IntField(null=True)

    class Meta:
        table = "benefit"
        unique_together = (("brand_id", "key"),)


class Granted(Model):
    """A benefit that a user was given, by an action, once; ``code`` is what they show for it."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    action_id = fields.BigIntField()
    user_id = fields.BigIntField()
    benefit = fields.CharField(max_length=80)
    code = fields.CharField(max_length=20)
    at = fields.DatetimeField()
    expires_at = fields.DatetimeField(null=True)

    class Meta:
        table = "granted"
