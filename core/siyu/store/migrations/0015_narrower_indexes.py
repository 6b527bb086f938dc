"""Fewer and smaller indexes under decisions: most of what a change costs is finding and changing their pages."""

from tortoise import migrations
from tortoise.migrations import operations as ops

# The tags of a user are found by an entry a user, not one a tag: a quarter of the size, and read with their rows.
# History is never looked for by its id alone, but for what an undo gives back: rows that came one after the other.
# Stages change all over their table, so that soon every range of it holds the newest.
FORWARD = """
ALTER TABLE tag_assignment DROP CONSTRAINT tag_assignment_pkey;
DROP INDEX tag_assignment_brand_id_tag_id_user_id_idx;
ALTER TABLE tag_assignment ADD PRIMARY KEY (brand_id, tag_id, user_id);
CREATE INDEX tag_assignment_user_idx ON tag_assignment (brand_id, user_id);
ALTER TABLE tag_history DROP CONSTRAINT tag_history_pkey, ADD PRIMARY KEY (brand_id, user_id, id);
DROP INDEX tag_history_brand_id_user_id_id_idx;
ALTER TABLE stage_history DROP CONSTRAINT stage_history_pkey, ADD PRIMARY KEY (brand_id, user_id, id);
DROP INDEX stage_history_brand_id_user_id_id_idx;
CREATE INDEX stage_history_id_idx ON stage_history USING brin (id);
DROP INDEX user_stage_since_idx;
"""
BACKWARD = """
CREATE INDEX user_stage_since_idx ON user_stage USING brin (since);
DROP INDEX stage_history_id_idx;
CREATE INDEX stage_history_brand_id_user_id_id_idx ON stage_history (brand_id, user_id, id);
ALTER TABLE stage_history DROP CONSTRAINT stage_history_pkey, ADD PRIMARY KEY (brand_id, id);
CREATE INDEX tag_history_brand_id_user_id_id_idx ON tag_history (brand_id, user_id, id);
ALTER TABLE tag_history DROP CONSTRAINT tag_history_pkey, ADD PRIMARY KEY (brand_id, id);
DROP INDEX tag_assignment_user_idx;
ALTER TABLE tag_assignment DROP CONSTRAINT tag_assignment_pkey;
CREATE INDEX tag_assignment_brand_id_tag_id_user_id_idx ON tag_assignment (brand_id, tag_id, user_id);
ALTER TABLE tag_assignment ADD PRIMARY KEY (brand_id, user_id, tag_id);
"""


class Migration(migrations.Migration):
    dependencies = [("siyu", "0014_lists")]

    initial = False

    operations = [ops.RunSQL(FORWARD, BACKWARD)]
