"""Step 4, without a server: each check by itself, and how their answers become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from siyu import NEVER, Batch, Channel, Check, Message, Receipt
from siyu.contract.events import MOMENT
from siyu.engine import guard
from siyu.engine.guard import CHECKS, Tier, judge

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 6, 10, 12, tzinfo=SHANGHAI).astimezone(UTC)
DAY = timedelta(days=1)

ACTIONS: dict[str, Any] = {
    "id": pl.Int64,
    "user_id": pl.Int64,
    "plugin": pl.String,
    "playbook": pl.String,
    "step": pl.String,
    "purpose": pl.String,
    "kind": pl.String,
    "lane": pl.Int64,
    "planned_at": MOMENT,
    "best": pl.Boolean,
    "first_seen": MOMENT,
    "merged_into": pl.Int64,
    "address": pl.String,
}
TOUCHES: dict[str, Any] = {
    "user_id": pl.Int64,
    "at": MOMENT,
    "channel": pl.String,
    "purpose": pl.String,
    "kind": pl.String,
    "plugin": pl.String,
    "playbook": pl.String,
    "step": pl.String,
}
CONSENTS: dict[str, Any] = {
    "user_id": pl.Int64,
    "purpose": pl.String,
    "channel": pl.String,
    "given": pl.Boolean,
    "at": MOMENT,
}


class Post(Channel):
    """A channel that reaches users."""

    key = "post"

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        return []


class Letters(Post):
    """One that needs an address, and rests on its own."""

    key = "letters"
    address = "street"
    hours = (time(9), time(18))


class Desk(Post):
    """Tasks for staff."""

    key = "desk"
    counts = False


def action(user: int, **about: Any) -> dict[str, Any]:
    usual = {
        "id": user * 10,
        "user_id": user,
        "plugin": "care",
        "playbook": "p",
        "step": f"s{user}",
        "purpose": "care",
        "kind": "text",
        "lane": 5,
        "planned_at": NOON,
        "best": False,
        "first_seen": NOON - 300 * DAY,
        "merged_into": None,
        "address": "1, West Lake Road",
    }
    return {**usual, **about}


def touch(user: int, days: float, purpose: str = "care", **about: Any) -> dict[str, Any]:
    """Something that reached a user so many days ago."""
    usual = {"channel": "elsewhere", "kind": "text", "plugin": "other", "playbook": "q", "step": "t"}
    return {"user_id": user, "at": NOON - days * DAY, "purpose": purpose, **usual, **about}


def said(user: int, given: bool, purpose: str = "", channel: str = "", days: float = 1) -> dict[str, Any]:
    return {"user_id": user, "purpose": purpose, "channel": channel, "given": given, "at": NOON - days * DAY}


def batch(
    *actions: dict[str, Any],
    touches: Sequence[dict[str, Any]] = (),
    consents: Sequence[dict[str, Any]] = (),
    marks: Sequence[tuple[int, str]] = (),
    hours: Mapping[int, int] | None = None,
    channel: Channel | None = None,
    at: datetime = NOON,
    zone: ZoneInfo = SHANGHAI,
    usual_hour: int | None = None,
    used: Mapping[Any, int] | None = None,
) -> Batch:
    return Batch(
        at=at,
        zone=zone,
        channel=channel or Post(),
        actions=pl.DataFrame(actions, schema=ACTIONS),
        touches=pl.DataFrame(touches, schema=TOUCHES),
        consents=pl.DataFrame(consents, schema=CONSENTS),
        marks=pl.DataFrame(marks, schema={"user_id": pl.Int64, "mark": pl.String}, orient="row"),
        hours=pl.DataFrame(list((hours or {}).items()), schema={"user_id": pl.Int64, "hour": pl.Int64}, orient="row"),
        usual_hour=usual_hour,
        used=used or {},
    )


def verdicts(given: Batch, **params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What becomes of each action, and by which check; ``params`` are those of checks, by key."""
    return [(verdict, reason) for verdict, _, reason, _ in full(given, **params)]


def full(given: Batch, **params: Mapping[str, Any]) -> list[tuple[str, datetime | None, str, str]]:
    asked = [(check(), check.Params(**params.get(check.key, {}))) for check in CHECKS]
    found, failed = judge(given, asked)
    assert failed == {}
    assert found.get_column("id").to_list() == given.actions.get_column("id").to_list()
    return list(found.select("verdict", "until", "reason", "words").iter_rows())


PASS = ("pass", "")


def test_what_nothing_speaks_against_passes() -> None:
    assert verdicts(batch(action(1), action(2, purpose="service"))) == [PASS, PASS]


def test_nobody_is_written_to_who_is_gone_or_counts_as_another() -> None:
    found = full(batch(action(1, first_seen=None), action(2, merged_into=1), action(3)))
    assert [row[:3:2] for row in found] == [("no", "gone"), ("no", "gone"), PASS]
    assert [row[3] for row in found[:2]] == ["用户已不在", "已合并，计入用户 1"]


def test_a_channel_that_needs_an_address_gets_nothing_without_one() -> None:
    without = action(1, address=None)
    assert verdicts(batch(without, action(2), channel=Letters())) == [("no", "no_address"), PASS]
    assert verdicts(batch(without)) == [PASS]


@pytest.mark.parametrize(
    ("words", "purpose", "outcome"),
    [
        ([], "sales", ("no", "no_consent")),
        ([], "care", PASS),
        ([said(1, True, "sales")], "sales", PASS),
        ([said(1, True, "sales", "post")], "sales", PASS),
        ([said(1, True, "sales", "elsewhere")], "sales", ("no", "no_consent")),
        ([said(1, False)], "care", ("no", "opt_out")),
        ([said(1, False)], "service", ("no", "opt_out")),
        ([said(1, False, "sales")], "care", PASS),
        ([said(1, False, "", "post")], "care", ("no", "opt_out")),
        ([said(1, False, "", "elsewhere")], "care", PASS),
        # Whatever was said last counts, however narrow or wide.
        ([said(1, True, "sales", "post", days=3), said(1, False, days=2)], "sales", ("no", "opt_out")),
        ([said(1, False, days=3), said(1, True, "sales", "post", days=2)], "sales", PASS),
        ([said(1, True, days=1), said(1, False, "sales", days=1)], "sales", ("no", "opt_out")),
    ],
)
def test_consent_is_what_was_said_last_of_the_purpose_and_the_channel(
    words: list[dict[str, Any]], purpose: str, outcome: tuple[str, str]
) -> None:
    assert verdicts(batch(action(1, purpose=purpose), consents=words)) == [outcome]


def test_which_purposes_need_consent_is_the_brands_to_say() -> None:
    given = batch(action(1, purpose="sales"), action(2, purpose="care"))
    assert verdicts(given, no_consent={"purposes": ("care",)}) == [PASS, ("no", "no_consent")]


def test_the_same_step_reaches_nobody_twice_within_days() -> None:
    same = {"plugin": "care", "playbook": "p", "step": "s1"}
    given = batch(action(1), touches=[touch(1, 2.5, **same)])
    assert verdicts(given) == [PASS]
    assert verdicts(given, duplicate={"days": 3}) == [("no", "duplicate")]
    others = [touch(1, 0.1, **{**same, "step": "s2"}), touch(2, 0.1, **same)]
    assert verdicts(batch(action(1), touches=others), duplicate={"days": 3}) == [PASS]
    assert verdicts(batch(action(1, purpose="service"), touches=[touch(1, 0.1, **same)])) == [PASS]


def test_what_was_decided_too_long_ago_is_not_said_any_more() -> None:
    old, urgent = action(1, planned_at=NOON - 3 * DAY), action(2, planned_at=NOON - 1.5 * DAY, lane=0)
    assert verdicts(batch(old, urgent)) == [("no", "stale"), ("no", "stale")]
    assert verdicts(batch(old, urgent), stale={"hours": 73, "urgent_hours": 37}) == [PASS, PASS]


def test_what_would_be_held_until_it_is_stale_is_not_held() -> None:
    [(verdict, _, reason, words)] = full(batch(action(1), touches=[touch(1, 1), touch(1, 2)]))
    assert (verdict, reason) == ("no", "cap")
    assert words == "7 天内已有 2 条，上限 2 条（其他）；最早 2026-06-15 12:00，届时已过时"


def test_the_control_group_is_as_large_as_it_should_be_always_the_same_and_still_served() -> None:
    users = [action(n) for n in range(1, 20_001)]
    out = [n for n, row in enumerate(verdicts(batch(*users), hold_out={"percent": 5})) if row == ("no", "hold_out")]
    assert 900 < len(out) < 1100
    again = [action(out[n] + 1) for n in range(50)]
    assert set(verdicts(batch(*again), hold_out={"percent": 5})) == {("no", "hold_out")}
    assert set(verdicts(batch(*again), hold_out={"percent": 0})) == {PASS}
    served = [{**each, "purpose": "service"} for each in again]
    assert set(verdicts(batch(*served), hold_out={"percent": 5})) == {PASS}


def test_nobody_is_sold_to_in_the_first_days() -> None:
    consents = [said(1, True), said(2, True)]
    new = {"first_seen": NOON - 6.5 * DAY}
    given = batch(action(1, purpose="sales", **new), action(2, **new), consents=consents)
    assert [row[:3] for row in full(given)] == [("later", NOON + DAY / 2, "trust"), ("pass", None, "")]
    assert verdicts(given, trust={"days": 0}) == [PASS, PASS]


@pytest.mark.parametrize(
    ("had", "outcome"),
    [
        ([], PASS),
        (["care", "sales"], ("no", "mix")),  # two of three
        (["care", "care", "sales"], PASS),  # two of four
        (["sales"], ("no", "mix")),
        (["service", "service", "service", "sales"], ("no", "mix")),
    ],
)
def test_what_sells_is_held_to_its_share(had: list[str], outcome: tuple[str, str]) -> None:
    touches = [touch(1, 10 + n, purpose) for n, purpose in enumerate(had)]
    given = batch(action(1, purpose="sales"), touches=touches, consents=[said(1, True)])
    assert verdicts(given) == [outcome]
    assert verdicts(batch(action(1), touches=touches)) == [PASS]


def test_caps_are_by_tier_over_all_channels_and_wait_until_there_is_room() -> None:
    week = [touch(user, days) for user in (1, 2, 3) for days in (5.5, 6, 20)]
    marks = [(2, "interest.tier_high"), (3, "interest.tier_high"), (3, "lifecycle:dormant")]
    found = full(batch(action(1), action(2), action(3), action(4), touches=week, marks=marks), stale={"hours": 2000})
    assert [row[:3] for row in found] == [
        ("later", NOON + DAY, "cap"),
        ("pass", None, ""),
        ("later", NOON + 24.5 * DAY, "cap"),
        ("pass", None, ""),
    ]
    assert found[2][3] == "30 天内已有 3 条，上限 1 条（沉睡）"


def test_the_same_is_not_said_in_the_same_way_over_and_over() -> None:
    loose: dict[str, dict[str, Any]] = {"cap": {"most": 100}, "mix": {"share": 1}, "stale": {"hours": 2000}}

    def offers(*kinds: str, purpose: str = "sales") -> list[dict[str, Any]]:
        return [touch(1, days, purpose, kind=kind) for days, kind in enumerate(kinds, 1)]

    def held(*touches: dict[str, Any], **given: Any) -> list[tuple[str, str]]:
        offer = action(1, **{"purpose": "sales", "kind": "image", **given})
        return verdicts(batch(offer, consents=[said(1, True)], touches=touches), **loose)

    assert held(*offers("image", "image", "image")) == [("later", "variety")]
    assert held(*offers("image", "image")) == [PASS]
    assert held(*offers("image", "video", "image", "image")) == [PASS], "not in a row"
    assert held(*offers("image", "image", "image"), kind="video") == [PASS]
    assert held(*offers("image", "image"), touch(1, 0.5), *offers("image")) == [PASS], "a word of care in between"
    assert held(*offers("image", "image", "image"), touch(1, 0.5, "service")) == [("later", "variety")]
    assert held(*offers("text", "text", "text", purpose="care"), purpose="care", kind="text") == [PASS]
    offer, shown = action(1, purpose="sales", kind="image"), offers("image", "image", "image")
    [(_, until, _, words)] = full(batch(offer, consents=[said(1, True)], touches=shown), **loose)
    assert until == NOON + 27 * DAY
    assert "image" in words
    asked: dict[str, dict[str, Any]] = {**loose, "variety": {"most": 1, "days": 2, "purposes": ["care"]}}
    some = batch(action(1), action(2, kind="image"), action(3), touches=[touch(1, 1), touch(2, 1), touch(3, 3)])
    assert verdicts(some, **asked) == [("later", "variety"), PASS, PASS]
    assert verdicts(some, **{**asked, "variety": {"most": 0}}) == [PASS] * 3


def test_service_neither_counts_nor_waits() -> None:
    full_up = [touch(1, 1), touch(1, 2)]
    assert verdicts(batch(action(1, purpose="service"), touches=full_up)) == [PASS]
    served = [touch(1, 1, "service"), touch(1, 2, "service"), touch(1, 3)]
    assert verdicts(batch(action(1), touches=served)) == [PASS]


def test_a_cap_of_nothing_lets_nothing_pass() -> None:
    assert verdicts(batch(action(1)), cap={"most": 0}) == [("no", "cap")]
    nobody = Tier(name="x", marks=("t",), most=0, days=1)
    assert verdicts(batch(action(1), marks=[(1, "t")]), cap={"tiers": (nobody,)}) == [("no", "cap")]


def night(clock: str, zone: str = "Asia/Shanghai", **about: Any) -> Batch:
    at = datetime.fromisoformat(f"2026-06-10T{clock}").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    some = [action(1, planned_at=at), action(2, planned_at=at, purpose="service")]
    return batch(*some, at=at, zone=ZoneInfo(zone), **about)


def test_nobody_is_woken_but_by_what_they_asked_for() -> None:
    morning = datetime(2026, 6, 11, 8, tzinfo=SHANGHAI)
    for clock in ("22:00", "23:59"):
        assert [row[:3] for row in full(night(clock))] == [("later", morning, "quiet"), ("pass", None, "")]
    assert [row[1] for row in full(night("07:59"))] == [morning - DAY, None]
    assert verdicts(night("08:00")) == verdicts(night("21:59")) == [PASS, PASS]
    strict = {"service": False}
    assert verdicts(night("23:00"), quiet=strict) == [("later", "quiet"), ("later", "quiet")]


def test_the_hours_of_a_channel_hold_for_everything_whatever_a_brand_sets() -> None:
    open_all_day = {"begin": "00:00", "end": "00:00"}
    found = full(night("18:30", channel=Letters()), quiet=open_all_day)
    assert [row[:3] for row in found] == [("later", datetime(2026, 6, 11, 9, tzinfo=SHANGHAI), "quiet")] * 2
    assert verdicts(night("23:00"), quiet=open_all_day) == [PASS, PASS]


@pytest.mark.parametrize(
    ("at", "until"),
    [
        # Clocks go forward at 02:00 and back at 03:00: the night is an hour shorter, and an hour longer.
        ("2026-03-28T22:30+01:00", "2026-03-29T08:00+02:00"),
        ("2026-10-24T22:30+02:00", "2026-10-25T08:00+01:00"),
    ],
)
def test_the_night_ends_when_clocks_say_so(at: str, until: str) -> None:
    moment = datetime.fromisoformat(at).astimezone(UTC)
    given = batch(action(1, planned_at=moment), at=moment, zone=ZoneInfo("Europe/Berlin"))
    assert [row[:2] for row in full(given)] == [("later", datetime.fromisoformat(until))]


def test_what_asks_for_it_waits_for_the_hour_at_which_its_user_opens_most() -> None:
    wanted = [action(1, best=True), action(2, best=True), action(3), action(4, best=True)]
    found = full(batch(*wanted, hours={1: 20, 3: 20, 4: 12}, usual_hour=9))
    assert [row[:3] for row in found] == [
        ("later", datetime(2026, 6, 10, 20, tzinfo=SHANGHAI), "best_time"),
        ("later", datetime(2026, 6, 11, 9, tzinfo=SHANGHAI), "best_time"),
        ("pass", None, ""),
        ("pass", None, ""),
    ]
    assert verdicts(batch(*wanted)) == [PASS] * 4


def test_nobody_waits_for_a_best_time_in_the_night_or_a_second_one() -> None:
    assert verdicts(batch(action(1, best=True), hours={1: 3})) == [PASS]
    missed = action(1, best=True, planned_at=NOON - 23 * timedelta(hours=1))
    assert verdicts(batch(missed, hours={1: 11})) == [PASS]


def test_a_channel_gives_what_its_budget_has_left_and_keeps_some_for_what_is_urgent() -> None:
    today = date(2026, 6, 10)
    quota = {"channel": "post", "per_day": 5, "reserve": 2}
    some = [action(1, first_seen=None), action(2), action(3), action(4)]
    found = full(batch(*some, used={today: 1, today - DAY: 50}), budget={"quotas": (quota,)})
    tomorrow = datetime(2026, 6, 11, tzinfo=SHANGHAI)
    assert [row[:3] for row in found] == [
        ("no", NEVER, "gone"),
        ("pass", None, ""),
        ("pass", None, ""),
        ("later", tomorrow, "budget"),
    ]
    urgent = [{**each, "lane": 0} for each in some]
    assert verdicts(batch(*urgent, used={today: 1}), budget={"quotas": (quota,)})[1:] == [PASS] * 3
    month = {"channel": "post", "per_month": 50}
    found = full(batch(action(1), used={today - DAY: 50}), budget={"quotas": (month,)}, stale={"hours": 2000})
    assert [row[1] for row in found] == [datetime(2026, 7, 1, tzinfo=SHANGHAI)]


def test_the_first_no_is_the_reason_and_else_the_longest_wait() -> None:
    both = batch(action(1, first_seen=None), consents=[said(1, False)])
    assert verdicts(both) == [("no", "gone")]
    [(verdict, until, reason, _)] = full(
        night("23:00", touches=[{**touch(1, 0), "at": NOON - 6.5 * DAY}] * 2), stale={"hours": 2000}
    )[:1]
    # The cap has room at midnight, and then it is night.
    assert (verdict, until, reason) == ("later", datetime(2026, 6, 11, 8, tzinfo=SHANGHAI), "quiet")


def test_tasks_for_staff_are_only_held_back_where_there_is_nobody_to_care_for() -> None:
    held = [said(1, False)]
    full_up = [touch(1, 1), touch(1, 2)]
    assert verdicts(night("23:00", channel=Desk(), consents=held, touches=full_up)) == [PASS, PASS]
    assert verdicts(batch(action(1, first_seen=None), channel=Desk())) == [("no", "gone")]


class Broken(Check):
    """A check that fails."""

    channels = frozenset({"letters"})

    def until(self, batch: Batch, p: Any) -> pl.Series:
        raise KeyError("no")


class Short(Check):
    """A check that forgets some."""

    def until(self, batch: Batch, p: Any) -> pl.Series:
        return pl.Series([NEVER])


def test_a_check_that_fails_holds_what_it_was_asked_about_and_nothing_else() -> None:
    some = [action(1), action(2, first_seen=None)]
    asked = [(guard.Gone(), guard.Gone.Params()), (Broken(), Broken.Params())]
    found, failed = judge(batch(*some, channel=Letters()), asked)
    assert found.select("verdict", "reason").rows() == [("later", "broken"), ("no", "gone")]
    assert list(failed) == ["broken"]
    assert "KeyError" in found.item(0, "words")
    assert judge(batch(*some), asked)[1] == {}
    found, failed = judge(batch(*some), [(Short(), Short.Params())])
    assert found.get_column("verdict").to_list() == ["later", "later"]
    assert "not a moment for each of 2 actions" in str(failed["short"])
