"""Events, links and status of spans in the form of OTLP/JSON, and the exception among the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from causalkit.workflows.readers.otlp_values import CODES, key_values


def otlp_part(
    events: Sequence[Mapping[str, Any]], links: Iterable[Mapping[str, Any]], code: str, message: str | None
) -> dict[str, Any]:
    """Return the attribute that keeps what OTLP has fields for; none if there is nothing of it.

    Parameters
    ----------
    events : sequence of mapping
        Each with ``name``, ``time_ns`` and ``attributes``.
    links : iterable of mapping
        Each with ``trace_id``, ``span_id`` and ``attributes``.
    code, message : str
        The status: OK, ERROR, or anything else for none.

    Examples
    --------
    >>> otlp_part([{"name": "retry", "time_ns": 7, "attributes": {"n": 2}}], (), "OK", "")["causalkit.otlp"]["events"]
    [{'timeUnixNano': '7', 'name': 'retry', 'attributes': [{'key': 'n', 'value': {'intValue': '2'}}]}]
    """
    status = {"code": CODES.index(code) if code in CODES else 0, "message": message}
    told = {
        "events": [
            _filled({"timeUnixNano": _told(one.get("time_ns")), "name": one.get("name"), **_attributes(one)})
            for one in events
        ],
        "links": [{"traceId": one.get("trace_id"), "spanId": one.get("span_id"), **_attributes(one)} for one in links],
        "status": _filled(status),
    }
    told = _filled(told)
    return {"causalkit.otlp": told} if told else {}


def error_of(events: Iterable[Mapping[str, Any]], message: str | None) -> dict[str, str]:
    """Return the exception that a failed span ended with: the last among its events, else what its status says.

    Examples
    --------
    >>> error_of([], "no such index")
    {'message': 'no such index'}
    """
    names = {"type": "exception.type", "message": "exception.message", "stack": "exception.stacktrace"}
    error = {"message": message} if message else {}
    for event in events:
        told = event.get("attributes") or {}
        if event.get("name") == "exception":
            error = {part: str(told[name]) for part, name in names.items() if told.get(name) is not None}
    return error


def _attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    attributes = told.get("attributes")
    return {"attributes": key_values(attributes)} if attributes else {}


def _filled(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value}


def _told(time_ns: int | None) -> str | None:
    return None if time_ns is None else str(time_ns)
