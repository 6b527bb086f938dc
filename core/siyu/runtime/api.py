"""What the environment tells the API about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from .environment import read

__all__ = ["ASYMMETRIC", "ApiSettings", "ProviderSettings"]

ASYMMETRIC = (
    *(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)),
    "EdDSA",
)
"""Algorithms by which who can check a token cannot make one."""

PROVIDER = {
    "issuer": "SIYU_JWT_ISSUER",
    "audience": "SIYU_JWT_AUDIENCE",
    "jwks": "SIYU_JWT_JWKS",
    "algorithms": "SIYU_JWT_ALGORITHMS",
    "role_claim": "SIYU_JWT_ROLE_CLAIM",
    "brand_claim": "SIYU_JWT_BRAND_CLAIM",
    "skew_seconds": "SIYU_JWT_SKEW_SECONDS",
}
API = {
    "origins": "SIYU_ORIGINS",
    "graphiql": "SIYU_GRAPHIQL",
    "introspection": "SIYU_INTROSPECTION",
    "trusted_only": "SIYU_TRUSTED_DOCUMENTS_ONLY",
    "most_cost": "SIYU_MOST_COST",
    "cost_per_minute": "SIYU_COST_PER_MINUTE",
    "operation_seconds": "SIYU_OPERATION_SECONDS",
    "most_streams": "SIYU_MOST_STREAMS",
}


def _listed(value: Any) -> Any:
    return tuple(filter(None, (each.strip() for each in value.split(",")))) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""Values with commas between."""


class ProviderSettings(BaseModel):
    """The company's identity provider, whose tokens (JWT) are taken beside siyu's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1)
    """Who must have issued a token (`iss`)."""
    audience: str = Field(min_length=1)
    """Whom it must be for (`aud`)."""
    jwks: str
    """The provider's public keys (JWKS): an https URL, http on this machine, or a file."""
    algorithms: Listed = ("RS256", "ES256", "EdDSA")
    """The algorithms by which tokens may be signed; asymmetric ones only."""
    role_claim: str = "siyu_role"
    """The claim that holds the role, or a list with it; `personal` beside it lets the bearer see personal data."""
    brand_claim: str = "siyu_brand"
    """The claim that holds the slug of the brand, or `*` for all."""
    skew_seconds: int = Field(30, ge=0, le=300)
    """By how much the clocks may differ."""

    @field_validator("jwks")
    @classmethod
    def _reachable(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
            return value
        if not parts.scheme and Path(value).is_file():
            return value
        raise ValueError("give an https URL (http on this machine only) or a file that is there")

    @field_validator("algorithms")
    @classmethod
    def _asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or set(value) - set(ASYMMETRIC):
            raise ValueError(f"choose from {', '.join(ASYMMETRIC)}")
        return value


class ApiSettings(BaseModel):
    """Who may come to the API, and how much they may ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origins: Listed = ()
    """Other origins whose pages may ask, and open WebSockets; a page of the API's own origin always may."""
    graphiql: bool = True
    """Whether browsers get GraphiQL."""
    introspection: bool = True
    """Whether those who have the right may read the schema."""
    trusted_only: bool = False
    """Whether only registered documents are executed; GraphiQL and introspection are off then."""
    most_cost: int = Field(30_000, ge=100)
    """The most that a request may cost: about the number of objects that it reads."""
    cost_per_minute: int = Field(3_000_000, ge=0)
    """The most that the requests of one token may cost in a minute; 0: as much as they like."""
    operation_seconds: float = Field(60, gt=0, le=3600)
    """How long an operation may take."""
    most_streams: int = Field(100, ge=1)
    """How many WebSockets and streams one token may have open at once, in each process."""
    provider: ProviderSettings | None = None
    """The identity provider, if there is one."""

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise ValueError(f"{origin!r} is no origin; write it like https://shop.example.com")
        return value

    @property
    def shows_graphiql(self) -> bool:
        """Whether GraphiQL is there: nobody types where only what is registered is executed."""
        return self.graphiql and not self.trusted_only

    @property
    def shows_schema(self) -> bool:
        """Whether the schema can be asked for."""
        return self.introspection and not self.trusted_only

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the variables that the API knows; an empty one counts as unset. Raises `SettingsError`."""
        provider = None
        if any(env.get(name) for name in PROVIDER.values()):
            provider = read(ProviderSettings, PROVIDER, env)
        return read(cls, API, env, provider=provider)
