"""Documents that are asked for by their hash, and an API that executes no others.

A request names one in place of ``query``: ``{"documentId": "sha256:…"}``, or as Apollo's clients do
(``extensions.persistedQuery.sha256Hash``). ``siyu documents register`` makes them known.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError, parse, validate
from siyu import SiyuError
from siyu.contract.manager import PluginManager
from siyu.flow.documents import PREFIX, document_hash, find

from siyu_graphql.limits import MOST_LETTERS, MOST_TOKENS, RULES
from siyu_graphql.schema import build_schema

__all__ = ["Documents", "NotTrusted", "UnknownDocument", "mistakes_in"]

KEPT = 1_000
KEPT_SECONDS = 10.0
"""How long a document is still executed after it was removed."""


class UnknownDocument(SiyuError):
    """No document has that hash. Apollo's clients know the code and the message, and send the text."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class NotTrusted(SiyuError):
    """The API executes registered documents only, and this is none."""

    code = "DOCUMENT_NOT_TRUSTED"


class BadDocument(SiyuError):
    """The request names a document in a way that has no meaning."""

    code = "INVALID_REQUEST"


class Documents:
    """The registered documents, kept at hand for some seconds."""

    def __init__(self, *, trusted_only: bool) -> None:
        self._trusted_only = trusted_only
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def text(self, query: str | None, document_id: object, extensions: Mapping[str, Any] | None) -> str | None:
        """What a request asks to be executed, None if nothing; a :class:`siyu.SiyuError` where it may not."""
        hash = _named(document_id, extensions)
        if query is not None:
            if hash is not None and document_hash(query) != hash:
                raise BadDocument("the hash is not that of the query", field="query", remedy="send one of the two")
            if self._trusted_only and await self._found(document_hash(query)) is None:
                raise NotTrusted(
                    "only registered documents are executed here",
                    field="query",
                    remedy="have it registered: siyu documents register",
                )
            return query
        if hash is None:
            return None
        text = await self._found(hash)
        if text is None:
            raise UnknownDocument("PersistedQueryNotFound", field="documentId", remedy="send the query, or register it")
        return text

    async def _found(self, hash: str) -> str | None:
        now = time.monotonic()
        if hash in self._kept and self._kept[hash][1] > now:
            self._kept.move_to_end(hash)
            return self._kept[hash][0]
        self._kept.pop(hash, None)
        text = await find(hash)
        if text is not None:
            self._kept[hash] = (text, now + KEPT_SECONDS)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return text


def mistakes_in(plugins: PluginManager, text: str) -> list[str]:
    """What is wrong with a document: nothing, where this API would execute it."""
    if len(text) > MOST_LETTERS:
        return [f"the document has {len(text)} letters; {MOST_LETTERS} are allowed"]
    try:
        document = parse(text, max_tokens=MOST_TOKENS)
        schema = build_schema(plugins)._schema
        errors = [*validate(schema, document), *validate(schema, document, RULES)]
    except (GraphQLError, RecursionError) as error:
        return [str(error) or "the document is nested too deeply"]
    return [error.message for error in errors]


def _named(document_id: object, extensions: Mapping[str, Any] | None) -> str | None:
    """The hash that a request names."""
    persisted = (extensions or {}).get("persistedQuery")
    given = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if document_id is not None:
        given = document_id
    if given is None:
        return None
    hash = str(given).removeprefix(PREFIX).lower()
    if len(hash) != 64 or set(hash) - set("0123456789abcdef"):
        raise BadDocument(
            f"{str(given)[:80]!r} is no SHA-256", field="documentId", remedy="write sha256: and 64 digits"
        )
    return hash
