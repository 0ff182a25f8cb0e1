"""Where a reader's rows come from: files of JSON, packed or not, what was parsed already, DataFrames.

==================================================  ===============
question                                            name
==================================================  ===============
Which files were named?                             `files_of`
What does one JSON document say?                    `read_json`
What do many say, one after the other?              `json_lines`
The same, undecoded?                                `json_pieces`
What do the rows of a DataFrame say?                `frame_rows`
==================================================  ===============
"""

from __future__ import annotations

import io
import json
import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from causalkit.errors import TraceFormatError
from causalkit.journal_files import Unpacked
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.documents import documents_in

if TYPE_CHECKING:
    import pandas as pd

_GZIP = b"\x1f\x8b"
_NOT_JSON = (msgspec.DecodeError, ValueError, RecursionError)
_decode = msgspec.json.Decoder().decode


class Row(NamedTuple):
    """One object of a source.

    Attributes
    ----------
    value : Any
        What it says, as JSON has it.
    path : str
        The file; empty where there is none.
    start, end : int
        Its first byte and the byte after its last one, in the unpacked text; the number of the row in a DataFrame.
    """

    value: Any
    path: str
    start: int
    end: int


def files_of(source: Any, expected: str) -> list[Path]:
    """Return the files that a path or several paths name.

    Parameters
    ----------
    source : path-like or iterable of path-like
        What the user gave.
    expected : str
        What should be in it, in words; for the errors.

    Raises
    ------
    TraceFormatError
        If one is absent, empty or a folder, or if it is no path.
    """
    several = isinstance(source, Iterable) and not isinstance(source, str | bytes | os.PathLike)
    given: list[Any] = [*source] if several else [source]
    wrong = [one for one in given if not isinstance(one, str | os.PathLike)]
    if wrong or not given:
        what = f"got a {type(wrong[0]).__name__}" if wrong else "no file was named"
        raise TraceFormatError(f"{what}; give the path of {expected}, or several", path="", expected=expected)
    files = [Path(one) for one in given]
    for file in files:
        if reason := _unreadable(file):
            raise TraceFormatError(f"{file} {reason}; expected {expected}", path=str(file), expected=expected)
    return files


def read_json(source: Any, expected: str) -> Any:
    """Return what one JSON document says; what was parsed already comes back as it is.

    Parameters
    ----------
    source : path-like or JSON value
        A file, also gzipped; or a dict or list.
    expected : str
        What should be in it, in words; for the errors.

    Raises
    ------
    TraceFormatError
        If it holds no JSON; ``.byte`` says where.
    """
    if not isinstance(source, str | os.PathLike):
        return source
    (file,) = files_of(source, expected)
    with opened(file) as text:
        whole = text.read()
    return decoded(whole, str(file), expected)


def json_lines(source: Any, expected: str) -> Iterator[Row | Damage]:
    """Yield the objects of files, one a line, indented one behind the other, or in a list; and what is none.

    Parameters
    ----------
    source : path-like, dict, or iterable of path-like or dict
        Files, also gzipped, and objects that were parsed already.
    expected : str
        What should be in it, in words; for the errors.
    """
    if isinstance(source, Mapping):
        source = [source]
    if isinstance(source, list | tuple) and source and all(isinstance(one, Mapping) for one in source):
        yield from (Row(dict(one), "", number, number + 1) for number, one in enumerate(source))
        return
    for file in files_of(source, expected):
        damage: list[Damage] = []
        for start, piece in json_pieces(file, damage):
            try:
                value = decoded(piece, str(file), expected)
            except TraceFormatError as error:
                yield Damage(str(file), start, start + len(piece), f"not JSON ({error.reason})")
                continue
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    yield Row(one, str(file), start, start + len(piece))
                else:
                    yield Damage(str(file), start, start + len(piece), "JSON, but not an object")
        yield from damage


def json_pieces(file: Path, damage: list[Damage]) -> Iterator[tuple[int, bytes]]:
    """Yield the JSON documents of a file undecoded, each behind its first byte: lines, or what spans several of them.

    A file whose first line is a document is read line by line; any other one is held in memory. Where a gzip stream
    breaks off, that is put into `damage`.
    """
    with opened(file) as text:
        yield from documents_in(text)
        packed = getattr(text, "raw", None)
        if isinstance(packed, Unpacked) and packed.broken:
            damage.append(Damage(str(file), 0, 0, f"the gzip stream breaks off ({packed.broken})"))


def decoded(text: bytes, path: str, expected: str) -> Any:
    """Return what a JSON document says; NaN and infinities, which Python writes, are None.

    Raises
    ------
    TraceFormatError
        If it is none; ``.byte`` says where, ``.reason`` why.
    """
    try:
        return _decode(text)
    except _NOT_JSON:
        pass
    # What Python's json writes and JSON does not know: NaN, infinities, halves of characters, long numbers.
    try:
        value = json.loads(text.decode("utf-8-sig"), parse_constant=lambda _: None)
        return _decode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except _NOT_JSON as error:
        byte = error.pos if isinstance(error, json.JSONDecodeError) else getattr(error, "start", 0)
        reason = str(error).partition("\n")[0] or type(error).__name__
    raise TraceFormatError(
        f"{path} is no JSON at byte {byte} ({reason}); expected {expected}",
        path=path,
        byte=byte,
        reason=reason,
        expected=expected,
    )


def frame_rows(frame: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows of a DataFrame as plain dicts; what is missing (NaN, NaT, None) is left out."""
    names = [str(name) for name in frame.columns]
    for number, values in enumerate(frame.itertuples(index=False, name=None)):
        told = {name: _native(value) for name, value in zip(names, values, strict=True)}
        yield Row({name: value for name, value in told.items() if value is not None}, "", number, number + 1)


def opened(file: Path) -> BinaryIO:
    """Open a file for reading, unpacked where it is gzipped and as UTF-8 where it is UTF-16."""
    try:
        plain = file.open("rb")
    except OSError as error:
        raise TraceFormatError(f"{file} cannot be opened ({error.strerror})", path=str(file)) from error
    begin = plain.read(3)
    plain.seek(len(BOM_UTF8) if begin == BOM_UTF8 else 0)
    if begin[:2] == _GZIP:
        # Only as far as it is sound: a file that is being written ends somewhere.
        return io.BufferedReader(_Owner(plain), 1 << 18)
    if begin[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        with plain:
            return io.BytesIO(plain.read().decode("utf-16", "replace").encode())
    return plain


def _unreadable(file: Path) -> str:
    try:
        if file.is_dir():
            return "is a folder; name the files in it"
        return "" if file.stat().st_size else "is empty"
    except FileNotFoundError:
        return "is not there; check the path"
    except (OSError, ValueError) as error:
        return f"cannot be opened ({error})"


class _Owner(Unpacked):
    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(packed)
        self._owned = packed

    def close(self) -> None:
        self._owned.close()
        super().close()


def _native(value: Any) -> Any:
    if hasattr(type(value), "tolist") or type(value).__name__ in ("Timestamp", "Timedelta"):
        value = value.isoformat() if hasattr(value, "isoformat") else value.tolist()
    if isinstance(value, dict):
        return {str(name): _native(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_native(one) for one in value]
    # Only what is missing differs from itself; pandas' NA does not even say so.
    return None if type(value).__name__ in ("NAType", "NaTType") or value != value else value
