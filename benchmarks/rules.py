"""The same 30 rules and five stages by siyu and by its peers, over 40 facts; all must give the same answers.

    python -m benchmarks rules --users 1000000

Facts lie ready in each one's own form, and only deciding is measured. siyu decides for a brand in a frame, and for one
user by a generated function; whoever takes users one by one is measured on a sample. Rounds are interleaved, ratios are
medians over pairs of one round. ``make bench-peers`` installs the peers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from benchmarks import rulebook
from benchmarks.measure import machine, peak_memory
from benchmarks.peers import Peer, installed
from benchmarks.peers.book import Book
from benchmarks.peers.polars_by_hand import PolarsByHand, coded

NOTHING = pl.DataFrame(schema={"user_id": pl.Int64})


class InFrame(Peer):
    """As a refresh does, texts as the facts have them."""

    name = "siyu, a frame"

    def take(self, facts: pl.DataFrame) -> None:
        self._facts = self.book.siyu_frame(facts)

    def run(self) -> Any:
        return self.book.decider.frame(self._facts, NOTHING, rulebook.AT)

    def answers(self) -> pl.DataFrame:
        return self.book.answers(self.run())


class InFrameCoded(InFrame):
    """The same over texts as codes."""

    name = "siyu, a frame, coded"

    def take(self, facts: pl.DataFrame) -> None:
        super().take(coded(facts))


class OneUser(Peer):
    """As after an event."""

    name = "siyu, one user"
    one_by_one = True

    def take(self, facts: pl.DataFrame) -> None:
        self._users = self.book.siyu_frame(facts).drop("user_id").rows()
        _ = self.book.decider.row

    def run(self) -> Any:
        row = self.book.decider.row
        return [row(user) for user in self._users]

    def answers(self) -> pl.DataFrame:
        stages = list(self.book.stages)
        rows = [(*held, None if first is None else stages[first]) for held, (first,) in self.run()]
        return pl.DataFrame(rows, schema=[*self.book.tags, "stage"], orient="row")


class Timed:
    """What a contender took, a user, in each round."""

    def __init__(self, peer: Peer, users: int) -> None:
        self.peer, self.users = peer, users
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def round(self) -> None:
        wall, cpu = time.perf_counter(), self.peer.cpu()
        self.peer.run()
        self.wall.append((time.perf_counter() - wall) / self.users * 1e6)
        self.cpu.append((self.peer.cpu() - cpu) / self.users * 1e6)

    def beside(self, other: Timed) -> float:
        """The median of the ratios to another's rounds."""
        return _ratio(self.wall, other.wall)

    def cpu_beside(self, other: Timed) -> float:
        """The same of CPU time, which a busy machine distorts less."""
        return _ratio(self.cpu, other.cpu)


def _ratio(mine: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def main(users: int, sample: int, rounds: int, wanted: list[str]) -> None:
    book, sample = Book.load(), min(sample, users)
    facts = rulebook.people(users).cast(book.dtypes)  # type: ignore[arg-type]
    print(f"{machine()}; {users:,} users, {sample:,} where taken one by one, {rounds} rounds")
    print(f"{len(book.tags)} tags, {len(book.stages)} stages, {len(book.facts)} facts")

    peers, lacking = installed(book, wanted)
    whole, coded_whole, one = InFrame(book), InFrameCoded(book), OneUser(book)
    contenders = [whole, coded_whole, one, *peers]
    whole.take(facts)
    truth = whole.answers()
    for peer in contenders:
        size = sample if peer.one_by_one else users
        peer.take(facts.head(size))
        assert_frame_equal(peer.answers().cast(truth.schema), truth.head(size))
    print("all give siyu's answers for every one of their users")

    timed = {peer.name: Timed(peer, sample if peer.one_by_one else users) for peer in contenders}
    for _ in range(rounds):
        for each in timed.values():
            each.round()
    print(f"{'':38} {'users':>9} {'µs a user':>10} {'cpu':>8} {'÷ a frame':>10} {'÷ one user':>11}")
    for name, each in timed.items():
        wall, cpu = statistics.median(each.wall), statistics.median(each.cpu)
        ratios = f"{each.beside(timed[whole.name]):>10,.2f} {each.beside(timed[one.name]):>11,.3f}"
        print(f"{name:38} {each.users:>9,} {wall:>10.3f} {cpu:>8.3f} {ratios}")
    if PolarsByHand.name in timed:
        by_hand = timed[PolarsByHand.name]
        for mine in (timed[whole.name], timed[coded_whole.name]):
            ratios = f"{mine.beside(by_hand):.2f}, CPU {mine.cpu_beside(by_hand):.2f}"
            print(f"{mine.peer.name} ÷ Polars by hand: {ratios} (aim ≤ 1.3)")
    print(f"siyu, one user: {statistics.median(timed[one.name].wall):.1f} µs (aim ≤ 10)")
    print(*lacking, sep="\n", end="\n" if lacking else "")
    print(f"peak memory of the process: {peak_memory():.1f} GiB")
    for peer in peers:
        peer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--sample", type=int, default=2_000, help="users for whoever takes them one by one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=[], help="modules of benchmarks/peers; all by default")
    arguments = parser.parse_args()
    main(arguments.users, arguments.sample, arguments.rounds, arguments.peers)
