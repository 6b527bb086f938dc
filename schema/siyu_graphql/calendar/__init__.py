"""The calendar of content: what the days ahead have in plan."""
