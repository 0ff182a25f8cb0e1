"""Calls that are under way, from their call event to the result or error that closes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from time import perf_counter_ns, time_ns
from types import FrameType
from typing import Any, Literal

from causalkit.errors import CausalkitError
from causalkit.operators import receivers as listeners
from causalkit.operators.events import EventType, ExecutionContext, OperatorMetadata, Report
from causalkit.operators.receivers import Listening, Receiver, receivers_within
from causalkit.operators.roles import is_ensemble
from causalkit.raised import describe_error
from causalkit.spans import Span, current, draw_bits

# Of these one object may stand for many values.
_SHARED = frozenset((int, float, bool, type(None), str, bytes))
_OUTSIDE = "(outside all operators)"
_MOST_RESULTS = 64
# What ensembles returned, by the id of the object. It is held until their caller has ended (or newer ones come), so
# that no other object can be at its address: who is given it works on that call's result.
_passed_on: dict[int, tuple[Any, str]] = {}
_without_caller: deque[int] = deque()
_holding = threading.RLock()


class OpenCall(Span):
    """A call that is under way.

    Attributes
    ----------
    metadata : OperatorMetadata
        Who was called.
    stage : str or None
        Its place in the pipeline.
    parent : OpenCall or None
        Its caller.
    parent_id : str or None
        The id of its caller, or of the step of a workflow that it was called in.
    links : tuple of str
        Ids of the calls whose very result it was given.
    run_id : str
        What all calls of one run share.
    receivers : tuple of Receiver
        Who listens in its context.
    began_ns : int
        On the monotonic clock.
    offset_ns : int
        From that clock to the time since 1970: one reading of the wall clock a run.
    in_lines : bytes or None
        What the lines of a journal say of it, between the first one and the last.
    """

    __slots__ = (
        "_context", "_results", "began_ns", "in_lines", "links", "metadata", "offset_ns", "parent", "parent_id",
        "receivers", "run_id", "stage",
    )  # fmt: skip

    def __init__(self, metadata: OperatorMetadata, stage: str | None) -> None:
        self.span_id: str = draw_bits(64).to_bytes(8, "big").hex()
        self.within = None
        self.metadata = metadata
        self.stage = stage
        self.in_lines: bytes | None = None

    def start(self, inputs: Mapping[str, Any], frame: FrameType | None) -> bool:
        """Report the call; return False, and be nothing, if nobody listens here.

        Parameters
        ----------
        inputs : mapping
            Names and values of the arguments.
        frame : frame or None
            In which the call runs.
        """
        self.begin(frame)
        at_ns = perf_counter_ns()
        outer = self.outer
        if type(outer) is OpenCall:
            self.parent: OpenCall | None = outer
            self.parent_id: str | None = outer.span_id
            self.run_id: str = outer.run_id
            self.offset_ns: int = outer.offset_ns
            self.receivers: tuple[Receiver, ...] = outer.receivers
            if self.stage is None:
                self.stage = outer.stage
        elif (type(outer) is Listening and outer.outer is None and outer.receivers) or (
            outer is None and listeners.everywhere
        ):
            self.parent = self.parent_id = None
            self.run_id = self.span_id
            self.offset_ns = time_ns() - at_ns
            self.receivers = outer.receivers or () if type(outer) is Listening else ()
        elif not self._find_place(outer):
            self.end()
            return False
        self._results: deque[int] | None = None
        self._context: ExecutionContext | None = None
        self.links = _links(inputs) if _passed_on else ()
        try:
            self.report("call", at_ns, inputs)
        except BaseException as error:
            # Such as KeyboardInterrupt in a listener: what does not begin is nobody's parent.
            self.began_ns = at_ns
            self.raised(error)
            raise
        self.began_ns = perf_counter_ns()
        return True

    def returned(self, result: Any) -> None:
        """Report the result."""
        ended_ns = perf_counter_ns()
        self.end()
        if self._results is not None:
            self._let_go()
        if type(result) not in _SHARED and _is_ensemble(self):
            self._hold(result)
        self.report("result", ended_ns, result)
        # Or the events would hold those who hold them.
        self.receivers = ()

    def raised(self, error: BaseException) -> None:
        """Report the error."""
        ended_ns = perf_counter_ns()
        self.end()
        if self._results is not None:
            self._let_go()
        self.report("error", ended_ns, describe_error(error) or {})
        self.receivers = ()

    def report(
        self, event_type: EventType, at_ns: int, told: Any, receivers: tuple[Receiver, ...] | None = None
    ) -> None:
        """Tell those who listen, each with the values captured as they want them.

        Parameters
        ----------
        event_type : str
        at_ns : int
            On the monotonic clock.
        told : Any
            The inputs by name, the result, the description of an error, or name, value and role of a metric.
        receivers : tuple of Receiver, optional
            Whom to tell; default those who listen.
        """
        if receivers is None:
            receivers = self.receivers
            if listeners.everywhere:
                receivers = (*receivers, *listeners.everywhere)
        for receiver in receivers:
            if receiver.open:
                try:
                    receiver.take(Report(self, event_type, at_ns, receiver.keep[event_type](told)))
                except Exception as error:
                    receiver.failed(error)
                except BaseException:
                    self.report(event_type, at_ns, told, receivers[receivers.index(receiver) + 1 :])
                    raise

    @property
    def context(self) -> ExecutionContext:
        """Where the call stands."""
        if self._context is None:
            parent = None if self.parent is None else self.parent.context
            self._context = ExecutionContext(self.span_id, self.metadata, self.stage, self.run_id, parent)
        return self._context

    def _find_place(self, outer: Span | None) -> bool:
        """Find out what is around; return whether anybody listens."""
        self.receivers = receivers_within(outer)
        if not self.receivers and not listeners.everywhere:
            return False
        self.parent, self.parent_id, self.run_id = _around(outer, self.span_id)
        self.offset_ns = time_ns() - perf_counter_ns()
        if self.stage is None and self.parent is not None:
            self.stage = self.parent.stage
        return True

    def _hold(self, result: Any) -> None:
        with _holding:
            new = id(result) not in _passed_on
            _passed_on[id(result)] = (result, self.span_id)
            around = self.parent
            if around is None or not around.open:
                held = _without_caller
            elif around._results is None:
                held = around._results = deque()
            else:
                held = around._results
            if new:
                held.append(id(result))
            if len(held) > _MOST_RESULTS:
                _passed_on.pop(held.popleft(), None)

    def _let_go(self) -> None:
        with _holding:
            for key in self._results or ():
                _passed_on.pop(key, None)


def current_call() -> OpenCall | None:
    """Return the call that is under way here."""
    span = current()
    while span is not None and not isinstance(span, OpenCall):
        span = span.outer
    return span


def emit_metric(
    name: str,
    value: Any,
    *,
    role: Literal["metric", "knob", "covariate", "input"] = "metric",
) -> None:
    """Report a number or a label about the call that is under way; nothing happens while nobody listens.

    Parameters
    ----------
    name : str
        What was measured, such as ``correct``.
    value : Any
        Captured as results are.
    role : {"metric", "knob", "covariate", "input"}, default "metric"
        What it is to the run: a knob was set at random by design; a covariate was there before the knobs were set; an
        input is a property of what the operators are given, which knobs may have changed; the rest came out of it.

    Raises
    ------
    CausalkitError
        If there is no such role.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> from causalkit.operators.tracing import trace
    >>> @trace
    ... def judge(votes, label):
    ...     emit_metric("correct", votes[0] == label)
    ...     return votes[0]
    >>> with collect_events() as events:
    ...     judge([3, 5], 3)
    3
    >>> events[1].data
    {'name': 'correct', 'value': True}
    """
    if role not in _ROLES:
        raise CausalkitError(f"role is {role!r}; choose one of {', '.join(_ROLES)}", role=role)
    call = current_call()
    if call is None:
        call = OpenCall(OperatorMetadata(_OUTSIDE), None)
        call._context = None
        if not call._find_place(current()):
            return
    report_metric(call, name, value, role)


def report_metric(call: OpenCall, name: str, value: Any, role: str = "metric") -> None:
    """Report a metric of this call; see `emit_metric`."""
    told = {"name": str(name), "value": value}
    call.report("metric", perf_counter_ns(), told if role == "metric" else {**told, "role": role})


_ROLES = ("metric", "knob", "covariate", "input")


def _links(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    found = (_passed_on.get(id(value)) for value in inputs.values())
    return tuple(held[1] for held in found if held is not None)


def _around(span: Span | None, own_id: str) -> tuple[OpenCall | None, str | None, str]:
    """Return the caller, its id or that of a workflow's step between, and the run."""
    step: str | None = None
    run_id: str | None = None
    while span is not None:
        if isinstance(span, OpenCall):
            return span, step or span.span_id, run_id or span.run_id
        step = step or span.span_id
        run_id = run_id or getattr(span.within, "request_id", None)
        span = span.outer
    return None, step, run_id or own_id


def _is_ensemble(call: OpenCall) -> bool:
    return is_ensemble(call.metadata.type_hint, call.stage, call.parent and call.parent.stage)


def _forget_results(on: bool) -> None:
    if not on:
        with _holding:
            _passed_on.clear()
            _without_caller.clear()


listeners.switches.append(_forget_results)
