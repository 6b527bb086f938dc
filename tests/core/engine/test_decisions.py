"""Deciding for a brand and for a single user is the same, and what is written makes the one of the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siyu import ALWAYS, Attribute, Condition, Count, DaysSince, Stage, Tag, Total
from siyu.contract.events import MOMENT
from siyu.engine import diff as diff_module
from siyu.engine.diff import FEW, Changes, diff, diff_few
from siyu.engine.evaluate import Decider
from siyu.engine.rulebook import Reason, Rulebook, TagRule, Track
from siyu.engine.words import read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
ORDERS, SILENT, SPENT, CITY = (
    Count("order.paid"),
    DaysSince("order.paid"),
    Total("order.paid", "amount"),
    Attribute("city"),
)
FACTS = {fact.name: fact for fact in (ORDERS, SILENT, SPENT, CITY)}
SCHEMA = {
    "user_id": pl.Int64(),
    ORDERS.name: pl.Int64(),
    SILENT.name: pl.Int64(),
    SPENT.name: pl.Float64(),
    CITY.name: pl.String(),
}
TAGS = ("p.a", "p.b", "p.c")
STAGES = ("new", "old", "gone", "odd")

conditions: st.SearchStrategy[Condition] = st.sampled_from(
    [
        ORDERS > 0,
        ORDERS >= 2,
        SILENT > 30,
        ~(SILENT > 30),
        SILENT.is_missing(),
        SPENT / ORDERS > 10,
        CITY == "x",
        CITY.is_in(["x", "y"]),
        ALWAYS,
        ~ALWAYS,
    ]
)


def _reason(facts: Sequence[str] = (), cases: Sequence[Condition] = ()) -> Reason:
    named = {name: FACTS[name] for name in facts}
    return Reason(" ".join(f"{{{name}}}" for name in facts), named, {}, cases=tuple((each, "") for each in cases))


reasons = st.builds(
    _reason,
    st.lists(st.sampled_from(sorted(FACTS)), unique=True, max_size=4),
    st.just([]) | st.lists(conditions, max_size=3),
)
stages = st.lists(
    st.builds(
        lambda key, when, stay: Stage(key, key, when, stay=stay),
        st.sampled_from(STAGES),
        conditions,
        st.sampled_from([0, 0, 1, 14]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda stage: stage.key,
)


@st.composite
def rulebooks(draw: st.DrawFn) -> Rulebook:
    keys = draw(st.lists(st.sampled_from(TAGS), unique=True))
    tags = tuple(TagRule("p", Tag(key, key, draw(conditions)), draw(reasons)) for key in keys)
    names = draw(st.lists(st.sampled_from(["t", "u"]), unique=True))
    tracks = []
    for name in names:
        given = tuple(draw(stages))
        tracks.append(Track("p", name, name, given, tuple(draw(reasons) for _ in given)))
    return Rulebook(tags, tuple(tracks), {})


moments = st.builds(
    lambda days, seconds: NOW - timedelta(days=days, seconds=seconds),
    st.sampled_from([-3, 0, 1, 13, 14, 15, 40]),
    st.integers(-1, 1),
)
cities = st.none() | st.sampled_from(["x", "y", "", 'q"\\', "new\nline\t\x00", "油\U0001f600"])
rows = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.none() | st.integers(0, 60),
        st.sampled_from([0.0, 9.99, 30.0, 1e10]),
        cities,
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Rulebook, pl.DataFrame, pl.DataFrame]:
    """A rulebook, the facts of users 1.., and what stood before for some of them and for others."""
    facts = pl.DataFrame([(n, *row) for n, row in enumerate(draw(rows), 1)], schema=SCHEMA, orient="row")
    users = draw(st.lists(st.integers(1, 9), unique=True))
    before: dict[str, Any] = {"user_id": pl.Series(users, dtype=pl.Int64)}
    for key in draw(st.lists(st.sampled_from([*TAGS, "other.z"]), unique=True)):
        before[key] = pl.Series(
            draw(st.lists(st.none() | st.booleans(), min_size=len(users), max_size=len(users))), dtype=pl.Boolean
        )
    for track in draw(st.lists(st.sampled_from(["t", "u", "v"]), unique=True)):
        where = draw(
            st.lists(st.none() | st.sampled_from([*STAGES, "former"]), min_size=len(users), max_size=len(users))
        )
        since = [None if stage is None else draw(moments) for stage in where]
        # From PostgreSQL stages come as texts, from a snapshot as an Enum of what there was.
        kind = draw(
            st.sampled_from([pl.String(), pl.Enum(["former", *STAGES]), pl.Enum(sorted({s for s in where if s}))])
        )
        before[f"@{track}"] = pl.Series(where, dtype=kind)
        before[f"@{track}.since"] = pl.Series(since, dtype=MOMENT)
    return draw(rulebooks()), facts, pl.DataFrame(before)


def one_by_one(decider: Decider, facts: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    past = {row["user_id"]: row for row in before.iter_rows(named=True)}
    decided = [
        {"user_id": row["user_id"], **decider.user(row, past.get(row["user_id"], {}), NOW)}
        for row in facts.iter_rows(named=True)
    ]
    return pl.DataFrame(decided, schema=decider.schema)


@settings(max_examples=150, deadline=None)
@given(world=worlds())
def test_a_single_user_is_decided_as_in_the_brand(world: tuple[Rulebook, pl.DataFrame, pl.DataFrame]) -> None:
    rulebook, facts, before = world
    decider = Decider(rulebook, SHANGHAI)
    together = decider.frame(facts, before, NOW)
    assert together.schema == decider.schema
    assert together.equals(one_by_one(decider, facts, before))


def apply(before: pl.DataFrame, changes: Changes) -> dict[int, dict[str, Any]]:
    """What stands after the changes are written, by user: tags held, and the stage of each track."""
    stood: dict[int, dict[str, Any]] = {}
    for row in before.iter_rows(named=True):
        held = {name: value for name, value in row.items() if name != "user_id" and not name.endswith(".since")}
        stood[row["user_id"]] = {name: value for name, value in held.items() if value}
    for user, tag, gained, _ in changes.tags.iter_rows():
        mine = stood.setdefault(user, {})
        assert (tag in mine) is not gained
        if gained:
            mine[tag] = True
        else:
            del mine[tag]
    for user, track, was, now, _ in changes.stages.iter_rows():
        mine = stood.setdefault(user, {})
        assert mine.pop(f"@{track}", None) == was
        assert was != now
        if now is not None:
            mine[f"@{track}"] = now
    return stood


@settings(max_examples=150, deadline=None)
@given(world=worlds())
def test_what_stood_and_the_changes_make_what_stands(world: tuple[Rulebook, pl.DataFrame, pl.DataFrame]) -> None:
    rulebook, facts, before = world
    after = Decider(rulebook, SHANGHAI).frame(facts, before, NOW)
    changes = diff(rulebook, before, after, facts)
    decided = set(facts.get_column("user_id"))
    expected = apply(after, Changes(changes.tags.clear(), changes.stages.clear()))
    untouched = apply(before, Changes(changes.tags.clear(), changes.stages.clear()))
    stands = apply(before, changes)
    for user, held in stands.items():
        assert held == (expected[user] if user in decided else untouched[user])
    again = diff(rulebook, after, after, facts)
    assert len(again) == 0


@settings(max_examples=150, deadline=None)
@given(world=worlds(), least=st.sampled_from([0, FEW]))
def test_a_few_users_are_compared_as_many_are(world: tuple[Rulebook, pl.DataFrame, pl.DataFrame], least: int) -> None:
    rulebook, facts, before = world
    decider = Decider(rulebook, SHANGHAI)
    past, values = by_user(before), by_user(facts)
    after = {user: decider.user(mine, past.get(user, {}), NOW) for user, mine in values.items()}
    few = diff_few(rulebook, past, after, values)
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(diff_module, "FEW", least)
        many = diff(rulebook, before, decider.frame(facts, before, NOW), facts)
    assert noted(few.tags, few.stages) == noted(many.tags.rows(), many.stages.rows())


def by_user(frame: pl.DataFrame) -> dict[int, dict[str, Any]]:
    """By user, what there is of each."""
    return {row.pop("user_id"): row for row in frame.iter_rows(named=True)}


def noted(*changes: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Changes in one order, with reasons as data."""
    return sorted(((*what, json.loads(why)) for rows in changes for *what, why in rows), key=repr)


@settings(max_examples=100, deadline=None)
@given(world=worlds())
def test_every_change_says_why_with_the_values_of_the_facts_it_names(
    world: tuple[Rulebook, pl.DataFrame, pl.DataFrame],
) -> None:
    rulebook, facts, before = world
    changes = diff(rulebook, before, Decider(rulebook, SHANGHAI).frame(facts, before, NOW), facts)
    values = {row["user_id"]: row for row in facts.iter_rows(named=True)}
    reasons: Mapping[tuple[str | None, str | None], Reason] = {
        **{(None, rule.tag.key): rule.reason for rule in rulebook.tags},
        **{
            (track.key, stage.key): reason
            for track in rulebook.tracks
            for stage, reason in zip(track.stages, track.reasons, strict=True)
        },
    }
    told = [(user, None, tag, why) for user, tag, _, why in changes.tags.iter_rows()]
    told += [(user, track, now, why) for user, track, _, now, why in changes.stages.iter_rows()]
    for user, track, key, why in told:
        reason = reasons.get((track, key))
        named = list(reason.facts.values()) if reason else []
        expected = [values[user][fact.name] for fact in named]
        if reason and reason.cases:
            held = (number for number, (when, _) in enumerate(reason.cases) if read(when, {}, values[user]).held)
            expected.append(next(held, None))
        assert json.loads(why) == expected


@pytest.mark.parametrize("users", [2, 2 * FEW])
def test_a_reason_may_name_a_day_and_a_code(users: int) -> None:
    due, skin = Attribute("due", type="date"), Attribute("skin", values=["油", '"dry"'])
    tag = Tag("p.due", "due", Count("order.paid") == 0, "{due} {skin}")
    rulebook = Rulebook((TagRule("p", tag, Reason("{due} {skin}", {"due": due, "skin": skin}, {})),), (), {})
    facts = pl.DataFrame(
        {
            "user_id": range(users),
            due.name: [date(2026, 12, 1), None] * (users // 2),
            skin.name: pl.Series(['"dry"', "油"] * (users // 2), dtype=pl.Enum(['"dry"', "油"])),
            Count("order.paid").name: [0] * users,
        }
    )
    nothing = pl.DataFrame(schema={"user_id": pl.Int64})
    changes = diff(rulebook, nothing, Decider(rulebook, SHANGHAI).frame(facts, nothing, NOW), facts)
    whys = [json.loads(why) for why in changes.tags.get_column("why")]
    assert whys == [["2026-12-01", '"dry"'], [None, "油"]] * (users // 2)


def test_tags_and_stages_of_a_plugin_that_was_removed_are_lost() -> None:
    facts = pl.DataFrame([(1, 0, None, 0.0, None), (2, 0, None, 0.0, None)], schema=SCHEMA, orient="row")
    before = pl.DataFrame(
        {"user_id": [2, 1], "other.z": [True, False], "@t": ["old", "new"], "@t.since": [NOW, NOW]},
        schema_overrides={"@t.since": MOMENT},
    )
    nothing = Rulebook((), (), {})
    changes = diff(nothing, before, Decider(nothing, SHANGHAI).frame(facts, before, NOW), facts)
    assert changes.tags.rows() == [(2, "other.z", False, "[]")]
    assert sorted(changes.stages.rows()) == [(1, "t", "new", None, "[]"), (2, "t", "old", None, "[]")]


def test_a_stage_is_kept_until_the_midnight_that_ends_its_stay() -> None:
    track = Track("p", "t", "t", (Stage("old", "old", ORDERS > 0, stay=14), Stage("new", "new")), (_reason(),) * 2)
    decider = Decider(Rulebook((), (track,), {}), SHANGHAI)
    facts = pl.DataFrame([(1, 0, None, 0.0, None)], schema=SCHEMA, orient="row")
    for since, stage in (
        # Of fourteen days, today is the last for whoever came on the 8th, which began at four in the afternoon in UTC.
        (datetime(2026, 11, 7, 16, tzinfo=UTC) - timedelta(microseconds=1), "new"),
        (datetime(2026, 11, 7, 16, tzinfo=UTC), "old"),
        (NOW + timedelta(days=1), "old"),
    ):
        before = pl.DataFrame(
            {"user_id": [1], "@t": ["old"], "@t.since": [since]}, schema_overrides={"@t.since": MOMENT}
        )
        assert decider.frame(facts, before, NOW).item(0, "@t") == stage
        assert one_by_one(decider, facts, before).item(0, "@t") == stage
