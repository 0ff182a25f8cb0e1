"""Runs and steps that are under way: what ``tracer.workflow(...)`` and ``run.step(...)`` give."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from time import perf_counter_ns
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from causalkit.errors import CausalkitError
from causalkit.raised import describe_error
from causalkit.spans import Span, new_span_id
from causalkit.workflows.recorded import Recorded
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.vram import Meter, find_meter

if TYPE_CHECKING:
    from causalkit.workflows.tracer import Tracer

# Latencies are kept to 0.1 microseconds: below the resolution of what a step does, and shorter lines.
_LATENCY_NS = 100
_LATENCIES_IN_MS = 10_000

# Runs under way in this process, whichever tracer records them: they share its cores.
_under_way = 0
_counting = threading.Lock()


class OpenStep(Recorded):
    """A step that is running.

    Attributes
    ----------
    step_name : str
        What it is called.
    attributes : dict
        Recorded with it; may be added to until the step ends.
    model_loads : int
        How often a model was loaded; the workflow counts.
    parent_id : str or None
        The id of the step it runs in.
    """

    __slots__ = ("_gauge", "_started_ns", "attributes", "model_loads", "parent_id", "step_name")

    def __init__(self, run: OpenRun | None, step_name: str, attributes: dict[str, Any]) -> None:
        self.span_id: str = new_span_id()
        self.within = run
        self.open = None
        self.step_name = step_name if type(step_name) is str else str(step_name)
        self.attributes = attributes
        self.model_loads = 0

    def __repr__(self) -> str:
        return f"<OpenStep {self.step_name}>"

    @property
    def step_id(self) -> str:
        """The id under which the step is recorded."""
        return self.span_id

    def __enter__(self) -> Self:
        run = self.within
        if self.open is not None or not run.open:
            raise _misused_step(self)
        self.begin(sys._getframe(1))
        self.start(self.outer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        ended_ns = perf_counter_ns()
        self.end()
        self.finish(ended_ns, error is None, None if error is None else describe_error(error), error)

    def anew(self) -> OpenStep:
        """Return another step of the same run and name."""
        return OpenStep(self.within, self.step_name, dict(self.attributes))

    def start(self, outer: Span | None) -> None:
        """Start the clock, in the step that is open around."""
        run = self.within
        if outer is not None and outer.within is not run:
            outer = outer.nearest(run)
        self.parent_id = None if outer is None else outer.span_id
        if run.meter is not None:
            self._gauge = run.meter.begin()
        self._started_ns = perf_counter_ns()

    def finish(
        self, ended_ns: int, success: bool, error: dict[str, Any] | None, raised: BaseException | None = None
    ) -> None:
        """Record the step; `raised` is what is on its way up and must not be hidden."""
        run = self.within
        done = StepTrace(
            step_id=self.span_id,
            parent_id=self.parent_id,
            step_name=self.step_name,
            # One wall-clock reading a run; within it every start lies on the monotonic clock.
            start=run.timestamp + timedelta(0, 0, (self._started_ns - run.started_ns) // 1000),
            latency_ms=(ended_ns - self._started_ns) // _LATENCY_NS / _LATENCIES_IN_MS,
            success=success,
            vram_peak_mb=None if run.meter is None else run.meter.end(self._gauge),
            model_loads=self.model_loads,
            attributes=self.attributes,
            error=error,
        )
        run.steps.append(done)
        if run.log.journaled:
            run.log.step(run.request_id, done, raised)


class StepOfCurrentRun(OpenStep):
    """A step that finds its run where it begins; outside all runs of its tracer nothing is recorded."""

    __slots__ = ("tracer",)

    def __init__(self, tracer: Tracer, step_name: str, attributes: dict[str, Any]) -> None:
        super().__init__(None, step_name, attributes)
        self.tracer = tracer

    def __enter__(self) -> Self:
        if self.open is None:
            self.within = next(self.tracer.runs_here(), None)
        return self if self.within is None else super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        if self.within is not None:
            super().__exit__(kind, error, stack)

    def anew(self) -> StepOfCurrentRun:
        """Return another step of the same name."""
        return StepOfCurrentRun(self.tracer, self.step_name, dict(self.attributes))


class OpenRun(Recorded):
    """A run that is running; its fields may be set until it ends.

    Attributes
    ----------
    request_id, workflow_name, question, mode, conversation_id, turn_index, attributes
        As they were told, and recorded with the run.
    urls_used, final_answer, quality_signals, cost_stats
        What came out of it; signals set here stand beside the computed ones.
    state : mapping
        The final state of the workflow, from which the quality signals are computed.
    steps : list of StepTrace
        The finished ones.
    timestamp : datetime
        When it began.
    """

    __slots__ = (
        "attributes", "conversation_id", "cost_stats", "final_answer", "implicit", "log", "meter", "mode",
        "quality_signals", "question", "request_id", "started_ns", "state", "steps", "timestamp", "tracer",
        "turn_index", "urls_used", "workflow_name",
    )  # fmt: skip

    def __init__(
        self,
        tracer: Tracer,
        workflow_name: str,
        attributes: dict[str, Any],
        *,
        request_id: str | None = None,
        question: str = "",
        mode: str = "default",
        conversation_id: str | None = None,
        turn_index: int = 0,
    ) -> None:
        super().__init__(None, within=self)
        self.tracer = tracer
        self.log = tracer.log
        self.workflow_name = str(workflow_name)
        self.attributes = attributes
        self.request_id = "" if request_id is None else str(request_id)
        self.question = str(question)
        self.mode = str(mode)
        self.conversation_id = None if conversation_id is None else str(conversation_id)
        self.turn_index = turn_index
        self.urls_used: list[str] = []
        self.final_answer: str | None = None
        self.quality_signals: dict[str, Any] = {}
        self.cost_stats: dict[str, Any] = {}
        self.state: Mapping[str, Any] = {}
        self.steps: list[StepTrace] = []
        self.implicit = False
        self.meter: Meter | None = None

    def __repr__(self) -> str:
        return f"<OpenRun {self.workflow_name or '?'}: {len(self.steps)} finished steps>"

    @property
    def router_version(self) -> str | None:
        """What the tracer records with every run."""
        return self.tracer.router_version

    def step(self, step_name: str, /, **attributes: Any) -> OpenStep:
        """Return a step of this run: ``with run.step("search") as step:``.

        Parameters
        ----------
        step_name : str
            What the step is called.
        **attributes : Any
            Recorded with the step; more may be added to ``.attributes`` inside the block.

        Raises
        ------
        CausalkitError
            On entering a step twice, or a step of a run that has not begun or has ended (``.step``, ``.request_id``).
        """
        return OpenStep(self, step_name, attributes)

    def __enter__(self) -> Self:
        self.enter(sys._getframe(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.log.conclude(self.leave(error), self.state, self.steps, error)

    def anew(self) -> OpenRun:
        """Return another run that was told the same."""
        if self.request_id:
            raise CausalkitError(
                f"a decorated function is a new run at each call and cannot have the request_id {self.request_id!r} "
                "each time; leave request_id out",
                request_id=self.request_id,
            )
        return OpenRun(
            self.tracer,
            self.workflow_name,
            dict(self.attributes),
            question=self.question,
            mode=self.mode,
            conversation_id=self.conversation_id,
            turn_index=self.turn_index,
        )

    def enter(self, frame: FrameType | None) -> None:
        """Begin, in the frame of the ``with`` statement if there is one."""
        if self.open is not None:
            raise CausalkitError(
                f"run {self.request_id!r} was entered twice; make a new one with tracer.workflow(...) each time",
                request_id=self.request_id,
            )
        self.log.check_open()
        self.request_id = self.request_id or new_span_id()
        self.meter = find_meter()
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        seen = {"load_1m": load, "concurrent_runs": _count(+1), "sequence": next(self.tracer.sequence)}
        self.attributes = {**seen, **self.attributes}
        self.timestamp, self.started_ns = datetime.now(UTC), perf_counter_ns()
        try:
            self.log.start(self)
        except BaseException:
            _count(-1)
            raise
        self.begin(frame)

    def leave(self, error: BaseException | None) -> WorkflowTrace:
        """End and return what is to be recorded."""
        latency_ms = (perf_counter_ns() - self.started_ns) // _LATENCY_NS / _LATENCIES_IN_MS
        self.end()
        # Or the run would hold itself until the garbage collector comes.
        self.within = None
        _count(-1)
        # Among steps that began in the same microsecond the outer one ended last.
        ended_last_first = self.steps[::-1]
        return WorkflowTrace(
            request_id=self.request_id,
            workflow_name=self.workflow_name,
            question=self.question,
            conversation_id=self.conversation_id,
            router_version=self.router_version,
            mode=self.mode,
            turn_index=self.turn_index,
            timestamp=self.timestamp,
            success=error is None and all(step.success for step in self.steps),
            total_latency_ms=latency_ms,
            steps=tuple(sorted(ended_last_first, key=attrgetter("start"))),
            urls_used=self.urls_used,
            final_answer=self.final_answer,
            quality_signals=self.quality_signals,
            cost_stats=self.cost_stats,
            attributes=self.attributes,
            error=describe_error(error),
        )


def _misused_step(step: OpenStep) -> CausalkitError:
    request_id = step.within.request_id
    if step.open is not None:
        what = f"step {step.step_name!r} was entered twice; make a new one with run.step(...) each time"
    elif step.within.open is None:
        what = f"step {step.step_name!r} began before its run; write 'with tracer.workflow(...) as run:' around it"
    else:
        what = f"step {step.step_name!r} began after its run {request_id!r} had ended; begin it inside the run's block"
    return CausalkitError(what, step=step.step_name, request_id=request_id)


def _count(change: int) -> int:
    global _under_way
    with _counting:
        _under_way += change
        return _under_way


def _after_fork() -> None:
    # A thread that is not in the child may have held it.
    global _counting
    _counting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
