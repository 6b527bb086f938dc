"""What is personal, by its name, and how it looks to those who may not see it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siyu.flow.personal import is_personal, mask, named_in, veil


@pytest.mark.parametrize(
    "name", ["phone", "Phone", "receiver_phone", "contactEmail", "email", "phone_number", "mobile2", "tel", "real_name"]
)
def test_a_name_tells_that_something_is_personal(name: str) -> None:
    assert is_personal(name)


@pytest.mark.parametrize("name", ["phone_model", "emails_opened", "member", "openid", "name", "skin", "", "_", "hotel"])
def test_other_names_are_not(name: str) -> None:
    assert not is_personal(name)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("13812345678", "138****5678"),
        (13812345678, "138****5678"),
        ("+8613812345678", "+86****5678"),
        ("ann@example.com", "a***@example.com"),
        ("a@b", "a**"),
        ("139", "1**"),
        ("王小明", "王**"),
        (5, "**"),
        (True, "**"),
        ("", ""),
        (None, None),
        (["13812345678", None], ["138****5678", None]),
        ({"home": "010-5555"}, {"home": "0**"}),
    ],
)
def test_a_value_is_masked_but_can_be_recognized(value: Any, shown: Any) -> None:
    assert mask(value) == shown


def test_json_is_looked_into_however_deep() -> None:
    event = {"items": [{"sku": "1", "receiver": {"phone": "13812345678", "city": "沪"}}], "email": "ann@example.com"}
    shown, found = veil(event)
    assert found
    assert shown == {
        "items": [{"sku": "1", "receiver": {"phone": "138****5678", "city": "沪"}}],
        "email": "a***@example.com",
    }
    assert veil({"sku": "1", "phone": None}) == ({"sku": "1", "phone": None}, False)


def test_what_plugins_declare_personal_is_so_too() -> None:
    declared = frozenset({"baby_birthday"})
    assert veil({"baby_birthday": "2025-03-01", "skin": "oily"}, declared)[0] == {
        "baby_birthday": "2**",
        "skin": "oily",
    }
    assert named_in("Age('baby_birthday', 'months')", declared)
    assert not named_in("Age('baby_birthday', 'months')")


def test_a_fact_is_personal_where_it_looks_at_something_that_is() -> None:
    assert named_in("Attribute('phone')")
    assert named_in("First('order.paid', 'receiver_phone', days=30)")
    assert not named_in("Count('order.paid', where={'category': 'phone case'})")


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["phone", "a", "email"]), inner),
    max_leaves=12,
)
SECRET = "13812345678"


def hidden(value: Any, *, under: bool = False) -> Any:
    """The value with every text under a personal name made the secret."""
    if isinstance(value, dict):
        return {name: hidden(inner, under=under or is_personal(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [hidden(inner, under=under) for inner in value]
    return SECRET if under and value not in (None, "") else value


@given(JSON)
def test_nothing_under_a_personal_name_is_left(value: Any) -> None:
    given = hidden(value)
    shown, found = veil(given)
    assert SECRET not in json.dumps(shown)
    assert found is (SECRET in json.dumps(given))
    assert veil(shown)[0].keys() == shown.keys() if isinstance(shown, dict) else True
