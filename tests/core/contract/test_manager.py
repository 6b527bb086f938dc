"""Plugins are checked when they are loaded: what is wrong is named, with what would be right."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pydantic
import pytest
import siyu
from siyu import (
    ALWAYS,
    Attribute,
    Channel,
    Count,
    EventKind,
    Field,
    FittedSegmenter,
    IdentityKind,
    Lifecycle,
    NotFound,
    Payload,
    PluginError,
    RuleError,
    Segmenter,
    SiyuError,
    Stage,
    Tag,
    hookimpl,
)
from siyu.contract.manager import PluginManager

orders = Count("order.paid")


def module(doc: str | None = None, **hooks: Callable[..., Any]) -> ModuleType:
    """A plugin that returns these from its hooks."""
    made = ModuleType("made", doc)
    for name, hook in hooks.items():
        hook.__name__ = name
        setattr(made, name, hookimpl(hook))
    return made


def load(made: ModuleType, name: str = "mine") -> PluginManager:
    manager = PluginManager()
    manager.register(name, made)
    manager.check()
    return manager


def segmenter(tags: Callable[[Any], Any], **attributes: Any) -> ModuleType:
    """A plugin with one segmenter."""
    made = type("Made", (Segmenter,), {"tags": lambda self, p: tags(self), **attributes})
    return module(siyu_segmenters=lambda: [made])


class Loyal(Segmenter):
    """忠诚

    Whoever came often.
    """

    class Params(siyu.Params):
        orders: int = Field(3, ge=1, le=10, title="次数")
        scope: Literal["all", "recent"] = "all"

    count = orders

    def tags(self, p: Params) -> Iterable[Tag]:
        yield Tag("mine.loyal", "忠诚", self.count >= p.orders, "{count} orders of {orders}")


def test_a_good_plugin_is_listed_with_what_it_declares() -> None:
    manager = load(module("The title.\n\nMore.", siyu_segmenters=lambda: [Loyal]))
    plugin = manager.get("mine")
    assert (plugin.title, list(plugin.declarations)) == ("The title.", ["loyal"])
    [rule] = plugin.rules
    assert (rule.title, list(rule.facts)) == ("忠诚", ["count"])
    schema = plugin.params_schema()["properties"]["loyal"]
    assert schema["title"] == "忠诚"
    assert schema["properties"]["orders"]["maximum"] == 10


def test_a_misspelt_hook_is_an_error_that_names_the_hooks_there_are() -> None:
    with pytest.raises(PluginError) as caught:
        load(module(siyu_segmentors=lambda: [Loyal]))
    assert "siyu_segmentors" in caught.value.message
    valid = str(caught.value.remedy)
    assert "siyu_segmenters, siyu_sizing_policies" in valid
    assert "siyu_segmentors" not in valid


def test_a_hook_that_is_not_marked_is_an_error_and_not_passed_over() -> None:
    made = ModuleType("made")
    made.siyu_segmenters = lambda: [Loyal]  # type: ignore[attr-defined]
    with pytest.raises(PluginError) as caught:
        load(made)
    assert str(caught.value) == "mine.siyu_segmenters: it is not marked as a hook (put @hookimpl above it)"


class NotMine:
    pass


class NeedsMore(Channel):
    def __init__(self, url: str) -> None:
        pass


def _raise() -> None:
    raise LookupError("no such thing")


def test_a_plugin_says_what_a_name_of_its_own_proves() -> None:
    kind = IdentityKind("tea_card", "茶卡", single=True)
    plugins = load(module(siyu_identity_kinds=lambda: [kind]))
    assert plugins.identity_kinds["tea_card"] is kind
    assert plugins.identity_kinds["member"].single
    assert "household" not in plugins.identity_kinds


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (module(siyu_segmenters=lambda: [NotMine]), "siyu_segmenters of plugin mine returned"),
        (module(siyu_segmenters=lambda: [Loyal()]), "siyu_segmenters of plugin mine returned"),
        (module(siyu_lifecycles=lambda: [Loyal]), "siyu_lifecycles of plugin mine returned"),
        (module(siyu_segmenters=lambda: None), "NoneType"),
        (module(siyu_segmenters=_raise), "no such thing"),
        (module(siyu_segmenters=lambda brand: [Loyal]), "brand"),
        (module(siyu_event_kinds=lambda: ["order.paid"]), "returned 'order.paid'"),
        (module(siyu_identity_kinds=lambda: ["phone"]), "returned 'phone'"),
        (module(siyu_identity_kinds=lambda: [IdentityKind("phone", "again")]), "two plugins"),
        (module(siyu_segmenters=lambda: [Loyal, Loyal]), "'loyal' twice"),
        (module(siyu_segmenters=lambda: [type("Silent", (Segmenter,), {})]), "tags"),
        (module(siyu_channels=lambda: [type("Silent", (Channel,), {})]), "deliver"),
    ],
)
def test_a_hook_that_does_not_return_declarations_is_an_error(made: ModuleType, named: str) -> None:
    with pytest.raises(PluginError) as caught:
        load(made)
    assert named in caught.value.message
    assert caught.value.remedy


def test_two_plugins_of_one_name_and_one_plugin_of_two_are_refused() -> None:
    one = module(siyu_segmenters=lambda: [Loyal])
    for names in (("mine", "mine"), ("mine", "yours"), ("core",)):
        manager = PluginManager()
        for name in names[:-1]:
            manager.register(name, one)
        with pytest.raises(PluginError) as caught:
            manager.register(names[-1], one)
        assert caught.value.field == names[-1]


def test_an_unknown_plugin_is_named_with_those_installed() -> None:
    with pytest.raises(NotFound, match=r"no plugin 'theirs'.*installed are: mine"):
        load(module(siyu_segmenters=lambda: [Loyal])).get("theirs")


class Floating(Payload):
    weight: float


@pytest.mark.parametrize(
    ("made", "field", "named"),
    [
        (segmenter(lambda self: [Tag("yours.x", "X", orders > 1)]), "mine.made: yours.x", "another's name"),
        (segmenter(lambda self: [Tag("minex", "X", orders > 1)]), "mine.made: minex", "another's name"),
        (segmenter(lambda self: [Tag("mine.x", "X", orders > 1, "{spent}")]), "mine.made: mine.x", "{spent}"),
        (segmenter(lambda self: [Tag("mine.x", "X", orders > 1, "{o.x}")], o=orders), "mine.made: mine.x", "{o.x}"),
        (segmenter(lambda self: [Tag("mine.x", "X", orders > 1, "{}")]), "mine.made: mine.x", "{}"),
        (
            segmenter(lambda self: [Tag("mine.x", "X", Count("order.payed") > 1)]),
            "mine.made: order.payed",
            "no such event",
        ),
        (segmenter(lambda self: [], unused=Count("nothing")), "mine.made: nothing", "no such event kind"),
        (
            segmenter(lambda self: [Tag("mine.x", "X", ALWAYS, "{a}", facts={"a": Count("nothing")})]),
            "mine.made: nothing",
            "no such event kind",
        ),
        (segmenter(lambda self: [Tag("mine.x", "X", orders)]), "mine.made: mine.x", "is not a condition"),  # type: ignore[arg-type]
        (segmenter(lambda self: [Tag("Mine X", "X", ALWAYS)]), "mine.made", "the key 'Mine X'"),
        (segmenter(lambda self: ["mine.x"]), "mine.made", "yields 'mine.x'"),
        (segmenter(lambda self: [Stage("x", "X")]), "mine.made", "yields Stage"),
        (segmenter(lambda self: None), "mine.made", "it returns None (yield each Tag(...)"),
        (segmenter(lambda self: "mine.x"), "mine.made", "it returns 'mine.x'"),
        (segmenter(lambda self: 1 / 0), "mine.made", "ZeroDivisionError"),
        (segmenter(lambda self: [Tag("mine.x", "X", ALWAYS, "{oops")]), "mine.made", "{oops"),
        (module(siyu_event_kinds=lambda: [EventKind("order.paid", "again")]), "order.paid", "two plugins"),
        (module(siyu_event_kinds=lambda: [EventKind("mine.x", "X", Floating)]), "mine.x.weight", "float"),
    ],
)
def test_a_rule_that_could_only_fail_at_night_is_refused_at_load(made: ModuleType, field: str, named: str) -> None:
    with pytest.raises(RuleError) as caught:
        load(made)
    assert str(caught.value.field).startswith(field)
    assert named in str(caught.value)


def test_defaults_that_break_their_own_limits_are_refused_at_load() -> None:
    class Broken(siyu.Params):
        days: int = Field(0, ge=1)

    with pytest.raises(RuleError) as caught:
        load(segmenter(lambda self: [], Params=Broken))
    assert str(caught.value) == (
        "mine.made: Params.days: as the default, Input should be greater than or equal to 1, got 0"
        " (give it a default that its limits allow)"
    )


# -- classes ---------------------------------------------------------------------------------------------------------


def test_an_attribute_of_a_rule_that_is_not_known_is_refused_by_name() -> None:
    for bases in ((Segmenter,), (Lifecycle,), (FittedSegmenter,)):
        with pytest.raises(RuleError) as caught:
            type("Made", bases, {"titel": "misspelt"})
        assert caught.value.field == "titel"
        assert "key, title, Params, facts" in str(caught.value.remedy)
    made: Any = type(
        "Made", (Segmenter,), {"_mine": 1, "skin": Attribute("skin"), "help": lambda self: 1, "title": "T"}
    )
    assert list(made.facts) == ["skin"]


def test_facts_are_inherited_and_can_be_overridden() -> None:
    class Stricter(Loyal):
        count = Count("order.paid", days=30)
        skin = Attribute("skin")

    assert {name: fact.name for name, fact in Stricter.facts.items()} == {
        "count": "Count('order.paid', days=30)",
        "skin": "Attribute('skin')",
    }
    assert {name: fact.name for name, fact in Loyal.facts.items()} == {"count": "Count('order.paid')"}


def test_parameters_need_defaults_and_the_base_class_of_siyu() -> None:
    with pytest.raises(PluginError) as caught:
        type("Params", (siyu.Params,), {"__annotations__": {"days": int}})
    assert (caught.value.field, caught.value.remedy) == ("days", "give every parameter a default")
    other = type("Params", (pydantic.BaseModel,), {})
    with pytest.raises(RuleError, match=r"inherit siyu\.Params"):
        type("Made", (Segmenter,), {"Params": other})


def test_a_stage_cannot_be_left_before_it_is_entered() -> None:
    with pytest.raises(RuleError, match="stay=-1"):
        Stage("x", "X", stay=-1)


# -- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "field", "named"),
    [
        ({"loyal": {"orders": 0}}, "loyal.orders", ["greater than or equal to 1", "0", "orders, scope"]),
        ({"loyal": {"orders": "x"}}, "loyal.orders", ["'x'", "orders, scope"]),
        ({"loyal": {"scope": "some"}}, "loyal.scope", ["'some'", "'all' or 'recent'"]),
        ({"loyal": {"orders": 1, "colour": 2}}, "loyal.colour", ["Extra inputs", "2", "orders, scope"]),
        ({"loyal": 3}, "loyal", ["3", "orders, scope"]),
        ({"royal": {}}, "royal", ["'royal'", "grouped under: loyal"]),
    ],
)
def test_bad_parameters_are_refused_by_field_and_value_with_the_names_there_are(
    values: dict[str, Any], field: str, named: list[str]
) -> None:
    plugin = load(module(siyu_segmenters=lambda: [Loyal])).get("mine")
    with pytest.raises(PluginError) as caught:
        plugin.params(values)
    assert caught.value.field == field
    assert all(part in str(caught.value) for part in named)


def test_parameters_left_out_take_their_defaults() -> None:
    plugin = load(module(siyu_segmenters=lambda: [Loyal])).get("mine")
    assert plugin.params({"loyal": {"orders": 5}})["loyal"].model_dump() == {"orders": 5, "scope": "all"}
    assert plugin.params()["loyal"].model_dump() == {"orders": 3, "scope": "all"}


def test_a_parameter_is_never_infinite_or_not_a_number() -> None:
    class Cuts(siyu.Params):
        cuts: tuple[float, ...] = (1.0,)

    plugin = load(segmenter(lambda self: [], Params=Cuts)).get("mine")
    for value in (float("nan"), float("inf"), "nan", "-inf"):
        with pytest.raises(PluginError, match="finite"):
            plugin.params({"made": {"cuts": [1.0, value]}})


def test_errors_say_where_what_and_the_remedy_in_one_line() -> None:
    error = SiyuError("the value 3", field="days", remedy="use 1 or 2")
    assert str(error) == "days: the value 3 (use 1 or 2)"
    assert str(SiyuError("alone")) == "alone"


def test_every_reference_in_a_schema_of_parameters_leads_somewhere() -> None:
    for plugin in PluginManager.load().plugins.values():
        schema = plugin.params_schema()
        names = re.findall(r'"\$ref": "#/\$defs/([^"]+)"', json.dumps(schema))
        assert set(names) <= set(schema.get("$defs", {}))
    interest = PluginManager.load().get("interest").params_schema()
    assert interest["$defs"]


# -- installed plugins with mistakes -----------------------------------------------------------------------------------

RULE = """
from siyu import Count, EventKind, Segmenter, Tag, hookimpl

class Rule(Segmenter):
    orders = Count("order.paid")

    def tags(self, p):
        {body}

@hookimpl
def {hook}():
    return [Rule]

@hookimpl
def siyu_event_kinds():
    return [EventKind({kind!r}, "Ours")]
"""


DECLARED = """
from siyu import Count

orders = Count("order.paid", days=0)
"""


def rule(body: str, hook: str = "siyu_segmenters", kind: str = "{name}.happened") -> str:
    return RULE.replace("{body}", body).replace("{hook}", hook).replace("{kind!r}", repr(kind))


@pytest.mark.parametrize(
    ("entry", "code", "shown", "says", "rules", "kind"),
    [
        ("broken", "import nothing_of_that_name", "broken", "nothing_of_that_name", 0, False),
        (
            "broken",
            DECLARED,
            "broken",
            "broken: days: the plugin cannot be imported: a window of 0 days (use",
            0,
            False,
        ),
        ("broken", rule("return 1 / 0"), "broken", "ZeroDivisionError", 1, True),
        ("broken", rule("while True: pass"), "broken", "no answer after 1 s", 1, True),
        (
            "broken",
            rule("while True: yield Tag('broken.x', 'X', self.orders > 1)"),
            "broken",
            "more than 10,000",
            1,
            True,
        ),
        ("broken", rule("return []", hook="siyu_segmentors"), "broken", "hooks are: siyu_attributes", 0, False),
        ("broken", rule("return []", kind="order.paid"), "broken", "two plugins declare", 0, False),
        ("rfm", rule("return []"), "rfm (plugin_rfm)", "two plugins have this name", 0, False),
        ("core", rule("return []"), "core (plugin_core)", "already registered", 0, False),
    ],
    ids=["import", "fact", "raises", "hangs", "endless", "hook", "kind", "our name", "the name of the core"],
)
def test_an_installed_plugin_with_a_mistake_is_refused_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry: str,
    code: str,
    shown: str,
    says: str,
    rules: int,
    kind: bool,
) -> None:
    good = PluginManager.load()
    (tmp_path / f"plugin_{entry}.py").write_text(code.replace("{name}", entry), encoding="utf-8")
    info = tmp_path / f"plugin_{entry}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{entry}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[siyu]\n{entry} = plugin_{entry}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, f"plugin_{entry}", raising=False)

    manager = PluginManager.load()
    assert {name for name, plugin in manager.plugins.items() if plugin.refused} == {shown}
    plugin = manager.get(shown)
    assert (plugin.version, len(plugin.rules)) == ("1.2", rules)
    assert says in str(plugin.refused)
    with pytest.raises(PluginError) as caught:
        plugin.params()
    assert caught.value.remedy == plugin.refused.remedy  # type: ignore[union-attr]
    # Everything else is there: plugins, rules, and kinds of events.
    assert [each.name for each in manager.plugins.values() if not each.refused] == list(good.plugins)
    assert manager.get("rfm").params()
    more = {f"{entry}.happened"} if kind else set()
    assert set(manager.catalog.kinds) == set(good.catalog.kinds) | more
