"""Who was decided since."""

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
