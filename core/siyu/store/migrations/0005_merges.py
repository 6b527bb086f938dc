"""Users who have turned out to be one, and what their merges ended."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0004_freshness_and_pins")]

    initial = False

    operations = [
        ops.CreateModel(
            name="MergedUser",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("into_id", fields.BigIntField()),
                ("merge_id", fields.BigIntField()),
            ],
            options={
                "table": "merged_user",
                "app": "siyu",
                "unique_together": (("brand_id", "user_id"),),
                "indexes": [Index(fields=["brand_id", "into_id"])],
                "pk_attr": "id",
                "table_description": "A user who counts as another, who was known before (``into_id``), since a merge. Follows from the merges.",
            },
        ),
        ops.CreateModel(
            name="UserMerge",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
                ("other_id", fields.BigIntField()),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("by", fields.CharField(max_length=300)),
                ("reason", fields.TextField(default="", unique=False)),
                (
                    "names",
                    fields.JSONField(
                        default=list, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads
                    ),
                ),
                ("undone_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("undone_by", fields.CharField(null=True, max_length=300)),
            ],
            options={
                "table": "user_merge",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "id"]), Index(fields=["brand_id", "user_id"])],
                "pk_attr": "id",
                "table_description": "Two users are one person: who says so, when, why, and by which identities (``names``: of the one, of the other).",
            },
        ),
        ops.AddField(model_name="DirtyUser", name="quiet", field=fields.BooleanField(default=False, db_default=False)),
        ops.AddField(
            model_name="StageHistory",
            name="merge_id",
            field=fields.BigIntField(null=True),
        ),
        ops.AddField(
            model_name="TagHistory",
            name="merge_id",
            field=fields.BigIntField(null=True),
        ),
    ]
