"""Plugins as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry
from siyu.contract.manager import Plugin as Installed
from siyu.store.models import PluginSetting

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.scalars import JSON
from siyu_graphql.stage.queries import stages_of_brand
from siyu_graphql.stage.types import Stage
from siyu_graphql.tag.queries import tags_of_brand
from siyu_graphql.tag.types import Tag

__all__ = ["Plugin", "PluginPayload"]


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

    @computed("Whether the brand has it on. Only then its rules count.")
    def enabled(self) -> bool:
        return self.setting is not None and self.setting.enabled

    @computed(
        "Its parameters as they count: what the brand has set over the defaults, grouped as in"
        " `paramsSchema`. Null, with an error, where what was set is no longer valid."
    )
    def params(self) -> JSON | None:
        groups = self.installed.params(self.setting.params if self.setting else None)
        return JSON({key: p.model_dump(mode="json") for key, p in groups.items() if type(p).model_fields})

    @computed("The JSON Schema of `params`, with titles, limits and defaults: enough for a form.")
    def params_schema(self) -> JSON:
        return JSON(self.installed.params_schema())

    @computed("The tags that it gives in the brand.")
    async def tags(self, info: Info) -> list[Tag]:
        return [tag for tag in await tags_of_brand(self, info) if tag.plugin == self.installed.name]

    @computed("The stages of the tracks that it rules in the brand.")
    async def stages(self, info: Info) -> list[Stage]:
        return [stage for stage in await stages_of_brand(self, info) if stage.plugin == self.installed.name]

    @computed("When the brand last changed how it is set; null if it never did.")
    def changed_at(self) -> datetime | None:
        return self.setting.changed_at if self.setting else None

    @computed("Who changed it: the name of a token, or its prefix.")
    def changed_by(self) -> str | None:
        return self.setting.changed_by if self.setting else None


@strawberry.type(description="The plugin as the brand has it after the change.")
class PluginPayload(Payload):
    plugin: Plugin | None = strawberry.field(default=None, description="The plugin; null where the change was refused.")
