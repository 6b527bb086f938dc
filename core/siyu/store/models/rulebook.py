"""Which plugins a brand has on, how they are set, and the versions of the rulebook that came of it."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class PluginSetting(Model):
    """A plugin of a brand: on or off, with parameters by declaration."""

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    plugin = fields.CharField(max_length=80)
    enabled = fields.BooleanField(default=True)
    params: fields.Field[dict[str, Any]] = fields.JSONField(default=dict)
    changed_at = fields.DatetimeField(auto_now=True)
    changed_by = fields.CharField(max_length=200, default="")

    class Meta:
        table = "plugin_setting"
        unique_together = (("brand_id", "plugin"),)


class SettingChange(Model):
    """Who changed how a plugin is set, when, from what to what. ``undoes`` is the change that it takes back."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    plugin = fields.CharField(max_length=80)
    by = fields.CharField(max_length=200)
    at = fields.DatetimeField(auto_now_add=True)
    before: fields.Field[dict[str, Any]] = fields.JSONField()
    after: fields.Field[dict[str, Any]] = fields.JSONField()
    undoes = fields.BigIntField(null=True)

    class Meta:
        table = "setting_change"
        indexes = (("brand_id", "id"),)


class Fence(Model):
    """A rule that failed for a brand, and since when. Its last good decisions stand until it works again."""

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    plugin = fields.CharField(max_length=80)
    rule = fields.CharField(max_length=80)
    error = fields.TextField()
    since = fields.DatetimeField()
    last_good = fields.DatetimeField(null=True)

    class Meta:
        table = "fence"
        unique_together = (("brand_id", "plugin", "rule"),)


class RulebookVersion(Model):
    """A rulebook as decisions were made by it: settings, states, conditions and reasons."""

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    version = fields.CharField(max_length=16)
    content: fields.Field[dict[str, Any]] = fields.JSONField()
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "rulebook_version"
        unique_together = (("brand_id", "version"),)
