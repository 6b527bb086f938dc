"""Lists of tasks, done ones too, by their deadline, and of what was given of a benefit."""

from tortoise import migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0013_dead_addresses")]

    initial = False

    operations = [
        ops.RunSQL("CREATE INDEX task_deadline_idx ON task (brand_id, deadline, id)", "DROP INDEX task_deadline_idx"),
        ops.RunSQL(
            "CREATE INDEX granted_benefit_idx ON granted (brand_id, benefit, id)", "DROP INDEX granted_benefit_idx"
        ),
    ]
