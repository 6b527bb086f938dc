"""What the environment tells siyu about itself."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .environment import read

VARIABLES = {
    "home": "SIYU_HOME",
    "database_url": "DATABASE_URL",
    "redis_url": "REDIS_URL",
    "server_user": "SIYU_SERVER_USER",
    "fsync": "SIYU_EMBEDDED_FSYNC",
    "engine": "SIYU_ENGINE",
    "log_format": "SIYU_LOG_FORMAT",
    "log_level": "SIYU_LOG_LEVEL",
    "metrics_token": "SIYU_METRICS_TOKEN",
    "drain": "SIYU_DRAIN_SECONDS",
}


def masked(url: str) -> str:
    """`url` fit to be printed: without its password."""
    url = re.sub(r"(://[^:/@]*:).*@", r"\1***@", url)
    return re.sub(r"(?i)(password=)[^&\s]*", r"\1***", url)


class Settings(BaseModel):
    """Where siyu keeps its data and which servers it uses."""

    # Values are hidden from errors and from repr: a URL carries a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Path = Field(default=Path(".siyu"), validate_default=True)
    """The data directory (`SIYU_HOME`), absolute; `.siyu/` in the current directory unless told otherwise."""
    database_url: str | None = Field(default=None, repr=False)
    """A PostgreSQL of the user's own (`DATABASE_URL`); None: the embedded one."""
    redis_url: str | None = Field(default=None, repr=False)
    """A Redis or Valkey of the user's own (`REDIS_URL`); None: the embedded one."""
    server_user: str = "nobody"
    """Who runs the embedded servers when siyu itself is run by root (`SIYU_SERVER_USER`)."""
    fsync: bool = True
    """Whether the embedded PostgreSQL waits for the disk (`SIYU_EMBEDDED_FSYNC`); off only in test suites."""
    engine: Literal["polars", "duckdb", "spark"] = "polars"
    """What refreshes run on unless told otherwise (`SIYU_ENGINE`)."""
    log_format: Literal["text", "json"] = "text"
    """How lines of the log are written (`SIYU_LOG_FORMAT`)."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Which are (`SIYU_LOG_LEVEL`); `info` has one for each operation and job."""
    metrics_token: str | None = Field(default=None, repr=False, min_length=16)
    """Who has it may read `/metrics` (`SIYU_METRICS_TOKEN`); None: whoever is on this machine."""
    drain: float = Field(default=0, ge=0, le=300)
    """Seconds for which a server that was told to stop is not ready and still answers (`SIYU_DRAIN_SECONDS`)."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the variables that siyu knows; an empty one counts as unset.

        Raises `SettingsError` that names the variable, its value (a password masked) and the remedy.
        """

        def shown(field: str, value: str) -> str:
            return "…" if field == "metrics_token" else masked(value)

        return read(cls, VARIABLES, env, shown)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, url: str | None) -> str | None:
        return _with_scheme(url, ("postgresql", "postgres"), "postgresql://user:password@host:5432/database")

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: str | None) -> str | None:
        return _with_scheme(url, ("redis", "rediss", "unix"), "redis://host:6379/0")


def _with_scheme(url: str | None, schemes: tuple[str, ...], example: str) -> str | None:
    if url is not None and ("://" not in url or urlsplit(url).scheme not in schemes):
        raise ValueError(
            f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}; "
            f"write it like {example}, or unset the variable to use the embedded server"
        )
    return url
