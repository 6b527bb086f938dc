"""How fresh tags and stages are, as a client is told."""

from __future__ import annotations

from typing import Any

FRESHNESS = "freshness { asOf lag seconds users gained lost error errorSince run { id status users changes seconds } }"
QUERY = f"""{{ brand(slug: "shop") {{
  now refreshedAt
  tags {{ key asOf users {FRESHNESS} }}
  stages {{ key track users {FRESHNESS} }}
  runs(first: 1) {{ nodes {{ id users changes seconds }} }} }} }}"""


async def test_tags_and_stages_tell_of_the_same_run_in_one_reading(world: Any) -> None:
    with world.statements() as sent:
        brand = (await world.data(QUERY))["brand"]
    assert len(sent) == 6, "tags, stages, the freshness of each, the run, the page of runs"
    [run] = brand["runs"]["nodes"]
    for each in [*brand["tags"], *brand["stages"]]:
        fresh = each["freshness"]
        assert fresh["run"]["id"] == run["id"]
        assert fresh["run"]["status"] == "DONE"
        assert (fresh["users"], fresh["error"], fresh["errorSince"]) == (45, None, None)
        assert abs(fresh["seconds"] - sum(run["seconds"].values())) < 1e-6
        assert fresh["lag"] == 86400, "two came back a day later; all were looked at before"
    assert sum(each["freshness"]["gained"] for each in brand["stages"] if each["track"] == "lifecycle") == 45
    assert {each["asOf"] for each in brand["tags"]} == {each["freshness"]["asOf"] for each in brand["tags"]}
