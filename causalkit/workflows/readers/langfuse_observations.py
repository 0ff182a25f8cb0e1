"""An observation of Langfuse as a span: its times, level, tokens and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causalkit.workflows.readers.langfuse_fields import from_metadata, kept, number
from causalkit.workflows.readers.span_records import text_of
from causalkit.workflows.readers.spans import Span
from causalkit.workflows.readers.tabular import nanoseconds

_OWN = {"id", "traceId", "parentObservationId", "name", "startTime", "endTime", "input", "output", "metadata"}
_NAMED = {"TOOL": "gen_ai.tool.name", "AGENT": "gen_ai.agent.name"}
_CACHED, _REASONING = "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.reasoning.output_tokens"
# Where each sum stands, the recorded ones first; the last ones are in `usage`.
_SUMS = {
    "gen_ai.usage.input_tokens": ("input", ("inputUsage", "promptTokens"), ("input", "promptTokens")),
    "gen_ai.usage.output_tokens": ("output", ("outputUsage", "completionTokens"), ("output", "completionTokens")),
}


def observation_span(told: Mapping[str, Any]) -> Span:
    """Return the span of an observation (`fields_of` its row).

    Raises
    ------
    TypeError
        If it has no id.

    Examples
    --------
    >>> times = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:01Z"}
    >>> told = {"id": "b", "traceId": "a", "name": "chat", "usageDetails": {"input": 3, "output": 4}, **times}
    >>> observation_span(told).attributes["gen_ai.usage.output_tokens"]
    4
    """
    if not isinstance(told.get("id"), str | int):
        raise TypeError("an observation without an id")
    kind, name = str(told.get("type", "")).upper(), text_of(told.get("name"))
    attributes = {**kept(told, _OWN), **tokens(told), **from_metadata(told.get("metadata"))}
    attributes |= {f"causalkit.{part}": told[part] for part in ("input", "output") if part in told}
    cost = cost_usd(told)
    if cost is not None:
        attributes["causalkit.cost_usd"] = cost
    if kind in _NAMED and name:
        attributes[_NAMED[kind]] = name
    if kind == "RETRIEVER" and isinstance(told.get("output"), list):
        attributes["causalkit.num_documents"] = len(told["output"])
    times = {part: nanoseconds(told.get(part)) for part in ("startTime", "endTime")}
    notes = [f"{part} {told[part]!r} is no time" for part, time in times.items() if part in told and time is None]
    start, end = (time[0] if time else None for time in times.values())
    failed = told.get("level") == "ERROR"
    return Span(
        trace_id=str(told["traceId"]),
        span_id=str(told["id"]),
        parent_id=text_of(told.get("parentObservationId")) or str(told["traceId"]),
        name=name or kind.lower(),
        start_ns=start,
        # An event is a moment; it is not that it never ended.
        end_ns=start if kind == "EVENT" and end is None else end,
        ok=not failed,
        error={"type": "ERROR", "message": text_of(told.get("statusMessage")), "stack": ""} if failed else None,
        attributes=attributes,
        notes=notes,
    )


def tokens(told: Mapping[str, Any]) -> dict[str, float]:
    """Return what was used, as Langfuse adds it up: whatever has "input" in its name is input.

    Examples
    --------
    >>> tokens({"usageDetails": {"input": 2, "cache_read_input_tokens": 9, "output": 1, "total": 12}})
    {'gen_ai.usage.input_tokens': 11, 'gen_ai.usage.output_tokens': 1, 'gen_ai.usage.cache_read.input_tokens': 9}
    >>> tokens({"usage": {"input": 80, "unit": "CHARACTERS"}})
    {}
    """
    details, old = _numbers(told.get("usageDetails")), told.get("usage")
    old = old if isinstance(old, dict) else {}
    if (told.get("unit") or old.get("unit") or "TOKENS") != "TOKENS":
        return {}
    found: dict[str, float] = {}
    for target, (part, names, old_names) in _SUMS.items():
        recorded = [told.get(name) for name in names] + [old.get(name) for name in old_names]
        sums = [value for value in map(number, recorded) if value is not None]
        parts = [value for name, value in details.items() if part in name]
        if sums or parts:
            found[target] = sums[0] if sums else sum(parts)
    if not details and not any(found.values()):
        # Zeros stand in every row of an observation that used no model.
        return {}
    cached = [value for name, value in details.items() if "cache" in name and not _is_written(name)]
    reasoning = [value for name, value in details.items() if "reasoning" in name]
    found |= {_CACHED: max(cached)} if cached else {}
    return found | ({_REASONING: max(reasoning)} if reasoning else {})


def cost_usd(told: Mapping[str, Any]) -> float | None:
    """Return what it cost, in USD; None where nobody knows.

    Examples
    --------
    >>> cost_usd({"costDetails": {"input": 0.25, "output": 0.5}}), cost_usd({"totalCost": 0})
    (0.75, None)
    """
    details, old = _numbers(told.get("costDetails")), told.get("usage")
    if details:
        return details.get("total", sum(details.values()))
    recorded = [
        told.get("totalCost"),
        told.get("calculatedTotalCost"),
        *([old.get("totalCost")] if isinstance(old, dict) else []),
    ]
    return next((value for value in map(number, recorded) if value), None)


def _numbers(details: Any) -> dict[str, float]:
    told = details.items() if isinstance(details, dict) else ()
    return {name: value for name, value in ((name, number(one)) for name, one in told) if value is not None}


def _is_written(name: str) -> bool:
    return "creat" in name or "writ" in name
