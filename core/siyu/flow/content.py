"""What actions say: the texts of playbooks, a brand's own in their place, and what is known of the user in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, get_args

import polars as pl

from siyu.contract.errors import InputError, NotFound
from siyu.contract.facts import Attribute
from siyu.contract.playbooks import Assign, MessageKind, Purpose, Send
from siyu.contract.program import Instruction, Program, texts
from siyu.contract.templates import BENEFIT, Template, check, names, template
from siyu.engine.finish import attribute
from siyu.flow import plugins
from siyu.flow.context import Context, now
from siyu.flow.programs import by_name, kept
from siyu.flow.voice import Persona, Voice, spoken, voice_of
from siyu.store import benefits
from siyu.store import templates as store
from siyu.store.db import Connection
from siyu.store.models import Brand
from siyu.store.models import Template as Kept

__all__ = [
    "MOST_VERSIONS",
    "Composed",
    "Entry",
    "compose",
    "end_text",
    "library",
    "preview",
    "say",
    "set_text",
    "versions",
]

MOST_VERSIONS = 20_000
"""Of all texts of a brand."""
_OWN_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}\Z")
_PARTS = ("title", "text", "url", "because")


@dataclass(frozen=True)
class Composed:
    """What an action says. ``body`` is what there is besides the text. ``wrong`` is why it cannot be said."""

    text: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    wrong: str = ""

    @property
    def title(self) -> str:
        """The title, if it has one."""
        return str(self.body.get("title", ""))

    @property
    def url(self) -> str:
        """The link, if it has one."""
        return str(self.body.get("url", ""))


@dataclass(frozen=True)
class Entry:
    """A text of the library: a playbook's own (version 0), or a brand's."""

    key: str
    channel: str = ""
    language: str = ""
    version: int = 0
    kind: str = "text"
    purpose: str = ""
    title: str = ""
    text: str = ""
    url: str = ""
    because: str = ""
    active: bool = True
    by: str = ""
    at: datetime | None = None

    def saying(self, parts: Mapping[str, str]) -> Entry:
        """The same with other words."""
        return replace(self, **parts)  # type: ignore[arg-type]


# -- composing ----------------------------------------------------------------------------------------------------

COMPOSED = ("id", "user_id", "version_id", "step", "text", "body")
"""What must be known of an action to say what it says, besides its channel and when it was planned."""


async def compose(ctx: Context, connection: Connection, brand: Brand, rows: Sequence[Any]) -> dict[int, Composed]:
    """What actions (``rows`` of their table) say, by id. What was said once stays as it was."""
    new = [row for row in rows if not row["text"] and row["version_id"]]
    made = await kept(ctx, connection, brand.id, {row["version_id"] for row in new})
    asked = {(row["version_id"], row["step"]) for row in new}
    said = {
        (id, each.key): _said(made[id], each)
        for id in made
        for each in made[id].instructions
        if (id, each.key) in asked
    }
    own = await store.newest(connection, brand.id, sorted({each.key for each in said.values()})) if said else []
    for each in said.values():
        each.replace(own)
    users = await _Users.read(ctx, connection, brand, [row["user_id"] for row in new], said.values())
    found = {row["id"]: Composed(row["text"], _json(row["body"])) for row in rows if row["text"]}
    for row in new:
        found[row["id"]] = said[row["version_id"], row["step"]].to(users, row["user_id"], row["planned_at"])
    nothing = Composed(wrong="it says nothing")
    return {row["id"]: found.get(row["id"], nothing) for row in rows}


def _json(body: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
    return found


class _Said:
    """What a step says in each language."""

    def __init__(self, key: str, channel: str, step: Send | Assign) -> None:
        self.key, self.channel, self.step = key, channel, step
        self._own: dict[str, Any] = {}
        self._language: dict[str, tuple[dict[str, Template], str]] = {}
        self._rendered: dict[tuple[Any, ...], Composed] = {}

    def replace(self, own: Iterable[Any]) -> None:
        """Let the brand's ``own`` texts stand in place of the step's; those for the channel before those for any."""
        mine = [row for row in own if row["key"] == self.key and row["channel"] in ("", self.channel)]
        self._own = {row["language"]: row for row in sorted(mine, key=lambda row: row["channel"])}

    @cached_property
    def defaults(self) -> dict[str, dict[str, str]]:
        """The texts of the step itself, by language."""
        parts = {part: texts(getattr(self.step, part, "")) for part in _PARTS}
        languages = dict.fromkeys(each for said in parts.values() for each, text in said.items() if text)
        return {each: {part: spoken(said, each, "") or "" for part, said in parts.items()} for each in languages}

    @cached_property
    def names(self) -> Sequence[str]:
        """All that it may ask for, whatever the language."""
        sources = [each[part] for each in (*self.defaults.values(), *self._own.values()) for part in _PARTS]
        return list(dict.fromkeys(name for each in sources for name in _parsed(each)))

    @property
    def languages(self) -> set[str]:
        """Those that it speaks."""
        return {*self.defaults, *self._own}

    def in_(self, language: str, otherwise: str) -> tuple[Mapping[str, Template], str]:
        """Its templates for a user of that language, and their kind; a brand speaks ``otherwise``."""
        if language not in self._language:
            own = self._own.get(language) or self._own.get("")
            default = self.defaults.get(language) or spoken({**self.defaults, **self._own}, otherwise, "") or {}
            base = spoken(self.defaults, language, otherwise) or {}
            chosen = own or default
            # A brand's text without a title keeps that of the playbook.
            sources = {part: chosen.get(part) or base.get(part, "") for part in _PARTS}
            kind = chosen.get("kind") or _kind(self.step)
            self._language[language] = {part: template(each) for part, each in sources.items() if each}, kind
        return self._language[language]

    def to(self, users: _Users, user_id: int, planned_at: datetime) -> Composed:
        """What it says to a user; the same to all of whom it knows the same."""
        language, values = users.values(user_id)
        moment = None if isinstance(self.step, Send) else planned_at
        alike = (language, moment, *(values.get(name) for name in self.names))
        if alike not in self._rendered:
            self._rendered[alike] = self._render(language, users.otherwise, values, planned_at)
        return self._rendered[alike]

    def _render(self, language: str, otherwise: str, values: Mapping[str, Any], planned_at: datetime) -> Composed:
        try:
            sources, kind = self.in_(language, otherwise)
            parts = {part: each.render(values).strip() for part, each in sources.items()}
        except InputError as error:
            return Composed(wrong=str(error))
        text, because = parts.pop("text", ""), parts.get("because", "")
        if not text and isinstance(self.step, Send):
            return Composed(wrong="it says nothing")
        body: dict[str, Any] = {part: each for part, each in parts.items() if each}
        if isinstance(self.step, Send):
            body["kind"] = kind
        else:
            body["role"] = self.step.role
            body["deadline"] = (planned_at + self.step.within).isoformat()
            if self.step.escalate_to:
                body["escalate_to"] = self.step.escalate_to
        return Composed(f"{text}\n{because}" if because else text, body)


class _Users:
    """What templates may say of users, read at once."""

    def __init__(self, brand: Brand, voice: Voice, known: Mapping[int, dict[str, Any]], staff: Mapping[int, str]):
        self.otherwise = voice.language
        self._brand, self._voice, self._known, self._staff = brand, voice, known, staff
        self._bases: dict[tuple[str, str], dict[str, Any]] = {}

    @classmethod
    async def read(
        cls, ctx: Context, connection: Connection, brand: Brand, users: Sequence[int], said: Iterable[_Said]
    ) -> _Users:
        """Read what is asked for, and no more."""
        said, voice = list(said), voice_of(brand)
        asked = {name for each in said for name in each.names}
        wanted = {name.removeprefix("user.") for name in asked if name.startswith("user.")}
        wanted |= {"nickname"} if "name" in asked else set()
        if any(len(each.languages) > 1 for each in said) or asked & {"name", *_ADVISER}:
            wanted.add("language")
        kinds = [kind for name, kind in sorted(ctx.plugins.catalog.attributes.items()) if name in wanted]
        known: dict[int, dict[str, Any]] = {}
        if kinds:
            rows = await store.of_users(connection, brand.id, sorted(set(users)), [kind.name for kind in kinds])
            schema = {"@user": pl.Int64()} | {kind.name: pl.String() for kind in kinds}
            frame = pl.DataFrame(list(map(tuple, rows)), schema, orient="row").with_columns(
                pl.col(pl.String).str.strip_chars().replace("", None)
            )
            read = [
                attribute(Attribute(kind.name, kind.values, type=kind.type), pl.col(kind.name)).alias(kind.name)
                for kind in kinds
            ]
            named = ["id", *(f"user.{kind.name}" for kind in kinds)]
            for values in frame.select("@user", *read).iter_rows():
                known[values[0]] = {name: v for name, v in zip(named, values, strict=True) if v is not None}
        gifts = sorted(name.removeprefix(BENEFIT) for name in asked if name.startswith(BENEFIT))
        given = await benefits.codes(connection, brand.id, sorted(set(users)), gifts, now(brand)) if gifts else {}
        for (user, gift), code in given.items():
            known.setdefault(user, {})[BENEFIT + gift] = code
        by_staff = bool(voice.staff) and bool(asked & _ADVISER)
        staff = await store.staff_of(connection, brand.id, sorted(set(users))) if by_staff else {}
        return cls(brand, voice, known, staff)

    def values(self, user_id: int) -> tuple[str, dict[str, Any]]:
        """The language of a user, and what templates may say."""
        known = self._known.get(user_id, {})
        language = str(known.get("user.language", "")).partition("-")[0].lower() or self.otherwise
        base = self._base(language, self._staff.get(user_id, ""))
        if not known:
            return language, base
        values = base | known
        if "user.nickname" in known:
            values["name"] = known["user.nickname"]
        return language, values

    def _base(self, language: str, staff: str) -> dict[str, Any]:
        if (language, staff) not in self._bases:
            voice, other = self._voice, self.otherwise
            as_whom: Persona | None = spoken(voice.staff.get(staff) or voice.adviser, language, other)
            called = spoken(voice.called, language, other)
            base = {"name": called, "brand": self._brand.name}
            base |= {f"adviser.{part}": each for part, each in (as_whom.model_dump() if as_whom else {}).items()}
            self._bases[language, staff] = {name: each for name, each in base.items() if each}
        return self._bases[language, staff]


_ADVISER = {"adviser.name", "adviser.role", "adviser.tone"}


def _parsed(source: str) -> Sequence[str]:
    try:
        return template(source).names
    except InputError:
        return ()  # said when it is rendered


# -- the library --------------------------------------------------------------------------------------------------


async def library(ctx: Context, brand: Brand) -> list[Entry]:
    """The texts of the playbooks that are on, and the brand's own, by key."""
    async with ctx.db.connection() as connection:
        own = await store.newest(connection, brand.id)
    found = [
        Entry(key, said.channel, language, kind=_kind(said.step), purpose=said.step.purpose).saying(each)
        for key, said in sorted((await _defaults(ctx, brand)).items())
        for language, each in said.defaults.items()
    ]
    return sorted([*found, *map(_entry, own)], key=lambda each: (each.key, each.version > 0))


async def versions(brand: Brand, key: str, *, limit: int = 100) -> list[Entry]:
    """The newest versions of a brand's texts under a key; :class:`NotFound` if there are none."""
    rows = await Kept.filter(brand_id=brand.id, key=key).order_by("-id").limit(limit).values()
    if not rows:
        raise NotFound(f"{brand.slug} has no text {key!r} of its own", field="key", remedy="`siyu template list`")
    return [_entry(row) for row in rows]


async def set_text(
    ctx: Context,
    brand: Brand,
    key: str,
    text: str,
    *,
    title: str = "",
    url: str = "",
    because: str = "",
    channel: str = "",
    language: str = "",
    kind: str = "text",
    purpose: str = "",
    by: str = "",
) -> Entry:
    """Put a text in the place of a playbook's, or under a key of the brand's own: a new version, which counts at once.

    What is left empty stays as the playbook has it.
    """
    known = await _defaults(ctx, brand)
    if key not in known and not _OWN_KEY.match(key):
        raise NotFound(
            f"no step {key!r} in a playbook that is on",
            field="key",
            remedy=f"steps are: {', '.join(sorted(known)) or 'none'}; keys of your own are letters, digits, - and _",
        )
    if channel and channel not in ctx.plugins.channels:
        raise NotFound(
            f"no channel {channel!r}",
            field="channel",
            remedy=f"channels are: {', '.join(sorted(ctx.plugins.channels))}",
        )
    if language and not re.fullmatch(r"[a-z]{2,3}", language):
        raise InputError(f"the language {language!r}", field="language", remedy="write it like zh or en")
    if kind not in get_args(MessageKind):
        raise InputError(f"the kind {kind!r}", field="kind", remedy=f"kinds are: {', '.join(get_args(MessageKind))}")
    if purpose and purpose not in get_args(Purpose):
        raise InputError(
            f"the purpose {purpose!r}", field="purpose", remedy=f"purposes are: {', '.join(get_args(Purpose))}"
        )
    parts = {"text": text, "title": title, "url": url, "because": because}
    if not text.strip():
        raise InputError("no text", field="text", remedy="give one, or end this one: siyu template end")
    named = names(ctx.plugins.catalog)
    for part, source in parts.items():
        if "\x00" in source or source.encode(errors="replace").decode() != source:
            raise InputError("it holds what no text can", field=part, remedy="give plain text")
        check(source, named, part)
    return await _add(ctx, brand, (key, channel, language), {**parts, "kind": kind, "purpose": purpose}, by)


async def end_text(
    ctx: Context, brand: Brand, key: str, *, channel: str = "", language: str = "", by: str = ""
) -> Entry:
    """Let a brand's text stand no longer: the playbook's counts again. Its versions are kept."""
    async with ctx.db.connection() as connection:
        own = await store.newest(connection, brand.id, [key])
    if not any((row["channel"], row["language"]) == (channel, language) for row in own):
        there = "; ".join(f"channel {row['channel']!r}, language {row['language']!r}" for row in own)
        raise NotFound(f"no text {key!r} of that channel and language", field="key", remedy=there or "none is there")
    return await _add(ctx, brand, (key, channel, language), {}, by)


async def preview(
    ctx: Context, brand: Brand, key: str, user_id: int, *, channel: str = "", draft: Mapping[str, str] | None = None
) -> Composed:
    """What the text under a key says to a user; or what a ``draft`` of one (title, text, url, because) would say."""
    known = (await _defaults(ctx, brand)).get(key)
    said = _Said(key, channel or (known.channel if known else ""), known.step if known else Send(channel, ""))
    async with ctx.db.connection() as connection:
        own: list[Any] = await store.newest(connection, brand.id, [key])
        if draft is not None:
            named = names(ctx.plugins.catalog)
            for part, source in draft.items():
                check(source, named, part)
            own = [{"key": key, "channel": "", "language": "", "kind": "", **dict.fromkeys(_PARTS, ""), **draft}]
        said.replace(own)
        if not own and known is None:
            raise NotFound(f"no text {key!r}", field="key", remedy="`siyu template list` shows them")
        users = await _Users.read(ctx, connection, brand, [user_id], [said])
    return said.to(users, user_id, now(brand))


async def say(ctx: Context, brand: Brand, message: Send, users: Sequence[int]) -> dict[int, Composed]:
    """What a message that belongs to no playbook says to each of the users."""
    named = names(ctx.plugins.catalog)
    for part in _PARTS:
        for source in texts(getattr(message, part)).values():
            check(source, named, part)
    said = _Said(message.template, message.channel, message)
    async with ctx.db.connection() as connection:
        if message.template:
            own = await store.newest(connection, brand.id, [message.template])
            said.replace(own)
            if not own:
                raise NotFound(f"no text {message.template!r}", field="template", remedy="`siyu template list`")
        known = await _Users.read(ctx, connection, brand, users, [said])
    return {user: said.to(known, user, now(brand)) for user in users}


async def _defaults(ctx: Context, brand: Brand) -> dict[str, _Said]:
    """The steps that say something, by the key of their text: as they are set where their plugin is on."""
    found: dict[str, _Said] = {}
    for made in by_name(ctx, await plugins.cohorts(ctx, brand.id)).values():
        for each in made.instructions:
            if made.text_key(each):
                said = _said(made, each)
                found.setdefault(said.key, said)
    return found


def _said(made: Program, each: Instruction) -> _Said:
    assert isinstance(each.step, Send | Assign)
    return _Said(made.text_key(each), each.step.channel, each.step)


def _kind(step: Send | Assign) -> str:
    return step.kind if isinstance(step, Send) else "task"


def _entry(row: Any) -> Entry:
    return Entry(**{name: row[name] for name in Entry.__dataclass_fields__})


async def _add(ctx: Context, brand: Brand, place: tuple[str, str, str], parts: dict[str, str], by: str) -> Entry:
    async with ctx.db.transaction() as connection:
        row = await store.add(connection, brand.id, place, parts, by[:200], MOST_VERSIONS)
    if row is None:
        raise InputError(
            f"{brand.slug} has {MOST_VERSIONS:,} versions of texts", field="key", remedy="use those that there are"
        )
    return _entry(row)
