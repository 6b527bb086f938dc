"""Others that decide by the same rules, each as its own manual would have it.

The rules are written once, in :mod:`benchmarks.rulebook`, and translated from siyu's conditions; only Polars is written
by hand. Facts that always have a value are not guarded against having none, where a peer needs such guards at all.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from shutil import which
from typing import Any, ClassVar

import polars as pl

from benchmarks.peers.book import Book

__all__ = ["INSTALL", "Peer", "installed"]

INSTALL = "make bench-peers"

_MODULES = {
    # module here: what it imports
    "polars_by_hand": "polars",
    "duck": "duckdb",
    "spark": "pyspark",
    "openfisca": "openfisca_core",
    "zen_engine": "zen",
    "rule_engine": "rule_engine",
    "business_rules": "business_rules",
}


class Peer(ABC):
    """One of them. ``one_by_one`` says that it takes users singly, so that a sample must do."""

    name: ClassVar[str]
    one_by_one: ClassVar[bool] = False

    def __init__(self, book: Book) -> None:
        self.book = book

    @abstractmethod
    def take(self, facts: pl.DataFrame) -> None:
        """Put the facts, by short name, into the form it reads. Not part of what is measured."""

    @abstractmethod
    def run(self) -> Any:
        """Decide for all of them: what is measured."""

    @abstractmethod
    def answers(self) -> pl.DataFrame:
        """The decisions as a frame: a Boolean column a tag, and the stage."""

    def cpu(self) -> float:
        """CPU seconds used so far, by whatever processes it has."""
        return time.process_time()

    def close(self) -> None:  # noqa: B027
        """Let go of what it holds."""


def installed(book: Book, wanted: Sequence[str] = ()) -> tuple[list[Peer], list[str]]:
    """The peers that can run here, and what to do about those that cannot."""
    found: list[Peer] = []
    lacking: list[str] = []
    for module, package in _MODULES.items():
        if wanted and module not in wanted:
            continue
        if not find_spec(package):
            lacking.append(f"{package} is not installed: {INSTALL}")
        elif module == "spark" and not which("java"):
            lacking.append("Spark finds no Java: install a JDK, 17 or newer")
        else:
            found += [make(book) for make in _peers(module)]
    return found, lacking


def _peers(module: str) -> Iterable[type[Peer]]:
    members = vars(import_module(f"benchmarks.peers.{module}")).values()
    return [each for each in members if isinstance(each, type) and issubclass(each, Peer) and each is not Peer]
