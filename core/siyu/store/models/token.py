"""Access tokens: only their hash is kept."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class AccessToken(Model):
    """A bearer token with a role, for one brand or (null) for all."""

    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=200, default="")
    prefix = fields.CharField(max_length=12)
    hash = fields.CharField(max_length=64, unique=True)
    role = fields.CharField(max_length=20)
    brand_id = fields.IntField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    expires_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "access_token"
