"""The database itself."""

from __future__ import annotations

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault
from tortoise.models import Model


class Installation(Model):
    """One row that tells this database from others: what is derived from it on disk lies under this name.

    ``secret`` signs what is sent out and comes back.
    """

    id = fields.UUIDField(primary_key=True)
    secret = fields.CharField(
        max_length=80, db_default=SqlDefault("gen_random_uuid()::text || gen_random_uuid()::text")
    )

    class Meta:
        table = "installation"
