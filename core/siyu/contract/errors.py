"""Errors that a user of siyu can cause. Each names the field, the value and the remedy.

SiyuError
├── RuleError       a plugin declares something that cannot be
├── PluginError     a plugin cannot be loaded, found or configured
├── InputError      what was handed in (an event, a file, an argument) is refused
└── NotFound        no such brand, user, tag, ...
"""

from __future__ import annotations

__all__ = ["InputError", "NotFound", "PluginError", "RuleError", "SiyuError"]


class SiyuError(Exception):
    """Base of all errors that are meant to be read by a person.

    ``code`` is stable and meant for programs; ``field`` says where, ``remedy`` what to do.
    """

    code = "ERROR"

    def __init__(self, message: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}{self.message}{remedy}"


class RuleError(SiyuError):
    """A rule, a fact or a condition is declared in a way that has no meaning."""

    code = "INVALID_RULE"


class PluginError(SiyuError):
    """A plugin cannot be loaded, is not known, or refuses its parameters."""

    code = "INVALID_PLUGIN"


class InputError(SiyuError):
    """What was handed in is refused; nothing of it was kept."""

    code = "INVALID_INPUT"


class NotFound(SiyuError):
    """The thing asked for is not there, or not for the one who asks."""

    code = "NOT_FOUND"
