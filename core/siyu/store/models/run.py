"""Runs: the work done in the background, with its progress."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class Run(Model):
    """One refresh or import: running, done or failed; ``seconds`` by phase."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    kind = fields.CharField(max_length=20)
    status = fields.CharField(max_length=20, default="running")
    phase = fields.CharField(max_length=40, default="")
    progress = fields.FloatField(default=0)
    at = fields.DatetimeField()
    users = fields.BigIntField(default=0)
    changes = fields.BigIntField(default=0)
    seconds: fields.Field[dict[str, Any]] = fields.JSONField(default=dict)
    error = fields.TextField(null=True)
    started_at = fields.DatetimeField(auto_now_add=True)
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "run"
        indexes = (("brand_id", "id"),)
