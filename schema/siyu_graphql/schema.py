"""The schema: nouns put together, with what plugins add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

import strawberry
from siyu import PluginError, SiyuError
from siyu.contract.manager import ENTRY_POINT_GROUP, PluginManager
from strawberry.exceptions import DuplicatedTypeName
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import get_object_definition
from strawberry.types.field import StrawberryField

from siyu_graphql import hooks
from siyu_graphql.action.mutations import ActionMutations
from siyu_graphql.audit.queries import AuditQueries
from siyu_graphql.benefit.mutations import BenefitMutations
from siyu_graphql.brand.queries import BrandQueries
from siyu_graphql.change.subscriptions import ChangeSubscriptions
from siyu_graphql.consent.mutations import ConsentMutations
from siyu_graphql.errors import log
from siyu_graphql.event.mutations import EventMutations
from siyu_graphql.execution import Schema
from siyu_graphql.file.mutations import FileMutations
from siyu_graphql.hooks import Contribution
from siyu_graphql.limits import Limits
from siyu_graphql.merge.mutations import MergeMutations
from siyu_graphql.mutations import Guard
from siyu_graphql.node.queries import NodeQueries
from siyu_graphql.ops.observed import Observed
from siyu_graphql.playbook.mutations import PlaybookMutations
from siyu_graphql.plugin.mutations import PluginMutations
from siyu_graphql.plugin.subscriptions import PluginSubscriptions
from siyu_graphql.plugin.typed import field_of
from siyu_graphql.run.mutations import RunMutations
from siyu_graphql.run.subscriptions import RunSubscriptions
from siyu_graphql.scalars import SCALARS
from siyu_graphql.segment.mutations import SegmentMutations
from siyu_graphql.server.queries import ServerQueries
from siyu_graphql.task.mutations import TaskMutations
from siyu_graphql.template.mutations import TemplateMutations
from siyu_graphql.token.me import MeQueries
from siyu_graphql.token.mutations import TokenMutations
from siyu_graphql.token.queries import TokenQueries
from siyu_graphql.user.types import User
from siyu_graphql.voice.mutations import VoiceMutations

__all__ = ["build_schema", "print_sdl"]

CORE = "siyu"
QUERIES = (AuditQueries, BrandQueries, MeQueries, NodeQueries, ServerQueries, TokenQueries)
MUTATIONS = (
    ActionMutations,
    BenefitMutations,
    ConsentMutations,
    EventMutations,
    FileMutations,
    MergeMutations,
    PlaybookMutations,
    PluginMutations,
    RunMutations,
    SegmentMutations,
    TaskMutations,
    TemplateMutations,
    TokenMutations,
    VoiceMutations,
)
SUBSCRIPTIONS = (ChangeSubscriptions, PluginSubscriptions, RunSubscriptions)


@dataclass(frozen=True)
class Added:
    """What a plugin adds: what it contributes, and the field of ``User`` for what it declares."""

    plugin: str
    contribution: Contribution
    field: StrawberryField | None


def build_schema(plugins: PluginManager) -> Schema:
    """The schema with what ``plugins`` add.

    Where that cannot be put together, what a plugin adds is left out, alone, and :attr:`Schema.refused` says why;
    between the plugins that come with siyu it is a :class:`siyu.PluginError`.
    """
    refused: dict[str, PluginError] = {}
    bundled = {entry.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP) if _ours(entry)}

    def refuse(name: str, error: PluginError) -> None:
        if name in bundled:
            raise error
        refused[name] = error
        log.error("the schema is without what the plugin %s adds: %s", name, error)

    added: list[Added] = []
    for name in plugins.plugins:
        try:
            added.append(_added(plugins, name))
        except PluginError as error:
            refuse(name, error)
    try:
        return _built(added, refused)
    except PluginError:
        # Whose fault it is shows where they come one by one, our own first.
        stand: list[Added] = []
        for each in sorted(added, key=lambda each: each.plugin not in bundled):
            try:
                _built([*stand, each], refused)
                stand.append(each)
            except PluginError as error:
                refuse(each.plugin, error)
        return _built(stand, refused)


def _ours(entry: metadata.EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == CORE


def _added(plugins: PluginManager, name: str) -> Added:
    return Added(name, _contribution(plugins, name), field_of(plugins.plugins[name]))


def _built(added: Sequence[Added], refused: Mapping[str, PluginError]) -> Schema:
    """Root types are made anew, as one class cannot be in two schemas."""
    given = [(each.plugin, each.contribution) for each in added]
    queries = [(CORE, part) for part in QUERIES] + [(name, c.query) for name, c in given if c.query]
    mutations = [(CORE, part) for part in MUTATIONS] + [(name, c.mutation) for name, c in given if c.mutation]
    subscriptions = [(CORE, part) for part in SUBSCRIPTIONS]
    config = StrawberryConfig(scalar_map=SCALARS)
    for name, part in mutations:
        _refuse_unguarded(name, part)
    try:
        return Schema(
            query=_merged("Query", "What can be read.", queries, config),
            mutation=_merged("Mutation", "What can be done.", mutations, config),
            subscription=_merged("Subscription", "What can be followed.", subscriptions, config),
            types=[type_ for each in added for type_ in each.contribution.types],
            extensions=[Observed, Limits, ParserCache, ValidationCache],
            config=config,
            user_fields=_user_fields(added, config),
            refused=refused,
        )
    except DuplicatedTypeName as error:
        both = " and ".join(str(getattr(cls, "__module__", "?")) for cls in (error.first_cls, error.second_cls))
        raise PluginError(f"{error.message}: by {both}", field="siyu_graphql_types", remedy="rename one") from None
    except SiyuError:
        raise
    except Exception as error:  # Strawberry has many, for what cannot be a type
        raise _cannot(" or ".join(each.plugin for each in added), error) from error


def print_sdl(plugins: PluginManager | None = None) -> str:
    """The schema in the schema definition language; of all installed plugins if none are given."""
    return build_schema(plugins or PluginManager.load(extra_specs=[hooks])).as_str()


def _contribution(plugins: PluginManager, name: str) -> Contribution:
    """What a plugin contributes. A manager without our specification has refused whoever implements it."""
    caller = vars(plugins.hooks.hook).get(hooks.siyu_graphql_types.__name__)
    for implementation in caller.get_hookimpls() if caller else ():
        if implementation.plugin_name != name:
            continue
        try:
            contribution = implementation.function()
        except Exception as error:  # whatever a plugin's code may raise
            raise _cannot(name, error) from error
        if not isinstance(contribution, Contribution):
            raise PluginError(
                f"siyu_graphql_types of plugin {name} returned {contribution!r}",
                field="siyu_graphql_types",
                remedy="return a siyu_graphql.Contribution",
            )
        return contribution
    return Contribution()


def _cannot(what: str, error: Exception) -> PluginError:
    return PluginError(
        f"what {what} adds cannot be made part of the schema: {error!r}", field="siyu_graphql_types", remedy="mend it"
    )


def _user_fields(added: Sequence[Added], config: StrawberryConfig) -> list[StrawberryField]:
    owners = {config.name_converter.get_graphql_name(field): CORE for field in _fields(User)}
    found = []
    for each in added:
        if each.field is not None:
            _take(owners, "User", str(each.field.graphql_name), each.plugin)
            found.append(each.field)
    return found


def _fields(part: type) -> list[StrawberryField]:
    return get_object_definition(part, strict=True).fields


def _take(owners: dict[str, str], type_name: str, field: str, owner: str) -> None:
    """Note whose field it is; a :class:`siyu.PluginError` where it is another's."""
    if field in owners:
        raise PluginError(
            f"{owners[field]} and {owner} both add {type_name}.{field}", field=field, remedy="rename one of them"
        )
    owners[field] = owner


def _merged(name: str, description: str, parts: Sequence[tuple[str, type]], config: StrawberryConfig) -> type:
    """One type with the fields of all ``parts`` (owner, type). Strawberry's merge_types only warns about clashes."""
    owners: dict[str, str] = {}
    for owner, part in parts:
        for field in _fields(part):
            _take(owners, name, config.name_converter.get_graphql_name(field), owner)
    return strawberry.type(type(name, tuple(part for _, part in parts), {}), description=description)


def _refuse_unguarded(owner: str, part: type) -> None:
    for field in _fields(part):
        if not any(isinstance(extension, Guard) for extension in field.extensions):
            raise PluginError(
                f"the mutation {field.python_name} of {owner} asks for no right",
                field=field.python_name,
                remedy="make it with siyu_graphql.mutation",
            )
