"""The company's identity provider: its tokens (JWT) are taken beside siyu's own.

Whatever a token says is believed only once the provider's key has proved it: issuer, audience and time, by an
algorithm that is configured and fits the key. A role and a brand must be named; nothing is taken for granted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from jwt import PyJWK, PyJWKClient, PyJWKSet

from siyu.flow.tokens import Access, Role
from siyu.runtime.api import ProviderSettings
from siyu.store.models import Brand

__all__ = ["IdentityProvider"]

log = logging.getLogger("siyu.access")

MOST_LETTERS = 8_192
FRESH_SECONDS = 300.0
"""How long keys are used before they are fetched again."""
PAUSE_SECONDS = 30.0
"""The least time between two fetches, well or not: tokens that name unknown keys cost the provider nothing."""
STALE_SECONDS = 24 * 3600.0
"""How long keys are used when the provider does not answer."""
FETCH_SECONDS = 5.0
EPOCH = datetime.fromtimestamp(0, UTC)
ALL_BRANDS = "*"
PERSONAL = "personal"


class _Refused(Exception):
    """The token is not believed; the log says why, the client is told nothing."""


class IdentityProvider:
    """Checks tokens of one provider."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def authenticate(self, token: str) -> Access | None:
        """What the bearer of ``token`` may do; None where it is not believed."""
        try:
            return await self._access(await self._claims(token))
        except (_Refused, jwt.PyJWTError, OverflowError) as error:
            log.info("a token of the identity provider is refused: %s", error)
            return None

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MOST_LETTERS:
            raise _Refused("it is too long")
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in self._settings.algorithms:
            raise _Refused(f"the algorithm {header.get('alg')!r} is not configured")
        key = await self._key(header.get("kid"))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(self._settings.algorithms),
            issuer=self._settings.issuer,
            audience=self._settings.audience,
            leeway=self._settings.skew_seconds,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims

    async def _access(self, claims: dict[str, Any]) -> Access:
        said = claims.get(self._settings.role_claim)
        names = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        roles = [role for role in Role if role.value in names]
        if not roles:
            raise _Refused(f"the claim {self._settings.role_claim!r} names no role")
        slug = claims.get(self._settings.brand_claim)
        brand = await Brand.named(slug) if isinstance(slug, str) else None
        if brand is None and slug != ALL_BRANDS:
            raise _Refused(f"the claim {self._settings.brand_claim!r} names no brand")
        subject = claims["sub"]
        digest = hashlib.sha256(subject.encode(errors="backslashreplace")).hexdigest()
        return Access(
            key=f"jwt:{digest[:32]}",
            name=subject[:200],
            prefix=subject[:12],
            role=roles[-1],
            brand_id=brand.id if brand else None,
            # Clocks may differ for a token that is followed, too.
            expires_at=EPOCH + timedelta(seconds=int(claims["exp"]) + self._settings.skew_seconds),
            personal=PERSONAL in names,
        )

    async def _key(self, kid: object) -> PyJWK:
        if not isinstance(kid, str):
            raise _Refused("it names no key")
        if kid not in self._keys or time.monotonic() - self._fetched > FRESH_SECONDS:
            await self._fetch()
        if kid not in self._keys:
            raise _Refused(f"the key {kid[:40]!r} is not known")
        return self._keys[kid]

    async def _fetch(self) -> None:
        async with self._fetching:
            if time.monotonic() - self._tried < PAUSE_SECONDS:
                return
            self._tried = time.monotonic()
            try:
                found = PyJWKSet.from_dict(await asyncio.to_thread(self._read))
            except (OSError, ValueError, jwt.PyJWTError) as error:
                log.warning("the keys of the identity provider cannot be had from %s: %s", self._settings.jwks, error)
                if time.monotonic() - self._fetched > STALE_SECONDS:
                    self._keys = {}
                return
            self._keys = {key.key_id: key for key in found.keys if key.key_id and key.public_key_use in (None, "sig")}
            self._fetched = time.monotonic()

    def _read(self) -> dict[str, Any]:
        where = self._settings.jwks
        if "://" in where:
            # It follows no redirects.
            found = PyJWKClient(where, cache_jwk_set=False, timeout=FETCH_SECONDS).fetch_data()
        else:
            found = json.loads(Path(where).read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no key set")
        return found
