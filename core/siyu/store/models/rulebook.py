"""Which plugins a brand has on, how they are set, and the versions of the rulebook that came of it."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault
from tortoise.models import Model


class PluginSetting(Model):
    """A plugin of a brand: on or off, with parameters by declaration.

    While a change is rolled out it holds for ``percent`` of the users, and ``base`` says how it is for the others.
    ``pinned`` are the rules that are not fitted, each with the version of the rulebook whose state they keep.
    """

    id = fields.IntField(primary_key=True)
    brand_id = fields.IntField()
    plugin = fields.CharField(max_length=80)
    enabled = fields.BooleanField(default=True)
    params: fields.Field[dict[str, Any]] = fields.JSONField(default=dict)
    percent = fields.IntField(default=100, db_default=100)
    base: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)
    pinned: fields.Field[dict[str, str]] = fields.JSONField(default=dict, db_default=SqlDefault("'{}'"))
    changed_at = fields.DatetimeField(auto_now=True)
    changed_by = fields.CharField(max_length=200, default="")

    @property
    def own(self) -> dict[str, Any]:
        """Whether it is ``enabled``, its ``params``, and what is ``pinned``, if anything is."""
        pinned = {"pinned": self.pinned} if self.pinned else {}
        return {"enabled": self.enabled, "params": self.params, **pinned}

    def holds(self, bucket: int) -> dict[str, Any]:
        """How it is for the users of a bucket: as :attr:`own`."""
        return self.own if self.base is None or bucket < self.percent else self.base

    def pin(self, rule: str, version: str | None) -> None:
        """Keep a rule to the state of a version, or (None) no longer: for all users, also while a change is rolled
        out."""
        kept = {} if version is None else {rule: version}
        self.pinned = {**_without(self.pinned, rule), **kept}
        if self.base is not None:
            self.base = {**self.base, "pinned": {**_without(self.base.get("pinned", {}), rule), **kept}}

    class Meta:
        table = "plugin_setting"
        unique_together = (("brand_id", "plugin"),)


def _without(pinned: dict[str, str], rule: str) -> dict[str, str]:
    return {name: version for name, version in pinned.items() if name != rule}


class SettingChange(Model):
    """Who changed how a plugin is set, when, from what to what. ``undoes`` is the change that it takes back.

    ``mark`` is the newest decision that there was. An undo ``restores`` those before a mark, until a refresh has.
    """

    id = fields.BigIntField(primary_key=True)
    brand_id = fields.IntField()
    plugin = fields.CharField(max_length=80)
    by = fields.CharField(max_length=200)
    at = fields.DatetimeField(auto_now_add=True)
    before: fields.Field[dict[str, Any]] = fields.JSONField()
    after: fields.Field[dict[str, Any]] = fields.JSONField()
    undoes = fields.BigIntField(null=True)
    mark = fields.BigIntField(default=0, db_default=0)
    restores = fields.BigIntField(null=True)

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
