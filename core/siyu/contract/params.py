"""Parameters: what an admin may turn, with limits, titles and defaults."""

from __future__ import annotations

from typing import Any

import pydantic
from pydantic import Field

from siyu.contract.errors import PluginError

__all__ = ["Field", "Params", "validate_params"]


class Params(pydantic.BaseModel):
    """Parameters of a rule. A subclass named ``Params`` inside the rule declares them.

    The JSON schema of the class is the form that an admin fills in, so every field wants a
    ``title`` and its limits: ``days: int = Field(30, ge=1, le=365, title="…")``.
    Every field needs a default, so that a plugin can be switched on without a form.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if field.is_required():
                raise PluginError(
                    f"parameter {cls.__qualname__}.{name} has no default",
                    field=name,
                    remedy="give every parameter a default",
                )


def validate_params(model: type[Params], values: Any, *, where: str) -> Params:
    """The parameters ``values`` (a mapping) as ``model``, or a :class:`PluginError` naming each bad field."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join([where, *(str(part) for part in first["loc"])])
        valid = ", ".join(model.model_fields) or "none"
        raise PluginError(
            f"{first['msg']}, got {first['input']!r}", field=field, remedy=f"parameters are: {valid}"
        ) from None
