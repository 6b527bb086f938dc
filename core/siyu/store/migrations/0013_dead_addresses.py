"""Addresses to which mail came back for good."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0012_content")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Identity",
            name="dead_since",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
    ]
