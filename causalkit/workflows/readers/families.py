"""Which run a span belongs to, where its trace has not exactly one root."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from causalkit.workflows.readers.span_records import run_record

_SEVERAL = ""
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Families:
    """Counts the roots of each trace while its spans are written, and sorts out afterwards what is not plain."""

    def __init__(self) -> None:
        self._roots: dict[str, str | None] = {}

    @property
    def seen(self) -> int:
        """How many traces there are."""
        return len(self._roots)

    def add(self, trace_id: str, root: str | None) -> None:
        """Take note of a span of a trace; `root` is its id if it is a run."""
        if root is None:
            self._roots.setdefault(trace_id, None)
        else:
            other = self._roots.get(trace_id)
            self._roots[trace_id] = root if other is None or other == root else _SEVERAL

    def settle(self, journal: Path) -> int:
        """Give every line of a journal its run; return how many steps have become runs.

        Of several roots in a trace each is a run with the spans below it. Where there is none, the only span whose
        parent is somewhere else is the run if it covers all others. What belongs to no root is a crashed run.
        """
        odd = {trace for trace, root in self._roots.items() if not root}
        if not odd:
            return 0
        runs = {trace: _runs_of(trace, spans) for trace, spans in _known(journal, odd).items()}
        raised, fresh = 0, journal.with_suffix(".settled")
        with journal.open("rb") as lines, fresh.open("wb") as settled:
            for line in lines:
                head = _read_head(line)
                if head.request_id in odd:
                    record = _decode(line)
                    record["request_id"] = run = runs[head.request_id][head.span]
                    if run == head.request_id and head.kind == "step" and runs[run].get(_RAISED) == head.span:
                        record, raised = run_record(record), raised + 1
                    line = _encode(record) + b"\n"
                settled.write(line)
        fresh.replace(journal)
        return raised


# Stands in the runs of a trace for the span that became one.
_RAISED = "\0"


class _Times(msgspec.Struct):
    start: int | None = msgspec.field(default=None, name="causalkit.start_ns")
    end: int | None = msgspec.field(default=None, name="causalkit.end_ns")
    span: str = msgspec.field(default="", name="causalkit.span_id")


class _Head(msgspec.Struct):
    kind: str = ""
    request_id: str = ""
    step_id: str = ""
    parent_id: str | None = None
    latency_ms: float = 0.0
    attributes: _Times = msgspec.field(default_factory=_Times)

    @property
    def span(self) -> str:
        return self.step_id or self.attributes.span


class _Known(NamedTuple):
    parent: str | None
    start: int | None
    end: int
    is_run: bool


_decode_head = msgspec.json.Decoder(_Head).decode


def _read_head(line: bytes) -> _Head:
    try:
        return _decode_head(line)
    except msgspec.ValidationError:
        # A redaction may have left anything there.
        return _Head()


def _known(journal: Path, odd: Container[str]) -> Mapping[str, dict[str, _Known]]:
    known: defaultdict[str, dict[str, _Known]] = defaultdict(dict)
    with journal.open("rb") as lines:
        for line in lines:
            head = _read_head(line)
            if head.request_id in odd:
                start, end = head.attributes.start, head.attributes.end
                if end is None:
                    end = (start or 0) + round(head.latency_ms * 1e6)
                known[head.request_id][head.span] = _Known(head.parent_id, start, end, head.kind == "run")
    return known


def _runs_of(trace: str, spans: dict[str, _Known]) -> dict[str, str]:
    """Return the run of each span."""
    if any(known.is_run for known in spans.values()):
        found = {span: f"{trace}:{span}" for span, known in spans.items() if known.is_run}
        for span in spans:
            way, above = [], span
            while above in spans and above not in found:
                found[above] = trace
                way.append(above)
                above = spans[above].parent or ""
            found |= dict.fromkeys(way, found.get(above, trace))
        return found
    found = dict.fromkeys(spans, trace)
    tops = [span for span, known in spans.items() if known.parent is not None and known.parent not in spans]
    if len(tops) == 1 and _covers(spans[tops[0]], spans):
        found[_RAISED] = tops[0]
    return found


def _covers(top: _Known, spans: Mapping[str, _Known]) -> bool:
    timed = [known for known in spans.values() if known.start is not None and known is not top]
    return all(top.start is not None and top.start <= known.start and known.end <= top.end for known in timed)  # type: ignore[operator]
