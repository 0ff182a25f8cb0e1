"""What an operator reports: who it is, where it stands, and one event for each thing that happens to a call of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from causalkit.errors import CausalkitError
from causalkit.operators.capture import NOTHING
from causalkit.wording import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causalkit.operators.blocks import OperatorBlock
    from causalkit.operators.open_calls import OpenCall

EventType = Literal["call", "result", "error", "metric"]
EVENT_TYPES: tuple[EventType, ...] = ("call", "result", "error", "metric")
LINK = "causalkit.link"
_CLOSING = ("result", "error")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OperatorMetadata(msgspec.Struct, frozen=True):
    """Who an operator is.

    Attributes
    ----------
    id : str
        Its name among all operators.
    type_hint : str
        What kind of operator it is, such as ``ensemble`` or ``judge``.
    tags : tuple of str
        Whatever else is to be said of it; any iterable of texts is taken.

    Examples
    --------
    >>> OperatorMetadata("knn", "member", tags=["digits"])
    OperatorMetadata(id='knn', type_hint='member', tags=('digits',))
    """

    id: str
    type_hint: str = "operator"
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, text in (("id", self.id), ("type_hint", self.type_hint)):
            if not isinstance(text, str):
                raise CausalkitError(
                    f"the {what} of an operator is a {type(text).__name__}; give a text", **{what: text}
                )
        if type(self.tags) is not tuple:
            tags: Any = self.tags
            told = (tags,) if isinstance(tags, str) or not isinstance(tags, Iterable) else tags
            msgspec.structs.force_setattr(self, "tags", tuple(map(str, told)))


class ExecutionContext(msgspec.Struct, frozen=True, gc=False):
    """Where a call stands: which operator was called, and within which calls.

    Attributes
    ----------
    call_id : str
    metadata : OperatorMetadata
        Who was called.
    stage : str or None
        Its place in the pipeline; that of its caller where it has none of its own.
    run_id : str
        What all calls of one run share: the id of the outermost call, or of the workflow's run around it.
    parent : ExecutionContext or None
        Where its caller stands.
    """

    call_id: str
    metadata: OperatorMetadata
    stage: str | None = None
    run_id: str = ""
    parent: ExecutionContext | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the calls around it, the outermost first."""
        ids = []
        around = self.parent
        while around is not None:
            ids.append(around.call_id)
            around = around.parent
        return tuple(reversed(ids))

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the operator."""
        return self.metadata.tags

    def __repr__(self) -> str:
        return f"<ExecutionContext {self.metadata.id}, stage {self.stage}, {len(self.parents)} calls deep>"

    @staticmethod
    def operator(
        metadata: OperatorMetadata, *, stage: str | None = None, inputs: Mapping[str, Any] | None = None
    ) -> OperatorBlock:
        """Report a block of code as a call of an operator, by ``with`` or ``async with``.

        Parameters
        ----------
        metadata : OperatorMetadata
            Who is called; a text is taken as its id.
        stage : str, optional
            Its place in the pipeline.
        inputs : mapping, optional
            What goes into it.

        Returns
        -------
        OperatorBlock
            Set its ``result`` to what came out; ``call_id`` names the call.

        Examples
        --------
        >>> from causalkit.operators.listening import collect_events
        >>> with collect_events() as events:
        ...     with ExecutionContext.operator(OperatorMetadata("majority", "judge"), stage="judge_1") as call:
        ...         call.result = 3
        >>> [(event.event_type, event.stage, event.data) for event in events]
        [('call', 'judge_1', {'inputs': {}}), ('result', 'judge_1', {'result': 3})]
        """
        from causalkit.operators.blocks import OperatorBlock

        return OperatorBlock(metadata, stage, inputs)

    @staticmethod
    def current() -> ExecutionContext | None:
        """Return where the code that asks stands, or None outside all reported calls.

        Examples
        --------
        >>> ExecutionContext.current()
        """
        from causalkit.operators.open_calls import current_call

        call = current_call()
        return None if call is None else call.context

    @staticmethod
    def link(call_id: str) -> None:
        """Say that the call that is under way works on what another call returned, as a judge on an ensemble's votes.

        Parameters
        ----------
        call_id : str
            The id of the other call. Without a link such a connection is found only where the very object that was
            returned, or a value too special for a coincidence, is passed on.
        """
        from causalkit.operators.open_calls import emit_metric

        emit_metric(LINK, str(call_id))


class OperatorEvent(msgspec.Struct, frozen=True):
    """One thing that happened to a call.

    Attributes
    ----------
    operator_id, operator_type : str
        Who was called.
    event_type : {"call", "result", "error", "metric"}
        Each call is closed by a result or an error.
    call_id : str
        What the events of one call share.
    timestamp : datetime
        UTC.
    stage : str or None
        The operator's place in its pipeline.
    parent_call_id : str or None
        The call, or the step of a workflow, within which it was called.
    duration_ms : float or None
        Milliseconds on the monotonic clock; of a result or an error.
    context : ExecutionContext or None
        The chain of parents, the tags, the run.
    data : dict
        ``inputs`` of a call (and the ``links`` to calls whose very result was passed on), the ``result``; ``type
        message stack`` of an error; ``name value`` of a metric.

    Examples
    --------
    >>> began = datetime(2026, 1, 2, tzinfo=UTC)
    >>> OperatorEvent("knn", "member", "result", "c1", began, duration_ms=2.0, data={"result": 3})
    <OperatorEvent result of knn, 2.00 ms: {'result': 3}>
    """

    operator_id: str
    operator_type: str
    event_type: EventType
    call_id: str
    timestamp: datetime
    stage: str | None = None
    parent_call_id: str | None = None
    duration_ms: float | None = None
    context: ExecutionContext | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def duration(self) -> timedelta | None:
        """How long the call took; None but for results and errors."""
        return None if self.duration_ms is None else timedelta(milliseconds=self.duration_ms)

    @property
    def run_id(self) -> str:
        """What all calls of one run share."""
        return self.call_id if self.context is None else self.context.run_id

    def __repr__(self) -> str:
        took = "" if self.duration_ms is None else f", {self.duration_ms:.2f} ms"
        return f"<OperatorEvent {self.event_type} of {self.operator_id}{took}: {one_line(self.data, 60)}>"


class Report(msgspec.Struct, gc=False):
    """What an event is made of, once somebody looks at it.

    The garbage collector does not visit it, which costs more than all the rest where millions are kept; a call that has
    ended does not hold those who hold its reports.

    Attributes
    ----------
    call : OpenCall
    event_type : str
    at_ns : int
        On the monotonic clock.
    captured : Any
        The inputs by name, the result, the description of an error, or name, value and role of a metric.
    """

    call: Any
    event_type: EventType
    at_ns: int
    captured: Any


def event_of(report: Report | OperatorEvent) -> OperatorEvent:
    """Return the event that a report stands for; an event as it is."""
    if isinstance(report, OperatorEvent):
        return report
    call, event_type, at_ns = report.call, report.event_type, report.at_ns
    metadata = call.metadata
    return OperatorEvent(
        metadata.id,
        metadata.type_hint,
        event_type,
        call.span_id,
        _EPOCH + timedelta(0, 0, (call.offset_ns + at_ns) // 1000),
        call.stage,
        call.parent_id,
        (at_ns - call.began_ns) / 1e6 if event_type in _CLOSING else None,
        call.context,
        _data(call, event_type, report.captured),
    )


def _data(call: OpenCall, event_type: EventType, captured: Any) -> dict[str, Any]:
    if event_type == "call":
        data = {} if captured is NOTHING else {"inputs": captured}
        return {**data, "links": [*call.links]} if call.links else data
    if event_type == "result":
        return {} if captured is NOTHING else {"result": captured}
    return captured  # type: ignore[no-any-return]


def check_event(event: Any) -> OperatorEvent:
    """Return an event as it is, or raise a `CausalkitError` that says what it is not."""
    if not isinstance(event, OperatorEvent):
        raise CausalkitError(f"a {type(event).__name__} is no event; give an OperatorEvent", given=type(event).__name__)
    if event.event_type not in EVENT_TYPES:
        raise CausalkitError(
            f"there is no event_type {event.event_type!r}; choose one of {', '.join(EVENT_TYPES)}",
            event_type=event.event_type,
        )
    if not isinstance(event.timestamp, datetime) or event.timestamp.tzinfo is None:
        raise CausalkitError(
            f"the timestamp of an event of {event.operator_id!r} has no time zone; give datetime.now(UTC)",
            operator_id=event.operator_id,
        )
    return event
