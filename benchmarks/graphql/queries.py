"""The same questions in the words of each server, and their answers in one shape."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["QUERIES", "Query", "plain"]


@dataclass(frozen=True)
class Query:
    """A question: ``ours`` is what siyu and those built for this benchmark understand, the other is PostGraphile's."""

    name: str
    servers: tuple[str, ...]
    ours: str
    postgraphile: str
    variables: Mapping[str, Any]


ALL = ("bare", "siyu", "naive", "postgraphile", "mercurius")
TWO = ("siyu", "postgraphile")
THEIRS = "allUsers(first: $first, condition: {brandId: 1}, orderBy: PRIMARY_KEY_ASC)"

FILTERED = """query Filtered($first: Int!, $filter: UserFilter) {
    brand(slug: "shop") { users(first: $first, filter: $filter) { nodes { id lastSeen stages { track key since } } } }
}"""
THEIR_FILTERED = """query Filtered($first: Int!, $where: UserFilter) {
    allUsers(first: $first, filter: $where, orderBy: PRIMARY_KEY_ASC) { nodes {
      id: rowId lastSeen stages { nodes { track key: stage since } } } }
}"""

QUERIES = (
    Query(
        "a page of users with tags",
        ALL,
        """query Hot($first: Int!) { brand(slug: "shop") { users(first: $first) { nodes {
             id attributes lastSeen identities { kind value } tags { key title since } } } } }""",
        f"""query Hot($first: Int!) {{ {THEIRS} {{ nodes {{
              id: rowId attributes lastSeen identities {{ nodes {{ kind value }} }}
              tags {{ nodes {{ since tag {{ key title }} }} }} }} }} }}""",
        {"first": 50},
    ),
    Query(
        "users with actions",
        TWO,
        """query Nested($first: Int!) { brand(slug: "shop") { users(first: $first) { nodes {
             id actions(first: 3) { nodes { id text because plannedAt channel } } } } } }""",
        f"""query Nested($first: Int!) {{ {THEIRS} {{ nodes {{
              id: rowId actions(first: 3, orderBy: ROW_ID_DESC) {{
                nodes {{ id: rowId text because plannedAt channel }} }} }} }} }}""",
        {"first": 50},
    ),
    Query(
        "a timeline",
        TWO,
        """query Timeline($first: Int!) { brand(slug: "shop") { users(first: $first) { nodes {
             id lastSeen events(first: 10) { nodes { id kind at payload } } } } } }""",
        f"""query Timeline($first: Int!) {{ {THEIRS} {{ nodes {{
              id: rowId lastSeen events(first: 10, orderBy: [AT_DESC, ROW_ID_DESC]) {{
                nodes {{ id: rowId kind at payload }} }} }} }} }}""",
        {"first": 20},
    ),
    Query(
        "filters by tag and stage",
        TWO,
        FILTERED,
        THEIR_FILTERED,
        {
            "first": 50,
            "filter": {"tag": ["bench.tag_07"], "stage": {"track": "lifecycle", "key": "mature"}},
            "where": {
                "brandId": {"equalTo": 1},
                "tags": {"some": {"tag": {"key": {"equalTo": "bench.tag_07"}}}},
                "stages": {"some": {"track": {"equalTo": "lifecycle"}, "stage": {"equalTo": "mature"}}},
            },
        },
    ),
    Query(
        "filters by a fact and stage",  # the last order 15 days ago or less
        TWO,
        FILTERED,
        THEIR_FILTERED,
        {
            "first": 50,
            "filter": {
                "fact": [{"plugin": "rfm", "rule": "rfm", "name": "recency", "lte": 15}],
                "stage": {"track": "lifecycle", "key": "mature"},
            },
            "where": {
                "brandId": {"equalTo": 1},
                "events": {
                    "some": {
                        "kind": {"equalTo": "order.paid"},
                        "at": {"greaterThanOrEqualTo": "2026-05-17T00:00:00+08:00"},
                    }
                },
                "stages": {"some": {"track": {"equalTo": "lifecycle"}, "stage": {"equalTo": "mature"}}},
            },
        },
    ),
)


def plain(answer: Any) -> Any:
    """An answer as it can be compared: users by number, lists in one order, moments as moments."""
    data = answer["data"]
    return _plain((data.get("allUsers") or data["brand"]["users"])["nodes"])


def _plain(value: Any) -> Any:
    match value:
        case {"nodes": list(nodes), **others} if not others:
            return _plain(nodes)
        case {"tag": dict(tag), **others}:
            return _plain({**others, **tag})
        case dict():
            return {name: _number(inner) if name == "id" else _plain(inner) for name, inner in value.items()}
        case list():
            return sorted((_plain(inner) for inner in value), key=repr)
        case str() if value[4:5] == "-" and "T" in value:
            return datetime.fromisoformat(value).timestamp()
    return value


def _number(id: Any) -> int:
    text = str(id)
    return int(text) if text.isdigit() else int(base64.b64decode(text).decode().rpartition(":")[2])
