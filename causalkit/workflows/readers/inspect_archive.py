"""The ``.eval`` archives of Inspect AI: a zip of JSON documents, also packed as zipfile cannot read."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.sources import decoded

_ZIP = b"PK\x03\x04"
_HEADS = ("header.json", "_journal/start.json")
# Unpacked; larger documents are bombs, or samples that would not fit into memory once they are parsed.
_LARGEST_BYTES = 512_000_000
# A sample can be split over many documents, which lie in a folder of its name; this is the first of them.
_PART = re.compile(r"_epoch_\d+(/sample\.json)$|_epoch_\d+/")
_ZSTANDARD = 93
_ENCRYPTED = 1
# Of the local header: name and further fields follow, whose lengths are its last two numbers.
_LOCAL = struct.Struct("<26xHH")
# All that zipfile raises on damaged archives.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, MemoryError, OSError, OverflowError,
    RuntimeError, ValueError,
)  # fmt: skip


class Archive:
    """One ``.eval`` file.

    Parameters
    ----------
    file : Path
        Where it is.
    expected : str
        What should be in it, in words; for the errors.

    Raises
    ------
    TraceFormatError
        If it is no whole zip archive.
    """

    def __init__(self, file: Path, expected: str) -> None:
        self._file = file
        self._expected = expected
        try:
            with zipfile.ZipFile(file) as archive:
                # Of two documents of one name the later counts: so Inspect replaces a sample.
                self._entries = {entry.filename: entry for entry in archive.infolist()}
        except _BROKEN as error:
            raise self._wrong(f"is a zip archive that is cut off or damaged ({_said(error)})") from error

    def head(self) -> dict[str, Any]:
        """Return the head of the log, or of one that was not finished its beginning.

        Raises
        ------
        TraceFormatError
            If there is none.
        """
        for name in _HEADS:
            if name in self._entries:
                try:
                    head = self._document(self._entries[name])
                except _BROKEN as error:
                    raise self._wrong(f"has a damaged {name} ({_said(error)})") from error
                if isinstance(head, dict) and isinstance(head.get("eval"), dict):
                    return head
        shown = ", ".join(sorted(self._entries)[:5]) or "nothing"
        raise self._wrong(f"is a zip archive of {shown}, without {' or '.join(_HEADS)}")

    def samples(self, damage: list[Damage]) -> Iterator[Any]:
        """Yield each sample; what cannot be read is put into `damage`."""
        for name, entry in self._entries.items():
            part = _PART.search(name)
            if not (name.startswith("samples/") and name.endswith(part[1] if part else ".json")):
                continue
            try:
                if part:
                    raise ValueError("a sample in parts, which is not read; convert the log to one without them")
                yield self._document(entry)
            except _BROKEN as error:
                end = entry.header_offset + entry.compress_size + len(name) + _LOCAL.size
                damage.append(Damage(str(self._file), entry.header_offset, end, f"{name}: {_said(error)}"))

    def _document(self, entry: zipfile.ZipInfo) -> Any:
        if entry.file_size > _LARGEST_BYTES:
            raise ValueError(f"{entry.file_size} bytes unpacked; at most {_LARGEST_BYTES} are read")
        if entry.compress_type == _ZSTANDARD:
            text = self._unpacked(entry)
        else:
            with zipfile.ZipFile(self._file) as archive:
                text = archive.read(entry)
        try:
            return decoded(text, entry.filename, self._expected)
        except TraceFormatError as error:
            raise ValueError(f"no JSON at its byte {error.byte} ({error.reason})") from error

    def _unpacked(self, entry: zipfile.ZipInfo) -> bytes:
        import pyarrow as pa

        if entry.flag_bits & _ENCRYPTED:
            raise ValueError("it is encrypted")
        with self._file.open("rb") as opened:
            opened.seek(entry.header_offset)
            opened.seek(sum(_LOCAL.unpack(opened.read(_LOCAL.size))), 1)
            packed = opened.read(entry.compress_size)
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            text: bytes = stream.read(entry.file_size + 1)
        if len(text) != entry.file_size or zlib.crc32(text) != entry.CRC:
            raise zipfile.BadZipFile("its checksum does not fit")
        return text

    def _wrong(self, what: str) -> TraceFormatError:
        return TraceFormatError(
            f"{self._file} {what}; expected {self._expected}", path=str(self._file), expected=self._expected
        )


def is_archive(file: Path) -> bool:
    """Return whether a file begins as a zip archive does."""
    with file.open("rb") as opened:
        return opened.read(len(_ZIP)) == _ZIP


def _said(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
