"""One span of OTLP/JSON, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causalkit.workflows.readers.otlp_own import MARK, own_span
from causalkit.workflows.readers.otlp_values import CODES, KINDS, hex_id, number_of, plain_attributes
from causalkit.workflows.readers.span_events import error_of
from causalkit.workflows.readers.span_records import text_of
from causalkit.workflows.readers.spans import Span

# What reading something else than a span runs into.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
# Attributes that mean something here; where a file has one of them, it stays with what is OTLP's.
RESERVED = frozenset(
    f"causalkit.{name}" for name in ("start_ns", "end_ns", "trace_id", "span_id", "parent_id", "name", "folded", "otlp")
)
_ERROR = CODES.index("ERROR")
_SIZES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def read_span(told: dict[str, Any], shared: Mapping[str, Any]) -> Span:
    """Return what a span tells.

    Parameters
    ----------
    told : dict
        The span; it is taken apart.
    shared : mapping
        Its resource and scope.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is no span.

    Examples
    --------
    >>> span = read_span({"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "2", "name": "search", "kind": 3}, {})
    >>> span.name, span.parent_id, span.attributes
    ('search', None, {'causalkit.otlp': {'kind': 3}})
    """
    otlp: dict[str, Any] = dict(shared)
    notes: list[str] = []
    take = told.pop
    trace_id, span_id = hex_id(take("traceId"), 16, notes), hex_id(take("spanId"), 8, notes)
    parent = take("parentSpanId", None)
    parent = hex_id(parent, 8, notes) if parent else ""
    start = _nanoseconds("startTimeUnixNano", take("startTimeUnixNano", None), otlp, notes)
    end = _nanoseconds("endTimeUnixNano", take("endTimeUnixNano", None), otlp, notes)
    name, given, status = take("name", ""), take("attributes", None) or (), take("status", None)
    attributes, odd = plain_attributes(given)
    if MARK in attributes:
        return own_span(name, start, attributes)
    if not RESERVED.isdisjoint(attributes):
        attributes, odd = plain_attributes(given, RESERVED)
    if odd:
        otlp["attributes"] = odd
    # What has its default says nothing.
    for field, value in told.items():
        if value:
            otlp[field] = number_of(value, KINDS, "SPAN_KIND_") if field == "kind" else value
    if "links" in otlp:
        otlp["links"] = [_link(link) for link in otlp["links"]]
    failed = False
    if status and (known := _status(status)):
        otlp["status"] = known
        failed = known.get("code") == _ERROR
    if otlp:
        attributes["causalkit.otlp"] = otlp
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent if parent.strip("0") else None,
        name=name if isinstance(name, str) else text_of(name),
        start_ns=start,
        end_ns=end,
        ok=not failed,
        error=_error(otlp) if failed else None,
        attributes=attributes,
        notes=notes,
    )


def _nanoseconds(name: str, value: Any, otlp: dict[str, Any], notes: list[str]) -> int | None:
    # As nearly all are.
    if value.__class__ is str and len(value) == 19 and value.isdecimal():
        return int(value)
    try:
        number = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if 0 <= number < 2**64 and not isinstance(value, bool):
        return number or None
    otlp[name] = value
    notes.append(f"{name} is no number of nanoseconds: {str(value)[:80]}")
    return None


def _status(told: Mapping[str, Any]) -> dict[str, Any]:
    known = {**told, "code": number_of(told.get("code"), CODES, "STATUS_CODE_")}
    return {field: value for field, value in known.items() if value}


def _error(otlp: Mapping[str, Any]) -> dict[str, Any] | None:
    events = [
        {"name": event.get("name"), "attributes": plain_attributes(event.get("attributes") or ())[0]}
        for event in otlp.get("events", ())
    ]
    return error_of(events, otlp["status"].get("message")) or None


def _link(told: Mapping[str, Any]) -> dict[str, Any]:
    ids = {name: hex_id(told[name], size, []) for name, size in _SIZES.items() if told.get(name)}
    return {**told, **ids}
