"""Changes of tags, stages and actions in the order of commits, to be followed; signals go over Valkey; files."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from siyu.store.ddl import CreateTable


class Migration(migrations.Migration):
    dependencies = [("siyu", "0006_filters_and_segments")]

    initial = False

    operations = [
        ops.RunSQL(
            "DROP TRIGGER tell_run ON run; DROP FUNCTION tell_run();",
            """
            CREATE FUNCTION tell_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_notify('siyu', 'run:' || NEW.brand_id);
                RETURN NULL;
            END $$;
            CREATE TRIGGER tell_run AFTER INSERT OR UPDATE ON run FOR EACH ROW EXECUTE FUNCTION tell_run();
            """,
        ),
        CreateTable(
            name="ChangeBatch",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("noun", fields.CharField(max_length=10)),
                ("track", fields.CharField(null=True, max_length=80)),
                ("before", fields.CharField(null=True, max_length=80)),
                ("after", fields.CharField(null=True, max_length=80)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("written_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "change_batch",
                "app": "siyu",
                "pk_attr": "id",
                "table_description": "The same change of many: of users in a tag (``noun`` tag: its key ``after`` gaining it, ``before`` losing it) or",
            },
            # By the clock, so that moments come in the order of numbers. Old rows are found by them alone, which a BRIN
            # index answers at next to no cost for writers.
            sql="""
            CREATE SEQUENCE change_batch_id_seq;
            CREATE TABLE change_batch (
                brand_id int NOT NULL, id bigint NOT NULL DEFAULT nextval('change_batch_id_seq'),
                noun varchar(10) NOT NULL, track varchar(80), before varchar(80), after varchar(80),
                at timestamptz NOT NULL, written_at timestamptz NOT NULL DEFAULT clock_timestamp(), ids bigint[] NOT NULL,
                PRIMARY KEY (brand_id, noun, id)
            );
            CREATE INDEX ON change_batch USING brin (written_at) WITH (autosummarize = on);
            """,
        ),
        ops.CreateModel(
            name="File",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("direction", fields.CharField(max_length=10)),
                ("what", fields.CharField(max_length=80)),
                ("format", fields.CharField(max_length=10)),
                (
                    "options",
                    fields.JSONField(encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads),
                ),
                ("status", fields.CharField(max_length=10)),
                ("run_id", fields.BigIntField(null=True)),
                ("rows", fields.BigIntField(default=0)),
                ("rejects", fields.BigIntField(default=0)),
                ("size", fields.BigIntField(default=0)),
                ("error", fields.TextField(null=True, unique=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("created_by", fields.CharField(max_length=200)),
            ],
            options={
                "table": "file",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id", "id"])],
                "pk_attr": "id",
                "table_description": "An export (``what`` it holds, with its ``options``) or an import (the event kind that its lines are).",
            },
        ),
    ]
