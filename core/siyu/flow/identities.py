"""Who is meant: events name users by one or more identities, and what occurs together is one person's.

The events of a call are taken one after the other, as though each came alone. A name that nobody has is given to the
person whom the event names. Where an event names several who are known, they are merged if the kinds of the names
prove it (:class:`siyu.IdentityKind`) and nothing speaks against it; else the event is refused with the reason. Nobody
is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import polars as pl

from siyu.contract.errors import NotFound
from siyu.contract.identities import IdentityKind
from siyu.store import merges
from siyu.store.db import Connection
from siyu.store.events import hold_identities, resolve
from siyu.store.models import Brand, Identity, MergedUser

__all__ = ["MOST_USERS", "Against", "MergeNeeded", "Name", "Named", "Who", "evidence", "identify", "user_named"]

MOST_USERS = 100
"""So many users are one person at most: more is a phone of the shop's that somebody types in for everybody."""

Name: TypeAlias = tuple[str, str]
Kinds: TypeAlias = Mapping[str, IdentityKind]
Conflict: TypeAlias = tuple[str, str]
"""What speaks against taking an event, and what to do."""


class MergeNeeded(Exception):
    """Users are to be merged, which asks for :func:`siyu.store.merges.alone` before anything else."""


@dataclass(frozen=True)
class Named:
    """The names of an event's user, and the event's key."""

    key: str
    names: Sequence[Name]


@dataclass
class Who:
    """For each event the name that stands for its user, or why it is refused; and of names that nobody has yet, whose
    they are: the name that stands for that user."""

    primary: dict[int, Name] = field(default_factory=dict)
    conflicts: dict[int, Conflict] = field(default_factory=dict)
    others: dict[Name, Name] = field(default_factory=dict)


@dataclass
class Against:
    """What speaks against merging known persons: names of kinds of which one has only one, by person and kind; merges
    of theirs that were undone, as pairs of persons; and how many users each of them is."""

    single: dict[int, dict[str, str]]
    undone: set[frozenset[int]]
    users: dict[int, int]

    def conflict(self, persons: Sequence[int]) -> Conflict | None:
        """Why these are not to be merged by themselves, if anything says so."""
        for one, other in ((a, b) for n, a in enumerate(persons) for b in persons[n + 1 :]):
            for kind in sorted(self.single[one].keys() & self.single[other].keys()):
                values = f"{self.single[one][kind]!r} and {self.single[other][kind]!r}"
                return f"users {one} and {other} have the {kind} {values}", _BY_HAND
            if frozenset((one, other)) in self.undone:
                return f"the merge of users {one} and {other} was undone", _BY_HAND
        if sum(self.users[person] for person in persons) > MOST_USERS:
            return f"users {list(persons)} would be more than {MOST_USERS} users in one", "name one of them"
        return None

    def join(self, one: int | None, other: int | None) -> None:
        """From now on the second counts as the first."""
        if one is None or other is None:
            return
        self.single[one] = {**self.single[other], **self.single[one]}
        self.users[one] += self.users[other]
        self.undone = {frozenset(one if each == other else each for each in pair) for pair in self.undone}


_BY_HAND = "name one user, or merge them by hand"


async def user_named(brand: Brand, kind: str, value: str) -> int:
    """The user who goes by a name, or whom they count as; or :class:`NotFound`."""
    found = await Identity.get_or_none(brand_id=brand.id, kind=kind, value=value)
    if found is None:
        raise NotFound(f"nobody goes by {kind}={value}", field="user", remedy="give a name that an event came with")
    merged = await MergedUser.get_or_none(brand_id=brand.id, user_id=found.user_id)
    return int(merged.into_id if merged else found.user_id)


async def identify(
    connection: Connection, brand_id: int, events: Mapping[int, Named], kinds: Kinds, *, merging: bool
) -> Who:
    """Find out who the events of a call mean, and merge whom they prove to be one: if ``merging``, after having made
    sure to be the only one who does; else :class:`MergeNeeded` is raised."""
    if merging:
        await merges.alone(connection, brand_id)
    several = {index: event for index, event in events.items() if len(event.names) > 1}
    if not several:
        return Who({index: event.names[0] for index, event in events.items()})
    known = await _known(connection, brand_id, events)
    if not merging and any(not _settled(event.names, known) for event in several.values()):
        await hold_identities(connection, brand_id)
        known = await _known(connection, brand_id, events)
    if all(_settled(event.names, known) for event in several.values()):
        return Who({index: _first(event.names, known) for index, event in events.items()})
    call = _Call(kinds, known, await evidence(connection, brand_id, {into for _, into in known.values()}, kinds))
    repeated = await _repeated(connection, brand_id, several)
    for index, event in events.items():
        if index in repeated:
            call.who.primary[index] = _first(event.names, known)
        else:
            call.take(index, event)
    if call.merges and not merging:
        raise MergeNeeded
    for index, one, other in call.merges:
        await merges.merge(
            connection, brand_id, known[one][0], known[other][0], by=f"event {events[index].key}", names=[one, other]
        )
    return call.finished()


def _settled(names: Sequence[Name], known: Mapping[Name, tuple[int, int]]) -> bool:
    """Whether names say nothing new: one that is alone, or several of one person."""
    return len(names) == 1 or (all(name in known for name in names) and len({known[name][1] for name in names}) == 1)


def _first(names: Sequence[Name], known: Mapping[Name, tuple[int, int]]) -> Name:
    return min((name for name in names if name in known), default=names[0])


class _Cluster:
    """Names that are one person's: known already (``person``), or made by the call. ``single`` are those of kinds of
    which a person has only one."""

    def __init__(self, name: Name, single: Mapping[str, str], person: int | None = None) -> None:
        self.primary = name
        self.single = single
        self.person = person
        self.names = [name]


class _Call:
    """The events of a call, one after the other."""

    def __init__(self, kinds: Kinds, known: Mapping[Name, tuple[int, int]], against: Against) -> None:
        self.who = Who()
        self.merges: list[tuple[int, Name, Name]] = []
        self._kinds = kinds
        self._known = known
        self._against = against
        self._clusters: dict[Name, _Cluster] = {}
        persons: dict[int, _Cluster] = {}
        for name, (_, person) in sorted(known.items()):
            if person in persons:
                persons[person].names.append(name)
            self._clusters[name] = persons.setdefault(person, _Cluster(name, against.single[person], person))
        self._events: dict[int, Sequence[Name]] = {}

    def take(self, index: int, event: Named) -> None:
        """Join the names of an event, if nothing speaks against it."""
        clusters = {id(c): c for c in (self._clusters.get(name) or self._new(name) for name in event.names)}
        mine = sorted(clusters.values(), key=lambda cluster: (cluster.person or 2**63, cluster.primary))
        if conflict := self._conflict(event.names, mine):
            self.who.conflicts[index] = conflict
            return
        self._events[index] = event.names
        first, *rest = mine
        for other in rest:
            if other.person is not None:
                one, two = (self._naming(event.names, cluster) for cluster in (first, other))
                self.merges.append((index, one, two))
            self._join(first, other)
        self._clusters.update(dict.fromkeys(event.names, first))

    def finished(self) -> Who:
        """Who is meant by the events that were taken, and whose the new names are."""
        for index, names in self._events.items():
            own = [name for name in names if name in self._known]
            primary = min(own) if own else self._clusters[names[0]].primary
            self.who.primary[index] = primary
            for name in names:
                if name not in self._known and name != primary:
                    self.who.others.setdefault(name, primary)
        return self.who

    def _conflict(self, names: Sequence[Name], clusters: Sequence[_Cluster]) -> Conflict | None:
        persons = [cluster.person for cluster in clusters if cluster.person is not None]
        if len(persons) > 1:
            proven = {self._clusters[n].person for n in names if n in self._clusters and self._proves(n)}
            if not proven >= set(persons):
                return f"the identities belong to users {persons}", _BY_HAND
            if conflict := self._against.conflict(persons):
                return conflict
        values: dict[str, str] = {}
        for cluster in clusters if len(clusters) > 1 else ():
            for kind, value in cluster.single.items():
                if values.setdefault(kind, value) != value:
                    return f"one person has the {kind} {values[kind]!r} and {value!r}", "name one of them"
        return None

    def _proves(self, name: Name) -> bool:
        return name[0] in self._kinds and self._kinds[name[0]].proves

    def _new(self, name: Name) -> _Cluster:
        kind = self._kinds.get(name[0])
        return _Cluster(name, dict([name]) if kind and kind.single else {})

    def _naming(self, names: Sequence[Name], cluster: _Cluster) -> Name:
        """A name of an event that names a known person; one that the call has given to them stands for its giver."""
        mine = [name for name in names if self._clusters.get(name) is cluster]
        return min((name for name in mine if name in self._known), default=cluster.primary)

    def _join(self, one: _Cluster, other: _Cluster) -> None:
        one.names += other.names
        one.single = {**other.single, **one.single}
        self._against.join(one.person, other.person)
        for name in other.names:
            self._clusters[name] = one


async def evidence(connection: Connection, brand_id: int, persons: set[int], kinds: Kinds) -> Against:
    """What is known of persons that may speak against merging them."""
    rows = await connection.fetch(
        _EVIDENCE, brand_id, sorted(persons), [kind.name for kind in kinds.values() if kind.single]
    )
    against = Against({person: {} for person in persons}, set(), dict.fromkeys(persons, 1))
    for row in rows:
        if row["kind"] is not None:
            against.single[row["person"]][row["kind"]] = row["value"]
        elif row["other"] is not None:
            against.undone.add(frozenset((row["person"], row["other"])))
        else:
            against.users[row["person"]] = row["users"]
    return against


_EVIDENCE = """
WITH own AS MATERIALIZED (
    SELECT user_id, user_id AS person FROM unnest($2::bigint[]) AS w (user_id)
    UNION ALL
    SELECT user_id, into_id FROM merged_user WHERE brand_id = $1 AND into_id = ANY($2::bigint[])
)
SELECT o.person, NULL::bigint AS other, i.kind, i.value, NULL::bigint AS users
FROM own o JOIN identity i ON i.brand_id = $1 AND i.user_id = o.user_id AND i.kind = ANY($3::text[])
UNION ALL
SELECT DISTINCT o.person, p.person, NULL, NULL, NULL::bigint FROM own o
JOIN user_merge m ON m.brand_id = $1 AND m.user_id = o.user_id AND m.undone_at IS NOT NULL
JOIN own p ON p.user_id = m.other_id AND p.person <> o.person
UNION ALL
SELECT person, NULL, NULL, NULL, count(*) FROM own GROUP BY 1 HAVING count(*) > 1
"""


async def _known(connection: Connection, brand_id: int, events: Mapping[int, Named]) -> dict[Name, tuple[int, int]]:
    """The user of each name that is known, and whom they count as."""
    wanted = sorted({name for event in events.values() for name in event.names})
    rows = await resolve(connection, brand_id, pl.DataFrame(wanted, schema=["kind", "value"], orient="row"))
    return {(kind, value): (user, into) for kind, value, user, into in rows.iter_rows()}


async def _repeated(connection: Connection, brand_id: int, events: Mapping[int, Named]) -> set[int]:
    """The events that are known already, or come twice in the call: they say nothing new of anybody."""
    keys = [event.key for event in events.values()]
    rows = await connection.fetch("SELECT key FROM event WHERE brand_id = $1 AND key = ANY($2::text[])", brand_id, keys)
    seen = {row["key"] for row in rows}
    found = set()
    for index, event in events.items():
        if event.key in seen:
            found.add(index)
        seen.add(event.key)
    return found
