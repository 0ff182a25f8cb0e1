"""What runs on the other side of `isolation`: a warm process that forks, and the limited child it forks.

The warm process runs no user code. For every call it forks a child, which starts clean, limits itself and
runs the rows; when it is told to, the warm process ends that child and reports how it ended.
"""

from __future__ import annotations

import _thread
import builtins
import faulthandler
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice, repeat, starmap
from typing import Any, NoReturn

from causalkit.isolation_board import MAX_ADDED, SETUP, SEVERAL, Board, encode, portable
from causalkit.isolation_limits import limit_this_process
from causalkit.plain_values import UnusableResult

Step = Callable[[Mapping[str, list[Any]], int], Iterator[Any]]

MAX_MESSAGE = 10_000
SOON_S = 0.005  # so many calls are made at once as take about this long
MOST_AT_ONCE = 4096
FIXED_SIZE = {float, bool, type(None)}
TRACE_S = 0.1  # for a child to say where it hangs


def serve_forever(descriptor: int) -> None:
    """Fork a child for each request, until the parent is gone.

    Parameters
    ----------
    descriptor : int
        The socket to the parent.
    """
    control = socket.socket(fileno=descriptor)
    while True:
        line, descriptors = _receive(control)
        if not line:
            return
        request = json.loads(line)
        sys.path[:] = request["path"]
        for module in request["preload"]:
            with suppress(ImportError):  # the source that imports it will say so
                importlib.import_module(module)
        folder = tempfile.mkdtemp(prefix=f"causalkit-{os.getppid()}-")
        child = os.fork()
        if child == 0:
            control.close()
            _be_the_child(request, folder, *descriptors)
        for opened in descriptors:
            os.close(opened)
        command = control.recv(1)
        ended = _end(child, trace=command == b"t")
        shutil.rmtree(folder, ignore_errors=True)
        if not command:
            return
        control.sendall(json.dumps(ended).encode() + b"\n")


def prepare_calls(setup: Mapping[str, Any]) -> Iterator[Step]:
    """Yield the one function of a source.

    Parameters
    ----------
    setup : mapping
        ``source`` and the ``name`` of the function in it.

    Yields
    ------
    callable
        From columns of arguments and their length to an iterator of the results.

    Examples
    --------
    >>> (step,) = prepare_calls({"source": "def f(x): return -x", "name": "f"})
    >>> list(step({"0": [3, 4]}, 2))
    [-3, -4]
    """
    namespace: dict[str, Any] = {"__name__": "<isolated source>"}
    program = compile(setup["source"], f"<function of {setup['name']}>", "exec", dont_inherit=True)
    exec(program, namespace)  # noqa: S102 - running source under limits is what this process is for
    function = namespace[setup["name"]]
    yield lambda columns, count: map(function, *columns.values()) if columns else starmap(function, repeat((), count))


class TamperedBuiltins(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function changed Python's builtins for everything that runs after it."""


class LeftThreads(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function returned while threads that it started still run."""


class ClosedConnection(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function closed files that it had not opened."""


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    line = b""
    descriptors: list[int] = []
    while not line.endswith(b"\n"):
        part, new, _, _ = socket.recv_fds(control, 1 << 16, 3)
        if not part:
            return b"", descriptors
        line, descriptors = line + part, descriptors + list(new)
    return line, descriptors


def _end(child: int, *, trace: bool) -> dict[str, float]:
    """End a child and its children; it is waited for here alone, so no other process can bear its number."""
    if trace:
        os.kill(child, signal.SIGPROF)
        time.sleep(TRACE_S)
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):  # no such group yet, or nothing left in it
            kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "cpu_s": usage.ru_utime + usage.ru_stime}


def _be_the_child(request: Mapping[str, Any], folder: str, link: int, memory: int, trace: int) -> NoReturn:
    try:
        os.setsid()
        os.chdir(folder)
        # Written in C by a signal: the one way to learn the line of a loop that never comes back.
        faulthandler.enable(trace, all_threads=False)
        faulthandler.register(signal.SIGPROF, trace, all_threads=False, chain=True)
        if "numpy.random" in sys.modules:  # as the module random does itself: no two children draw the same
            sys.modules["numpy.random"].seed()
        limit_this_process(request["memory_mb"], request["total_cpu_s"])
        _Child(request, Board(memory), socket.socket(fileno=link)).run()
    finally:
        os._exit(0)


class _Child:
    """Makes calls, and goes as soon as one leaves it in a state that is not its own."""

    def __init__(self, request: Mapping[str, Any], board: Board, link: socket.socket) -> None:
        self._request, self._board, self._link = request, board, link
        self._steps: list[Step] = []
        self._builtins = dict(builtins.__dict__)
        # Bound here: a function may replace what these names mean to everybody else.
        self._arm, self._timer, self._fstat = signal.setitimer, signal.ITIMER_PROF, os.fstat
        self._threads, self._clock, self._descriptor = _thread._count, time.perf_counter, link.fileno()
        self._others = self._threads()

    def run(self) -> None:
        if not self._load():
            return
        while self._tell(b"d") == b"j":
            if not self._make(self._board.get_calls()):
                return

    def _load(self) -> bool:
        board, request = self._board, self._request
        board.begin(SETUP)
        self._arm(self._timer, request["setup_cpu_s"])
        module, _, name = request["entry"].partition(":")
        try:
            prepare: Callable[[Any], Iterable[Step]] = getattr(importlib.import_module(module), name)
            for step in prepare(request["setup"]):
                self._steps.append(step)
                board.begin(SETUP, len(self._steps))
        except BaseException as error:
            board.add(encode([*self._described(error), json.dumps(getattr(error, "__dict__", {}), default=repr)]))
            return False
        return True

    def _make(self, calls: Mapping[str, Any]) -> bool:
        """Make calls: one by one where asked to, as many at once as are over soon where not."""
        results = self._steps[calls["step"]](calls["columns"], calls["count"])
        number, size = 0, 1
        while number < calls["count"]:
            size = 1 if number < calls["one_by_one"] else min(size, calls["count"] - number, MOST_AT_ONCE)
            began = self._clock()
            if not self._call(number, results, size):
                return False
            number += size
            size = 2 * size if self._clock() - began < SOON_S else max(1, size // 2)
        return True

    def _call(self, number: int, results: Iterator[Any], size: int) -> bool:
        """Make some calls and report what came of them; say whether this process can make more."""
        self._board.begin(number if size == 1 else SEVERAL, size)
        self._arm(self._timer, self._request["row_cpu_s"])
        failures: dict[int, list[str]] = {}
        try:
            values, failures, healthy = self._results(results, size)
            self._check_what_it_left()
        except BaseException as error:
            values, failures, healthy = [None], failures or {0: self._described(error)}, False
        if size > 1 and not healthy:
            # Which call it was shows when another process makes them one by one.
            return False
        return self._report(values, failures) and healthy

    def _results(self, results: Iterator[Any], size: int) -> tuple[list[Any], dict[int, list[str]], bool]:
        values: list[Any] = []
        failures: dict[int, list[str]] = {}
        healthy = True
        while len(values) < size:
            try:
                for value in islice(results, size - len(values)):
                    values.append(value)
                if len(values) == size:
                    break
                # The iterator takes a function's own StopIteration for its end.
                failures[len(values)] = self._described(StopIteration())
            except BaseException as error:
                failures[len(values)] = self._described(error)
                healthy = healthy and not isinstance(error, MemoryError)
            values.append(None)
        if not set(map(type, values)) <= FIXED_SIZE:
            for position, value in enumerate(values):
                try:
                    values[position] = portable(value)
                except BaseException as error:
                    values[position] = None
                    failures[position] = self._described(error)
        return values, failures, healthy

    def _report(self, values: list[Any], failures: dict[int, list[str]]) -> bool:
        """Lay results out, in parts where they are many."""
        encoded = encode([values, failures])
        if len(encoded) > MAX_ADDED:
            if len(values) == 1:
                large = self._described(UnusableResult(f"returned {len(encoded)} bytes; too many for a cell"))
                return self._report([None], {0: large})
            half = len(values) // 2
            early = {position: failure for position, failure in failures.items() if position < half}
            late = {position - half: failure for position, failure in failures.items() if position >= half}
            return self._report(values[:half], early) and self._report(values[half:], late)
        self._board.add(encoded)
        return not self._board.is_full or self._tell(b"f") == b"c"

    def _check_what_it_left(self) -> None:
        if builtins.__dict__ != self._builtins:
            builtins.__dict__.update(self._builtins)
            raise TamperedBuiltins("changed Python's builtins, for all other functions too; change no builtins")
        if self._threads() > self._others:
            raise LeftThreads("returned while its threads still run; join them before")
        try:
            self._fstat(self._descriptor)
        except OSError as error:
            raise ClosedConnection("closed files that it had not opened; close only its own") from error

    def _tell(self, byte: bytes) -> bytes:
        """Report to the parent and wait for what is next."""
        self._arm(self._timer, 0)
        self._link.sendall(byte)
        answer = self._link.recv(1)
        self._board.clear()
        return answer

    def _described(self, error: BaseException) -> list[str]:
        if isinstance(error, MemoryError):
            return ["MemoryError", f"memory limit of {self._request['memory_mb']} MB"]
        try:
            message = str.__str__(str(error))
        except BaseException as unreadable:
            message = f"<its message fails with {type(unreadable).__name__}>"
        return [str.__str__(type(error).__name__), message[:MAX_MESSAGE]]
