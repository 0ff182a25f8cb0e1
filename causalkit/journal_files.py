"""The files a journal consists of: their names, and the text of the packed ones."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK = 1 << 16


def journal_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a journal in the order in which they were written.

    Parameters
    ----------
    path : path-like
        The first one, as it was given to `JournalWriter`.

    Returns
    -------
    list of Path
        Those that are there of ``runs.jsonl``, ``runs.0001.jsonl``, ``runs.0002.jsonl``, ..., packed ones (``.gz``)
        too. Where one stands there both ways, the packed one is a copy or not finished, and is left out.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("runs.0002.jsonl", "runs.0001.jsonl.gz", "runs.jsonl", "other.jsonl"):
    ...     (folder / name).touch()
    >>> [file.name for file in journal_files(folder / "runs.jsonl")]
    ['runs.jsonl', 'runs.0001.jsonl.gz', 'runs.0002.jsonl']
    """
    return [file for _, file in numbered_files(Path(path))]


def numbered_files(path: Path) -> list[tuple[int, Path]]:
    """Return the files of a journal, each behind its number.

    Examples
    --------
    >>> numbered_files(Path("no") / "journal.jsonl")
    []
    """
    first = unpacked_name(path)
    try:
        names = {file.name for file in first.parent.iterdir()}
    except FileNotFoundError:
        return []
    found = {}
    for name in names:
        plain = name.removesuffix(".gz")
        digits = plain[len(first.stem) + 1 : len(plain) - len(first.suffix)]
        number = int(digits) if digits.isascii() and digits.isdecimal() else 0
        if plain == file_name(first, number):
            found[number] = first.with_name(plain if plain in names else name)
    return sorted(found.items())


def file_name(path: Path, number: int) -> str:
    """Return what a file of a journal is called.

    Examples
    --------
    >>> file_name(Path("runs.jsonl"), 0), file_name(Path("runs.jsonl"), 3)
    ('runs.jsonl', 'runs.0003.jsonl')
    """
    return f"{path.stem}.{number:04d}{path.suffix}" if number else path.name


def unpacked_name(path: Path) -> Path:
    """Return what a file is called once it is unpacked.

    Examples
    --------
    >>> unpacked_name(Path("runs.0001.jsonl.gz")).name, unpacked_name(Path("runs.jsonl")).name
    ('runs.0001.jsonl', 'runs.jsonl')
    """
    return path.with_suffix("") if path.suffix == ".gz" else path


class Unpacked(io.RawIOBase):
    """The text of a gzip file as far as it is sound.

    Attributes
    ----------
    broken : str
        Why the text ends before the file does; empty if it does not.

    Examples
    --------
    >>> import gzip
    >>> text = Unpacked(io.BytesIO(gzip.compress(b"some text")[:-8]))
    >>> text.read(), text.broken
    (b'some text', 'it was cut')
    """

    def __init__(self, packed: BinaryIO) -> None:
        self.broken = ""
        self._packed = packed
        self._left = packed.read(_CHUNK)
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def readable(self) -> bool:
        """Return that one can read from it."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with text and return how much there was."""
        text = b""
        while not text and not self.broken and (self._left or not self._stream.eof):
            text = self._unpack(len(buffer))
        buffer[: len(text)] = text
        return len(text)

    def _unpack(self, room: int) -> bytes:
        if self._stream.eof:
            # Several gzip files one behind the other are one.
            self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        before = self._stream.copy()
        try:
            text = self._stream.decompress(self._left, room)
        except zlib.error as error:
            self.broken = f"{error}; the text before it may be damaged too"
            return b"".join(_until_it_breaks(before, self._left))
        self._left = self._stream.unused_data or self._stream.unconsumed_tail or self._packed.read(_CHUNK)
        if not (text or self._left or self._stream.eof):
            self.broken = "it was cut"
        return text


def _until_it_breaks(stream: Any, packed: bytes) -> Iterator[bytes]:
    # zlib gives nothing of a piece in which it finds an error, so the pieces have to be small.
    with suppress(zlib.error):
        for byte in packed:
            yield stream.decompress(bytes([byte]))
