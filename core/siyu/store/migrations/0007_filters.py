"""Indexes for what users, events and actions are filtered by."""

from tortoise import migrations
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
        ops.RunSQL(f"CREATE INDEX {name} ON {definition}", f"DROP INDEX {name}") for name, definition in INDEXES.items()
    ]
