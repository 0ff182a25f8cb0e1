"""The warm process that forks isolated children, seen from the parent."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from causalkit.errors import ExecutionError
from causalkit.isolation_board import SETUP, Board

KEPT = 2  # warm processes that wait for a call
POLL_S = 0.05
ANSWER_S = 30.0  # for the warm process to start or to end a child, on a machine that is busy
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from causalkit.isolation_child import serve_forever; serve_forever(int(sys.argv[2]))"
)
# What a Python may need to start at all, and the time zone, on which results can depend.
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def borrow_nursery() -> Nursery:
    """Return a warm process that nobody uses, a new one if there is none."""
    while _idle:
        nursery = _idle.pop()
        if not nursery.is_gone:
            return nursery
        nursery.close()
    return Nursery()


def give_back(nursery: Nursery) -> None:
    """Keep a warm process for the next call, or end it if enough are kept."""
    if nursery.is_gone or len(_idle) >= KEPT:
        nursery.close()
    else:
        _idle.append(nursery)


def close() -> None:
    """End the warm processes that nobody uses; the next call starts another.

    Examples
    --------
    >>> close()
    """
    while _idle:
        _idle.pop().close()


class Child:
    """A forked child, its shared memory and the socket for single bytes.

    Parameters
    ----------
    nursery : Nursery
        The warm process.
    request : mapping
        What the child is to do and may take.
    """

    def __init__(self, nursery: Nursery, request: Mapping[str, Any]) -> None:
        self.board = Board()
        self._nursery = nursery
        self._link, theirs = socket.socketpair()
        self._link.settimeout(POLL_S)
        self._trace, trace = os.pipe()
        self.board.begin(SETUP)  # which starts before the child can say so
        try:
            nursery.order(request, [theirs.fileno(), self.board.descriptor, trace])
        except ExecutionError:
            self._let_go()
            self.board.close()
            raise
        finally:
            theirs.close()
            os.close(trace)

    def tell(self, byte: bytes) -> None:
        """Send the child a byte; a child that is gone shows when it is waited for."""
        try:
            self._link.sendall(byte)
        except OSError:
            return

    def wait(self, limit_s: Callable[[int], float]) -> str:
        """Wait for the child.

        Parameters
        ----------
        limit_s : callable
            For what the board says is running, how long it may take.

        Returns
        -------
        str
            The byte that it sent, "" if it is gone, or "overtime".
        """
        state, since = self.board.state, time.monotonic()
        while True:
            try:
                return self._link.recv(1).decode("latin-1")
            except TimeoutError:
                now = time.monotonic()
            except ConnectionError:
                return ""
            if self.board.state != state:
                state, since = self.board.state, now
            elif now - since > limit_s(state[0]):
                return "overtime"

    def stop(self, *, trace: bool) -> tuple[int, float, str]:
        """End the child and tell how it ended; its board stays open.

        Parameters
        ----------
        trace : bool
            Whether to ask it first where it is.

        Returns
        -------
        tuple of (int, float, str)
            Exit code, or signal with a minus; CPU seconds; where it was, if that is known.
        """
        try:
            ended = self._nursery.end_child(trace=trace)
            os.set_blocking(self._trace, False)
            return int(ended["status"]), ended["cpu_s"], _read(self._trace)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._link.close()
        os.close(self._trace)


class Nursery:
    """A warm process: it has imported what children need, runs no user code, and forks one child at a time."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            raise ExecutionError(
                "functions cannot be isolated on Windows, where the limits do not hold; "
                "run them without isolation if you would run them yourself"
            )
        self._control, theirs = socket.socketpair()
        self._control.settimeout(ANSWER_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a program of our own
                [sys.executable, "-I", "-B", "-X", "utf8", "-c", START, json.dumps(_path()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | ONE_THREAD,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # an interrupt is this process' to handle
            )
        _all.add(self)

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def order(self, request: Mapping[str, Any], descriptors: list[int]) -> None:
        """Have a child forked that gets these descriptors."""
        line = json.dumps({**request, "path": _path()}).encode() + b"\n"
        try:
            sent = socket.send_fds(self._control, [line], descriptors)
            self._control.sendall(line[sent:])
        except OSError as error:
            raise self._broken() from error

    def end_child(self, *, trace: bool) -> dict[str, float]:
        """Have the child ended and return how it ended."""
        try:
            self._control.sendall(b"t" if trace else b"s")
            line = b""
            while not line.endswith(b"\n"):
                part = self._control.recv(1 << 12)
                if not part:
                    raise ConnectionResetError("the warm process is gone")
                line += part
        except OSError as error:
            raise self._broken() from error
        ended: dict[str, float] = json.loads(line)
        return ended

    def close(self) -> None:
        """Let the process go; it ends its child first."""
        self._control.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Leave the process to the one that started it: this one is a fork of that."""
        self._control.close()
        self._process.returncode = 0  # not ours to wait for

    def _broken(self) -> ExecutionError:
        self.close()
        return ExecutionError("the process that forks isolated children is gone or stuck; run the functions again")


def _path() -> list[str]:
    """Return where modules are looked for, as seen from another folder."""
    return [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109 - sys.path holds texts


def _read(pipe: int) -> str:
    parts = []
    try:
        while part := os.read(pipe, 1 << 16):
            parts.append(part)
    except BlockingIOError:  # somebody still holds the other end
        pass
    return b"".join(parts).decode("utf-8", "replace")


def _forget_after_fork() -> None:
    _idle.clear()
    for nursery in list(_all):
        nursery.forget()


_idle: list[Nursery] = []
_all: weakref.WeakSet[Nursery] = weakref.WeakSet()
atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
