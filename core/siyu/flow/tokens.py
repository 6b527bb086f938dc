"""Access tokens: who may do what, and for which brand.

A token is shown once, when it is made; only its hash and a prefix to tell it by are kept.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from tortoise.expressions import Q
from tortoise.transactions import in_transaction

from siyu.contract.errors import InputError, NotFound, SiyuError
from siyu.flow import audit
from siyu.flow.context import aware
from siyu.store.models import AccessToken, Brand

__all__ = [
    "RIGHTS",
    "Access",
    "Forbidden",
    "Made",
    "Right",
    "Role",
    "Unauthenticated",
    "authenticate",
    "create_token",
    "make_token",
    "revoke",
    "still",
]

SCHEME = "siyu_"
USED_EVERY = timedelta(minutes=1)
"""How often at most the use of a token is written down."""


class Forbidden(SiyuError):
    """The token's role does not allow it."""

    code = "FORBIDDEN"


class Unauthenticated(SiyuError):
    """There is no valid token."""

    code = "UNAUTHENTICATED"


class Role(StrEnum):
    """What a token is for."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Right(StrEnum):
    """Something that a role may allow."""

    READ = "read"
    INTROSPECT = "read the schema"
    RECORD = "record"
    REFRESH = "refresh"
    MERGE = "merge"
    SEGMENT = "segment"
    ACT = "act for users"
    EXPORT = "export"
    CONFIGURE = "configure"
    PERSONAL = "see personal data"
    TOKENS = "manage tokens"
    AUDIT = "read the audit log"


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.DEVELOPER: frozenset({Right.READ, Right.INTROSPECT, Right.RECORD}),
    Role.OPERATOR: frozenset(
        {Right.READ, Right.INTROSPECT, Right.RECORD, Right.REFRESH, Right.MERGE, Right.SEGMENT, Right.ACT}
    ),
    Role.ADMIN: frozenset(Right),
}
"""The rules, all of them. One may be given to a token beside its role: to see personal data."""


@dataclass(frozen=True)
class Access:
    """What the bearer of a token may do. ``brand_id`` is its brand, None for all.

    ``key`` tells the bearer from all others. ``token_id`` is None where somebody else vouches for the bearer, until
    ``expires_at``.
    """

    key: str
    name: str
    prefix: str
    role: Role
    brand_id: int | None
    expires_at: datetime | None = None
    personal: bool = False
    token_id: int | None = None

    @property
    def by(self) -> str:
        """How the bearer is written down beside what they changed."""
        return self.name or self.prefix

    @property
    def rights(self) -> frozenset[Right]:
        """All that the bearer may do."""
        return RIGHTS[self.role] | {Right.PERSONAL} if self.personal else RIGHTS[self.role]

    def sees(self, brand_id: int) -> bool:
        """Whether the brand exists for the bearer. What belongs to no brand (0) does for who sees all."""
        return self.brand_id is None or self.brand_id == brand_id

    def may(self, right: Right) -> bool:
        """Whether the role, or the token itself, allows it."""
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raise :class:`Forbidden` unless the bearer may."""
        if not self.may(right):
            able = ", ".join(role for role, rights in RIGHTS.items() if right in rights)
            raise Forbidden(f"a token of role {self.role} may not {right}", remedy=f"use a token of role: {able}")


class Made(NamedTuple):
    """A token that was made: ``secret`` is what its bearer sends, which nobody can show again."""

    secret: str
    row: AccessToken


async def create_token(
    role: Role | str,
    brand: Brand | None,
    name: str = "",
    expires_at: datetime | None = None,
    *,
    personal: bool = False,
    by: str = "cli",
) -> str:
    """Make a token for ``brand`` (None: for all) and return its secret, which nobody can show again."""
    return (await make_token(role, brand, name, expires_at, personal=personal, by=by)).secret


async def make_token(
    role: Role | str,
    brand: Brand | None,
    name: str = "",
    expires_at: datetime | None = None,
    *,
    personal: bool = False,
    by: str = "cli",
) -> Made:
    """As :func:`create_token`, with what is kept of it."""
    try:
        role = Role(role)
    except ValueError:
        raise InputError(f"no role {role!r}", field="role", remedy=f"roles are: {', '.join(Role)}") from None
    if len(name) > 200:
        raise InputError("the name is too long", field="name", remedy="use at most 200 letters")
    aware(expires_at, "expires_at")
    prefix = secrets.token_hex(4)
    secret = f"{SCHEME}{prefix}_{secrets.token_urlsafe(24)}"
    async with in_transaction():
        row = await AccessToken.create(
            name=name,
            prefix=prefix,
            hash=_hash(secret),
            role=role.value,
            brand_id=brand.id if brand else None,
            personal=personal,
            expires_at=expires_at,
        )
        await audit.note(row.brand_id or 0, by, "createToken", target=prefix, after=_shown(row))
    return Made(secret, row)


async def authenticate(secret: str) -> Access | None:
    """What the bearer of ``secret`` may do; None if it is no token, or expired, or revoked."""
    if not secret.startswith(SCHEME):
        return None
    row = await AccessToken.get_or_none(hash=_hash(secret))
    access = _access(row)
    if row is not None and access is not None:
        await _used(row)
    return access


async def still(access: Access) -> Access:
    """What the bearer may do by now; :class:`Unauthenticated` once the token has expired or is revoked."""
    if access.token_id is None:
        found = None if _over(access.expires_at) else access
    else:
        found = _access(await AccessToken.get_or_none(id=access.token_id))
    if found is None:
        raise Unauthenticated("the access token has ended", remedy="connect again with a valid one")
    return found


async def revoke(prefix: str, *, within: Access | None = None, by: str = "cli") -> AccessToken:
    """End the token that is told by ``prefix``; :class:`NotFound` if none that is not revoked has it, or none that is
    ``within`` what somebody may see."""
    # Tortoise raises for a text that is longer than its column.
    prefix = prefix.removeprefix(SCHEME).partition("_")[0][:12]
    async with in_transaction():
        for row in await AccessToken.filter(prefix=prefix, revoked_at=None).select_for_update():
            if within is None or within.sees(row.brand_id or 0):
                before = _shown(row)
                row.revoked_at = datetime.now(UTC)
                await row.save(update_fields=["revoked_at"])
                await audit.note(row.brand_id or 0, by, "revokeToken", target=prefix, before=before)
                return row
    raise NotFound(f"no token {prefix!r}", field="prefix", remedy="give the eight letters after siyu_")


async def _used(row: AccessToken) -> None:
    now = datetime.now(UTC)
    if row.used_at is None or row.used_at <= now - USED_EVERY:
        # Of many requests at once, one writes.
        due = Q(used_at=None) | Q(used_at__lte=now - USED_EVERY)
        await AccessToken.filter(due, id=row.id).update(used_at=now)


def _access(row: AccessToken | None) -> Access | None:
    if row is None or row.revoked_at or _over(row.expires_at):
        return None
    return Access(
        key=f"token:{row.id}",
        name=row.name,
        prefix=row.prefix,
        role=Role(row.role),
        brand_id=row.brand_id,
        expires_at=row.expires_at,
        personal=row.personal,
        token_id=row.id,
    )


def _over(expires_at: datetime | None) -> bool:
    return expires_at is not None and expires_at <= datetime.now(UTC)


def _shown(row: AccessToken) -> dict[str, object]:
    ends = row.expires_at.isoformat() if row.expires_at else None
    return {"name": row.name, "role": row.role, "personal": row.personal, "expiresAt": ends}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="backslashreplace")).hexdigest()
