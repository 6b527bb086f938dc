"""Access tokens: only their hash is kept."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class AccessToken(Model):
    """A bearer token with a role, for one brand or (null) for all.

    ``personal`` says that it sees personal data whatever its role; ``used_at`` is right to a minute.
    """

    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=200, default="")
    prefix = fields.CharField(max_length=12)
    hash = fields.CharField(max_length=64, unique=True)
    role = fields.CharField(max_length=20)
    brand_id = fields.IntField(null=True)
    personal = fields.BooleanField(default=False, db_default=False)
    created_at = fields.DatetimeField(auto_now_add=True)
    expires_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)
    used_at = fields.DatetimeField(null=True)

    class Meta:
        table = "access_token"
