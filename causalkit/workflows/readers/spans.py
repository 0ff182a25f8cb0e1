"""Spans of any tool become runs and steps: a root span is a run, the others are its steps.

They stream into a journal of their own, which is read as any other; so no file has to fit into memory.
"""

from __future__ import annotations

import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from sys import maxsize
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from causalkit.encoding import encode, encode_known
from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.families import Families
from causalkit.workflows.readers.span_records import run_record, step_record

if TYPE_CHECKING:
    from causalkit.workflows.stores import Store
    from causalkit.workflows.traces import Traces

Redact = Callable[[dict[str, Any]], Mapping[str, Any]]


class Span(msgspec.Struct, kw_only=True):
    """One span, as the tool that recorded it tells.

    Attributes
    ----------
    trace_id, span_id, parent_id : str
        As the tool writes them; hex in lower case where they are bytes. No `parent_id`: a root.
    name : str
        What it is called.
    start_ns, end_ns : int or None
        Nanoseconds since 1970, UTC; None where the tool did not say, or the span did not end.
    ok : bool
        Its status.
    error : dict or None
        ``type``, ``message``, ``stack``.
    attributes : dict
        Everything else, under its original names.
    run : dict
        Fields of `WorkflowTrace`, if this turns out a run; its ``attributes`` are added to those of the span.
    notes : list of str
        What could not be read as it was.
    record : dict or None
        The run or step as our own journal has it; where it is given, it alone counts.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    name: str
    start_ns: int | None
    end_ns: int | None
    ok: bool = True
    error: dict[str, Any] | None = None
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    run: dict[str, Any] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)
    record: dict[str, Any] | None = None


def gathered(
    spans: Iterable[Span], *, source: str, damage: Sequence[Damage] = (), redact: Redact | None = None
) -> Traces:
    """Return the runs that spans are, in any order.

    Parameters
    ----------
    spans : iterable of Span
        Read once.
    source : str
        What they were read from, in words.
    damage : sequence of Damage
        What was left out; it is looked at when the spans are through, so that a reader can add to it until then.
    redact : callable, optional
        Takes each record of the journal, which is a dict, and returns what may be kept of it.

    Raises
    ------
    TraceFormatError
        If there is no span.

    Examples
    --------
    >>> root = Span(trace_id="t", span_id="a", name="answer", start_ns=0, end_ns=2_000_000)
    >>> step = Span(trace_id="t", span_id="b", parent_id="a", name="search", start_ns=0, end_ns=1_000_000)
    >>> run = gathered([step, root], source="two spans")[0]
    >>> run, run.steps[0].step_name
    (<WorkflowTrace answer ok: 1 steps, 2.0 ms>, 'search')
    """
    from causalkit.workflows.traces import DamagedJournalWarning, Traces

    folder = tempfile.TemporaryDirectory(prefix="causalkit-")
    try:
        journal, families = Path(folder.name) / "spans.jsonl", Families()
        with journal.open("wb") as lines:
            steps = _write(lines, spans, families, redact)
        if not (steps or families.seen):
            lost = f"; left out: {'; '.join(map(str, damage[:5]))}" if damage else ""
            raise TraceFormatError(f"{source} holds no span{lost}", path=source, damage=tuple(damage))
        steps -= families.settle(journal)
        store = _opened(journal, folder, source, damage, steps)
    except BaseException:
        folder.cleanup()
        raise
    traces = Traces(store, store.runs, store.caveats)
    if damage:
        lost = "; ".join(map(str, damage[:5])) + (" and more" if len(damage) > 5 else "")
        message = f"read {len(traces)} runs and left out {lost}; see .damage"
        warnings.warn(message, DamagedJournalWarning, stacklevel=3)
    return traces


def _write(lines: BinaryIO, spans: Iterable[Span], families: Families, redact: Redact | None) -> int:
    """Write a line for each span; return how many are steps."""
    steps = 0
    for span in spans:
        record = span.record or step_record(span)
        if span.parent_id is None and span.record is None:
            record = run_record(record)
        is_run = record["kind"] == "run"
        families.add(span.trace_id, span.span_id if is_run else None)
        steps += not is_run
        lines.write(_line(record, redact))
    return steps


def _line(record: dict[str, Any], redact: Redact | None) -> bytes:
    if redact is None:
        try:
            line = encode_known(record)
        except Exception:  # whatever it is, the slow way deals with it
            line = b"null"
        # NaN is written as null.
        if b"null" not in line:
            return line + b"\n"
    problems: list[BaseException] = []
    line = encode(record, max_text=maxsize, max_bytes=maxsize, redact=redact, problems=problems)
    if problems:
        raise problems[0]
    return line + b"\n"


def _opened(
    journal: Path, folder: tempfile.TemporaryDirectory[str], source: str, damage: Sequence[Damage], steps: int
) -> Store:
    from causalkit.workflows.journal_tables import open_journals

    # A span that failed under a root that did not is no failure of the run.
    opened = open_journals([journal], source, steps_decide=False)
    again = steps - int(opened.rows(opened.steps.agg(n=opened.steps.count()))[0]["n"])
    twice = (f"{again} spans have the ids of another: of these the last is shown",) if again > 0 else ()
    store = replace(opened, damage=(*damage, *opened.damage), caveats=(*opened.caveats, *twice))
    # What is not held in memory is read from the file as long as the store is used.
    weakref.finalize(store, _release, folder, opened)
    return store


def _release(folder: tempfile.TemporaryDirectory[str], _: Store) -> None:
    folder.cleanup()
