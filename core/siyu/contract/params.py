"""Parameters: what an admin may turn, with limits, titles and defaults."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

from siyu.contract.errors import PluginError

__all__ = ["Field", "Params", "Row", "Table", "Word", "Words", "validate_params"]

Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=50, pattern=r"\S")]
Words: TypeAlias = Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]
"""A parameter that lists words: categories, topics, what somebody may say. One at least."""


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


class Row(Params):
    """A row of a :data:`Table`; a subclass has what else a row says. ``key`` becomes part of the keys of tags."""

    key: str = Field("new", pattern=r"^[a-z][a-z0-9_]{0,39}$", title="标识")
    title: str = Field("新的一行", min_length=1, max_length=40, title="名称")


R = TypeVar("R", bound=Row)


def _each_once(rows: tuple[R, ...]) -> tuple[R, ...]:
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if (first := numbers.setdefault(row.key, number)) != number:
            words = "rows {first} and {number} have the same key '{key}'; give each a key of its own"
            raise PydanticCustomError("same_key", words, {"first": first, "number": number, "key": row.key})
    return rows


Table: TypeAlias = Annotated[tuple[R, ...], Field(max_length=50), pydantic.AfterValidator(_each_once)]
"""A parameter that is a table: ``gaps: Table[Gap]``, of at most fifty rows, no two with the same key."""


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
