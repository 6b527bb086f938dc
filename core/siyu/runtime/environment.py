"""How settings are read from the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import SettingsError

__all__ = ["read"]

M = TypeVar("M", bound=BaseModel)


def read(
    model: type[M],
    variables: Mapping[str, str],
    env: Mapping[str, str],
    shown: Callable[[str, str], str] = lambda _, value: value,
    **fixed: Any,
) -> M:
    """The model with what the variables of its fields say; an empty one counts as unset.

    Raises `SettingsError` that names the variable, its value as it may be ``shown``, and the remedy.
    """
    given = {field: env[name] for field, name in variables.items() if env.get(name)}
    try:
        return model.model_validate({**given, **fixed})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        value = f"={shown(field, given[field])}" if field in given else " is not set"
        raise SettingsError(f"{variables[field]}{value}: {reason}") from None
