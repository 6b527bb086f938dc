"""The audit log: only ever appended."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class AuditEntry(Model):
    """Who did or read what, and when. ``brand_id`` is 0 for what belongs to no brand.

    ``users`` is of how many users personal data was read. How plugins are set is not noted here: that has its own
    history, which is read beside this.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    at = fields.DatetimeField(auto_now_add=True)
    by = fields.CharField(max_length=200)
    what = fields.CharField(max_length=80)
    target = fields.CharField(max_length=200, default="")
    users = fields.IntField(null=True)
    operation = fields.CharField(max_length=200, default="")
    request_id = fields.CharField(max_length=40, default="")
    before: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)
    after: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)

    class Meta:
        table = "audit_entry"
        indexes = (("brand_id", "at", "id"),)
