"""What siyu keeps: Tortoise models, migrations, bulk copy, the event log and its columnar lake."""
