"""The fields of Langfuse's rows: one name each for camelCase and snake_case, JSON out of its strings."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from decimal import Decimal
from typing import Any

import msgspec

_NAMES = (
    "traceId startTime endTime completionStartTime parentObservationId statusMessage modelParameters usageDetails "
    "costDetails providedUsageDetails providedCostDetails totalCost inputCost outputCost calculatedTotalCost "
    "calculatedInputCost calculatedOutputCost promptTokens completionTokens totalTokens inputTokens outputTokens "
    "inputUsage outputUsage totalUsage timeToFirstToken promptId promptName promptVersion modelId internalModelId "
    "projectId createdAt updatedAt userId sessionId traceName traceTags traceTimestamp toolCalls toolCallNames "
    "toolDefinitions usagePricingTierId usagePricingTierName inputPrice outputPrice totalPrice observationId dataType "
    "stringValue longStringValue configId queueId executionTraceId authorUserId datasetRunId"
)
_CAMEL = {re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name): name for name in _NAMES.split()}
_CAMEL |= {"providedModelName": "model", "provided_model_name": "model"}
# What is text whatever it looks like.
_TEXTS = {"id", "traceId", "name", "statusMessage", "parentObservationId", "stringValue", "longStringValue", "comment"}

# What is a list of pairs in Parquet.
_MAPS = {"metadata", "usageDetails", "costDetails", "providedUsageDetails", "providedCostDetails", "toolDefinitions"}


def fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row under the names of the API, its JSON decoded; what is null or empty is left out.

    Examples
    --------
    >>> fields_of({"trace_id": "a", "usage_details": '{"input":3}', "output": "", "my_score": 1})
    {'traceId': 'a', 'usageDetails': {'input': 3}, 'my_score': 1}
    """
    told = {_CAMEL.get(name, name): value for name, value in row.items()}
    told = {name: value if name in _TEXTS else _value(value, name in _MAPS) for name, value in told.items()}
    return {name: value for name, value in told.items() if value not in (None, "", [], {})}


def kept(told: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return the fields that have no place of their own, under ``langfuse.``."""
    rest = {f"langfuse.{name}": value for name, value in told.items() if name not in known}
    return rest | ({"langfuse.metadata": told["metadata"]} if "metadata" in told else {})


def from_metadata(metadata: Any) -> dict[str, Any]:
    """Return our own attributes, which Langfuse keeps, as text, among what it was told by OpenTelemetry.

    Examples
    --------
    >>> from_metadata({"attributes": {"causalkit.knob.k": "3", "http.method": "GET"}})
    {'causalkit.knob.k': 3}
    """
    if not isinstance(metadata, dict):
        return {}
    sent = metadata.get("attributes")
    both = {**metadata, **(sent if isinstance(sent, dict) else {})}
    return {name: _decoded(value) for name, value in both.items() if name.startswith("causalkit.")}


def number(value: Any) -> float | None:
    """Return a number, also one in a text; None for what is none.

    Examples
    --------
    >>> number("12"), number(0.5), number("many")
    (12, 0.5, None)
    """
    if isinstance(value, str):
        value = _decoded(value)
    fine = isinstance(value, int | float) and not isinstance(value, bool)
    return value if fine else None


def _value(value: Any, is_map: bool = False) -> Any:
    """Return what a cell says: texts that hold JSON (a list, an object, a text) as that."""
    if isinstance(value, str):
        return _decoded(value) if value[:1] in ("{", "[", '"') else value
    if isinstance(value, Decimal):
        return float(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if is_map and isinstance(value, list) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        return {str(name): _value(one) for name, one in value}
    return value


def _decoded(text: Any) -> Any:
    try:
        return msgspec.json.decode(text) if isinstance(text, str) else text
    except (msgspec.DecodeError, RecursionError):
        return text
