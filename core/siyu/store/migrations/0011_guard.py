"""How channels fare and what was used of them; actions are claimed by channel."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0010_playbooks")]

    initial = False

    operations = [
        ops.CreateModel(
            name="ChannelState",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("channel", fields.CharField(max_length=80)),
                ("failures", fields.IntField(default=0, db_default=0)),
                ("closed_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("busy_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "channel_state",
                "app": "siyu",
                "unique_together": (("brand_id", "channel"),),
                "pk_attr": "id",
                "table_description": "A channel of a brand, as all workers see it.",
            },
        ),
        ops.CreateModel(
            name="ChannelUse",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("channel", fields.CharField(max_length=80)),
                ("day", fields.DateField()),
                ("used", fields.BigIntField()),
            ],
            options={
                "table": "channel_use",
                "app": "siyu",
                "unique_together": (("brand_id", "channel", "day"),),
                "pk_attr": "id",
                "table_description": "How many actions a channel took on a day of the brand; those that failed are not counted.",
            },
        ),
        # With the id: of a campaign all fall due at once, and without it each claim would sort all that wait.
        ops.RunSQL(
            """
            DROP INDEX action_brand_id_lane_due_at_idx;
            CREATE INDEX action_due_idx ON action (brand_id, channel, lane, due_at, id)
                WHERE status IN ('planned', 'held', 'leased');
            """
        ),
    ]
