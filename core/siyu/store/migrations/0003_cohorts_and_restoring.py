"""Settings that hold for some of the users, rulebooks by cohort, and decisions that an undo gives back."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.fields.db_defaults import SqlDefault
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from siyu.store.ddl import CreateTable, table


class Migration(migrations.Migration):
    dependencies = [("siyu", "0002_fences_and_changes")]

    initial = False

    operations = [
        CreateTable(
            name="DecidedUser",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("user_id", fields.BigIntField()),
            ],
            options={
                "table": "decided_user",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A user whose decisions were written since the brand's snapshot was made.",
            },
            sql=table("decided_user", "user_id bigint NOT NULL", key="id", sequence="decision_id_seq"),
        ),
        ops.CreateModel(
            name="DecisionSnapshot",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("low", fields.BigIntField()),
                ("below", fields.BigIntField()),
                ("upto", fields.BigIntField()),
            ],
            options={
                "table": "decision_snapshot",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "low"])],
                "pk_attr": "id",
                "table_description": "A snapshot that holds for a range of a brand's users, as of the decision with id ``upto``.",
            },
        ),
        # Rows are updated in place all over a table, so that soon every range of it holds the newest ids.
        ops.RunSQL(f"DROP INDEX {', '.join(f'{t}_id_idx' for t in ('tag_assignment', 'user_stage'))}"),
        ops.AddField(
            model_name="Brand",
            name="rulebooks",
            field=fields.JSONField(
                default=list,
                db_default=SqlDefault("'[]'"),
                encoder=functools.partial(dumps, separators=(",", ":")),
                decoder=loads,
            ),
        ),
        ops.RunSQL(
            "UPDATE brand SET rulebooks = jsonb_build_array(jsonb_build_array(100, rulebook_id))"
            " WHERE rulebook_id IS NOT NULL"
        ),
        ops.RemoveField(model_name="Brand", name="rulebook_id"),
        ops.AddField(
            model_name="PluginSetting",
            name="base",
            field=fields.JSONField(null=True, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads),
        ),
        ops.AddField(model_name="PluginSetting", name="percent", field=fields.IntField(default=100, db_default=100)),
        ops.AddField(model_name="SettingChange", name="mark", field=fields.BigIntField(default=0, db_default=0)),
        ops.AddField(model_name="SettingChange", name="restores", field=fields.BigIntField(null=True)),
        ops.AlterModelOptions(
            name="StageHistory",
            options={
                "table": "stage_history",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "Where a user stood, ``since`` one moment ``until`` another; ``held_id`` was the id of the row while they did.",
            },
        ),
        ops.AddField(model_name="StageHistory", name="held_id", field=fields.BigIntField(default=0, db_default=0)),
        ops.AlterModelOptions(
            name="TagHistory",
            options={
                "table": "tag_history",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "A user had a tag ``since`` one moment ``until`` another; ``held_id`` was the id of the assignment.",
            },
        ),
        ops.AddField(model_name="TagHistory", name="held_id", field=fields.BigIntField(default=0, db_default=0)),
    ]
