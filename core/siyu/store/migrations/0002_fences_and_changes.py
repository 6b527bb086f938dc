"""Fences of rules that fail, and the history of settings."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0001_initial")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Fence",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("plugin", fields.CharField(max_length=80)),
                ("rule", fields.CharField(max_length=80)),
                ("error", fields.TextField(unique=False)),
                ("since", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("last_good", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "fence",
                "app": "siyu",
                "unique_together": (("brand_id", "plugin", "rule"),),
                "pk_attr": "id",
                "table_description": "A rule that failed for a brand, and since when. Its last good decisions stand until it works again.",
            },
        ),
        ops.CreateModel(
            name="SettingChange",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("plugin", fields.CharField(max_length=80)),
                ("by", fields.CharField(max_length=200)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("before", fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads)),
                ("after", fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads)),
                ("undoes", fields.BigIntField(null=True)),
            ],
            options={
                "table": "setting_change",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "id"])],
                "pk_attr": "id",
                "table_description": "Who changed how a plugin is set, when, from what to what. ``undoes`` is the change that it takes back.",
            },
        ),
    ]
