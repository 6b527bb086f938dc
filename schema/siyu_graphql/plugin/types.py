"""Plugins as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry
from siyu.contract.manager import GUARD
from siyu.contract.manager import Plugin as Installed
from siyu.contract.rules import FittedSegmenter
from siyu.store.models import PluginSetting

from siyu_graphql.attribute.types import AttributeKind
from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import After, Before, Connection, First, Last, Term, Window, of_brand
from siyu_graphql.plugin.changes import SETTING_CHANGES, SettingChange
from siyu_graphql.plugin.status import PluginStatus, status_of
from siyu_graphql.scalars import JSON
from siyu_graphql.stage.queries import stages_of_brand
from siyu_graphql.stage.types import Stage
from siyu_graphql.state.queries import FittedRule
from siyu_graphql.tag.queries import tags_of_brand
from siyu_graphql.tag.types import Tag

__all__ = ["Plugin", "PluginPayload", "RollOut"]


@strawberry.type(description="A change of how a plugin is set that holds for some of the users yet.")
class RollOut:
    percent: int = strawberry.field(description="For how many of 100 users it holds, always the same ones.")
    enabled_for_others: bool = strawberry.field(description="Whether the plugin is on for the other users.")
    params_of_others: JSON = strawberry.field(description="What is set over the defaults for the other users.")


@strawberry.type(description="A plugin, and how the brand has set it. Every installed plugin is there for every brand.")
class Plugin(BrandNode):
    installed: strawberry.Private[Installed]
    setting: strawberry.Private[PluginSetting | None]

    @computed("Its name for programs.")
    def name(self) -> str:
        return self.installed.name

    @computed("What it is, in a line.")
    def title(self) -> str:
        return self.installed.title

    @computed("The version that is installed.")
    def version(self) -> str:
        return self.installed.version

    @computed(
        "The change that is being rolled out: `enabled` and `params` are as for those for whom it holds. Null where"
        " all users have the same."
    )
    def roll_out(self) -> RollOut | None:
        row = self.setting
        if row is None or row.base is None:
            return None
        return RollOut(
            percent=row.percent, enabled_for_others=row.base["enabled"], params_of_others=JSON(row.base["params"])
        )

    @computed("Whether the brand has it on. Only then its rules count.")
    def enabled(self) -> bool:
        return self.setting.enabled if self.setting is not None else self.installed.name == GUARD

    @computed(
        "Its parameters as they count: what the brand has set over the defaults, grouped as in"
        " `paramsSchema`. Null, with an error, where what was set is no longer valid."
    )
    def params(self) -> JSON | None:
        groups = self.installed.params(self.setting.params if self.setting else None)
        return JSON({key: p.model_dump(mode="json") for key, p in groups.items() if type(p).model_fields})

    @computed("The attributes of users that it declares, for its rules and those of others.")
    def attributes(self) -> list[AttributeKind]:
        return [AttributeKind.of(kind) for kind in self.installed.attributes]

    @computed("The JSON Schema of `params`, with titles, limits and defaults: enough for a form.")
    def params_schema(self) -> JSON:
        return JSON(self.installed.params_schema())

    @computed("Whether it works for the brand: if a rule fails, which, since when, why, and when it last was well.")
    async def status(self, info: Info) -> PluginStatus:
        return await status_of(info, self.brand_id, self.installed, self.setting)

    @computed("Its rules that look at all users first, with the states that they had. None where it has no such rule.")
    def fitted(self) -> list[FittedRule]:
        pinned = self.setting.pinned if self.setting else {}
        return [
            FittedRule(brand_id=self.brand_id, plugin=self.installed.name, version=pinned.get(rule.key), key=rule.key)
            for rule in self.installed.rules
            if isinstance(rule, FittedSegmenter)
        ]

    @computed("The tags that it gives in the brand.")
    async def tags(self, info: Info) -> list[Tag]:
        return [tag for tag in await tags_of_brand(self, info) if tag.plugin == self.installed.name]

    @computed("The stages of the tracks that it rules in the brand.")
    async def stages(self, info: Info) -> list[Stage]:
        return [stage for stage in await stages_of_brand(self, info) if stage.plugin == self.installed.name]

    @computed("Who changed how it is set, the latest first.")
    async def changes(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[SettingChange]:
        mine = Term("t.plugin = {}", (self.installed.name,))
        return of_brand(info, self.brand_id, SETTING_CHANGES, Window(first, after, last, before), mine)

    @computed("When the brand last changed how it is set; null if it never did.")
    def changed_at(self) -> datetime | None:
        return self.setting.changed_at if self.setting else None

    @computed("Who changed it: the name of a token, or its prefix.")
    def changed_by(self) -> str | None:
        return self.setting.changed_by if self.setting else None


@strawberry.type(description="The plugin as the brand has it after the change.")
class PluginPayload(Payload):
    plugin: Plugin | None = strawberry.field(default=None, description="The plugin; null where the change was refused.")
