"""Trusted documents: GraphQL that somebody registered before it is asked, told by the SHA-256 of its text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from siyu.contract.errors import InputError, NotFound
from siyu.store.models import TrustedDocument

__all__ = ["PREFIX", "document_hash", "find", "invalid", "register", "remove", "texts_in"]

PREFIX = "sha256:"
SUFFIXES = (".graphql", ".gql")
MOST = 10_000
"""How many documents may be registered."""

Check = Callable[[str], Sequence[str]]
"""What is wrong with a document; nothing where it is well."""


def document_hash(text: str) -> str:
    """What tells a document: 64 hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


async def find(hash: str) -> str | None:
    """The text of a document that is registered."""
    row = await TrustedDocument.get_or_none(hash=hash)
    return row.text if row else None


async def register(name: str, text: str, check: Check) -> TrustedDocument:
    """Trust a document; the same one again changes nothing. :class:`InputError` where it is wrong."""
    if wrong := check(text):
        raise invalid(f"{name}: {'; '.join(wrong)}")
    hash = document_hash(text)
    known = await TrustedDocument.get_or_none(hash=hash)
    if known is None and await TrustedDocument.all().count() >= MOST:
        raise InputError(f"{MOST:,} documents are registered", field="document", remedy="remove some that are not used")
    return known or (await TrustedDocument.get_or_create(hash=hash, defaults={"name": name[:200], "text": text}))[0]


def invalid(wrong: str) -> InputError:
    """The error of documents that the schema does not know."""
    return InputError(wrong, field="document", remedy="`siyu schema` prints what there is")


async def remove(which: str) -> TrustedDocument:
    """Trust a document no longer that is told by its hash, or the first 8 digits or more of it."""
    hash = which.removeprefix(PREFIX)
    rows = await TrustedDocument.filter(hash__startswith=hash).limit(2) if len(hash) >= 8 else []
    if len(rows) != 1:
        raise NotFound(
            f"{len(rows) or 'no'} documents {which!r}",
            field="document",
            remedy="give more digits of the hash; `siyu documents list` shows them",
        )
    await rows[0].delete()
    return rows[0]


def texts_in(path: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of the documents in a file or, however deep, a folder.

    A file is one document (``.graphql``, ``.gql``), or what code generators call a manifest of persisted documents: a
    JSON object of texts by their SHA-256.
    """
    if path.is_dir():
        for each in sorted(found for found in path.rglob("*") if found.suffix in SUFFIXES):
            yield str(each.relative_to(path)), _read(each)
    elif path.suffix == ".json":
        yield from _manifest(path)
    else:
        yield path.name, _read(path)


def _manifest(path: Path) -> Iterator[tuple[str, str]]:
    try:
        given = json.loads(_read(path))
    except ValueError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise InputError(f"{path} is no manifest", field="path", remedy='write {"SHA-256 of the text": "the text", …}')
    for hash, text in given.items():
        if document_hash(text) != hash.removeprefix(PREFIX):
            raise InputError(
                f"{path}: {hash!r} is not the SHA-256 of its text",
                field="path",
                remedy="let the generator use sha256",
            )
        yield path.name, text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", field="path", remedy="give a file or folder") from None
