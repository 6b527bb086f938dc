"""Access tokens: who may do what, and for which brand.

A token is shown once, when it is made; only its hash and a prefix to tell it by are kept.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from siyu.contract.errors import InputError, NotFound, SiyuError
from siyu.store.models import AccessToken, Brand

__all__ = [
    "RIGHTS",
    "Access",
    "Forbidden",
    "Right",
    "Role",
    "Unauthenticated",
    "authenticate",
    "create_token",
    "revoke",
    "still",
]

SCHEME = "siyu_"


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
    RECORD = "record"
    REFRESH = "refresh"
    MERGE = "merge"
    SEGMENT = "segment"
    EXPORT = "export"
    CONFIGURE = "configure"


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.DEVELOPER: frozenset({Right.READ, Right.RECORD}),
    Role.OPERATOR: frozenset({Right.READ, Right.RECORD, Right.REFRESH, Right.MERGE, Right.SEGMENT}),
    Role.ADMIN: frozenset(Right),
}
"""The rules, all of them."""


@dataclass(frozen=True)
class Access:
    """What the bearer of a token may do. ``brand_id`` is its brand, None for all."""

    token_id: int
    name: str
    prefix: str
    role: Role
    brand_id: int | None
    expires_at: datetime | None = None

    @property
    def by(self) -> str:
        """How the bearer is written down beside what they changed."""
        return self.name or self.prefix

    def sees(self, brand_id: int) -> bool:
        """Whether the brand exists for the bearer."""
        return self.brand_id is None or self.brand_id == brand_id

    def may(self, right: Right) -> bool:
        """Whether the role allows it."""
        return right in RIGHTS[self.role]

    def require(self, right: Right) -> None:
        """Raise :class:`Forbidden` unless the role allows it."""
        if not self.may(right):
            able = ", ".join(role for role, rights in RIGHTS.items() if right in rights)
            raise Forbidden(f"a token of role {self.role} may not {right}", remedy=f"use a token of role: {able}")


async def create_token(
    role: Role | str, brand: Brand | None, name: str = "", expires_at: datetime | None = None
) -> str:
    """Make a token for ``brand`` (None: for all) and return its secret, which nobody can show again."""
    try:
        role = Role(role)
    except ValueError:
        raise InputError(f"no role {role!r}", field="role", remedy=f"roles are: {', '.join(Role)}") from None
    if len(name) > 200:
        raise InputError("the name is too long", field="name", remedy="use at most 200 letters")
    if expires_at is not None and expires_at.tzinfo is None:
        raise InputError(
            f"the moment {expires_at} has no time zone", field="expires_at", remedy="write it like 2027-01-01T00:00Z"
        )
    prefix = secrets.token_hex(4)
    secret = f"{SCHEME}{prefix}_{secrets.token_urlsafe(24)}"
    await AccessToken.create(
        name=name,
        prefix=prefix,
        hash=_hash(secret),
        role=role.value,
        brand_id=brand.id if brand else None,
        expires_at=expires_at,
    )
    return secret


async def authenticate(secret: str) -> Access | None:
    """What the bearer of ``secret`` may do; None if it is no token, or expired, or revoked."""
    if not secret.startswith(SCHEME):
        return None
    return _access(await AccessToken.get_or_none(hash=_hash(secret)))


async def still(access: Access) -> Access:
    """What the bearer may do by now; :class:`Unauthenticated` once the token has expired or is revoked."""
    found = _access(await AccessToken.get_or_none(id=access.token_id))
    if found is None:
        raise Unauthenticated("the access token has ended", remedy="connect again with a valid one")
    return found


async def revoke(prefix: str) -> None:
    """End the token that is told by ``prefix``; :class:`NotFound` if none that is not revoked has it."""
    prefix = prefix.removeprefix(SCHEME).partition("_")[0]
    if not await AccessToken.filter(prefix=prefix, revoked_at=None).update(revoked_at=datetime.now(UTC)):
        raise NotFound(f"no token {prefix!r}", field="prefix", remedy="give the eight letters after siyu_")


def _access(row: AccessToken | None) -> Access | None:
    if row is None or row.revoked_at or (row.expires_at and row.expires_at <= datetime.now(UTC)):
        return None
    return Access(row.id, row.name, row.prefix, Role(row.role), row.brand_id, row.expires_at)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="backslashreplace")).hexdigest()
