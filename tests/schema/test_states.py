"""States are listed, pinned and released over the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand

START = datetime(2026, 1, 1, tzinfo=UTC)
FITTED = (
    "fitted { key pinned { version since current state } states { totalCount nodes { version since current state } } }"
)
QUERY = f'{{ brand(slug: "shop") {{ plugins {{ name {FITTED} }} }} }}'
PIN = f"""mutation ($rule: String!, $version: String!) {{
  pinState(brand: "shop", plugin: "rfm", rule: $rule, version: $version) {{
    plugin {{ {FITTED} }} userErrors {{ code field message remedy }} }} }}"""
RELEASE = f"""mutation ($rule: String!) {{
  releaseState(brand: "shop", plugin: "rfm", rule: $rule) {{
    plugin {{ {FITTED} }} userErrors {{ code field message remedy }} }} }}"""


@pytest.fixture
async def versions(api: Any, brand: Brand) -> list[str]:
    """A brand whose rfm was fitted twice, and the versions with its states, the latest first."""
    await api.data('mutation { enablePlugin(brand: "shop", plugin: "rfm") { userErrors { code } } }')
    for day in range(2):
        at = START + timedelta(days=day)
        orders = [
            IncomingEvent(f"{m}-{day}", "order.paid", {"member": str(m)}, {"amount": m + 1}, at) for m in range(5 + day)
        ]
        await record(api.ctx, brand, orders)
        await refresh(api.ctx, brand.id)
    api.queue.pushed.clear()
    [rule] = await fitted(api)
    return [state["version"] for state in rule["states"]["nodes"]]


async def fitted(api: Any) -> Any:
    plugins = (await api.data(QUERY))["brand"]["plugins"]
    return next(plugin["fitted"] for plugin in plugins if plugin["name"] == "rfm")


async def test_states_are_read_and_one_is_kept_and_released(api: Any, brand: Brand, versions: list[str]) -> None:
    newest, oldest = versions
    [rule] = await fitted(api)
    assert (rule["key"], rule["pinned"], rule["states"]["totalCount"]) == ("rfm", None, 2)
    assert [state["current"] for state in rule["states"]["nodes"]] == [True, False]
    assert set(rule["states"]["nodes"][0]["state"]) >= {"recency", "recent", "often", "much"}

    payload = (await api.data(PIN, rule="rfm", version=oldest))["pinState"]
    assert payload["userErrors"] == []
    [rule] = payload["plugin"]["fitted"]
    assert (rule["pinned"]["version"], rule["pinned"]["current"]) == (oldest, False)
    assert api.queue.pushed == [("refresh_brand", brand.id)]
    await refresh(api.ctx, brand.id)
    [rule] = await fitted(api)
    assert rule["pinned"] == rule["states"]["nodes"][1]
    assert rule["pinned"]["current"] is True

    payload = (await api.data(RELEASE, rule="rfm"))["releaseState"]
    assert payload["plugin"]["fitted"][0]["pinned"] is None
    await refresh(api.ctx, brand.id)
    [rule] = await fitted(api)
    assert [state["version"] for state in rule["states"]["nodes"] if state["current"]] == [newest]
    history = await api.data('{ brand(slug: "shop") { settingChanges(first: 2) { nodes { by before after } } } }')
    released, pinned = history["brand"]["settingChanges"]["nodes"]
    assert (pinned["by"], pinned["after"]["pinned"]) == ("root", {"rfm": oldest})
    assert (released["before"]["pinned"], "pinned" in released["after"]) == ({"rfm": oldest}, False)


async def test_what_cannot_be_kept_says_why(api: Any, versions: list[str]) -> None:
    [error] = (await api.data(PIN, rule="rfm", version="nothing"))["pinState"]["userErrors"]
    assert (error["code"], error["field"]) == ("NOT_FOUND", "version")
    [error] = (await api.data(PIN, rule="repeat", version=versions[0]))["pinState"]["userErrors"]
    assert (error["code"], error["field"], error["remedy"]) == ("NOT_FOUND", "rule", "fitted are: rfm")
    [error] = (await api.data(RELEASE, rule="rfm"))["releaseState"]["userErrors"]
    assert (error["code"], error["field"]) == ("NOT_FOUND", "rule")
    assert api.queue.pushed == []


async def test_a_page_of_states_goes_on_where_the_last_ended(api: Any, versions: list[str]) -> None:
    query = """query ($after: String) { brand(slug: "shop") { plugins { name fitted { states(first: 1, after: $after) {
      nodes { version } pageInfo { hasNextPage endCursor } } } } } }"""

    async def page(after: str | None) -> Any:
        plugins = (await api.data(query, after=after))["brand"]["plugins"]
        return next(plugin["fitted"][0]["states"] for plugin in plugins if plugin["name"] == "rfm")

    first = await page(None)
    second = await page(first["pageInfo"]["endCursor"])
    assert [first["nodes"][0]["version"], second["nodes"][0]["version"]] == versions
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
