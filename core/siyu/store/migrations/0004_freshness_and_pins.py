"""What the last run did to each tag and stage; changes of runs are told to who listens; states that are kept."""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.fields.db_defaults import SqlDefault
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0003_cohorts_and_restoring")]

    initial = False

    operations = [
        ops.RunSQL(
            """
            CREATE FUNCTION tell_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_notify('siyu', 'run:' || NEW.brand_id);
                RETURN NULL;
            END $$;
            CREATE TRIGGER tell_run AFTER INSERT OR UPDATE ON run FOR EACH ROW EXECUTE FUNCTION tell_run();
            """,
            "DROP TRIGGER tell_run ON run; DROP FUNCTION tell_run();",
        ),
        *(
            ops.AddField(model_name=model, name=name, field=field)
            for model in ("Stage", "Tag")
            for name, field in (
                ("run_id", fields.BigIntField(null=True)),
                ("gained", fields.BigIntField(default=0, db_default=0)),
                ("lost", fields.BigIntField(default=0, db_default=0)),
            )
        ),
        ops.AddField(
            model_name="PluginSetting",
            name="pinned",
            field=fields.JSONField(
                default=dict,
                db_default=SqlDefault("'{}'"),
                encoder=functools.partial(dumps, separators=(",", ":")),
                decoder=loads,
            ),
        ),
    ]
