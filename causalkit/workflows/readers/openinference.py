"""Spans as Phoenix hands them out: a DataFrame, the same as Parquet or JSON, or its REST interface's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.plainness import UniqueNames
from causalkit.workflows.readers.rows import any_rows, name_of, needed
from causalkit.workflows.readers.sources import decoded
from causalkit.workflows.readers.span_events import error_of, otlp_part
from causalkit.workflows.readers.spans import Redact, Span, gathered
from causalkit.workflows.readers.tabular import nanoseconds

if TYPE_CHECKING:
    from causalkit.workflows.traces import Traces

_EXPECTED = "spans of Phoenix (a DataFrame, Parquet or JSON with context.span_id, context.trace_id, name, start_time)"
_PREFIX = "attributes."
_KNOWN = {"name", "context", "parent_id", "start_time", "end_time", "attributes", "events", "status_code"}
_KNOWN |= {"status_message", "span_kind", "context.trace_id", "context.span_id"}
# Numbers of seconds, milliseconds, microseconds since 1970 are below; of nanoseconds above.
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))


def read_openinference(source: Any, *, redact: Redact | None = None) -> Traces:
    """Read spans of OpenInference from Phoenix.

    Parameters
    ----------
    source : DataFrame, path-like, iterable of path-like, or dict
        What ``phoenix.client.Client().spans.get_spans_dataframe()`` gives, also as Parquet or JSON (any orientation);
        what ``get_spans()`` or the REST interface gives, as parsed or as a file (JSON or JSON lines, also gzipped).
    redact : callable, optional
        Takes a record and returns what may be kept of it; by default everything is.

    Returns
    -------
    Traces
        Attributes have the flat names of OpenInference (``retrieval.documents.0.document.content``), whatever the
        form they came in.

    Raises
    ------
    TraceFormatError
        If there is no such span.

    Examples
    --------
    >>> span = {"name": "ask", "context": {"trace_id": "a1", "span_id": "b2"}, "span_kind": "CHAIN",
    ...         "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z", "status_code": "OK",
    ...         "attributes": {"input.value": "why?"}}
    >>> read_openinference(span)[0].question
    'why?'
    """
    damage: list[Damage] = []
    spans = needed(_spans(source, damage), source, damage, _EXPECTED)
    return gathered(spans, source=name_of(source), damage=damage, redact=redact)


def _spans(source: Any, damage: list[Damage]) -> Iterator[Span]:
    for row in any_rows(source, _EXPECTED):
        if isinstance(row, Damage):
            damage.append(row)
            continue
        for told in _told_in(row.value):
            try:
                yield _span(told)
            except (ArithmeticError, AttributeError, TypeError, ValueError, TraceFormatError) as error:
                damage.append(Damage(row.path, row.start, row.end, f"no span of Phoenix ({error})"))


def _told_in(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the spans of a JSON object: itself, a page of the REST interface, or a DataFrame in any orientation."""
    data, columns = value.get("data"), value.get("columns")
    if isinstance(data, list):
        names = [str(name) for name in columns] if isinstance(columns, list) else None
        for one in data:
            yield dict(zip(names, one, strict=False)) if names and isinstance(one, list) else one
    elif "name" in value and all(isinstance(cells, dict) for cells in value.values()):
        for place in value["name"]:
            yield {column: cells[place] for column, cells in value.items() if place in cells}
    elif value and not {"context", *_KNOWN} & set(value) and all(isinstance(one, dict) for one in value.values()):
        for place, one in value.items():
            yield {"context.span_id": place, **one}
    else:
        yield value


def _span(told: Mapping[str, Any]) -> Span:
    context, notes = told.get("context") or {}, list[str]()
    code, message = str(told.get("status_code") or "").removeprefix("StatusCode."), told.get("status_message")
    events = [_event(event) for event in _listed(told.get("events"))]
    times = {}
    for edge in ("start_time", "end_time"):
        times[edge] = _instant(told.get(edge))
        if times[edge] is None and told.get(edge) is not None:
            notes.append(f"{edge} is no instant: {told[edge]!r}")
    return Span(
        trace_id=_id(told.get("context.trace_id") or context.get("trace_id"), "trace_id"),
        span_id=_id(told.get("context.span_id") or context.get("span_id"), "span_id"),
        parent_id=str(told.get("parent_id") or "") or None,
        name=str(told.get("name") or ""),
        start_ns=times["start_time"],
        end_ns=times["end_time"],
        ok=code != "ERROR",
        error=error_of(events, message) if code == "ERROR" else None,
        attributes=_attributes(told) | otlp_part(events, (), code, message),
        notes=notes,
    )


def _attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    given = told.get("attributes") or {}
    parts = [given if isinstance(given, Mapping) else decoded(str(given).encode(), "attributes", "a JSON object")]
    parts += [{name.removeprefix(_PREFIX): value} for name, value in told.items() if name.startswith(_PREFIX)]
    names, attributes = UniqueNames(), dict[str, Any]()
    for name, value in chain.from_iterable(_flat(name, value) for part in parts for name, value in part.items()):
        attributes[names.unique(name)] = value
    if told.get("span_kind"):
        attributes.setdefault("openinference.span.kind", told["span_kind"])
    unknown = {name: value for name, value in told.items() if name not in _KNOWN and not name.startswith(_PREFIX)}
    return attributes | {f"phoenix.{name}": value for name, value in unknown.items()}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value under the names that OpenInference gives its parts; what a column of Parquet pads with is None."""
    if isinstance(value, Mapping) and value and not name.endswith("metadata"):
        for part, one in value.items():
            yield from _flat(f"{name}.{part}", one)
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        for number, one in enumerate(value):
            yield from _flat(f"{name}.{number}", one)
    elif isinstance(value, Mapping):
        yield name, {part: one for part, one in value.items() if one is not None}
    elif value is not None:
        yield name, value


def _event(told: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {name: value for name, value in (told.get("attributes") or {}).items() if value is not None}
    return {"name": told.get("name"), "time_ns": _instant(told.get("timestamp")), "attributes": attributes}


def _listed(events: Any) -> list[Any]:
    if isinstance(events, str):
        events = decoded(events.encode(), "events", "a JSON list")
    return list(events or ())


def _instant(told: Any) -> int | None:
    if isinstance(told, int | float) and not isinstance(told, bool):
        return round(told * next((unit for bound, unit in _UNITS if abs(told) < bound), 1))
    found = nanoseconds(told)
    return found[0] if found else None


def _id(told: Any, name: str) -> str:
    if not told or not isinstance(told, str | int):
        raise TypeError(f"its {name} is {told!r}")
    return str(told)
