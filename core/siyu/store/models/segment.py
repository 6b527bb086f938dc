"""Segments: filters of users that are kept under a name."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class Segment(Model):
    """A filter under a name that is the brand's for good; one that is deleted can be restored."""

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    name = fields.CharField(max_length=80)
    title = fields.CharField(max_length=200)
    selection: fields.Field[dict[str, Any]] = fields.JSONField()
    created_at = fields.DatetimeField(auto_now_add=True)
    created_by = fields.CharField(max_length=200)
    changed_at = fields.DatetimeField(auto_now=True)
    changed_by = fields.CharField(max_length=200)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "segment"
        unique_together = (("brand_id", "name"),)
