"""How many users each brand has, kept with every statement that adds or takes some."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("siyu", "0007_changes")]

    initial = False

    operations = [
        ops.CreateModel(
            name="UserCount",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("brand_id", fields.IntField()),
                ("users", fields.BigIntField()),
            ],
            options={
                "table": "user_count",
                "app": "siyu",
                "indexes": [Index(fields=["brand_id"])],
                "pk_attr": "id",
                "table_description": "By how many users a brand grew; all of a brand together are how many it has.",
            },
        ),
        ops.RunSQL(
            """
            INSERT INTO user_count (brand_id, users) SELECT brand_id, count(*) FROM users GROUP BY brand_id;
            CREATE FUNCTION count_users() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO user_count (brand_id, users)
                    SELECT brand_id, CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * count(*) FROM changed GROUP BY brand_id;
                RETURN NULL;
            END $$;
            CREATE TRIGGER count_added AFTER INSERT ON users REFERENCING NEW TABLE AS changed
                FOR EACH STATEMENT EXECUTE FUNCTION count_users();
            CREATE TRIGGER count_taken AFTER DELETE ON users REFERENCING OLD TABLE AS changed
                FOR EACH STATEMENT EXECUTE FUNCTION count_users();
            """,
            "DROP TRIGGER count_added ON users; DROP TRIGGER count_taken ON users; DROP FUNCTION count_users();",
        ),
    ]
