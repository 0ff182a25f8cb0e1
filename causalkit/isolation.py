"""Run Python source in a warm child process that limits its time, memory and files.

A loop without end, a memory bomb, ``os._exit``, ``sys.exit`` or a segmentation fault in a function becomes
the failure of one call; the calls after it go on in a fresh child, which loads the sources anew and makes
those calls again, one by one, that were made together with the deadly one. Every `isolate` starts with a
fresh child, too, forked in milliseconds from a process kept warm, so nothing that functions do to their
interpreter is seen by the next one. Within one `isolate` they share it, as they would here; only changed
builtins, threads left running and memory that ran out end the child at once.

===========================================================  =======================================
question                                                     name
===========================================================  =======================================
Call a function of this source on these arguments?           `call_isolated`
Load several sources and call them again and again?          `isolate`
How much time and memory may they take?                      `Limits`
What came of a call?                                         `Outcome`
End the warm process?                                        `close`
===========================================================  =======================================

.. warning::
   This limits accidents. It is no sandbox: a determined attacker gets out of it, so do not run code of
   people whom you would not let use your account. What it forbids (writing files, starting processes) it
   forbids to Python; files can be read and the network reached. The limit on memory holds on Linux only,
   and on Windows nothing can be isolated.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from causalkit.errors import ExecutionError, TraceCollectionError
from causalkit.isolation_board import SETUP, SEVERAL, encode
from causalkit.isolation_limits import Limits
from causalkit.isolation_nursery import Child, Nursery, borrow_nursery, close, give_back

__all__ = ["Isolated", "Limits", "Outcome", "call_isolated", "close", "isolate"]

Failures: TypeAlias = dict[int, tuple[str, str]]

BATCH = 8192  # calls laid out at once
LINE = re.compile(r'File "<function of .*", line (\d+)')  # as faulthandler writes it


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    Parameters
    ----------
    value : object
        What the function returned: a number, bool, text, None, or a dict or dataclass of them.
    failure : tuple of (str, str), optional
        What failed it instead: the name of the exception or of the limit, and the message.
    """

    value: Any
    failure: tuple[str, str] | None = None


def call_isolated(
    source: str, name: str, calls: Sequence[Sequence[Any]], *, limits: Limits | None = None
) -> list[Outcome]:
    r"""Call a function of a source on each of several arguments, in a limited child process.

    Parameters
    ----------
    source : str
        Python source that defines the function.
    name : str
        The function.
    calls : sequence of sequences
        The positional arguments of each call, equally many.
    limits : Limits, optional
        What the function may take.

    Returns
    -------
    list of Outcome
        One for each call, in their order.

    Raises
    ------
    ExecutionError
        If the source cannot be loaded, or children die too often.

    Examples
    --------
    >>> source = "import os\ndef f(x): return 1 / x if x < 5 else os._exit(3)"
    >>> for outcome in call_isolated(source, "f", [[4], [0], [7]]):
    ...     print(outcome.value, outcome.failure)
    0.25 None
    None ('ZeroDivisionError', 'division by zero')
    None ('ProcessDied', 'the process ended itself (exit code 3)')
    """
    columns = {str(number): list(column) for number, column in enumerate(zip(*calls, strict=True))}
    setup = {"source": source, "name": name}
    with isolate("causalkit.isolation_child:prepare_calls", setup, [name], limits=limits) as child:
        values, failures = child.run(name, columns, len(calls))
    return [Outcome(value, failures.get(number)) for number, value in enumerate(values)]


@contextmanager
def isolate(
    entry: str, setup: Any, steps: Sequence[str], *, limits: Limits | None = None, preload: Sequence[str] = ()
) -> Iterator[Isolated]:
    """Load functions in a limited child process, and end it afterwards.

    Parameters
    ----------
    entry : str
        ``"module:function"``: called in the child with `setup`, the function yields for each step a
        callable that takes columns of arguments and their length and returns an iterator of the results.
    setup : object
        Plain data, as JSON knows it.
    steps : sequence of str
        The names of the steps.
    limits : Limits, optional
        What the functions may take.
    preload : sequence of str, optional
        Modules that the warm process imports and keeps; it must be safe to import them without limits.

    Yields
    ------
    Isolated
        To make calls with.

    Raises
    ------
    TraceCollectionError
        If the steps cannot be loaded: what `entry` raised.
    ExecutionError
        If loading them takes too much, children die too often, or this system cannot isolate.

    Examples
    --------
    >>> setup = {"source": "def f(x): return -x", "name": "f"}
    >>> with isolate("causalkit.isolation_child:prepare_calls", setup, ["f"]) as child:
    ...     child.run("f", {"x": [1, "a"]}, 2)
    ([-1, None], {1: ('TypeError', "bad operand type for unary -: 'str'")})
    """
    request = {"entry": entry, "setup": setup, "preload": [entry.partition(":")[0], *preload]}
    nursery = borrow_nursery()
    isolated = Isolated(nursery, request, list(steps), limits or Limits())
    try:
        isolated.start()
        yield isolated
    finally:
        isolated.end()
        give_back(nursery)


class Isolated:
    """Functions in a child process that is replaced whenever it dies; made by `isolate`."""

    def __init__(self, nursery: Nursery, request: Mapping[str, Any], steps: list[str], limits: Limits) -> None:
        self._nursery, self._request, self._steps, self._limits = nursery, request, steps, limits
        self._deaths, self._one_by_one, self._cpu_s = 0, 0, 0.0
        self._child: Child | None = None
        self._lock = threading.Lock()

    def run(self, step: str, columns: Mapping[str, Sequence[Any]], count: int) -> tuple[list[Any], Failures]:
        """Call the function of a step once for each row of its arguments.

        Parameters
        ----------
        step : str
            The step.
        columns : mapping of str to sequence
            The arguments: plain data.
        count : int
            The number of rows.

        Returns
        -------
        tuple of (list, dict)
            A result for each row, and by number exception and message of those that failed.

        Raises
        ------
        ExecutionError
            If children died too often (``.deaths``), or the CPU time for all calls is used up.
        """
        values: list[Any] = []
        failures: Failures = {}
        with self._lock:
            while len(values) < count:
                child = self._child or self.start()
                try:
                    size = self._lay_out(child, step, columns, len(values), count)
                    child.tell(b"j")
                    self._gather(child, values, failures, len(values) + size)
                except BaseException:
                    self.end()
                    raise
        return values, failures

    def start(self) -> Child:
        """Have a fresh child load the sources."""
        left = self._limits.total_cpu_s - self._cpu_s
        if left <= 0:
            raise self._given_up(f"took the {self._limits.total_cpu_s:g} s of CPU time that all calls may take", None)
        limits = {name: getattr(self._limits, name) for name in ("row_cpu_s", "setup_cpu_s", "memory_mb")}
        self._child = child = Child(self._nursery, {**self._request, **limits, "total_cpu_s": left})
        ending = child.wait(self._wall_s)
        if ending == "d":
            return child
        loaded, reported = child.board.state[1], child.board.take()
        cause = self._bury(ending)
        if reported:
            raise _setup_error(*reported[0])
        step = self._steps[min(loaded, len(self._steps) - 1)]
        raise ExecutionError(
            f"the source of {step!r} cannot be loaded in an isolated child: {cause[1]}; correct it", node=step
        )

    def end(self) -> None:
        """End the child."""
        if self._child:
            with suppress(ExecutionError):  # its warm process is gone; what was asked of it is here already
                self._bury("d")

    def _gather(self, child: Child, values: list[Any], failures: Failures, wanted: int) -> None:
        """Add what comes of the calls, until all are done or one of them ends the child."""
        while True:
            ending = child.wait(self._wall_s)
            for some, failed in child.board.take():
                failures |= {len(values) + position: (told[0], told[1]) for position, told in failed.items()}
                values += some
            if ending == "d" and len(values) == wanted:
                self._one_by_one = 0
                return
            if ending != "f":
                break
            child.tell(b"c")
        running, many, _, _ = child.board.state
        cause = self._bury(ending)
        # One of several: which one shows when the next child makes these calls one by one.
        self._one_by_one = many if running == SEVERAL else 0
        self._deaths += running != SEVERAL
        if running < wanted and len(values) < wanted:
            failures[len(values)] = cause
            values.append(None)
        if self._deaths > self._limits.max_deaths:
            raise self._given_up(f"ended their process {self._deaths} times", cause)

    def _lay_out(self, child: Child, step: str, columns: Mapping[str, Sequence[Any]], first: int, count: int) -> int:
        """Write as many calls as fit, and return how many."""
        size = min(BATCH, count - first)
        while size:
            block = {name: list(column[first : first + size]) for name, column in columns.items()}
            calls = {"step": self._steps.index(step), "count": size, "columns": block, "one_by_one": self._one_by_one}
            if child.board.put_calls(encode(calls)):
                return size
            size = size // 4 or size - 1
        raise ExecutionError(
            f"the arguments of a call of {step!r} are too large to hand to an isolated child; "
            "shorten them, or run the function without isolation",
            node=step,
        )

    def _wall_s(self, running: int) -> float:
        return 2 * self._limits.setup_cpu_s if running == SETUP else self._limits.wall_s

    def _bury(self, ending: str) -> tuple[str, str]:
        """End the child and say what it died of."""
        child, self._child = self._child, None
        assert child  # noqa: S101 - for the type checker
        try:
            in_setup = child.board.state[0] == SETUP
            status, cpu_s, trace = child.stop(trace=ending == "overtime")
        finally:
            child.board.close()
        self._cpu_s += cpu_s
        found = LINE.search(trace)
        where = f" in line {found[1]}" if found else ""
        if ending == "overtime":
            return "WallTimeLimit", f"time limit of {self._wall_s(SETUP if in_setup else 0):g} s by the clock{where}"
        if status == -signal.SIGPROF:
            cpu_limit = self._limits.setup_cpu_s if in_setup else self._limits.row_cpu_s
            return "CPUTimeLimit", f"CPU time limit of {cpu_limit:g} s{where}"
        if status == -signal.SIGXCPU:
            return "CPUTimeLimit", f"CPU time limit of {self._limits.total_cpu_s:g} s for all calls{where}"
        return "ProcessDied", _death(status, where)

    def _given_up(self, fault: str, cause: tuple[str, str] | None) -> ExecutionError:
        last = f" (last: {cause[1]})" if cause else ""
        return ExecutionError(
            f"isolated functions {fault}{last}; correct them, or raise the limit", deaths=self._deaths
        )


def _death(status: int, where: str) -> str:
    if status == -signal.SIGKILL:
        return "the process was killed, or closed its connection"
    if status < 0:
        return f"the process died (signal {-status}, {signal.Signals(-status).name}){where}"
    return f"the process ended itself (exit code {status})"


def _setup_error(exception: str, message: str, facts: str) -> TraceCollectionError:
    if exception == TraceCollectionError.__name__:
        return TraceCollectionError(message, **json.loads(facts))
    return ExecutionError(f"the source cannot be loaded ({exception}: {message}); correct it", exception=exception)
