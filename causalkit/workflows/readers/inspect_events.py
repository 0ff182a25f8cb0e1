"""What one event of Inspect AI tells: its name, times, error, tokens and model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

_TOKENS = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "input_tokens_cache_read": "gen_ai.usage.cache_read.input_tokens",
    "input_tokens_cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "total_cost": "causalkit.cost_usd",
}
_NAMES = {
    "span_begin": ("name", ""),
    "step": ("name", ""),
    "subtask": ("name", ""),
    "model": ("model", "chat"),
    "tool": ("function", "execute_tool"),
    "sandbox": ("action", "sandbox"),
}
# A call that took longer is none: about thirty years.
_LONGEST_S = 1e9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def usage_attributes(usage: Any) -> Json:
    """Return what is told of tokens and cost, under the names of the GenAI conventions.

    Examples
    --------
    >>> usage_attributes({"input_tokens": 7, "output_tokens": 2, "total_tokens": 9, "total_cost": None})
    {'gen_ai.usage.input_tokens': 7, 'gen_ai.usage.output_tokens': 2}
    """
    told = mapping(usage)
    return {name: told[field] for field, name in _TOKENS.items() if type(told.get(field)) in (int, float)}


def error_of(told: Any, kind: str = "error") -> Json | None:
    """Return an error of Inspect (a text, or a mapping) as type, message and stack; None if there is none.

    Examples
    --------
    >>> error_of({"message": "ValueError('no')", "traceback": "..."})
    {'type': 'ValueError', 'message': "ValueError('no')", 'stack': '...'}
    """
    if not told:
        return None
    known = told if isinstance(told, dict) else {"message": told}
    message = str(known.get("message") or "")
    raised = re.match(r"([A-Za-z_][\w.]*)\(", message)
    named = known.get("type") or (raised[1] if raised else kind)
    return {"type": str(named), "message": message, "stack": str(known.get("traceback") or "")}


def instant(told: Any) -> int | None:
    """Return nanoseconds since 1970 of an ISO 8601 text; without a time zone it is read as UTC.

    Examples
    --------
    >>> instant("1970-01-01T01:00:01.5+01:00"), instant("soon")
    (1500000000, None)
    """
    try:
        read = datetime.fromisoformat(told)
        return (read.replace(tzinfo=read.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
    except (TypeError, ValueError, OverflowError):
        return None


def duration(seconds: Any) -> int | None:
    """Return nanoseconds; None if what is told is no number of seconds."""
    return round(seconds * 1e9) if type(seconds) in (int, float) and 0 <= seconds < _LONGEST_S else None


def name_of(event: Json) -> str:
    """Return what the step of an event is called: steps of one name are one variable of the trace table."""
    kind = str(event.get("event"))
    field, prefix = _NAMES.get(kind, ("", kind))
    return f"{prefix} {event.get(field)}".strip() if field else prefix


def times_of(event: Json) -> tuple[int | None, int | None, str]:
    """Return when a step began and ended, in nanoseconds since 1970, and what is to be said of that."""
    told, end = instant(event.get("timestamp")), instant(event.get("completed"))
    if end is not None or event.get("pending") or event.get("event") not in ("model", "tool", "subtask"):
        return told, end if end is not None or event.get("pending") else told, ""
    # Logs that do not say when a call was completed wrote its event at that moment.
    seconds = (event.get("working_time"), mapping(event.get("output")).get("time"))
    took = next((one for one in map(duration, seconds) if one is not None), None)
    if told is None or took is None:
        return told, told, "how long it took is not told; its time is when it was written down"
    return told - took, told, ""


def error_of_event(event: Json) -> Json | None:
    """Return what went wrong in a step; None if nothing did."""
    told = event.get("error")
    # Models tell the message as a text, and the stack beside it.
    known = told if isinstance(told, dict) else {"message": told, "traceback": event.get("traceback")}
    return error_of(known if told else None, f"{event.get('event')} error")


def model_attributes(event: Json) -> Json:
    """Return the model that was called, and what was spent on it."""
    output = mapping(event.get("output"))
    provider, slash, model = str(event.get("model") or "").partition("/")
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider if slash else None,
        "gen_ai.request.model": model if slash else provider,
        "gen_ai.response.model": output.get("model"),
    }
    # An answer from the cache says what it cost when it was new.
    spent = {} if event.get("cache") == "read" else usage_attributes(output.get("usage"))
    return {name: value for name, value in told.items() if value} | spent


def tool_attributes(event: Json) -> Json:
    """Return the tool that was called."""
    told = {"gen_ai.tool.name": event.get("function"), "gen_ai.tool.call.id": event.get("id")}
    return {"gen_ai.operation.name": "execute_tool"} | {name: value for name, value in told.items() if value}


def text_in(content: Any) -> str:
    """Return the text of a message, or of several, without pictures, reasoning and calls.

    Examples
    --------
    >>> text_in([{"role": "user", "content": [{"type": "text", "text": "why?"}, {"type": "image", "image": "..."}]}])
    'why?'
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return text_in(content.get("content", content.get("text") if content.get("type") == "text" else None))
    return "\n".join(filter(None, map(text_in, content))) if isinstance(content, list) else ""


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a dict as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}
