"""Decisions that were given back."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class RestoredUser(Model):
    """A user to whom an undo gave back decisions, which may have left no other trace."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    user_id = fields.BigIntField()

    class Meta:
        table = "restored_user"
