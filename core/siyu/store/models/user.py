"""Users of a brand and the identities that they are known by."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class User(Model):
    """One person, as one brand knows them. ``attributes`` are the latest values that events gave."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    attributes: fields.Field[dict[str, str]] = fields.JSONField(default=dict)
    first_seen = fields.DatetimeField()
    last_seen = fields.DatetimeField()

    class Meta:
        table = "users"


class Identity(Model):
    """A name that a user goes by somewhere: a member number, an openid, a phone, ..."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    kind = fields.CharField(max_length=40)
    value = fields.CharField(max_length=200)
    user_id = fields.BigIntField()

    class Meta:
        table = "identity"
