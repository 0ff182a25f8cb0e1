"""Where one JSON document ends in a text and the next one begins."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

# A longer first line is taken for a document that is the whole file.
_LONG_LINE = 1 << 24
# Indented documents that stand one behind the other begin at the left edge, and nothing inside them does.
_BEGINS = re.compile(rb"^[\[{]", re.MULTILINE)
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def documents_in(text: BinaryIO) -> Iterator[tuple[int, bytes]]:
    r"""Yield the documents of a text, each behind its first byte: lines, or what spans several of them.

    Where the first line is a document it is read line by line; otherwise the whole text is held in memory.

    Examples
    --------
    >>> import io
    >>> list(documents_in(io.BytesIO(b'{\n "a": 1}\n{\n "b": 2}\n')))
    [(0, b'{\n "a": 1}\n'), (11, b'{\n "b": 2}\n')]
    """
    start, first = 0, text.readline(_LONG_LINE)
    while first and first.isspace():
        start, first = start + len(first), text.readline(_LONG_LINE)
    if first.endswith(b"\n") and _is_whole(first):
        while first:
            if not first.isspace():
                yield start, first
            start, first = start + len(first), text.readline()
        return
    if text.seekable():
        # Read anew, so that it is not there twice.
        text.seek(-len(first), os.SEEK_CUR)
        first = b""
    whole = first + text.read() if first else text.read()
    if _is_whole(whole):
        yield start, whole
        return
    begins = [match.start() for match in _BEGINS.finditer(whole)]
    for begin, end in zip([0, *begins], [*begins, len(whole)], strict=True):
        piece = whole[begin:end]
        if piece and not piece.isspace():
            yield start + begin, piece


def _is_whole(text: bytes) -> bool:
    try:
        _skip(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
