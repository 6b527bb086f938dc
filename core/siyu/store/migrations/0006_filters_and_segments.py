"""Indexes for what users, events and actions are filtered by; segments: filters that are kept."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

# Those of moments that rows are written in are BRIN: who writes hardly pays for them. A state that few actions are in
# is looked for among all that were sent; attributes are looked for only of who has some.
INDEXES = {
    "users_attributes_idx": "users USING gin (attributes jsonb_path_ops) WHERE attributes <> '{}'",
    "users_first_seen_idx": "users (brand_id, first_seen, id)",
    "event_kind_idx": "event (brand_id, kind, id)",
    "event_at_idx": "event USING brin (at)",
    "action_rare_idx": "action (brand_id, status, id) WHERE status IN ('failed', 'unknown')",
    "user_stage_since_idx": "user_stage USING brin (since)",
    "stage_history_until_idx": "stage_history USING brin (until)",
}


class Migration(migrations.Migration):
    dependencies = [("siyu", "0005_merges")]

    initial = False

    operations = [
        *(
            ops.RunSQL(f"CREATE INDEX {name} ON {definition}", f"DROP INDEX {name}")
            for name, definition in INDEXES.items()
        ),
        ops.CreateModel(
            name="Segment",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("name", fields.CharField(max_length=80)),
                ("title", fields.CharField(max_length=200)),
                ("selection", fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("created_by", fields.CharField(max_length=200)),
                ("changed_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ("changed_by", fields.CharField(max_length=200)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "segment",
                "app": "siyu",
                "unique_together": (("brand_id", "name"),),
                "pk_attr": "id",
                "table_description": "A filter under a name that is the brand's for good; one that is deleted can be restored.",
            },
            bases=["Model"],
        ),
    ]
