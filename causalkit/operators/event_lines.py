"""One operator event, one line of a journal: how it is written, and how it is read.

Almost every event that a traced call reports is a few numbers under the same few names, over and over. Its line is put
together without making the event, and without looking for secrets among the same names again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from causalkit.encoding import encode
from causalkit.journal import SCHEMA
from causalkit.operators.capture import NOTHING
from causalkit.operators.events import EventType, OperatorEvent, OperatorMetadata, Report
from causalkit.redaction import may_hold_secrets

Redact = Callable[[dict[str, Any]], Mapping[str, Any]]

_MOST_KNOWN = 10_000
# What is longer goes the slow way, where it is seen whether it is nested too deep or has too many digits.
_LONG = 1000
_SHORT = 100
# In these nothing hides: what is looked for when secrets are has letters and signs only.
_DIGITS = b"0123456789."
_OPENED = {
    "call": b',"data":{"inputs":', "result": b',"data":{"result":', "error": b',"data":', "metric": b',"data":',
}  # fmt: skip
_CLOSED = {"call": b"}}", "result": b"}}", "error": b"}", "metric": b"}"}


class EventRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """What a line says of an event; what it does not say is the default."""

    schema: int
    kind: Literal["event"]
    event_type: EventType
    operator_id: str
    operator_type: str
    call_id: str
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    # None for an event without a context.
    request_id: str | None = None
    stage: str | None = None
    parent_call_id: str | None = None
    duration_ms: float | None = None
    tags: tuple[str, ...] = ()
    # The operator around the call, where a step of a workflow stands between the two.
    caller_id: str | None = None
    data: dict[str, Any] = {}


def slow_line(event: OperatorEvent, redact: Redact | None, problems: list[BaseException]) -> bytes:
    """Return the line of any event; an error of `redact` is put among the problems."""
    context, parent_id = event.context, event.parent_call_id
    caller = None if context is None or context.parent is None else context.parent.call_id
    record = EventRecord(
        SCHEMA,
        "event",
        event.event_type,
        event.operator_id,
        event.operator_type,
        event.call_id,
        event.timestamp.astimezone(UTC),
        None if context is None else context.run_id,
        event.stage,
        parent_id,
        event.duration_ms,
        () if context is None else context.tags,
        None if caller == parent_id else caller,
        event.data,
    )
    told = {name: value for name, value in msgspec.structs.asdict(record).items() if value not in (None, (), {})}
    return encode(told, redact=redact, problems=problems)


class QuickLines:
    """Makes the lines of reports in which nothing has to be masked or made plain.

    Parameters
    ----------
    masked : bool
        Whether secrets are to be masked.
    """

    def __init__(self, masked: bool) -> None:
        self._masked = masked
        # By the id of the metadata, which are kept here so that no others can have it.
        self._known: dict[tuple[int, str | None], tuple[OperatorMetadata, bool]] = {}
        self._sound: set[bytes] = set()
        self._second = (0, "")

    def line(self, report: Report) -> bytes | None:
        """Return the line of a report, or None if it is not such a one."""
        call, event_type, captured = report.call, report.event_type, report.captured
        metadata, stage, parent_id, run_id = call.metadata, call.stage, call.parent_id, call.run_id
        try:
            known = self._known.get((id(metadata), stage)) or self._learn(metadata, stage)
            data = b"" if captured is NOTHING else _encode(captured)
            # Numbers apart, the same data come again and again.
            if not known[1]:
                return None
            if data.translate(None, _DIGITS) not in self._sound and captured is not None and not self._is_sound(data):
                return None
            if parent_id is not None and (call.parent is None or call.parent.span_id is not parent_id):
                return None
            if call.links or (run_id is not call.span_id and not _is_clean(run_id)):
                return None
            took = event_type == "result" or event_type == "error"
            at_ns = report.at_ns
            micros = (call.offset_ns + at_ns) // 1000
            second = micros // 1_000_000
            begun, text = self._second
            if second != begun:
                text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                self._second = second, text
            # A text costs half of what the time costs of which JSON would make it.
            timestamp: Any = f"{text}.{str(micros)[-6:]}Z"
            line = _encode(
                EventRecord(
                    SCHEMA,
                    "event",
                    event_type,
                    metadata.id,
                    metadata.type_hint,
                    call.span_id,
                    timestamp,
                    run_id,
                    stage,
                    parent_id,
                    (at_ns - call.began_ns) / 1e6 if took else None,
                    metadata.tags,
                )
            )
        except Exception:  # whatever it is, the slow way deals with it
            return None
        return b"".join((line[:-1], _OPENED[event_type], data, _CLOSED[event_type])) if data else line

    def _learn(self, metadata: OperatorMetadata, stage: str | None) -> tuple[OperatorMetadata, bool]:
        line = _encode((metadata, stage))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        known = metadata, len(line) <= _LONG and not (self._masked and may_hold_secrets(line))
        self._known[id(metadata), stage] = known
        return known

    def _is_sound(self, data: bytes) -> bool:
        # NaN is written as null, and only what was JSON already can hold a line's end.
        form = data.translate(None, _DIGITS)
        if len(data) > _LONG or b"null" in form or b"\n" in form or (self._masked and may_hold_secrets(form)):
            return False
        if len(form) <= _SHORT:
            if len(self._sound) >= _MOST_KNOWN:
                self._sound.clear()
            self._sound.add(form)
        return True


# Without a hook for values that it does not know: to ask those for a text may run any code.
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=_MOST_KNOWN)
def _is_clean(text: str) -> bool:
    """Return whether a text holds no secret."""
    return len(text) <= _LONG and not may_hold_secrets(text.encode())
