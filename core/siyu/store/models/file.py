"""Files that are handed out or taken in."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class File(Model):
    """An export (``what`` it holds, with its ``options``) or an import (the event kind that its lines are).

    open (an import that is waited for) → waiting → done or failed. ``rejects`` is how many lines could not be used.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    direction = fields.CharField(max_length=10)
    what = fields.CharField(max_length=80)
    format = fields.CharField(max_length=10)
    options: fields.Field[dict[str, Any]] = fields.JSONField()
    status = fields.CharField(max_length=10)
    run_id = fields.BigIntField(null=True)
    rows = fields.BigIntField(default=0)
    rejects = fields.BigIntField(default=0)
    size = fields.BigIntField(default=0)
    error = fields.TextField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    created_by = fields.CharField(max_length=200)

    class Meta:
        table = "file"
        indexes = (("brand_id", "id"),)
