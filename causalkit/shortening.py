"""Records cut to a length: long texts and lists to their beginnings, what identifies a record last of all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from causalkit.plainness import MOST_NOTES, UniqueNames, with_notes

# What says which run, step or call a record is about: never cut while anything else can be.
_IDENTITY = (
    "schema", "kind", "request_id", "step_id", "parent_id", "step_name", "workflow_name",
    "start", "timestamp", "latency_ms", "total_latency_ms", "success",
    "event_type", "operator_id", "operator_type", "stage", "call_id", "parent_call_id", "caller_id", "duration_ms",
)  # fmt: skip


def shortened(line: bytes, max_text: int, max_bytes: int) -> bytes:
    """Return a record's line with its texts cut, and everything cut harder until the line is short enough.

    Examples
    --------
    >>> shortened(b'{"kind":"run","question":"a long text"}', max_text=6, max_bytes=2000).decode()
    '{"kind":"run","question":"a long… [5 more characters]","notes":["question was cut by 5 characters"]}'
    """
    for record in _shorter_and_shorter(_decode(line), max_text, max_bytes):
        line = _encode(record)
        if len(line) <= max_bytes:
            break
    return line


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return only what says which run, step or call a record is about, and how it went.

    Examples
    --------
    >>> identity({"kind": "run", "question": "why?"})
    {'kind': 'run'}
    """
    return {key: record[key] for key in _IDENTITY if key in record and not isinstance(record[key], dict | list)}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _shorter_and_shorter(record: dict[str, Any], max_text: int, max_bytes: int) -> Iterator[dict[str, Any]]:
    notes: dict[str, str] = {}
    for text, items in ((max_text, max_bytes), (10_000, 1_000), (1_000, 100), (200, 20), (50, 5)):
        record = _Cut(min(text, max_text), items, notes).record(record)
        yield with_notes(record, notes.values())
    record = _Cut(50, 5, notes).as_text(record)
    steps: Any = record.get("steps")
    count = len(steps) if isinstance(steps, list) else 0
    for left in (count >> halving for halving in range(count.bit_length() + 1)):
        if left < count:
            notes["steps"] = f"steps was cut by {count - left} items"
            record["steps"] = steps[:left]
        yield with_notes(record, [*notes.values()][-3:])
    # Twenty texts of at most six bytes a character are then half a line.
    bare = _Cut(max_bytes // 250, 0, notes)
    kept = {key: bare.value(value, key) for key, value in identity(record).items()}
    yield {**kept, "notes": [f"the rest was left out: longer than {max_bytes} bytes"]}


class _Cut:
    """Cuts the texts and lists of a plain record, all but what identifies it and its steps."""

    def __init__(self, text: int, items: int, notes: dict[str, str]) -> None:
        self._text, self._most, self._notes = text, items, notes

    def record(self, record: dict[str, Any], path: str = "") -> dict[str, Any]:
        return {key: self._field(key, value, f"{path}{key}") for key, value in record.items()}

    def as_text(self, record: dict[str, Any], path: str = "") -> dict[str, Any]:
        short: dict[str, Any] = {}
        for key, value in record.items():
            if key == "steps" and isinstance(value, list):
                short[key] = [self.as_text(step, "steps.") if isinstance(step, dict) else step for step in value]
            elif key != "notes":
                short[key] = self._as_text(value, f"{path}{key}")
        return short

    def _as_text(self, value: Any, path: str) -> Any:
        text = _encode(value).decode() if isinstance(value, dict | list) else ""
        if len(text) <= self._text:
            return value
        text = self.value(text, path)
        # Still a dict where one is expected: a reader that knows the format takes the record.
        return {"causalkit.shortened": text} if isinstance(value, dict) else [text]

    def _field(self, key: str, value: Any, path: str) -> Any:
        if key == "steps" and isinstance(value, list):
            # Each stays a step: a mark among them would make the whole run unreadable.
            steps = enumerate(value)
            return [self.record(step, f"{path}[{at}].") if isinstance(step, dict) else step for at, step in steps]
        kept = key == "notes" or (key in _IDENTITY and not isinstance(value, dict | list))
        return value if kept else self.value(value, path)

    def value(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return self._shorter_text(value, path)
        if isinstance(value, dict):
            return self._entries(value, path)
        return self._items(value, path) if isinstance(value, list) else value

    def _shorter_text(self, text: str, path: str) -> str:
        # What was cut before is counted again: a mark is no part of the text.
        mark = _MARK.search(text, max(0, len(text) - 50))
        body = text[: mark.start()] if mark else text
        more = len(body) - self._text + (int(mark[1]) if mark else 0)
        if len(body) <= self._text:
            return text
        return f"{body[: self._text]}{self._said(path, more, 'characters')}"

    def _items(self, items: list[Any], path: str) -> list[Any]:
        last = items[-1] if items and isinstance(items[-1], str) else ""
        mark = _ITEMS_MARK.fullmatch(last)
        body = items[:-1] if mark else items
        short = [self.value(item, f"{path}[{index}]") for index, item in enumerate(body[: self._most])]
        more = len(body) - len(short)
        if mark or more:
            short.append(last if mark and not more else self._said(path, more + (int(mark[1]) if mark else 0), "items"))
        return short

    def _entries(self, entries: dict[str, Any], path: str) -> dict[str, Any]:
        mark = _ENTRIES_MARK.fullmatch(str(entries.get("…")))
        body = {key: value for key, value in entries.items() if key != "…"} if mark else entries
        names = UniqueNames()
        short = {
            names.unique(self._shorter_text(key, f"a key of {path}")): self.value(value, f"{path}.{key}")
            for key, value in islice(body.items(), self._most)
        }
        more = len(body) - len(short)
        if more:
            short["…"] = self._said(path, more + (int(mark[1]) if mark else 0), "entries").removeprefix("… ")
        elif mark:
            short["…"] = entries["…"]
        return short

    def _said(self, path: str, more: int, what: str) -> str:
        if path in self._notes or len(self._notes) < MOST_NOTES:
            self._notes[path] = f"{path[:200]} was cut by {more} {what}"
        return f"… [{more} more {what}]"


_MARK = re.compile(r"… \[(\d{1,18}) more characters\]\Z")
_ENTRIES_MARK = re.compile(r"\[(\d{1,18}) more entries\]")
_ITEMS_MARK = re.compile(r"… \[(\d{1,18}) more items\]")
