"""Read journals: every whole record, and for every other byte the reason why it holds none.

=======================================  ===================
Question                                 Name
=======================================  ===================
What does a journal hold?                `read_journal`
The same, one record after the other     `scan`
What is being written right now?         `follow`
Which files does it consist of?          `journal_files`
=======================================  ===================

Nothing is invented: an object that stands inside a torn record never comes out as a record of its own.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from causalkit.journal_files import Unpacked, unpacked_name
from causalkit.journal_files import journal_files as journal_files
from causalkit.journal_lines import Damage as Damage
from causalkit.journal_lines import Found as Found
from causalkit.journal_lines import Record, read_line

_CHUNK = 1 << 16


def read_journal(path: str | os.PathLike[str]) -> tuple[list[Record], list[Damage]]:
    r"""Read every whole record of a journal and say which bytes hold none.

    Parameters
    ----------
    path : path-like
        A JSONL file, packed with gzip or not; its further segments (`journal_files`) are read with it.

    Returns
    -------
    records : list of dict
        In the order of the files. NaN and infinities of other writers are None.
    damage : list of Damage
        What was left out, each with its reason; empty for a sound journal.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> _ = path.write_bytes(b'{"kind":"run"}\n{"kind":"st')
    >>> records, damage = read_journal(path)
    >>> records, [(part.start, part.end, part.reason) for part in damage]
    ([{'kind': 'run'}], [(15, 26, 'a torn line')])
    """
    records: list[Record] = []
    damage: list[Damage] = []
    for found in scan(path):
        if isinstance(found, Damage):
            damage.append(found)
        else:
            records.append(found.record)
    return records, damage


def scan(path: str | os.PathLike[str]) -> Iterator[Found | Damage]:
    r"""Read a journal as `read_journal` does, one record or damage after the other.

    Parameters
    ----------
    path : path-like
        As for `read_journal`.

    Yields
    ------
    Found or Damage
        A record, or bytes that hold none.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> _ = path.write_bytes(b'{"n":1}{"n":NaN}\n')
    >>> [(found.start, found.line, found.record) for found in scan(path)]
    [(0, b'{"n":1}', {'n': 1}), (7, b'{"n": null}', {'n': None})]
    """
    for file in journal_files(path) or [Path(path)]:
        yield from _scan_file(file)


def follow(
    path: str | os.PathLike[str],
    *,
    poll_s: float = 0.2,
    from_start: bool = True,
    stop: threading.Event | None = None,
) -> Iterator[Record]:
    """Read a journal while it is being written, through its rotation.

    Parameters
    ----------
    path : path-like
        The journal; it need not be there yet.
    poll_s : float, default 0.2
        How long to wait before looking again.
    from_start : bool, default True
        Whether to begin with the records that are there already.
    stop : threading.Event, optional
        Once it is set the iteration ends behind what was in the journal by then; without it, it never ends.

    Returns
    -------
    iterator of dict
        Whole records as they come; damage is passed over, and a line without its end is waited for.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> _ = path.write_text('{"n":1}')
    >>> stop = threading.Event()
    >>> stop.set()
    >>> list(follow(path, stop=stop))  # its line has not ended yet
    []
    """
    # Not a generator itself: what is there already is what is there at the call, not at the first record.
    seen = {} if from_start else {unpacked_name(file): _end_of_lines(file) for file in journal_files(path)}
    return _follow(path, seen, poll_s, stop or threading.Event())


def _scan_file(file: Path) -> Iterator[Found | Damage]:
    with file.open("rb") as opened:
        packed = Unpacked(opened) if file.suffix == ".gz" else None
        lines: Iterable[bytes] = io.BufferedReader(packed, _CHUNK) if packed else opened
        start = 0
        for line in lines:
            yield from read_line(str(file), start, line)
            start += len(line)
        if packed and packed.broken:
            reason = f"the gzip stream breaks off here ({packed.broken}); bytes count in the unpacked text"
            yield Damage(str(file), start, start, reason)


def _follow(
    path: str | os.PathLike[str], seen: dict[Path, float], poll_s: float, stop: threading.Event
) -> Iterator[Record]:
    while True:
        ending = stop.is_set()
        # A file may be packed and removed meanwhile.
        with suppress(FileNotFoundError):
            # The newest first: whatever a writer wrote before what is seen there is then seen in the older ones.
            sizes = {file: file.stat().st_size for file in reversed(journal_files(path))}
            for file in reversed(sizes):
                for found in _fresh(file, seen, sizes[file]):
                    if not isinstance(found, Damage):
                        yield found.record
        if ending:
            return
        stop.wait(poll_s)


def _fresh(file: Path, seen: dict[Path, float], size: int) -> Iterator[Found | Damage]:
    name = unpacked_name(file)
    start = seen.get(name, 0)
    if file != name or start == math.inf:
        seen[name] = math.inf
        yield from _scan_file(file) if not start else ()
        return
    # A smaller file is another one under the same name.
    start = int(start) if start <= size else 0
    with file.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            if not line.endswith(b"\n") or start + len(line) > size:
                return
            yield from read_line(str(file), start, line)
            start += len(line)
            seen[name] = start


def _end_of_lines(file: Path) -> float:
    if file.suffix == ".gz":
        return math.inf
    end = 0
    with file.open("rb") as lines:
        for line in lines:
            end += len(line) if line.endswith(b"\n") else 0
    return end
