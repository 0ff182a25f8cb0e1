"""The fields of MLflow's traces under the names and in the codings of its versions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers.otlp_values import hex_id
from causalkit.workflows.readers.sources import decoded as read_text

# The same under the names of version 3, 2, and of the DataFrames of both.
TRACE_ID, STATE = ("trace_id", "request_id"), ("state", "status")
BEGAN, TOOK = ("request_time", "timestamp_ms"), ("execution_duration_ms", "execution_time_ms", "execution_duration")
ABOUT = ("trace_metadata", "request_metadata")
_DATA = ("spans", "request", "response")


def parts_of(told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is said about a trace, and its spans and what went into and out of it."""
    whole = cell(told.get("trace"))
    told = whole if isinstance(whole, dict) else told
    info, data = cell(told.get("info", told.get("trace_info"))), cell(told.get("data"))
    if info is None and data is None:
        # A row of search_traces, the info or the spans alone.
        data = {name: cell(told[name]) for name in _DATA if name in told}
        info = {name: cell(value) for name, value in told.items() if name not in (*_DATA, "trace")}
    info, data = info or {}, {"spans": cell(told.get("spans")) or [], **(data or {})}
    if not isinstance(info, dict) or not isinstance(data["spans"], list):
        raise ValueError("its info is no object, or its spans are no list")
    if not data["spans"] and None in (first(info, TRACE_ID), first(info, STATE), first(info, BEGAN)):
        raise ValueError("it has no spans, and not trace_id, state and request_time either")
    return info, data


def cell(value: Any) -> Any:
    """Return what a cell says: an object of MLflow, JSON, or what Python prints for a dict or list."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, list):
        return [cell(one) if hasattr(one, "to_dict") else one for one in value]
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    told = decoded(value)
    if told is value:
        # A question may begin with a bracket too.
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return ast.literal_eval(value)
    return told


def decoded(value: Any) -> Any:
    """Return what a text of JSON says, and anything else as it is."""
    try:
        return read_text(value.encode("utf-8", "replace"), "", "") if isinstance(value, str) else value
    except TraceFormatError:
        return value


def first(told: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return what is told under the first of these names."""
    return next((told[name] for name in names if told.get(name) not in (None, "")), None)


def signals_of(assessments: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what people and judges said of a trace; of one name what was found counts, not what was expected."""
    signals: dict[str, Any] = {}
    for kind in ("expectation", "feedback"):
        for told in assessments:
            said = told.get(kind) or {}
            value = said["value"] if "value" in said else decoded((said.get("serialized_value") or {}).get("value"))
            # What was overridden by a later assessment is no longer valid.
            if value is not None and told.get("valid") is not False:
                signals[str(told.get("assessment_name", told.get("name")))] = value
    return signals


def hex_of(told: Any, size: int, notes: list[str]) -> str:
    """Return an id in hex, as version 3 encodes it by base64 and version 2 writes ``0x`` before it."""
    if not told or not isinstance(told, str):
        raise ValueError(f"an id of it is {told!r}")
    bare = told.removeprefix("tr-").removeprefix("0x")
    return hex_id(bare if bare == told else bare.zfill(2 * size), size, notes)


def pairs_of(told: Any) -> dict[str, Any]:
    """Return a mapping, which the REST interface of version 2 has as a list of keys and values."""
    return {one["key"]: one.get("value") for one in told} if isinstance(told, list) else dict(told or {})
