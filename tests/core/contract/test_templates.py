"""What a template may say, and what it is refused for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from types import ModuleType
from typing import Any

import pytest
from siyu import AttributeKind, InputError, Manual, Playbook, RuleError, Send, hookimpl
from siyu.contract.manager import PluginManager
from siyu.contract.templates import MOST_TEXT, check, template

KNOWN = {"name": "text", "brand": "text", "user.city": "text", "user.born": "date", "user.member": "flag"}


def refused(source: str) -> InputError:
    with pytest.raises(InputError) as caught:
        check(source, KNOWN)
    assert caught.value.field == "text"
    assert caught.value.remedy
    return caught.value


def test_it_says_what_is_known_of_the_user() -> None:
    made = check("{{ name }}，{% if user.city == '上海' %}上海{% else %}别处{% endif %}见！", KNOWN)
    assert made.render({"name": "小红", "user.city": "上海"}) == "小红，上海见！"
    assert made.render({"name": "小红", "user.city": "北京"}) == "小红，别处见！"
    assert made.names == ("name", "user.city")


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        ("{{ name | upper }}", "ab", "AB"),
        ("{{ name | lower }}", "AB", "ab"),
        ("{{ name | title }}", "ann lee", "Ann Lee"),
        ("{{ name | trim }}", " a ", "a"),
        ("{{ name | length }}", "abc", "3"),
        ("{{ name | int }}", "7.9", "7"),
        ("{{ name | round }} {{ name | round(1) }}", 7.26, "7 7.30"),
        ("{{ name }}", 12.5, "12.50"),
        ("{{ name }}", 12.0, "12"),
        (
            "{{ name | date }} {{ name | date('%-m月%-d日, %m/%d %Y%%') }}",
            date(2027, 6, 1),
            "2027-06-01 6月1日, 06/01 2027%",
        ),
        ("{{ 'a' if name in ['x', 'y'] else 'b' }}", "y", "a"),
        ("{% if not name > 3 and name %}x{% elif name == 5 %}five{% endif %}", 5, "five"),
        ("{{ name | default('nobody') }}", "Ann", "Ann"),
    ],
)
def test_the_language(source: str, value: Any, text: str) -> None:
    assert check(source, KNOWN).render({"name": value}) == text


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% for a in range(10) %}{% endfor %}", "a loop"),
        ("{% macro a() %}{% endmacro %}", "a macro"),
        ("{% include 'x' %}", "an include"),
        ("{% import 'x' as x %}", "an import"),
        ("{% set a = 1 %}", "Assign"),
        ("{{ name() }}", "a call"),
        ("{{ name.upper() }}", "a call"),
        ("{{ 'a' * 9 }}", "Mul"),
        ("{{ name ~ name }}", "Concat"),
        ("{{ name | attr('x') }}", "no filter 'attr'"),
        ("{{ name | join(name) }}", "no filter 'join'"),
        ("{{ name | default(default_value='x') }}", "a filter of that form"),
        ("{{ name | default(*name) }}", "a filter of that form"),
        ("{{ user[name] }}", "a name in a name"),
        ("{{ user.city.x }}", "a name in a name"),
        ("{{ 'x' if name }}", "an if without else"),
        ("{{ name", "unexpected end"),
        ("{% if name %}", "Unexpected end"),
        ("{{ " + "(" * 5000 + "name", "too deep"),
        ("{% if name %}" * 500 + "{% endif %}" * 500, "too deep"),
        ("{{ " + "not " * 4000 + "name }}", "too deep"),
        ("x" * 10_000_000, "10,000,000 letters"),
    ],
)
def test_what_is_not_of_the_language_is_refused(source: str, says: str) -> None:
    assert says in refused(source).message


@pytest.mark.parametrize("name", ["name.__class__", "user.__class__", "user['__init__']", "user.items", "self", "city"])
def test_a_name_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    error = refused(f"{{{{ {name} }}}}")
    assert error.message.startswith("no name")
    assert "names are: " in str(error.remedy)
    assert "user.city" in str(refused("{{ user.citty }}").remedy)


def test_what_is_true_or_false_is_not_shown() -> None:
    assert "{% if user.member %}" in str(refused("{{ user.member }}").remedy)
    assert check("{% if user.member %}会员{% endif %}", KNOWN).render({"user.member": True}) == "会员"


@pytest.mark.parametrize(
    "source", ["{{ user.city }}", "{{ user.city | upper }}", "{{ user.city | length }}", "{{ user.city | date }}"]
)
def test_a_missing_value_is_never_shown(source: str) -> None:
    with pytest.raises(InputError, match=r"there is no user.city") as caught:
        template(source).render({"name": "x"})
    assert caught.value.field == "user.city"
    assert "default" in str(caught.value.remedy)


def test_a_missing_value_has_its_default_and_compares_false() -> None:
    assert template("{{ user.city | default('您的城市') }}").render({}) == "您的城市"
    for test in ("user.city", "user.city == 'x'", "user.city != 'x'", "user.city > 3", "user.city in ['x']"):
        assert template(f"{{% if {test} %}}yes{{% else %}}no{{% endif %}}").render({}) == "no"


def test_what_comes_out_is_limited_too() -> None:
    made = template("{{ user.city }}" * 30)
    assert len(made.render({"user.city": "x" * 500})) == 15_000
    with pytest.raises(InputError, match="it comes to 30,000 letters") as caught:
        made.render({"user.city": "x" * 1000})
    assert f"{MOST_TEXT:,}" in str(caught.value.remedy)


def test_a_value_that_a_filter_does_not_fit_is_an_error_not_a_guess() -> None:
    for source in ("{{ name | int }}", "{{ name | round }}", "{{ name | date }}", "{{ name > 3 }}"):
        with pytest.raises(InputError):
            template(source).render({"name": "abc"})


class Greeting(Playbook):
    """Hello."""

    text = "hello"

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Send]:
        yield Send("outbox", {"zh": "您好", "en": self.text}, key="hello")


@pytest.mark.parametrize(("text", "says"), [("{{ user.ctiy }}", "no name 'user.ctiy'"), ("{% for %}", "line 1")])
def test_a_playbook_with_a_bad_text_is_refused_when_it_is_loaded(text: str, says: str) -> None:
    playbook = type("Bad", (Greeting,), {"text": text})
    module = ModuleType("made")

    def siyu_playbooks() -> list[type[Playbook]]:
        return [playbook]

    def siyu_attributes() -> list[AttributeKind]:
        return [AttributeKind("city", "城市")]

    vars(module).update(siyu_playbooks=hookimpl(siyu_playbooks), siyu_attributes=hookimpl(siyu_attributes))
    manager = PluginManager()
    manager.register("made", module)
    with pytest.raises(RuleError, match=r"made\.bad: hello\.text") as caught:
        manager.check()
    assert says in caught.value.message
