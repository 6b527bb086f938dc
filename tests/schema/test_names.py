"""Names that nothing can have are those of nothing."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.store.models import Brand

NAMES = ["x" * 61, "私域" * 5_000, "\x00", "\ud800", "a\n"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_brand_of_such_a_name_is_not_there(api: Any, name: str) -> None:
    answer = await api.ask("query ($slug: String!) { brand(slug: $slug) { name } }", slug=name)
    assert answer["data"] == {"brand": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]


@pytest.mark.parametrize("name", NAMES[:2] + NAMES[-1:])
async def test_a_segment_of_such_a_name_is_not_there(api: Any, brand: Brand, name: str) -> None:
    ask = 'query ($name: String!) { brand(slug: "shop") { segment(name: $name) { id } } }'
    answer = await api.ask(ask, name=name)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        'enablePlugin(brand: "shop", plugin: $name)',
        'rollOutPlugin(brand: "shop", plugin: $name, percent: 5)',
        'undoPlugin(brand: "shop", plugin: $name)',
        'retryPlugin(brand: "shop", plugin: $name)',
        'releaseState(brand: "shop", plugin: $name, rule: "r")',
        'deleteSegment(brand: "shop", name: $name)',
        'restoreSegment(brand: "shop", name: $name)',
        "refreshBrand(brand: $name)",
    ],
)
async def test_nothing_of_such_a_name_can_be_changed(api: Any, brand: Brand, change: str, name: str) -> None:
    ask = f"mutation ($name: String!) {{ done: {change} {{ userErrors {{ code }} }} }}"
    assert await api.data(ask, name=name) == {"done": {"userErrors": [{"code": "NOT_FOUND"}]}}


async def test_no_token_has_such_a_prefix(api: Any) -> None:
    ask = "mutation ($prefix: String!) { revokeToken(prefix: $prefix) { userErrors { code } } }"
    assert await api.data(ask, prefix="x" * 500) == {"revokeToken": {"userErrors": [{"code": "NOT_FOUND"}]}}


async def test_no_operation_has_such_a_name(api: Any) -> None:
    response = await api.post({"query": "query Op { version }", "operationName": "\ud800"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"
