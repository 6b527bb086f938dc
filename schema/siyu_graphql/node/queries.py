"""How anything is found by its global id."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from typing import Annotated, Any

import strawberry
from siyu import InputError
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID, Node

from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.audit.queries import ENTRIES
from siyu_graphql.benefit.queries import BENEFITS, GRANTS
from siyu_graphql.brand.queries import find_brand
from siyu_graphql.context import Info
from siyu_graphql.cost import MOST
from siyu_graphql.event.queries import EVENTS, REJECTED_EVENTS
from siyu_graphql.fields import computed
from siyu_graphql.file.queries import find_file
from siyu_graphql.merge.queries import MERGES
from siyu_graphql.nodes import Find, by_number, find_node
from siyu_graphql.playbook.queries import ENROLMENTS, find_playbook
from siyu_graphql.plugin.changes import SETTING_CHANGES
from siyu_graphql.plugin.queries import find_plugin
from siyu_graphql.run.queries import RUNS
from siyu_graphql.segment.queries import SEGMENTS
from siyu_graphql.stage.queries import STAGES
from siyu_graphql.tag.queries import TAGS
from siyu_graphql.task.queries import TASKS
from siyu_graphql.token.queries import TOKENS
from siyu_graphql.user.queries import find_user

__all__ = ["NODES", "NodeQueries"]

NODES: Mapping[str, Find] = {
    "AccessToken": by_number(TOKENS, Right.TOKENS),
    "Action": by_number(ACTIONS),
    "AuditEntry": by_number(ENTRIES, Right.AUDIT),
    "Benefit": by_number(BENEFITS),
    "Brand": find_brand,
    "Enrolment": by_number(ENROLMENTS),
    "Event": by_number(EVENTS),
    "File": find_file,
    "Grant": by_number(GRANTS),
    "Playbook": find_playbook,
    "Plugin": find_plugin,
    "RejectedEvent": by_number(REJECTED_EVENTS),
    "Run": by_number(RUNS),
    "Segment": by_number(SEGMENTS),
    "SettingChange": by_number(SETTING_CHANGES),
    "Stage": by_number(STAGES),
    "Tag": by_number(TAGS),
    "Task": by_number(TASKS),
    "User": find_user,
    "UserMerge": by_number(MERGES),
}


@strawberry.type
class NodeQueries:
    @computed("Anything that has an `id`, by it. That of a user who was merged gives whom they count as.")
    async def node(
        self, info: Info, id: Annotated[GlobalID, strawberry.argument(description="The id.")]
    ) -> Node | None:
        node: Node = await find_node(info, NODES, id)
        return node

    @computed("Things that have an `id`, by it, in that order; null, with an error, where there is none.")
    async def nodes(
        self, info: Info, ids: Annotated[list[GlobalID], strawberry.argument(description=f"At most {MOST} ids.")]
    ) -> list[Node | None]:
        if len(ids) > MOST:
            raise InputError(f"{len(ids)} ids", field="ids", remedy=f"give at most {MOST}")
        # What is raised for one of them is that one's error.
        found: list[Any] = await gather(*(find_node(info, NODES, id) for id in ids), return_exceptions=True)
        return found
