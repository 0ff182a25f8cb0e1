"""A child process that answers lines with lines, and can neither hang nor block the one who asks."""

from __future__ import annotations

import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from typing import Any

import msgspec

from causalkit.errors import WorkerError

# No answer is longer than a request may be; what goes on without a newline after that is none.
MAX_ANSWER_BYTES = 1 << 30
_CHUNK = 1 << 20
_TAIL = 2000
_REAPED_S = 5.0


class Child:
    """A running child in a process group of its own.

    Parameters
    ----------
    command : list of str
        Run without a shell.

    Attributes
    ----------
    token : str
        Its name; no two children have the same.
    """

    def __init__(self, command: list[str]) -> None:
        if sys.platform == "win32":
            raise WorkerError("a worker process cannot be talked to on Windows; fit in this process with SCMFitter")
        self.token = secrets.token_hex(4)
        self._errors = self._noise = b""
        self._received, self._searched = bytearray(), 0
        try:
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter the caller named, with a program of ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # an interrupt is this process' to handle, and a group can be killed whole
            )
        except OSError as error:
            raise WorkerError(
                f"{command[0]!r} cannot be started: {error.strerror}; name a Python interpreter"
            ) from error
        self._owner = os.getpid()
        self.end = weakref.finalize(self, _end, self._process, self._owner)
        self._pipes = [
            pipe.fileno() for pipe in (self._process.stdin, self._process.stdout, self._process.stderr) if pipe
        ]
        for pipe in self._pipes:
            os.set_blocking(pipe, False)

    @property
    def is_gone(self) -> bool:
        """Whether it has ended or closed its output, or is the child of the process that this one is a fork of."""
        if os.getpid() != self._owner:
            return True
        return not self._take(self._pipes[1])

    def ask(self, line: bytes, request_id: str, deadline: float, timeout_s: float) -> dict[str, Any]:
        """Send a line and return the object that answers it.

        Raises
        ------
        WorkerError
            If there is no such answer before the deadline; the child is of no use afterwards.
        """
        unsent = memoryview(line)
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipes[0], selectors.EVENT_WRITE)
            for pipe in self._pipes[1:]:
                selector.register(pipe, selectors.EVENT_READ)
            while True:
                answer = self._answer_to(request_id)
                if answer is not None:
                    return answer
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._failure(f"gave no answer within {timeout_s:g} s", "allow more with timeout_s")
                for key, _ in selector.select(left):
                    if key.fd == self._pipes[0]:
                        unsent = self._send(unsent)
                        if not unsent:
                            selector.unregister(key.fd)
                    elif not self._take(key.fd):
                        selector.unregister(key.fd)
                        if key.fd == self._pipes[1]:
                            raise self._failure(
                                "ended or closed its output without an answer", "its stderr is in .stderr"
                            )

    def _answer_to(self, request_id: str) -> dict[str, Any] | None:
        """Return the answer if it has come; whatever else has come before it is kept only for the message."""
        while (stop := self._received.find(b"\n", self._searched)) >= 0:
            line = bytes(self._received[:stop])
            del self._received[: stop + 1]
            self._searched = 0
            answer = _object(line)
            if answer is not None and answer.get("id") == request_id:
                return answer
            self._noise = line[:_TAIL]
        self._searched = len(self._received)
        if self._searched > MAX_ANSWER_BYTES:
            raise self._failure(f"wrote {self._searched:,} bytes without an end of line", "check what runs there")
        return None

    def _send(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(self._pipes[0], unsent[:_CHUNK]) :]
        except BlockingIOError:
            return unsent
        except OSError:  # it reads no more; whether it still answers shows at its output
            return unsent[:0]

    def _take(self, pipe: int) -> bool:
        """Read what is there, and return whether more can come."""
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return True
        if pipe == self._pipes[1]:
            self._received += data
        else:
            self._errors = (self._errors + data)[-_TAIL:]
        return bool(data)

    def _failure(self, what: str, advice: str) -> WorkerError:
        self._take(self._pipes[2])
        errors, noise = (said.decode("utf-8", "replace").strip() for said in (self._errors, self._noise))
        last = errors.splitlines()[-1:] or noise.splitlines()[-1:]
        said = f"; it said last: {last[0][:200]}" if last else ""
        return WorkerError(f"the worker process {what}{said}; {advice}", stderr=errors, noise=noise)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        answer = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill the child with all its descendants and reap it; a fork of its owner only lets go of it."""
    if os.getpid() == owner:
        # Before it is waited for: until then its number can be nobody else's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_REAPED_S)
    else:
        process.returncode = 0
    for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
        pipe.close()
