"""Append-only JSON lines: one finished record, one line, one ``write()``.

What was appended survives the death of the process, whoever else writes to the same journal. Reading stands in
`causalkit.journal_reading`.
"""

from __future__ import annotations

import errno
import math
import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from causalkit.encoding import encode
from causalkit.encoding import plain as plain
from causalkit.errors import CausalkitError
from causalkit.journal_files import file_name, numbered_files

SCHEMA = 1
# A kill can cut a write only where one page of the file ends and the next begins.
_PAGE = 4096
_SHORT = _PAGE // 2


class JournalWriter:
    """Append records to a journal; safe for many threads and processes at once.

    A writer may be used on both sides of a fork, and one that is sent to another process opens the journal there.

    Parameters
    ----------
    path : path-like
        The journal; made, with its folders, if it is not there.
    durability : {"process", "power"}, default "process"
        What a record that was appended survives: the death of the process, or the loss of power as well (``fsync``;
        threads that wait for it share one).
    rotate_mb : float, optional
        How many megabytes a file may have before the next one is begun: ``runs.jsonl``, ``runs.0001.jsonl``, ...
        Names of that form belong to the journal. A writer begins at the newest one.

    Examples
    --------
    >>> import tempfile
    >>> from causalkit.journal_reading import read_journal
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> with JournalWriter(path) as journal:
    ...     journal.append({"kind": "run", "request_id": "a"})
    >>> read_journal(path)[0]
    [{'schema': 1, 'kind': 'run', 'request_id': 'a'}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["process", "power"] = "process",
        rotate_mb: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._again = partial(JournalWriter, self.path, durability=durability, rotate_mb=rotate_mb)
        _check(self.path, durability, rotate_mb)
        self._power = durability == "power"
        self._limit = math.inf if rotate_mb is None else rotate_mb * 1e6
        self._torn = False
        # Where the last record ended, if nobody else has written since, and how far that need not be looked up.
        self._end, self._known_until = 0, 0.0
        self._alone = True
        self._commits = _Commits()
        self._file = self._open()
        # Files of writers that nobody closed are closed with them.
        self._closing = weakref.finalize(self, os.close, self._file)
        self._closing.atexit = False
        _writers.add(self)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; it survives from here on.

        Parameters
        ----------
        record : mapping
            What to write; ``schema`` is put before it. NaN and infinities become null, what JSON does not know text.

        Raises
        ------
        OSError
            If not all of it could be written.
        """
        self.write(encode({"schema": SCHEMA, **record}))

    def write(self, line: bytes) -> None:
        """Write one line as it is; it survives from here on.

        Parameters
        ----------
        line : bytes
            A record as JSON, without the end of the line. White space may be put before it.

        Raises
        ------
        OSError
            If not all of it could be written.
        """
        if not self._power:
            self._put(line)
            return
        with self._commits.turn:
            self._put(line)
            self._commits.written += 1
            self._wait_until_safe(self._commits.written)

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._file = -1
        self._closing()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()

    def _put(self, line: bytes) -> None:
        data = line + b"\n"
        torn = self._torn
        try:
            if torn or self._end + len(data) > self._known_until:
                data = self._at_the_end(data)
            if torn:
                data = b"\n" + data
            written = os.write(self._file, data)
        except OSError as error:
            self._known_until = 0
            raise self._not_written(0, len(data), error) from error
        self._end += written
        if written != len(data):
            self._torn = True
            raise self._not_written(written, len(data), OSError(errno.ENOSPC, "disk full?"))
        if torn:
            self._torn = False

    def _at_the_end(self, data: bytes) -> bytes:
        """Look up where the file ends; return what to write there."""
        while (end := os.lseek(self._file, 0, os.SEEK_END)) >= self._limit:
            self._turn_over()
        # Whoever writes alone knows the end until the page is full; once others were seen it is looked up each time.
        self._alone = self._alone and end == self._end
        # A short record that would lie on two pages begins on the second one: a kill leaves it whole or out.
        room = -end % _PAGE
        if room < len(data) < _SHORT:
            data = b" " * room + data
        self._end = end
        end += len(data)
        self._known_until = min(end + -end % _PAGE, self._limit) if self._alone else 0
        return data

    def _not_written(self, written: int, length: int, error: OSError) -> Exception:
        if self._file < 0:
            return CausalkitError(f"{self.path} was closed; open a new JournalWriter to append to it", path=self.path)
        return OSError(
            error.errno,
            f"only {written} of {length} bytes of a record were written ({error.strerror}); put that right (make room "
            "on the disk), then append it again",
            str(self.path),
        )

    def _wait_until_safe(self, mine: int) -> None:
        commits = self._commits
        while commits.safe < mine:
            if commits.failed:
                raise OSError(
                    commits.failed.errno,
                    f"what was appended may not survive a loss of power ({commits.failed.strerror}); check the disk, "
                    "then open a new JournalWriter",
                    str(self.path),
                ) from commits.failed
            if commits.syncing:
                commits.turn.wait()
            else:
                self._sync(commits)

    def _sync(self, commits: _Commits) -> None:
        covered, commits.syncing = commits.written, True
        # The others go on writing meanwhile, and then wait for the next one.
        commits.turn.release()
        try:
            os.fsync(self._file)
            commits.safe = covered
        except OSError as error:
            # A second fsync would succeed though the pages of the first are lost.
            commits.failed = error
        finally:
            commits.turn.acquire()
            commits.syncing = False
            commits.turn.notify_all()

    def _open(self) -> int:
        """Open the newest file that is not full, or make the next one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        number, newest = max(numbered_files(self.path), default=(0, self.path))
        number += newest.suffix == ".gz"
        while True:
            file = os.open(
                self.path.with_name(file_name(self.path, number)), os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o644
            )
            size = os.fstat(file).st_size
            if size < self._limit:
                break
            os.close(file)
            number += 1
        # Without this the first record written after a crash would be glued to the torn line.
        if size and os.pread(file, 1, size - 1) != b"\n":
            try:
                os.write(file, b"\n")
            except OSError:
                # The disk is full; the first record there is room for brings it along.
                self._torn = True
        if self._power:
            _sync_folder(self.path.parent)
        self._end = os.fstat(file).st_size
        return file

    def _turn_over(self) -> None:
        with self._commits.turn:
            if os.fstat(self._file).st_size < self._limit:
                return
            if self._power:
                os.fsync(self._file)
            newer = self._open()
            # The number stays, so that no thread writes to a file that another one has closed.
            os.dup2(newer, self._file, inheritable=False)
            os.close(newer)


@dataclass
class _Commits:
    """What the threads share that wait for one ``fsync``."""

    turn: threading.Condition = field(default_factory=threading.Condition)
    written: int = 0
    safe: int = 0
    syncing: bool = False
    failed: OSError | None = None


_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()


def _renew_locks() -> None:
    # A thread that held one is not there in the child.
    for writer in _writers:
        writer._commits = _Commits()
        writer._alone, writer._known_until = False, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _check(path: Path, durability: str, rotate_mb: float | None) -> None:
    if durability not in ("process", "power"):
        raise CausalkitError(
            f"durability is {durability!r}; choose 'process' (survives a kill) or 'power' (survives a power failure)",
            durability=durability,
        )
    if rotate_mb is not None and not (isinstance(rotate_mb, int | float) and rotate_mb > 0):
        raise CausalkitError(
            f"rotate_mb is {rotate_mb!r}; give the megabytes of a file, a number above 0, or None", rotate_mb=rotate_mb
        )
    if path.is_dir():
        raise CausalkitError(f"{path} is a folder; name a file in it", path=path)
    if path.suffix == ".gz":
        raise CausalkitError(f"{path} is a packed journal, which takes no more; name it without .gz", path=path)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
