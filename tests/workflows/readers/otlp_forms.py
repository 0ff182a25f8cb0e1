"""OTLP/JSON in one canonical form, and made by chance; shared by the tests of what reads and writes it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
_KINDS = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
_CODES = ["UNSET", "OK", "ERROR"]
_IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def canonical(documents: list[Json]) -> list[str]:
    """Return the spans of documents, each with its resource and scope, in an order and a form of their own."""
    return sorted(json.dumps(one, sort_keys=True) for document in documents for one in _spans(document))


def _spans(document: Json) -> Iterator[Json]:
    for resource in document["resourceSpans"]:
        for scope in (resource.get("scopeSpans") or []) + (resource.get("instrumentationLibrarySpans") or []):
            for span in scope.get("spans") or []:
                yield {
                    "resource": _plain(resource.get("resource") or {}),
                    "resource_url": resource.get("schemaUrl") or "",
                    "scope": _plain(scope.get("scope") or scope.get("instrumentationLibrary") or {}),
                    "scope_url": scope.get("schemaUrl") or "",
                    **_plain(span),
                }


def _plain(told: Json) -> Json:
    found = {}
    for name, value in told.items():
        if name in _IDS and value:
            value = _hex(value, _IDS[name])
        elif name == "kind":
            value = _number(value, "SPAN_KIND_", _KINDS)
        elif name == "status":
            value = {**value, "code": _number(value.get("code"), "STATUS_CODE_", _CODES)}
            value = {field: one for field, one in value.items() if one}
        elif name == "attributes":
            value = sorted((_attribute(one) for one in value or []), key=json.dumps)
        elif name in ("events", "links"):
            value = [_plain(one) for one in value or []]
        elif name.endswith("UnixNano"):
            value = int(value or 0)
        if value and not (name == "parentSpanId" and not value.strip("0")):
            found[name] = value
    return found


def _attribute(told: Json) -> Json:
    return {"key": told["key"], "value": _value(told.get("value") or {})}


def _value(told: Json) -> Json:
    ((kind, value),) = told.items() if told else [("", "")]
    if kind == "intValue":
        value = int(value)
    elif kind == "doubleValue":
        value = repr(float(value))
    elif kind == "arrayValue":
        value = [_value(one) for one in value.get("values") or []]
    elif kind == "kvlistValue":
        value = sorted((_attribute(one) for one in value.get("values") or []), key=json.dumps)
    return {kind: value}


def _hex(told: str, size: int) -> str:
    if re.fullmatch(rf"[0-9a-fA-F]{{{2 * size}}}", told):
        return told.lower()
    try:
        decoded = base64.b64decode(told, validate=True)
    except ValueError:
        return told
    return decoded.hex() if len(decoded) == size else told


def _number(told: Any, prefix: str, names: list[str]) -> int:
    return names.index(told.removeprefix(prefix)) if isinstance(told, str) else told or 0


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_values = st.recursive(
    st.one_of(
        st.builds(lambda text: {"stringValue": text}, _texts),
        st.builds(lambda one: {"boolValue": one}, st.booleans()),
        st.builds(lambda one: {"intValue": str(one)}, st.integers(-(2**63), 2**63 - 1)),
        st.builds(lambda one: {"doubleValue": one}, st.floats(allow_nan=False, allow_infinity=False)),
        st.sampled_from([{"doubleValue": "NaN"}, {"doubleValue": "-Infinity"}, {"bytesValue": "AAAwOQ=="}, {}]),
    ),
    lambda inner: st.one_of(
        st.builds(lambda values: {"arrayValue": {"values": values}}, st.lists(inner, max_size=3)),
        st.builds(
            lambda values: {"kvlistValue": {"values": [{"key": key, "value": one} for key, one in values]}},
            st.lists(st.tuples(_texts, inner), max_size=3),
        ),
    ),
    max_leaves=6,
)
# Names that mean something to readers, and those that mean something to ours, are among them; some stand there twice.
_names = st.one_of(
    _texts,
    st.sampled_from(["gen_ai.system", "llm.token_count.prompt", "input.value", "session.id", "causalkit.start_ns"]),
    st.sampled_from(["causalkit.knob.depth", "knobs", "causalkit.folded", "traceloop.workflow.name", "causalkit.name"]),
)
_attributes = st.lists(st.builds(lambda key, value: {"key": key, "value": value}, _names, _values), max_size=5)
_times = st.one_of(st.integers(0, 2**64 - 1), st.integers(1_795_215_728_272_615_974, 1_795_215_738_272_615_974))
_span_ids = st.sampled_from([f"{number:016x}" for number in range(1, 7)])
_trace_ids = st.sampled_from([f"{number:032x}" for number in range(1, 4)])
_resources = st.sampled_from([{}, {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}]}])
spans = st.fixed_dictionaries(
    {"traceId": _trace_ids, "spanId": _span_ids, "name": _texts},
    optional={
        "parentSpanId": _span_ids,
        "startTimeUnixNano": _times.map(str),
        "endTimeUnixNano": _times.map(str),
        "attributes": _attributes,
        "kind": st.integers(0, 5),
        "status": st.fixed_dictionaries({}, optional={"code": st.integers(0, 2), "message": _texts}),
        "events": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["exception", "token"]), "timeUnixNano": _times.map(str)},
                optional={"attributes": _attributes},
            ),
            max_size=2,
        ),
        "links": st.lists(st.fixed_dictionaries({"traceId": _trace_ids, "spanId": _span_ids}), max_size=2),
        "flags": st.integers(0, 2**32 - 1),
        "traceState": _texts,
        "droppedAttributesCount": st.integers(0, 9),
        "aFieldOfTomorrow": _texts,
    },
)
documents = st.lists(
    st.tuples(_resources, _resources, spans),
    min_size=1,
    max_size=8,
    unique_by=lambda one: (one[2]["traceId"], one[2]["spanId"]),
).map(
    lambda told: [
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]}
        for resource, scope, span in told
    ]
)
