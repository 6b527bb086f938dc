"""The whole schema, asked with every kind of token: what each may see and do stands in one table.

Every type, field and argument is walked by what the schema says of itself. What is new is walked by itself; where it
cannot be reached, a test says so. Then each rule of access is taken away in turn, and the walk must notice.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
import siyu_graphql
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
)
from siyu import NotFound
from siyu.contract.manager import PluginManager
from siyu.flow import benefits, content, personal, plugins, segments, tokens
from siyu.flow.consents import record_consent
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import start
from siyu.flow.tokens import RIGHTS, Access, Right, Role, authenticate, create_token
from siyu.flow.voice import set_voice
from siyu.store.models import AuditEntry, Brand, Enrolment, Fence, Identity, RulebookVersion, Run, User, UserMerge
from siyu_graphql import context, paging
from siyu_graphql.loading import Loaders
from siyu_graphql.node.queries import NODES
from siyu_graphql.paging import rows_by_id
from siyu_graphql.personal import Personal
from siyu_graphql.user.queries import USERS
from strawberry.relay import from_base64, to_base64

from tests.schema.conftest import assigned, granted

pytestmark = pytest.mark.usefixtures("one_day")

# -- what each may ------------------------------------------------------------------------------------------------

MATRIX = """
                     viewer  developer  operator  admin
read                 x       x          x         x
read the schema      -       x          x         x
record               -       x          x         x
refresh              -       -          x         x
merge                -       -          x         x
segment              -       -          x         x
act for users        -       -          x         x
export               -       -          -         x
configure            -       -          -         x
see personal data    -       -          -         x
manage tokens        -       -          -         x
read the audit log   -       -          -         x
"""
GUARDED = {
    "Query.__schema": "read the schema",
    "Query.tokens": "manage tokens",
    "Query.auditLog": "read the audit log",
    "Brand.tokens": "manage tokens",
    "Brand.auditLog": "read the audit log",
    "Brand.previewPlugin": "configure",
    "Brand.previewPlaybook": "configure",
    "Brand.previewTemplate": "see personal data",
    "Mutation.recordEvents": "record",
    "Mutation.refreshBrand": "refresh",
    "Mutation.retryPlugin": "refresh",
    "Mutation.mergeUsers": "merge",
    "Mutation.unmergeUsers": "merge",
    "Mutation.createSegment": "segment",
    "Mutation.updateSegment": "segment",
    "Mutation.deleteSegment": "segment",
    "Mutation.restoreSegment": "segment",
    "Mutation.startPlaybook": "act for users",
    "Mutation.sendMessage": "act for users",
    "Mutation.settleActions": "act for users",
    "Mutation.takeTask": "act for users",
    "Mutation.giveBackTask": "act for users",
    "Mutation.escalateTask": "act for users",
    "Mutation.finishTask": "act for users",
    "Mutation.createExport": "export",
    "Mutation.createImport": "export",
    "Mutation.enablePlugin": "configure",
    "Mutation.disablePlugin": "configure",
    "Mutation.configurePlugin": "configure",
    "Mutation.rollOutPlugin": "configure",
    "Mutation.undoPlugin": "configure",
    "Mutation.pinState": "configure",
    "Mutation.releaseState": "configure",
    "Mutation.recordConsent": "record",
    "Mutation.setBenefit": "configure",
    "Mutation.setTemplate": "configure",
    "Mutation.endTemplate": "configure",
    "Mutation.setVoice": "configure",
    "Mutation.createToken": "manage tokens",
    "Mutation.revokeToken": "manage tokens",
}
"""What needs more than to read; whatever lies below it does, too."""
GUARDED_NODES = {"AccessToken": "manage tokens", "AuditEntry": "read the audit log"}
"""Types that need as much where they are found by their id."""
OF_NO_BRAND = {"Query.tokens", "Query.auditLog"}
"""What only a token for all brands sees."""
PHONE, MAIL = "13800005678", "ann@example.com"
MASKED = {PHONE: "138****5678", MAIL: "a***@example.com"}
PERSONAL = {"Identity.value", "User.attributes", "Event.payload", "RejectedEvent.received", "Segment.filter"} | {
    "Action.text",
    "Task.text",
    "Task.title",
}
"""Fields that hold the phone number and the address of the walk's user; the others hold neither."""
ASKED = (
    'users(filter: {attribute: [{name: "phone", eq: "PHONE"}]}) { nodes { id } }',
    'users(filter: {OR: [{NOT: {attribute: [{name: "email", in: ["PHONE"]}]}}]}) { totalCount }',
    'segment(name: "kept") { users(filter: {attribute: [{name: "phone", eq: "PHONE"}]}) { nodes { id } } }',
    'user(identity: {kind: "phone", value: "PHONE"}) { id }',
)
"""Questions of a brand that find users by personal data."""

ROLES = ("viewer", "developer", "operator", "admin")
ALLOWED: dict[str, set[str]] = {role: set() for role in ROLES}
for line in MATRIX.split("\n")[2:-1]:
    right, marks = line[:21].strip(), line[21:].split()
    for role, mark in zip(ROLES, marks, strict=True):
        ALLOWED[role] |= {right} if mark == "x" else set()

# -- how to ask ---------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "first": "2",
    "after": "null",
    "last": "null",
    "before": "null",
    "filter": "{}",
    "brand": '"BRAND"',
    "slug": '"BRAND"',
    "plugin": '"rfm"',
    "percent": "50",
    "params": "{}",
    "enabled": "true",
    "samples": "1",
    "at": '"2026-05-31T12:00:00Z"',
    "track": '"lifecycle"',
    "includeInactive": "true",
    "includeDeleted": "true",
    "daily": "true",
    "what": "USERS",
    "format": "CSV",
    "kind": '"order.paid"',
    "mapping": '{identityKind: "member", user: "user", at: "at"}',
    "status": "null",
    "tag": "null",
    "stage": "null",
    "kinds": "null",
    "title": '"walked"',
    "ids": '["USER"]',
    "names": '["recency"]',
    "since": '"2026-05-20T00:00:00Z"',
    "until": '"2026-05-31T12:00:00Z"',
    "everyDays": "11",
    "rule": '"rfm"',
    "Mutation.createExport.segment": "null",
    "version": '"VERSION"',
    "events": "[]",
    "role": "VIEWER",
    "name": '"walk"',
    "expiresAt": '"2100-01-01T00:00:00Z"',
    "personal": "false",
    "prefix": '"PREFIX"',
    "run": '"RUN"',
    "user": '"ONE"',
    "other": '"TWO"',
    "merge": '"MERGE"',
    "reason": '"walk"',
    "task": '"TASK"',
    "assignee": "null",
    "deadline": "null",
    "why": '"walk"',
    "own": "null",
    "key": '"greeting"',
    "text": '"walked"',
    "url": '""',
    "because": '""',
    "channel": '""',
    "language": '""',
    "voice": '{language: "zh"}',
    "stock": "5",
    "given": "true",
    "purpose": "CARE",
    "source": '"walk"',
    "wording": '"1"',
    "Mutation.recordConsent.channel": "null",
    "Mutation.setTemplate.kind": "TEXT",
    "Mutation.setTemplate.purpose": "null",
    "outcome": '"walk"',
    "by": '"walk"',
    "playbook": '"lifecycle.welcome_back"',
    "users": '["USER"]',
    "actions": '["QWN0aW9uOjE6MQ=="]',
    "sent": "true",
    "occasion": '"walk"',
    "message": '{channel: "outbox", purpose: SERVICE, text: "hi"}',
    "days": "3",
    "force": "true",
    "Brand.previewPlugin.plugin": '"lifecycle"',
    "Brand.previewPlugin.params": "{lifecycle: {dormant_days: 89}}",
    "Brand.previewPlugin.percent": "100",
    "Brand.previewPlaybook.params": "null",
    "Brand.replay.plugin": "null",
    "Brand.replay.params": "null",
    "Brand.replay.enabled": "null",
    "Brand.runs.kind": "null",
    "Brand.runs.status": "null",
    "Brand.segment.name": '"callers"',
    "Brand.stageFlows.since": '"2026-01-01T00:00:00Z"',
    "Brand.stageFlows.until": "null",
    "Brand.user.id": '"USER"',
    "Brand.user.identity": "null",
    "Brand.actions.filter": '{channel: ["tasks"]}',
    "Brand.events.filter": '{kind: ["profile.updated"]}',
    "Brand.previewTemplate.key": '"lifecycle.welcome_back.send_1"',
    "Brand.previewTemplate.user": '"USER"',
    "Brand.tasks.role": "null",
    "Brand.templateVersions.key": '"greeting"',
    "Brand.templates.key": "null",
    "Brand.tasks.status": "[OPEN, TAKEN, ESCALATED, DONE]",
    "User.tasks.status": "[OPEN, TAKEN, ESCALATED, DONE]",
    "User.tasks.role": "null",
    "Brand.users.orderBy": "{field: ID}",
    "Mutation.rollOutPlugin.plugin": '"pets"',
    "Query.node.id": '"USER"',
    "Segment.users.orderBy": "{direction: DESC}",
    "Subscription.actions.after": '"action:0"',
    "Subscription.stageChanges.after": '"stage:0"',
    "Subscription.tagChanges.after": '"tag:0"',
    "Subscription.tasks.after": '"task:0"',
    "Mutation.createExport.since": "null",
    "Mutation.createExport.until": "null",
    "User.timeline.at": "{}",
}
"""An example of each argument, by its name or, where that is not enough, by its field."""
EMPTY = {"PluginPreview.tags", "Explanation.gone"}
"""Where the example has nothing, and what lies below it is looked for elsewhere."""
MANAGER = PluginManager.load(extra_specs=[siyu_graphql.hooks])
SCHEMA = siyu_graphql.build_schema(MANAGER)._schema
ROOTS = {kind.name: kind for kind in (SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type) if kind}
TYPES: dict[str, Any] = SCHEMA.type_map


def example(owner: str, field: str, argument: str) -> str:
    found = ARGUMENTS.get(f"{owner}.{field}.{argument}", ARGUMENTS.get(argument))
    assert found is not None, f"ARGUMENTS has no example of {owner}.{field}({argument}:)"
    return found


def call(owner: str, name: str, field: GraphQLField) -> str:
    """The field with all its arguments."""
    given = ", ".join(f"{argument}: {example(owner, name, argument)}" for argument in field.args)
    return f"{name}({given})" if given else name


@dataclass(frozen=True)
class Way:
    """How a type is reached: the fields from the root on, and which of them is guarded."""

    steps: tuple[str, ...]
    guarded: str | None

    def ask(self, selection: str) -> str:
        return " { ".join((*self.steps, selection)) + " }" * len(self.steps)


def ways() -> dict[str, Way]:
    """The shortest way to each type that can be reached, those that are not guarded first."""
    found = {name: Way((), None) for name in ROOTS}
    for open_only in (True, False):
        waiting = deque(found)
        while waiting:
            name = waiting.popleft()
            kind = SCHEMA.type_map[name]
            assert isinstance(kind, GraphQLObjectType)
            for field_name, field in kind.fields.items():
                inner = get_named_type(field.type)
                guard = GUARDED.get(f"{name}.{field_name}")
                if inner.name in found or not isinstance(inner, GraphQLObjectType) or (open_only and guard):
                    continue
                if name in ("Mutation", "Subscription") or f"{name}.{field_name}" in OF_NO_BRAND | EMPTY:
                    continue
                before = found[name]
                found[inner.name] = Way((*before.steps, call(name, field_name, field)), guard or before.guarded)
                waiting.append(inner.name)
    return found


WAYS = ways()


def below(kind: Any) -> str:
    """The least that reads something of a type."""
    plain: list[str]
    if not isinstance(kind, GraphQLObjectType):
        return "__typename"
    if "nodes" in kind.fields:
        return f"nodes {{ {below(get_named_type(kind.fields['nodes'].type))} }}"
    plain = [name for name, field in kind.fields.items() if is_leaf_type(get_named_type(field.type)) and not field.args]
    if plain:
        return plain[0]
    name, field = next(iter(kind.fields.items()))
    return f"{call(kind.name, name, field)} {{ {below(get_named_type(field.type))} }}"


def asked(owner: str, name: str, field: GraphQLField) -> str:
    """The field and, where it is an object, something of it."""
    inner = get_named_type(field.type)
    return call(owner, name, field) + ("" if is_leaf_type(inner) else f" {{ {below(inner)} }}")


def whole(name: str) -> str:
    """Every field of a type that is not guarded."""
    fields = TYPES[name].fields
    return " ".join(
        ("__typename", *(asked(name, each, field) for each, field in fields.items() if f"{name}.{each}" not in GUARDED))
    )


def told(name: str) -> str:
    """Every field of a type, and of those within that are reached by following only."""
    fields = TYPES[name].fields
    news = {each: get_named_type(field.type).name for each, field in fields.items()}
    inner = [
        f"{each} {{ {told(kind)} }}" for each, kind in news.items() if kind.endswith("Change") and kind not in WAYS
    ]
    return whole(name) + " " + " ".join(inner)


def documents(names: list[str]) -> list[str]:
    """Everything of those types, several to a document."""
    asked = [WAYS[name].ask(whole(name)) for name in names]
    return [f"{{ {' '.join(asked[start : start + 8])} }}" for start in range(0, len(asked), 8)]


OPEN = documents([name for name, way in WAYS.items() if name not in (*ROOTS, "Me") and not way.guarded])
BEHIND = {
    guard: documents([name for name, way in WAYS.items() if way.guarded == guard]) for guard in set(GUARDED.values())
}
ALONE = {
    coordinate: WAYS[owner].ask(asked(owner, name, TYPES[owner].fields[name]))
    for coordinate in GUARDED
    for owner, _, name in [coordinate.partition(".")]
    if owner != "Mutation" and not name.startswith("__")
}
"""A question for each guarded field that can be read."""


def mutation(name: str) -> str:
    field = TYPES["Mutation"].fields[name]
    payload = get_named_type(field.type)
    shown = " ".join(
        each if is_leaf_type(get_named_type(inner.type)) else f"{each} {{ {below(get_named_type(inner.type))} }}"
        for each, inner in payload.fields.items()
        if each != "userErrors"
    )
    return f"mutation {{ {call('Mutation', name, field)} {{ {shown} userErrors {{ code field message remedy }} }} }}"


CHANGES = {name: mutation(name) for name in TYPES["Mutation"].fields}
FOLLOWED = {
    name: f"subscription {{ {call('Subscription', name, field)} {{ {told(get_named_type(field.type).name)} }} }}"
    for name, field in TYPES["Subscription"].fields.items()
}
GLANCES = {
    name: f"subscription {{ {call('Subscription', name, field)} {{ {below(get_named_type(field.type))} }} }}"
    for name, field in TYPES["Subscription"].fields.items()
}
"""The least of each: what lies deeper has doors of its own."""
NODE_TYPES = {name for name, kind in SCHEMA.type_map.items() if "Node" in map(str, getattr(kind, "interfaces", ()))}
IDS = {"Query.node.id": "any", "Brand.user.id": "User", "Subscription.runProgress.run": "Run"} | {
    "Mutation.mergeUsers.user": "User",
    "Mutation.mergeUsers.other": "User",
    "Query.nodes.ids": "any",
    "ActionFilter.user": "User",
    "EventFilter.user": "User",
    "Mutation.unmergeUsers.merge": "UserMerge",
    "Mutation.startPlaybook.users": "User",
    "Mutation.sendMessage.users": "User",
    "Mutation.settleActions.actions": "Action",
    "Brand.previewTemplate.user": "User",
    "Mutation.recordConsent.user": "User",
    **{f"Mutation.{name}.task": "Task" for name in ("takeTask", "giveBackTask", "escalateTask", "finishTask")},
}
"""Every argument, and every field of an input, that takes an id."""


# -- the walk -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bearer:
    """Whose token it is, and what the table says of them."""

    secret: str
    brand: str | None
    rights: frozenset[str]

    def may(self, right: str | None) -> bool:
        return right is None or right in self.rights


@dataclass
class Walk:
    """The schema asked over a world of two brands."""

    world: Any
    bearers: dict[str, Bearer]
    names: dict[str, str]
    nodes: dict[str, str]

    async def all(self) -> None:
        """With every token."""
        for name in self.bearers:
            await self.of(name)

    async def of(self, name: str) -> None:
        """With one token: raises AssertionError where it sees or does what it may not, or cannot what it may."""
        bearer = self.bearers[name]
        # One that stands: what is revoked already is found by nobody.
        self.names["PREFIX"] = (await create_token("viewer", await Brand.get(slug="shop"), "spare"))[5:13]
        if bearer.brand == "other":
            await self.stranger(bearer)
        else:
            await self.changes(bearer)
            await self.guarded(bearer)
            await self.reads(bearer)
        await self.nowhere(bearer)

    async def ask(self, bearer: Bearer, query: str, brand: str = "shop") -> Any:
        # Generous: with a busy machine evaluating rules for all users has been seen to wait for more than 15 seconds.
        async with asyncio.timeout(120):
            return await self.world.ask(self.named(query, brand), token=bearer.secret)

    def named(self, query: str, brand: str) -> str:
        for word, name in {**self.names, "BRAND": brand}.items():
            query = query.replace(f'"{word}"', f'"{name}"')
        return query

    async def guarded(self, bearer: Bearer) -> None:
        for coordinate, question in ALONE.items():
            if coordinate not in OF_NO_BRAND:
                expect(await self.ask(bearer, f"{{ {question} }}"), bearer.may(GUARDED[coordinate]), coordinate)
        schema = await self.ask(bearer, '{ __schema { types { name } } __type(name: "User") { name } }')
        assert codes(schema) == (set() if bearer.may("read the schema") else {"FORBIDDEN"})
        for kind, id in self.nodes.items():
            answer = await self.ask(bearer, f'{{ node(id: "{id}") {{ __typename id }} }}')
            expect(answer, bearer.may(GUARDED_NODES.get(kind, "read")), "Query.node")
            answer = await self.ask(bearer, f'{{ nodes(ids: ["{id}"]) {{ __typename id }} }}')
            assert codes(answer) == (set() if bearer.may(GUARDED_NODES.get(kind, "read")) else {"FORBIDDEN"})
        for guard, behind in BEHIND.items():
            for document in behind if bearer.may(guard) else ():
                answer = await self.ask(bearer, document)
                assert "errors" not in answer, (document, answer["errors"])

    async def reads(self, bearer: Bearer) -> None:
        """All that is open to readers, without personal data for those who may not see it; that others did is noted."""
        before = await AuditEntry.filter(what="readPersonalData").count()
        for document in OPEN:
            answer = await self.ask(bearer, document)
            if bearer.may("read"):
                assert "errors" not in answer, (document, answer["errors"])
            else:
                assert codes(answer) == {"FORBIDDEN"}
            text = json.dumps(answer, ensure_ascii=False)
            assert bearer.may("see personal data") or (PHONE not in text and MAIL not in text)
        for coordinate in PERSONAL:
            owner, _, name = coordinate.partition(".")
            field = TYPES[owner].fields[name]
            text = json.dumps(await self.ask(bearer, f"{{ {WAYS[owner].ask(call(owner, name, field))} }}"))
            for raw, covered in MASKED.items():
                seen = (True, False) if bearer.may("see personal data") else (False, True)
                assert (raw in text, covered in text) == seen, coordinate
        for asked_for in ASKED:
            answer = await self.ask(bearer, f'{{ brand(slug: "BRAND") {{ {asked_for} }} }}')
            assert codes(answer) == (set() if bearer.may("see personal data") else {"FORBIDDEN"}), (asked_for, answer)
        noted = await AuditEntry.filter(what="readPersonalData").count() - before
        assert bool(noted) is bearer.may("see personal data")
        assert noted <= len(OPEN) + len(PERSONAL) + len(ASKED), "one row a request"
        for name, question in FOLLOWED.items():
            answer = await self.follow(bearer, question)
            assert "errors" not in answer, (name, answer)
            if name == "runProgress":
                assert answer["data"][name]["id"] == self.names["RUN"]

    async def changes(self, bearer: Bearer) -> None:
        for name, change in CHANGES.items():
            answer = await self.ask(bearer, change)
            expect(answer, bearer.may(GUARDED[f"Mutation.{name}"]), f"Mutation.{name}")

    async def stranger(self, bearer: Bearer) -> None:
        """An admin of another brand: nothing of this one is there."""
        for document in (*OPEN, *(each for some in BEHIND.values() for each in some)):
            answer = await self.ask(bearer, document)
            assert not any(answer["data"].values()), answer
            assert codes(answer) == {"NOT_FOUND"}
        for change in CHANGES.values():
            self.world.queue.pushed.clear()
            answer = await self.ask(bearer, change)
            assert self.world.queue.pushed == [], change
            assert "errors" not in answer, answer
            [payload] = answer["data"].values()
            assert {error["code"] for error in payload.pop("userErrors")} == {"NOT_FOUND"}
            assert not any(payload.values())
        for name, question in (*FOLLOWED.items(), *GLANCES.items()):
            for brand in ("shop", "other") if name == "runProgress" else ("shop",):
                answer = await self.follow(bearer, question, brand)
                assert (answer["data"], codes(answer)) == (None, {"NOT_FOUND"})
        for id in self.nodes.values():
            for question in (
                f'{{ node(id: "{id}") {{ id }} }}',
                f'{{ nodes(ids: ["{id}"]) {{ id }} }}',
                f'{{ brand(slug: "other") {{ user(id: "{id}") {{ id }} }} }}',
            ):
                answer = await self.ask(bearer, question)
                assert id not in json.dumps(answer["data"])
                assert codes(answer) == {"NOT_FOUND"}
        of_user = f'(filter: {{user: "{self.nodes["User"]}"}}) {{ totalCount }}'
        answer = await self.ask(bearer, f'{{ brand(slug: "other") {{ events{of_user} actions{of_user} }} }}')
        assert answer["data"]["brand"] == {"events": {"totalCount": 0}, "actions": {"totalCount": 0}}
        access = await authenticate(bearer.secret)
        assert access is not None
        with pytest.raises(NotFound, match="no such brand"):
            await Loaders(self.world.ctx.db, access).load(rows_by_id, brand_in(self.names["USER"]), 1, USERS)

    async def nowhere(self, bearer: Bearer) -> None:
        """What belongs to no brand is there for a token for all brands only."""
        answer = await self.ask(bearer, "{ version me { role brand { slug } } brands { slug } }")
        seen = ["shop", "other"] if bearer.brand is None else [bearer.brand]
        assert sorted(each["slug"] for each in answer["data"]["brands"]) == sorted(seen)
        assert (answer["data"]["me"]["brand"] or {}).get("slug") == bearer.brand
        for coordinate in OF_NO_BRAND:
            answer = await self.ask(bearer, f"{{ {ALONE[coordinate]} }}")
            if bearer.may(GUARDED[coordinate]) and bearer.brand is not None:
                assert codes(answer) == {"NOT_FOUND"}, answer
            else:
                expect(answer, bearer.may(GUARDED[coordinate]), coordinate)
        answer = await self.ask(bearer, "mutation { createToken(role: ADMIN) { secret userErrors { code } } }")
        if bearer.may("manage tokens"):
            assert (answer["data"]["createToken"]["secret"] is not None) is (bearer.brand is None)
        else:
            assert codes(answer) == {"FORBIDDEN"}

    async def apart(self) -> None:
        """What stands under one brand stands under no other: both have the same tags, stages and member numbers."""
        root = self.bearers["root"]
        seen: dict[str, dict[str, set[str]]] = {}
        for brand in ("shop", "other"):
            number = (await Brand.get(slug=brand)).id
            for document in (*OPEN, *(each for some in BEHIND.values() for each in some)):
                answer = await self.ask(root, document.replace('user(id: "USER", identity: null)', MEMBER), brand)
                for kind, id in ids(answer["data"]):
                    assert brand_in(id) == number
                    seen.setdefault(kind, {}).setdefault(brand, set()).add(from_base64(id)[1].partition(":")[2])
        assert len(seen) > 8
        for kind, brands in seen.items():
            if kind not in ("Brand", "Playbook", "Plugin"):
                assert not brands.get("shop", set()) & brands.get("other", set()), kind

    async def follow(self, bearer: Bearer, query: str, brand: str = "shop") -> Any:
        """The first answer of a subscription."""
        body = json.dumps({"query": self.named(query, brand)}).encode()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/graphql",
            "raw_path": b"/graphql",
            "root_path": "",
            "query_string": b"",
            "server": ("siyu", 80),
            "client": ("127.0.0.1", 1),
            "headers": [
                (b"authorization", f"Bearer {bearer.secret}".encode()),
                (b"accept", b"text/event-stream"),
                (b"content-type", b"application/json"),
            ],
        }
        found = asyncio.get_running_loop().create_future()
        parts, text = [{"type": "http.request", "body": body, "more_body": False}], ""

        async def receive() -> Any:
            if not parts:
                await found
                return {"type": "http.disconnect"}
            return parts.pop()

        async def send(message: Any) -> None:
            nonlocal text
            text += message.get("body", b"").decode()
            if not found.done() and "\r\n" in text.partition("data: ")[2]:
                found.set_result(json.loads(text.partition("data: ")[2].partition("\r\n")[0]))

        task = asyncio.ensure_future(self.world.app(scope, receive, send))
        try:
            async with asyncio.timeout(60):
                return await found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


MEMBER = 'user(id: null, identity: {kind: "member", value: "m01"})'


def expect(answer: Any, allowed: bool, coordinate: str) -> None:
    """An answer, or that it is forbidden at that field."""
    if allowed:
        assert "errors" not in answer, (coordinate, answer["errors"])
        return
    name = coordinate.partition(".")[2]
    assert codes(answer) == {"FORBIDDEN"}, (coordinate, answer)
    assert all(error["path"][-1] == name for error in answer["errors"]), (coordinate, answer)


def codes(answer: Any) -> set[str]:
    return {error["extensions"]["code"] for error in answer.get("errors", ())}


def ids(item: Any) -> Iterator[tuple[str, str]]:
    """Every id in an answer, with its type; what events call so is none."""
    if isinstance(item, dict):
        for name, inner in item.items():
            if name not in ("id", "userId"):
                yield from ids(inner)
                continue
            with suppress(ValueError):
                yield from_base64(inner)[0], inner
    elif isinstance(item, list):
        for inner in item:
            yield from ids(inner)


def brand_in(id: str) -> int:
    return int(from_base64(id)[1].partition(":")[0])


def typenames(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        if "__typename" in item:
            yield item["__typename"]
        for inner in item.values():
            yield from typenames(inner)
    elif isinstance(item, list):
        for inner in item:
            yield from typenames(inner)


@pytest.fixture(scope="module")
async def walk(world: Any) -> Walk:
    """Tokens of every kind, over brands in which there is something of every type."""
    shop, other = await Brand.get(slug="shop"), await Brand.get(slug="other")
    for brand in (shop, other):
        who = {"member": "m01", "phone": PHONE, "email": MAIL} if brand is shop else {"member": "m01"}
        known = {"phone": PHONE, "email": MAIL} if brand is shop else {}
        await record(
            world.ctx,
            brand,
            [
                IncomingEvent("walk-1", "profile.updated", who, known, brand.replayed_to),
                IncomingEvent("walk-2", "order.lost", who, known),
            ],
        )
        version = (await RulebookVersion.filter(brand_id=brand.id).order_by("id"))[0].version
        await plugins.pin(world.ctx, brand, "rfm", "rfm", version)
        await plugins.enable(world.ctx, brand, "pets", percent=10)
        # A playbook waits for a tag of a product, and there is none.
        await plugins.configure(world.ctx, brand, "mother_baby", {"next_products": {"products": []}})
        await plugins.enable(world.ctx, brand, "mother_baby")
        # So that a preview has something that is held.
        await plugins.configure(world.ctx, brand, "guard", {"cap": {"tiers": [], "most": 0}})
        await Fence.create(brand_id=brand.id, plugin="lifecycle", rule="lifecycle", error="…", since=datetime.now(UTC))
        await create_token("viewer", brand)
        tests = [{"name": "phone", "eq": PHONE}, {"name": "email", "in": [MAIL]}]
        await segments.create(world.ctx, brand, "callers", {"attribute": tests})
        users = [user.id for user in await User.filter(brand_id=brand.id).order_by("-id").limit(5)]
        merge = (await UserMerge.filter(brand_id=brand.id))[0]
        if brand is shop:
            names = {
                "MERGE": to_base64("UserMerge", f"{shop.id}:{merge.id}"),
                "ONE": to_base64("User", f"{shop.id}:{users[3]}"),
                "TWO": to_base64("User", f"{shop.id}:{users[4]}"),
            }
        await content.set_text(world.ctx, brand, "greeting", "hello")
        await set_voice(brand, {"staff": {"li": {"zh": {"name": "小李"}}}})
        quoting = f"call {PHONE} or {MAIL}" if brand is shop else "call"
        person = (await Identity.get(brand_id=brand.id, kind="member", value="m01")).user_id
        task = await assigned(world.ctx, brand, person, quoting)
        await benefits.put(world.ctx, brand, "gift", stock=9)
        await granted(world.ctx, brand, person, "gift")
        await record_consent(world.ctx, brand, person, given=True)
        await start(world.ctx, brand, "lifecycle.welcome_back", [person], occasion="begun")
        # It waits for nothing: who came in is at the end at once, and the calendar is to show somebody under way.
        await Enrolment.filter(brand_id=brand.id, occasion="by-begun").update(status="active", ended_at=None)
        if brand is shop:
            names["TASK"] = to_base64("Task", f"{shop.id}:{task}")
        await Run.create(brand_id=brand.id, kind="refresh", status="done", at=datetime.now(UTC))
    bearers = {role: Bearer(await create_token(role, shop, role), "shop", frozenset(ALLOWED[role])) for role in ROLES}
    seeing = frozenset({"read", "see personal data"})
    bearers["viewer + personal"] = Bearer(await create_token("viewer", shop, personal=True), "shop", seeing)
    bearers["root"] = Bearer(await create_token("admin", None, "root"), None, frozenset(ALLOWED["admin"]))
    bearers["other"] = Bearer(await create_token("admin", other), "other", frozenset(ALLOWED["admin"]))
    user = await world.data('{ brand(slug: "shop") { user(identity: {kind: "member", value: "m01"}) { id } } }')
    run = (await Run.filter(brand_id=shop.id, status="done"))[0]
    names |= {
        "VERSION": (await RulebookVersion.filter(brand_id=shop.id).order_by("id"))[0].version,
        "USER": user["brand"]["user"]["id"],
        "RUN": to_base64("Run", f"{shop.id}:{run.id}"),
        "PHONE": PHONE,
    }
    made = Walk(world, bearers, names, {})
    for document in (*OPEN, *(each for some in BEHIND.values() for each in some)):
        answer = await made.ask(bearers["root"], document)
        assert "errors" not in answer, (document, answer["errors"])
        made.nodes |= dict(ids(answer["data"]))
    return made


def test_the_table_names_every_right_and_every_mutation() -> None:
    assert set().union(*ALLOWED.values()) == {right.value for right in Right}
    assert {f"Mutation.{name}" for name in CHANGES} == {name for name in GUARDED if name.startswith("Mutation.")}
    for coordinate in GUARDED.keys() | PERSONAL | OF_NO_BRAND:
        owner, _, name = coordinate.partition(".")
        assert name.startswith("__") or name in TYPES[owner].fields, coordinate


def test_every_argument_that_takes_an_id_is_tried_with_those_of_others() -> None:
    found = {
        f"{kind.name}.{name}.{argument_name}"
        for kind in SCHEMA.type_map.values()
        if isinstance(kind, GraphQLObjectType)
        for name, field in kind.fields.items()
        for argument_name, argument in field.args.items()
        if get_named_type(argument.type).name == "ID"
    }
    inputs = {
        f"{kind.name}.{name}"
        for kind in SCHEMA.type_map.values()
        if isinstance(kind, GraphQLInputObjectType)
        for name, field in kind.fields.items()
        if get_named_type(field.type).name == "ID"
    }
    assert found | inputs == set(IDS)


def below_of(kind: Any) -> Any:
    return getattr(kind, "fields", {})


async def test_the_walk_reaches_every_type(walk: Walk) -> None:
    root, seen = walk.bearers["root"], {"Query", "Mutation", "Subscription"}
    for document in (*OPEN, *(each for some in BEHIND.values() for each in some)):
        seen |= set(typenames(await walk.ask(root, document)))
    for question in FOLLOWED.values():
        seen |= set(typenames(await walk.follow(root, question)))
    payloads = {get_named_type(field.type).name for field in TYPES["Mutation"].fields.values()}
    objects = {name for name, kind in SCHEMA.type_map.items() if isinstance(kind, GraphQLObjectType)}
    known = [kind for each in TYPES["User"].fields.values() if "reason" in below_of(kind := get_named_type(each.type))]
    # Null where a plugin is off.
    rules = {get_named_type(field.type).name for kind in known for field in kind.fields.values()}
    beside = {"Me", "UserError", "Rejection", *payloads, *rules}
    assert {name for name in objects - seen - beside if not name.startswith("__")} == set()
    assert set(walk.nodes) == set(NODES) == NODE_TYPES


@pytest.mark.parametrize("who", [*ROLES, "viewer + personal", "root", "other"])
async def test_each_sees_and_does_what_the_table_says(walk: Walk, who: str) -> None:
    await walk.of(who)


async def test_nothing_of_one_brand_stands_under_another(walk: Walk) -> None:
    await walk.apart()


# -- each rule of access taken away, in turn ----------------------------------------------------------------------

Rule = Callable[[], AbstractContextManager[Any]]


def flipped(role: Role, right: Right) -> Rule:
    """The table with one entry changed."""
    return lambda: patch.object(tokens, "RIGHTS", {**RIGHTS, role: RIGHTS[role] ^ {right}})


def unasked(right: Right) -> Rule:
    """No field asks for that right."""
    require = Access.require

    def lax(access: Access, wanted: Right) -> None:
        if wanted is not right:
            require(access, wanted)

    return lambda: patch.object(Access, "require", lax)


def open_door(where: Any) -> Rule:
    """The module that finds a brand does not ask whose it is."""

    async def found(info: Any, slug: str, **_: Any) -> Any:
        return await Brand.get(slug=slug)

    return lambda: patch.object(where, "visible_brand", found)


async def any_node(info: Any, kinds: Any, id: Any) -> Any:
    brand, _, name = id.node_id.partition(":")
    return await kinds[id.type_name](info, int(brand), name)


async def all_brands(info: Any) -> Any:
    return await Brand.all()


def without_brand(where: paging.Where, brand_id: int, *terms: paging.Term) -> None:
    where.values, where._parts = [brand_id], ["$1::int IS NOT NULL"]
    where.narrow(*terms)


def _has_a_door(name: str, module: Any) -> bool:
    return name.startswith("siyu_graphql.") and hasattr(module, "visible_brand") and name != context.__name__


revoke = tokens.revoke


async def revoked_anywhere(prefix: str, *, within: Access | None = None, by: str = "") -> Any:
    return await revoke(prefix, by=by)


def impersonal(word: str) -> Rule:
    """Names that end in that word are not personal."""
    return lambda: patch.object(personal, "WORDS", personal.WORDS - {word})


READERS = {Right.READ, Right.INTROSPECT}
"""Rights that are not asked for by name where they are needed, or that every role has."""
DOORS = [module for name, module in sorted(sys.modules.items()) if _has_a_door(name, module)]
RULES: dict[str, tuple[str, Rule]] = {
    **{
        f"{role} {'may not' if right in RIGHTS[role] else 'may'} {right}": (role.value, flipped(role, right))
        for role in Role
        for right in Right
    },
    **{f"nobody asks whether one may {right}": ("viewer", unasked(right)) for right in Right if right not in READERS},
    **{f"{module.__name__} opens any brand": ("other", open_door(module)) for module in DOORS},
    "whoever asks sees all brands": ("other", lambda: patch.object(Access, "sees", lambda *_: True)),
    "brands are listed for all": ("other", lambda: patch("siyu_graphql.brand.queries.visible_brands", all_brands)),
    "nodes are found in any brand": ("other", lambda: patch("siyu_graphql.node.queries.find_node", any_node)),
    "loaders read any brand": ("other", lambda: patch.object(Loaders, "check", lambda *_: None)),
    "any admin makes tokens for all brands": (
        "other",
        lambda: patch("siyu_graphql.token.mutations.require_all_brands", lambda _: None),
    ),
    "any admin revokes any token": (
        "other",
        lambda: patch("siyu_graphql.token.mutations.tokens.revoke", revoked_anywhere),
    ),
    "pages are of any brand": ("apart", lambda: patch.object(paging.Where, "__init__", without_brand)),
    "personal data is shown": ("viewer", lambda: patch.object(Personal, "may_see", lambda *_: True)),
    "users are found by personal data": ("viewer", lambda: patch.object(Personal, "asked", lambda *_: None)),
    "nothing is masked": ("viewer", lambda: patch("siyu_graphql.personal.mask", lambda value: value)),
    "JSON is not looked into": ("viewer", lambda: patch("siyu_graphql.personal.veil", lambda value: (value, False))),
    **{f"{word} is not personal": ("viewer", impersonal(word)) for word in ("phone", "email")},
    "what was seen is not written down": ("admin", lambda: patch.object(Personal, "seen", {})),
    "a token that sees personal data is as others": (
        "viewer + personal",
        lambda: patch.object(Access, "rights", property(lambda access: RIGHTS[access.role])),
    ),
}


# An answer that ends with an error leaves fields behind that nobody waits for; the collector says so, sooner or later.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("rule", RULES)
async def test_without_one_rule_the_walk_fails(walk: Walk, rule: str) -> None:
    who, without = RULES[rule]
    personal.is_personal.cache_clear()
    with without(), pytest.raises((AssertionError, pytest.fail.Exception)):
        await (walk.apart() if who == "apart" else walk.of(who))
    personal.is_personal.cache_clear()
    gc.collect()
