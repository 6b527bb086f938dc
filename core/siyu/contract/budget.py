"""The time that a plugin's code may take: what exceeds it is stopped, and nobody waits for what cannot be.

Calls are made by a helper thread, one after the other, while whoever asks looks at the clock and raises
:class:`Overdue` in the helper where a call takes too long. That ends Python code, also where it catches ``Exception``.
A call into C that does not come back (a socket without a time-out, a long sleep), and code that catches whatever is
raised and goes on, are left behind with their thread; the same is not called again while it lasts. C code that keeps
the interpreter's lock (a regular expression that backtracks for ever) stops the whole process: nothing inside it can
help that. Nor is memory limited: how much the process has grown says nothing of who made it grow, as facts are reckoned
and other rules asked beside each call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from queue import SimpleQueue
from threading import Event, Lock, Thread
from time import perf_counter, sleep
from typing import Any, Generic, NoReturn, TypeVar

from siyu.contract.errors import RuleError

__all__ = ["ANSWER_SECONDS", "Call", "given_up", "make", "stopped_for_good"]

T = TypeVar("T", covariant=True)

ANSWER_SECONDS = 1.0
"""How long a rule may take to say what it decides."""
PAUSES = (0.01, 0.05, 0.2)
"""Seconds after each time that :class:`Overdue` is raised; a call that is not out by the last is left behind."""
MOMENT = 0.001
GLANCE = 0.1
given_up = Event()
"""While it is set nobody waits for an answer: the process is about to end."""


class Overdue(BaseException):
    """Raised in code that has taken too long."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call of the code of a rule. Those with equal ``arguments`` are the same."""

    rule: str
    arguments: tuple[object, ...]
    run: Callable[[], T]


def make(calls: Sequence[Call[T]], seconds: float) -> list[T | Exception]:
    """What each call answers, or how it failed: it raised, or took longer than ``seconds``."""
    answers: list[T | Exception] = []
    known = _known.get()
    if known is not None:
        calls, seconds = [known.made_up(call) or call for call in calls], min(seconds, known.most)
    while len(answers) < len(calls):
        answers += _watched(_Job(calls[len(answers) :]), seconds)
    return answers


@dataclass
class _Known:
    """The calls that were stopped for good."""

    most: float
    stopped: list[tuple[Call[Any], RuleError]] = field(default_factory=list)

    def made_up(self, call: Call[Any]) -> Call[Any] | None:
        """A call that fails as it did, if it was stopped."""
        for stopped, error in self.stopped:
            if (stopped.rule, stopped.arguments) == (call.rule, call.arguments):

                def fail(error: RuleError = error) -> NoReturn:
                    raise error

                return Call(call.rule, call.arguments, fail)
        return None


_known: ContextVar[_Known | None] = ContextVar("siyu_stopped", default=None)


@contextmanager
def stopped_for_good(most: float = inf) -> Iterator[None]:
    """What is stopped in the block for taking too long is not called again there: it would take as long each time.
    Nothing may take more than ``most`` seconds."""
    token = _known.set(_Known(most))
    try:
        yield
    finally:
        _known.reset(token)


class _Job:
    """Calls that a helper makes."""

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self.calls = calls
        self.answers: list[Any] = []
        # Not before the helper is where something may be raised.
        self.began = inf
        # Taken once: by the helper when all is answered, or by the watcher before it raises anything.
        self.claim = Lock()
        self.done = Lock()
        self.done.acquire()
        # Plain flags, as something may be raised while the helper sets one: a lock could stay locked.
        self.finished = self.out = self.over = False

    def make(self) -> None:
        for call in self.calls:
            self.began = perf_counter()
            self.answers.append(_answer(call))
            if self.claim.locked():
                return
        self.finished = self.claim.acquire(blocking=False)

    def settle(self) -> None:
        """Outside of the plugin's code, wait until nothing is raised in this thread any more."""
        if not self.finished:
            self.out = True
            while not self.over:
                sleep(MOMENT)

    def guarded(self, landings: int = len(PAUSES)) -> None:
        """:meth:`make` and :meth:`settle`. Each time that something is raised costs one level of the recursion at
        most, wherever it lands, so it never gets out."""
        if landings:
            with suppress(Overdue):
                self.guarded(landings - 1)
        else:
            self.make()
        self.settle()


class _Helper(Thread):
    """Never ends: the id of a thread that has may be another's, and what is raised in it lands there."""

    def __init__(self) -> None:
        super().__init__(name="siyu-rules", daemon=True)
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            job = self.jobs.get()
            job.guarded()
            _idle.append(self)
            job.done.release()
            del job  # and with it the facts that a rule was fitted to


_idle: list[_Helper] = []
_left: list[tuple[_Job, Call[Any]]] = []
os.register_at_fork(after_in_child=_idle.clear)


def _watched(job: _Job, seconds: float) -> list[Any]:
    """The answers up to the first call that took too long, or all."""
    try:
        helper = _idle.pop()
    except IndexError:
        helper = _Helper()
    helper.jobs.put(job)
    while True:
        answered = len(job.answers)
        left = min(GLANCE, job.began + seconds - perf_counter())
        if job.done.acquire(timeout=max(MOMENT, left)):
            return job.answers
        # Where calls have been answered meanwhile, the one that is under way has its own time.
        late = len(job.answers) == answered and perf_counter() > job.began + seconds
        if (late or given_up.is_set()) and job.claim.acquire(blocking=False):
            break
    answers = list(job.answers)
    # Else it has answered at the last moment, and what was begun after it is asked anew.
    if len(answers) == answered:
        slow = job.calls[answered]
        error = RuleError(f"no answer after {seconds:g} s", field=slow.rule, remedy="let it do less")
        answers.append(error)
        if (known := _known.get()) is not None:
            known.stopped.append((slow, error))
    _interrupt(helper, job)
    return answers


def _interrupt(helper: _Helper, job: _Job) -> None:
    assert helper.ident is not None
    try:
        for pause in PAUSES:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(helper.ident), ctypes.py_object(Overdue))
            until = perf_counter() + pause
            while not job.out and perf_counter() < until:
                sleep(MOMENT)
            if job.out:
                return
        _left.append((job, job.calls[min(len(job.answers), len(job.calls) - 1)]))
    finally:
        job.over = True


def _answer(call: Call[Any]) -> Any:
    try:
        if _left and _is_left(call):
            return RuleError("an earlier call has not ended", field=call.rule, remedy="mend it, and restart siyu")
        return call.run()
    except Overdue:
        raise
    except Exception as error:
        return error
    except BaseException as error:  # sys.exit() of a rule ends nothing but the rule
        return RuleError(f"it raised {error!r}", field=call.rule)


def _is_left(call: Call[Any]) -> bool:
    for each in [each for each in _left if each[0].out]:
        with suppress(ValueError):  # another helper has
            _left.remove(each)
    return any((each.rule, each.arguments) == (call.rule, call.arguments) for _, each in _left)
