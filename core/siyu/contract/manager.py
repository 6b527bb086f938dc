"""The plugin manager: finds plugins, checks what they declare, and keeps it by plugin.

Plugins are found by entry points of group ``siyu``: the name is the plugin's name, the value its module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from itertools import chain
from types import ModuleType
from typing import Any, TypeVar, cast

import pluggy

from siyu.contract import kinds, specs
from siyu.contract.attributes import AttributeKind
from siyu.contract.budget import ANSWER_SECONDS, Call, make
from siyu.contract.channels import Channel
from siyu.contract.checks import Check
from siyu.contract.conditions import Compare, Condition, In, Lit, walk
from siyu.contract.errors import NotFound, PluginError, RuleError, SiyuError
from siyu.contract.events import Catalog, EventKind
from siyu.contract.facts import Attribute, Fact
from siyu.contract.identities import IdentityKind
from siyu.contract.later import FeedbackHandler, Metric, SizingPolicy
from siyu.contract.params import Params, validate_params
from siyu.contract.playbooks import BENEFITS, TAGS, TASKS, Playbook
from siyu.contract.program import Program, program, tags_given
from siyu.contract.rules import (
    Declaration,
    FittedSegmenter,
    Lifecycle,
    Rule,
    Segmenter,
    Stage,
    Tag,
    stages_of,
    tags_of,
)
from siyu.contract.unknown_tags import UnknownTag, tags_in, tags_of_program, unknown_tags

__all__ = ["ENTRY_POINT_GROUP", "GUARD", "Plugin", "PluginManager"]

ENTRY_POINT_GROUP = "siyu"
BUILT_IN = "core"
GUARD = "guard"
"""The plugin that is on for every brand, with its defaults where nothing was set, and cannot be switched off."""
OWN_CHANNELS = {"outbox", TASKS, BENEFITS, TAGS}
"""What needs no plugin: messages kept for a person to read, what people are to do, what is given, and tags."""
T = TypeVar("T")

_BASES: Mapping[str, tuple[type, ...]] = {
    "siyu_segmenters": (Segmenter, FittedSegmenter),
    "siyu_lifecycles": (Lifecycle,),
    "siyu_playbooks": (Playbook,),
    "siyu_channels": (Channel,),
    "siyu_checks": (Check,),
    "siyu_sizing_policies": (SizingPolicy,),
    "siyu_feedback_handlers": (FeedbackHandler,),
    "siyu_metrics": (Metric,),
}


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin and the declarations it contributes, by hook."""

    name: str
    title: str
    version: str
    declared: Mapping[str, tuple[Declaration, ...]] = field(default_factory=dict)
    attributes: tuple[AttributeKind, ...] = ()
    refused: SiyuError | None = None
    """Why it could not be loaded. Its rules stand still; everything else goes on."""
    check_fact: Callable[[Fact], None] = lambda fact: None
    """Refuses a fact that cannot be computed over the events and attributes of this installation."""

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """Every declaration by its key."""
        return {item.key: item for items in self.declared.values() for item in items}

    @property
    def rules(self) -> list[Rule]:
        """Its segmenters and lifecycles."""
        return [item for item in self.declarations.values() if isinstance(item, Rule)]

    @property
    def fitted(self) -> list[FittedSegmenter]:
        """Those of its rules that are fitted."""
        return [item for item in self.declarations.values() if isinstance(item, FittedSegmenter)]

    @property
    def checks(self) -> list[Check]:
        """Its checks, in their order."""
        return [item for item in self.declarations.values() if isinstance(item, Check)]

    @property
    def playbooks(self) -> list[Playbook]:
        """Its playbooks."""
        return [item for item in self.declarations.values() if isinstance(item, Playbook)]

    def params(self, values: Mapping[str, Any] | None = None) -> dict[str, Params]:
        """Parameters of every declaration, ``values`` (by key, then by name) over the defaults.

        Raises :class:`PluginError` naming the field, the value and the valid names.
        """
        if self.refused is not None:
            raise PluginError(self.refused.message, field=self.refused.field, remedy=self.refused.remedy)
        values = values or {}
        if unknown := set(values) - set(self.declarations):
            raise PluginError(
                f"plugin {self.name} has no {min(unknown)!r}",
                field=min(unknown),
                remedy=f"parameters are grouped under: {', '.join(self.declarations)}",
            )
        return {
            key: validate_params(item.Params, values.get(key, {}), where=key) for key, item in self.declarations.items()
        }

    def params_schema(self) -> dict[str, Any]:
        """The JSON schema of :meth:`params`."""
        properties: dict[str, Any] = {}
        shared: dict[str, Any] = {}
        for key, item in self.declarations.items():
            schema = item.Params.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}")
            shared |= {f"{key}.{name}": definition for name, definition in schema.pop("$defs", {}).items()}
            if schema.get("properties"):
                properties[key] = {**schema, "title": item.title}
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "$defs": shared} if shared else schema


class PluginManager:
    """All plugins of this installation. Which of them a brand has on is kept in the store."""

    def __init__(self) -> None:
        self.hooks = pluggy.PluginManager("siyu")
        self.hooks.add_hookspecs(specs)
        self.plugins: dict[str, Plugin] = {}
        self.given: dict[str, set[str]] = {}
        """The tags that plugins give under their default parameters, by plugin; ``rfm.*`` of one of which nobody knows
        them: it is refused, or finds out by fitting."""
        self._asked: dict[tuple[str, str], set[str]] = {}
        self._kinds: dict[str, list[EventKind]] = {}
        self._identity_kinds: dict[str, list[IdentityKind]] = {}
        self._attributes: dict[str, list[AttributeKind]] = {}
        self._declare(BUILT_IN, kinds)

    @classmethod
    def load(cls, extra_specs: Iterable[ModuleType] = ()) -> PluginManager:
        """The manager with all installed plugins; ``extra_specs`` are modules with further hook specifications.

        A plugin with a mistake is :attr:`Plugin.refused`, alone.
        """
        manager = cls()
        for module in extra_specs:
            manager.hooks.add_hookspecs(module)
        # Our own first: nobody takes their names.
        for entry in sorted(
            metadata.entry_points(group=ENTRY_POINT_GROUP),
            key=lambda entry: (entry.name, entry.dist is None or entry.dist.name != "siyu"),
        ):
            plugin = Plugin(entry.name, entry.name, entry.dist.version if entry.dist else "")
            if entry.name in (BUILT_IN, *manager.plugins):
                plugin = replace(plugin, name=f"{entry.name} ({entry.value})")
            try:
                manager.register(entry.name, _imported(entry), version=plugin.version)
            except SiyuError as error:
                manager._refuse(plugin, error)
        while (wrong := manager._mistake()) is not None:
            manager._refuse(*wrong)
        return manager

    def register(self, name: str, module: Any, *, version: str = "") -> Plugin:
        """Add one plugin and check all that it declares by itself."""
        if name in self.plugins:
            raise PluginError("two plugins have this name", field=name, remedy="rename one of the entry points")
        self._declare(name, module)
        _ = self.catalog, self.identity_kinds
        declared = {hook: self._declarations(name, hook, bases) for hook, bases in _BASES.items()}
        keys = [item.key for items in declared.values() for item in items]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise PluginError(f"plugin {name} declares {min(twice)!r} twice", field=min(twice), remedy="rename one")
        title = ((module.__doc__ or "").strip() or name).splitlines()[0]
        attributes = tuple(self._attributes[name])
        declared = {hook: items for hook, items in declared.items() if items}
        plugin = Plugin(name, title, version, declared, attributes, check_fact=lambda fact: self.catalog.check(fact))
        self.plugins[name] = plugin
        return plugin

    def expect(self, names: Iterable[str]) -> None:
        """Keep plugins that brands have on and that are not installed (any more) as :attr:`Plugin.refused`: what a
        deployment has left out must not take back its tags and stages."""
        for name in names:
            if name not in self.plugins:
                remedy = "install it again, or switch it off"
                error = PluginError("a brand has it on, and it is not installed", field=name, remedy=remedy)
                self.plugins[name] = Plugin(name, name, "", refused=error)

    def check(self) -> None:
        """Check what depends on all plugins: hook names, and that every fact can be computed."""
        if (wrong := self._mistake()) is not None:
            raise wrong[1]

    def _mistake(self) -> tuple[Plugin, SiyuError] | None:
        """The first plugin with a mistake that only shows beside the others."""
        try:
            self.hooks.check_pending()
        except pluggy.PluginValidationError as error:
            plugin = self.plugins[str(self.hooks.get_name(error.plugin))]
            return plugin, PluginError(str(error), remedy=f"hooks are: {', '.join(self._hook_names)}")
        for plugin in self.plugins.values():
            try:
                for rule in plugin.rules if plugin.refused is None else ():
                    items = _check_rule(plugin, rule, self.catalog)
                    self._note(plugin, rule.key, items, tags_in(item.when for item in items))
                for playbook in plugin.playbooks if plugin.refused is None else ():
                    made = _check_playbook(plugin, playbook, self.catalog, self.channels)
                    self._note(plugin, playbook.key, tags_given(playbook, playbook.Params()), tags_of_program(made))
            except SiyuError as error:
                return plugin, error
        return None

    def _note(self, plugin: Plugin, key: str, gives: Iterable[Tag | Stage], asks: set[str]) -> None:
        given = self.given.setdefault(plugin.name, {f"{plugin.name}.*"} if plugin.fitted else set())
        given.update(item.key for item in gives if isinstance(item, Tag))
        self._asked[plugin.name, key] = asks

    def unknown_tags(self) -> list[UnknownTag]:
        """The tags that rules and playbooks ask for and no installed plugin gives, under default parameters."""
        return unknown_tags(self._asked, set().union(*self.given.values()), self.given)

    def _refuse(self, plugin: Plugin, error: SiyuError) -> None:
        """Keep a plugin by its name, with what is known of it, and nothing of what it does."""
        self.plugins[plugin.name] = replace(plugin, refused=error)
        self.given[plugin.name] = {f"{plugin.name}.*"}
        self._asked = {name: tags for name, tags in self._asked.items() if name[0] != plugin.name}
        if isinstance(error, RuleError) and plugin.declared:
            return  # its events are still taken in, and its GraphQL types stay
        if self.hooks.has_plugin(plugin.name):
            self.hooks.unregister(name=plugin.name)
        self._kinds.pop(plugin.name, None)
        self._identity_kinds.pop(plugin.name, None)
        self._attributes.pop(plugin.name, None)
        self._forget_kinds()

    @cached_property
    def catalog(self) -> Catalog:
        """The kinds of events and attributes of all plugins."""
        return Catalog([kind for kinds in self._kinds.values() for kind in kinds], self._attributes)

    @property
    def channels(self) -> set[str]:
        """The keys of the channels of all plugins, and of the core's own."""
        every = (item for plugin in self.plugins.values() for item in plugin.declarations.values())
        return {item.key for item in every if isinstance(item, Channel)} | OWN_CHANNELS

    @cached_property
    def identity_kinds(self) -> Mapping[str, IdentityKind]:
        """The kinds of names that all plugins declare, by name."""
        found: dict[str, IdentityKind] = {}
        for kind in chain.from_iterable(self._identity_kinds.values()):
            if found.setdefault(kind.name, kind) is not kind:
                raise PluginError("two plugins declare this kind of name", field=kind.name, remedy="rename one of them")
        return found

    def get(self, name: str) -> Plugin:
        """The plugin of that name, or :class:`NotFound` with the names that there are."""
        try:
            return self.plugins[name]
        except KeyError:
            raise NotFound(
                f"no plugin {name!r} is installed",
                field="plugin",
                remedy=f"installed are: {', '.join(self.plugins)}",
            ) from None

    @property
    def _hook_names(self) -> list[str]:
        return sorted(hook.name for hook in vars(self.hooks.hook).values() if hook.has_spec())

    def _declare(self, name: str, module: Any) -> None:
        for hook in self._hook_names:
            if inspect.isfunction(found := getattr(module, hook, None)) and not hasattr(found, "siyu_impl"):
                raise PluginError("it is not marked as a hook", field=f"{name}.{hook}", remedy="put @hookimpl above it")
        try:
            self.hooks.register(module, name=name)
        except (ValueError, pluggy.PluginValidationError) as error:
            raise PluginError(
                str(error), field=name, remedy="give each module one name, and hooks no arguments"
            ) from None
        self._kinds[name] = self._instances(name, "siyu_event_kinds", EventKind)
        self._identity_kinds[name] = self._instances(name, "siyu_identity_kinds", IdentityKind)
        self._attributes[name] = self._instances(name, "siyu_attributes", AttributeKind)
        self._forget_kinds()

    def _forget_kinds(self) -> None:
        for name in ("catalog", "identity_kinds"):
            self.__dict__.pop(name, None)

    def _contributed(self, name: str, hook: str) -> Iterable[Any]:
        """What the plugin of that name returns from a hook."""
        for implementation in self.hooks.hook.__dict__[hook].get_hookimpls():
            if implementation.plugin_name != name:
                continue
            try:
                yield from implementation.function()
            except SiyuError:
                raise
            except Exception as error:
                raise PluginError(
                    f"{hook} of plugin {name} failed: {error!r}", field=hook, remedy="return a list of declarations"
                ) from error

    def _instances(self, name: str, hook: str, wanted: type[T]) -> list[T]:
        found = list(self._contributed(name, hook))
        for item in found:
            if not isinstance(item, wanted):
                raise PluginError(
                    f"{hook} of plugin {name} returned {item!r}",
                    field=hook,
                    remedy=f"return instances of {wanted.__name__}",
                )
        return found

    def _declarations(self, name: str, hook: str, bases: tuple[type, ...]) -> tuple[Declaration, ...]:
        items: list[Declaration] = []
        for item in self._contributed(name, hook):
            if not (isinstance(item, type) and issubclass(item, bases)):
                names = " or ".join(base.__name__ for base in bases)
                raise PluginError(
                    f"{hook} of plugin {name} returned {item!r}",
                    field=hook,
                    remedy=f"return classes that inherit {names}",
                )
            try:
                items.append(cast(Declaration, item()))
            except Exception as error:  # whatever a plugin's code may raise
                if isinstance(error, SiyuError):
                    raise
                raise PluginError(
                    f"{item.__name__} of plugin {name} cannot be made: {error!r}", field=hook, remedy="mend the plugin"
                ) from error
        return tuple(items)


def _imported(entry: metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except SiyuError as error:
        # Facts are declared, and so refused, while the module is imported.
        field = ": ".join(filter(None, (entry.name, error.field)))
        raise PluginError(
            f"the plugin cannot be imported: {error.message}", field=field, remedy=error.remedy
        ) from error
    except Exception as error:
        raise PluginError(
            f"the plugin cannot be imported: {error!r}",
            field=entry.name,
            remedy=f"mend or uninstall {entry.value}",
        ) from error


def _asked(rule: Rule, plugin: str, params: Params) -> Sequence[Tag | Stage]:
    return stages_of(rule, params) if isinstance(rule, Lifecycle) else tags_of(rule, plugin, params)


def _check_playbook(plugin: Plugin, playbook: Playbook, catalog: Catalog, channels: Collection[str]) -> Program:
    """Refuse at load what would only fail once somebody is under way."""
    try:
        own = {key: catalog.declared(fact) for key, fact in type(playbook).facts.items()}
    except SiyuError as error:
        raise RuleError(error.message, field=f"{plugin.name}.{playbook.key}", remedy=error.remedy) from None
    vars(playbook).update(own, facts=own)

    def made() -> Program:
        return program(plugin.name, playbook, playbook.Params(), catalog, channels)

    [given] = make([Call("", (plugin.name, playbook.key), made)], ANSWER_SECONDS)
    if isinstance(given, Exception):
        raise given
    return given


def _check_values(condition: Condition) -> None:
    """Refuse to compare an attribute with a text that is none of its values: it would hold for nobody, ever."""
    for part in walk(condition):
        match part:
            case Compare(op="==" | "!=", left=Attribute() as it, right=Lit(value)):
                wanted = [value]
            case In(value=Attribute() as it, choices=choices):
                wanted = [choice.value for choice in choices if isinstance(choice, Lit)]
            case _:
                continue
        if strange := [value for value in wanted if it.values and value not in it.values]:
            raise RuleError(
                f"{strange[0]!r} is no value of {it.attribute}",
                field=it.attribute,
                remedy=f"its values are: {', '.join(it.values)}",
            )


def _check_rule(plugin: Plugin, rule: Rule, catalog: Catalog) -> Sequence[Tag | Stage]:
    """Refuse at load what could only fail at night."""
    where = f"{plugin.name}.{rule.key}"
    try:
        try:
            params = validate_params(rule.Params, {}, where="Params")
        except PluginError as error:
            remedy = "give it a default that its limits allow"
            raise PluginError(f"as the default, {error.message}", field=error.field, remedy=remedy) from None
        # A rule's own facts stand in for those of its class: other plugins say what the attributes are.
        own = {key: catalog.declared(fact) for key, fact in type(rule).facts.items()}
        vars(rule).update(own, facts=own)
        for fact in own.values():
            catalog.check(fact)
        [given] = make([Call("", (where,), lambda: _asked(rule, plugin.name, params))], ANSWER_SECONDS)
        if isinstance(given, Exception):
            raise given
        for item in given:
            for leaf in (*item.when.leaves(), *item.facts.values()):
                if isinstance(leaf, Fact):
                    catalog.check(leaf)
            _check_values(item.when)
        return given
    except SiyuError as error:
        raise RuleError(
            error.message, field=f"{where}: {error.field or ''}".rstrip(": "), remedy=error.remedy
        ) from None
    except Exception as error:
        raise RuleError(f"under its default parameters it raises {error!r}", field=where, remedy="mend it") from error
