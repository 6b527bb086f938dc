"""The pluggy markers of siyu."""

from __future__ import annotations

import pluggy

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("siyu")
hookimpl = pluggy.HookimplMarker("siyu")
"""Marks a function of a plugin module as the implementation of the hook of the same name."""
