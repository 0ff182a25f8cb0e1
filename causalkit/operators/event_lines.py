"""One operator event, one line of a journal: how it is written, and how it is read.

Almost every event that a traced call reports is a few numbers under the same few names, over and over. Its line is put
together without making the event, and without looking for secrets among the same names again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from causalkit.encoding import encode
from causalkit.journal import SCHEMA
from causalkit.operators.capture import NOTHING
from causalkit.operators.events import EventType, OperatorEvent, Report
from causalkit.redaction import may_hold_secrets

if TYPE_CHECKING:
    from causalkit.operators.open_calls import OpenCall

Redact = Callable[[dict[str, Any]], Mapping[str, Any]]

_MOST_KNOWN = 10_000
# What is longer goes the slow way, where it is seen whether it is nested too deep or has too many digits.
_LONG = 1000
_SHORT = 100
# In these nothing hides: what is looked for when secrets are has letters and signs only.
_DIGITS = b"0123456789."
_AROUND = {
    event_type: (b'{"schema":%d,"kind":"event","event_type":"%b"' % (SCHEMA, event_type.encode()), before, after)
    for event_type, before, after in (
        ("call", b',"data":{"inputs":', b"}}"), ("result", b',"data":{"result":', b"}}"),
        ("error", b',"data":', b"}"), ("metric", b',"data":', b"}"),
    )
}  # fmt: skip


class EventRecord(msgspec.Struct, gc=False):
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
    parent_call_id: str | None = None
    duration_ms: float | None = None
    stage: str | None = None
    tags: tuple[str, ...] = ()
    # The operator around the call, where a step of a workflow stands between the two.
    caller_id: str | None = None
    data: dict[str, Any] = {}


def slow_line(event: OperatorEvent, redact: Redact | None, problems: list[BaseException]) -> bytes:
    """Return the line of any event; an error of `redact` is put among the problems."""
    context, parent_id = event.context, event.parent_call_id
    caller = None if context is None or context.parent is None else context.parent.call_id
    record = {
        "schema": SCHEMA,
        "kind": "event",
        "event_type": event.event_type,
        "operator_id": event.operator_id,
        "operator_type": event.operator_type,
        "call_id": event.call_id,
        "request_id": None if context is None else context.run_id,
        "parent_call_id": parent_id,
        "caller_id": None if caller == parent_id else caller,
        "stage": event.stage,
        "tags": () if context is None else context.tags,
        "timestamp": event.timestamp.astimezone(UTC),
        "duration_ms": event.duration_ms,
        "data": event.data,
    }
    told = {name: value for name, value in record.items() if value not in (None, (), {})}
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
        self._sound: set[bytes] = set()
        self._second = b"", b""

    def line(self, report: Report) -> bytes | None:
        """Return the line of a report, or None if it is not such a one."""
        call, event_type, captured, at_ns = report.call, report.event_type, report.captured, report.at_ns
        try:
            place = call.in_lines
            if place is None:
                place = call.in_lines = _in_lines(call)
            if not place:
                return None
            begin, before, after = _AROUND[event_type]
            if captured is NOTHING:
                before, data, after = b"", b"", b"}"
            else:
                data = _encode(captured)
                # Numbers apart, the same data come again and again.
                known = data.translate(None, _DIGITS) in self._sound
                if not (known or captured is None or self._is_sound(data)):
                    return None
            took = b""
            if event_type == "result" or event_type == "error":
                took = b',"duration_ms":' + _encode((at_ns - call.began_ns) / 1e6)
                # Whoever keeps the call need not keep that as well.
                call.in_lines = None
            now = _encode(call.offset_ns + at_ns)
            since_1970, second = self._second
            if now[:-9] != since_1970:
                since_1970 = now[:-9]
                second = f',"timestamp":"{datetime.fromtimestamp(int(since_1970), UTC):%Y-%m-%dT%H:%M:%S}.'.encode()
                self._second = since_1970, second
            return b"".join((begin, place, second, now[-9:-3], b'Z"', took, before, data, after))
        except Exception:  # whatever it is, the slow way deals with it
            return None

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


def _in_lines(call: OpenCall) -> bytes:
    """Return what all lines of a call say of it; nothing where something has to be masked, or is to be told besides."""
    metadata, parent_id, run_id = call.metadata, call.parent_id, call.run_id
    who, place = _operator_in_lines(metadata.id, metadata.type_hint, metadata.tags, call.stage)
    run = call.span_id if run_id is call.span_id else _run_in_lines(run_id)
    if not who or not run or call.links:
        return b""
    if parent_id is not None:
        if call.parent is None or call.parent.span_id is not parent_id:
            return b""
        place = f',"parent_call_id":"{parent_id}"{place}'
    return f'{who},"call_id":"{call.span_id}","request_id":"{run}"{place}'.encode()


@lru_cache(maxsize=_MOST_KNOWN)
def _operator_in_lines(name: str, kind: str, tags: tuple[str, ...], stage: str | None) -> tuple[str, str]:
    who = _encode({"operator_id": name, "operator_type": kind})
    place = _encode({name: value for name, value in (("stage", stage), ("tags", tags)) if value not in (None, ())})
    if len(who) + len(place) > _LONG or may_hold_secrets(who + place):
        return "", ""
    return f",{who[1:-1].decode()}", f"{',' * (len(place) > 2)}{place[1:-1].decode()}"


@lru_cache(maxsize=_MOST_KNOWN)
def _run_in_lines(run_id: str) -> str:
    text = _encode(run_id)[1:-1]
    return "" if len(text) > _LONG or may_hold_secrets(text) else text.decode()
