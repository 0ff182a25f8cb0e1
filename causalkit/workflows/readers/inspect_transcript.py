"""The transcript of a sample of Inspect AI as the steps of a run.

Blocks (spans, and the steps of older logs), calls of models and tools, commands in a sandbox, subtasks, scores, limits
and errors are steps. What only happened at an instant (a changed state, a log line) is kept under ``inspect.events`` of
the step around it, or of the run.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

from causalkit.workflows.readers.inspect_events import (
    Json,
    error_of_event,
    instant,
    mapping,
    model_attributes,
    name_of,
    times_of,
    tool_attributes,
)
from causalkit.workflows.readers.spans import Span

# Where in an event stands what went in, and what came out.
_IN_AND_OUT = {
    "model": ("input", "output"),
    "tool": ("arguments", "result"),
    "subtask": ("input", "result"),
    "sandbox": ("cmd", "output"),
    "score": ("target", "score"),
}
_STEPS = {*_IN_AND_OUT, "error", "sample_limit"}
_BLOCKS = {"span_begin": 1, "step begin": 1, "span_end": -1, "step end": -1}
# What is said of a step in fields of its own.
_SAID = {"timestamp", "completed", "events"}
_REFERENCE = re.compile(r"(?:attachment|tc)://(\w+)", re.ASCII)
# A text that many calls refer to is written out in each of them; so few bytes could say very much.
_MOST_WRITTEN_OUT = 64_000_000
# Deeper than any message or transcript, and far from where Python's own stack ends.
_DEEPEST = 40


class Transcript:
    """Turns the events of one sample into steps.

    Parameters
    ----------
    run : Span
        The run that they belong to; it gets the events that lie in no step.
    sample : dict
        Its ``attachments`` and ``events_data`` are what events refer to.
    """

    def __init__(self, run: Span, sample: Json) -> None:
        self.steps: list[Span] = []
        self._run = run
        self._attachments = mapping(sample.get("attachments"))
        messages = mapping(sample.get("events_data")).get("messages")
        self._pool = messages if isinstance(messages, list) else []
        self._sizes = [*accumulate((len(str(message)) + 1 for message in self._pool), initial=0)]
        self._left = _MOST_WRITTEN_OUT
        self._ids = {run.span_id}
        self._spans: dict[str, Span] = {}
        self._blocks: list[Span] = []
        self._named: dict[str, list[Span]] = {}

    def take(self, events: Any, around: Span | None = None, depth: int = 0) -> None:
        """Add the steps that a list of events tells of.

        Parameters
        ----------
        events : list of dict
            In their order; what is no event is kept as one that happened.
        around : Span, optional
            The step whose own events they are, as tools and subtasks of older logs have them.
        depth : int, default 0
            How many such steps are around.
        """
        outer, self._blocks, self._named = (self._blocks, self._named), [], {}
        for event in events if isinstance(events, list) else ():
            kind = event.get("event") if isinstance(event, dict) else None
            block = _BLOCKS.get(f"step {event.get('action')}" if kind == "step" else str(kind))
            if block == 1:
                self._begin(event, around)
            elif block == -1 and (step := self._ended(event)):
                _end(step, event)
            elif isinstance(kind, str) and (kind in _STEPS or "completed" in event or "working_time" in event):
                self._happened(kind, event, around, depth)
            else:
                there = self._around(event, around).attributes.setdefault("inspect.events", [])
                there.append(self.written_out(event))
        self._blocks, self._named = outer

    def written_out(self, value: Any, depth: int = 0) -> Any:
        """Return a value with the texts that its references mean, as far as they are known."""
        if isinstance(value, str):
            reference = _REFERENCE.fullmatch(value)
            text = self._attachments.get(reference[1]) if reference else None
            return text if isinstance(text, str) and self._pays(len(text)) else value
        if not self._attachments or depth > _DEEPEST:
            return value
        if isinstance(value, dict):
            return {name: self.written_out(one, depth + 1) for name, one in value.items()}
        return [self.written_out(one, depth + 1) for one in value] if isinstance(value, list) else value

    def _begin(self, event: Json, around: Span | None) -> None:
        if event["event"] == "step":
            step = self._step(None, self._around(event, around).span_id, event)
            self._blocks.append(step)
            self._named.setdefault(_named(event), []).append(step)
        else:
            # The `span_id` of a beginning is the span itself.
            step = self._step(event.get("id"), event.get("parent_id") or (around or self._run).span_id, event)
            self._spans[str(event.get("id"))] = step
        step.start_ns = instant(event.get("timestamp"))
        if event.get("type") == "agent":
            step.attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": step.name}

    def _ended(self, event: Json) -> Span | None:
        if event["event"] == "span_end":
            step = self._spans.get(str(event.get("id")))
            return None if step is None or "inspect.end" in step.attributes else step
        begun = self._named.get(_named(event))
        return begun.pop() if begun else None

    def _happened(self, kind: str, event: Json, around: Span | None, depth: int) -> None:
        place = self._around(event, around)
        # A span that the log does not have stays the parent by name.
        parent = event.get("span_id") if place is self._run else None
        step = self._step(event.get("uuid"), parent or place.span_id, event)
        step.start_ns, step.end_ns, note = times_of(event)
        step.notes += [note] if note else []
        step.error = error_of_event(event)
        step.ok = step.error is None and event.get("failed") is not True
        self._add_in_and_out(step, kind, event)
        more = {"model": model_attributes, "tool": tool_attributes}.get(kind)
        step.attributes |= more(event) if more else {}
        if depth < _DEEPEST:
            self.take(event.get("events"), step, depth + 1)
        else:
            step.attributes["inspect.events"] = event.get("events")

    def _add_in_and_out(self, step: Span, kind: str, event: Json) -> None:
        for name, field in zip(("causalkit.input", "causalkit.output"), _IN_AND_OUT.get(kind, ()), strict=False):
            given = step.attributes.pop(f"inspect.{field}", None)
            if field == "input" and (pooled := self._pooled(event.get("input_refs"))) is not None:
                given = self.written_out(pooled)
                step.attributes.pop("inspect.input_refs")
            if given is not None:
                step.attributes[name] = given

    def _pooled(self, ranges: Any) -> list[Any] | None:
        found: list[Any] = []
        for pair in ranges if isinstance(ranges, list) else [None]:
            if not (isinstance(pair, list) and len(pair) == 2 and all(type(place) is int for place in pair)):
                return None
            first, end = pair
            if not (0 <= first <= end <= len(self._pool) and self._pays(self._sizes[end] - self._sizes[first] + 1)):
                return None
            found += self._pool[first:end]
        return found

    def _pays(self, size: int) -> bool:
        if size > self._left:
            note = "what many events refer to is not written out in all of them; see inspect.attachments"
            self._run.notes += [note] if note not in self._run.notes else []
            return False
        self._left -= size
        return True

    def _step(self, told: Any, parent: Any, event: Json) -> Span:
        span_id = f"event-{len(self._ids)}" if told is None else str(told)
        while span_id in self._ids:
            span_id += f"#{len(self._ids)}"
        self._ids.add(span_id)
        step = Span(
            trace_id=self._run.trace_id,
            span_id=span_id,
            parent_id=str(parent),
            name=name_of(event),
            start_ns=None,
            end_ns=None,
            # What a model was sent and sent back, literally, says in the provider's words what stands in the others.
            attributes={
                f"inspect.{field}": value if field == "call" else self.written_out(value)
                for field, value in event.items()
                if field not in _SAID
            },
        )
        self.steps.append(step)
        return step

    def _around(self, event: Any, around: Span | None) -> Span:
        known = self._spans.get(str(event.get("span_id"))) if isinstance(event, dict) else None
        while self._blocks and "inspect.end" in self._blocks[-1].attributes:
            self._blocks.pop()
        return known or (self._blocks[-1] if self._blocks else around or self._run)


def _named(step: Json) -> str:
    return repr((step.get("type"), step.get("name")))


def _end(step: Span, event: Json) -> None:
    step.end_ns = instant(event.get("timestamp"))
    told = {name: value for name, value in event.items() if step.attributes.get(f"inspect.{name}") != value}
    step.attributes["inspect.end"] = {name: value for name, value in told.items() if name not in _SAID}
