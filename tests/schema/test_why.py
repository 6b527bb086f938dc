"""Why a user was written to, or was not, and all that is known of an action."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow import plugins
from siyu.flow.consents import record_consent
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on, start
from siyu.store.models import Brand, Identity
from strawberry.relay import to_base64

from tests.schema.conftest import planned

WHY = """query ($id: ID!, $days: Int! = 7) { brand(slug: "shop") { user(id: $id) { why(days: $days) {
  since triggers { playbook trigger } consents { purpose given }
  enrolments { playbook status because user { id } }
  actions { text status reason meaning key askedBy rulebookVersion story { status reason meaning detail }
    enrolment { playbook version } } } } } }"""


async def who(api: Any, brand: Brand, member: str = "a") -> int:
    await record(api.ctx, brand, [IncomingEvent(member, "contact.added", {"member": member}, {})])
    return int((await Identity.get(brand_id=brand.id, value=member)).user_id)


async def told(api: Any, brand: Brand, user: int, **given: Any) -> Any:
    found = await api.data(WHY, id=to_base64("User", f"{brand.id}:{user}"), **given)
    return found["brand"]["user"]["why"]


async def test_who_got_nothing_is_told_what_held_it_and_what_would_set_something_off(api: Any, brand: Brand) -> None:
    await plugins.enable(api.ctx, brand, "lifecycle")
    user, other = await who(api, brand), await who(api, brand, "b")
    await record_consent(api.ctx, brand, user, given=False, purpose="sales")
    await planned(api.ctx, brand, user, "buy this", "outbox", "sales")
    await planned(api.ctx, brand, other, "not yours", "outbox", "care")
    await dispatch(api.ctx, brand.id)
    found = await told(api, brand, user)
    [action] = found["actions"]
    assert (action["text"], action["status"], action["reason"]) == ("buy this", "SUPPRESSED", "opt_out")
    assert action["meaning"]
    assert [(each["status"], each["reason"], bool(each["meaning"])) for each in action["story"]] == [
        ("PLANNED", "", False),
        ("SUPPRESSED", "opt_out", True),
    ]
    assert found["consents"] == [{"purpose": "SALES", "given": False}]
    assert found["enrolments"] == []
    [trigger] = found["triggers"]
    assert trigger["playbook"] == "lifecycle.welcome_back"
    assert trigger["trigger"]


async def test_an_action_names_the_way_on_which_it_was_planned_and_who_asked(api: Any, brand: Brand) -> None:
    await plugins.enable(api.ctx, brand, "lifecycle")
    user = await who(api, brand)
    await start(api.ctx, brand, "lifecycle.welcome_back", [user], occasion="may", by="li")
    await carry_on(api.ctx, brand.id)
    found = await told(api, brand, user)
    [action] = found["actions"]
    assert (action["enrolment"]["playbook"], action["rulebookVersion"]) == ("lifecycle.welcome_back", None)
    assert action["enrolment"]["version"]
    assert action["key"]
    assert found["enrolments"] == [
        {
            "playbook": "lifecycle.welcome_back",
            "status": "DONE",
            "because": "li",
            "user": {"id": to_base64("User", f"{brand.id}:{user}")},
        }
    ]


@pytest.mark.parametrize("days", [0, 91, -1])
async def test_a_story_is_of_days_that_are_few(api: Any, brand: Brand, days: int) -> None:
    answer = await api.ask(WHY, id=to_base64("User", f"{brand.id}:{await who(api, brand)}"), days=days)
    [error] = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", "days")
    assert error["extensions"]["remedy"]
