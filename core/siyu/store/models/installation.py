"""The database itself."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Installation(Model):
    """One row that tells this database from others: what is derived from it on disk lies under this name."""

    id = fields.UUIDField(primary_key=True)

    class Meta:
        table = "installation"
