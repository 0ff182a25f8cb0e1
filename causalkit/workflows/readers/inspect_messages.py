"""What the messages of a sample of Inspect AI prove, where its log has no transcript."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from causalkit.workflows.readers.inspect_events import (
    error_of_event,
    mapping,
    model_attributes,
    name_of,
    tool_attributes,
)
from causalkit.workflows.readers.span_records import step_record
from causalkit.workflows.readers.spans import Span

TIMELESS = "the log does not tell when it was"


def proven_steps(messages: Any, run: Span) -> Iterator[Span]:
    """Yield the calls that messages prove: a model answered, a tool gave a result or an error.

    Parameters
    ----------
    messages : list of dict
        Those of the sample; what an assistant says in the input of the sample was not asked of the model.
    run : Span
        The run that they belong to.
    """
    known = _dicts(messages)
    arguments = {
        str(call.get("id")): call.get("arguments") for message in known for call in _dicts(message.get("tool_calls"))
    }
    for number, message in enumerate(known):
        role, asked = message.get("role"), message.get("tool_call_id")
        if role == "tool":
            event: dict[str, Any] = {
                "event": "tool",
                "id": asked,
                "function": message.get("function"),
                "error": message.get("error"),
            }
            more = tool_attributes(event) | {"causalkit.input": arguments.get(str(asked))}
        elif role == "assistant" and message.get("source") != "input":
            event = {"event": "model", "model": message.get("model") or mapping(run.attributes).get("inspect.model")}
            more = model_attributes(event)
        else:
            continue
        step = Span(
            trace_id=run.trace_id,
            span_id=f"message-{number}",
            parent_id=run.span_id,
            name=name_of(event),
            start_ns=None,
            end_ns=None,
            error=error_of_event(event),
            attributes={**more, "causalkit.output": message.get("content"), "inspect.event": event["event"]},
        )
        # That it came to an end is known, if not when.
        record = step_record(step) | {"success": step.error is None, "notes": [TIMELESS]}
        record.pop("ended")
        step.record = record
        yield step


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
