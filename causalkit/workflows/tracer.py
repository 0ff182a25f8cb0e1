"""Record runs as they happen: each step is in the journal the moment it ends."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import msgspec

from causalkit.errors import CausalkitError
from causalkit.raised import describe_error
from causalkit.redaction import mask_secrets
from causalkit.spans import carry_across_threads, current
from causalkit.workflows.open_runs import OpenRun, OpenStep, StepOfCurrentRun
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.run_log import OnError, Redact, RunLog

if TYPE_CHECKING:
    from causalkit.workflows.costs import CostStatsManager

# What a run is told by its caller, also under these names in the state of a workflow.
RUN_KEYS = ("request_id", "question", "mode", "conversation_id", "turn_index")

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Tracer:
    """Record runs and their steps, into a journal or in memory.

    A step knows the step it ran in, also through threads, pools, executors, tasks and generators. A tracer may be used
    by many threads, and after a fork by both processes.

    Parameters
    ----------
    path : path-like, optional
        The journal to append to; without it the runs are kept in memory only.
    router_version : str, optional
        Recorded with every run.
    durability : {"process", "power"}, default "process"
        What a finished step survives: the death of the process, or the loss of power as well.
    rotate_mb : float, optional
        Begin a new file when the journal has this size.
    cost_stats : CostStatsManager, optional
        Counts every run that ends.
    redact : callable, optional
        Takes each record and returns what may be written of it; by default keys, tokens and e-mail addresses are
        masked. None writes everything.
    on_error : callable, optional
        Called with the error and the record when one could not be written. Without it the error is raised where the
        step or run ends, or added as a note to what the workflow itself raised.
    keep_runs : bool, optional
        Keep finished runs in ``.runs``; by default only where there is no journal.

    Examples
    --------
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer", question="why?") as run:
    ...     with run.step("search"):
    ...         pass
    >>> tracer.runs
    [<WorkflowTrace answer ok: 1 steps, ... ms>]

    Functions can be recorded whole:

    >>> @tracer.step("rank")
    ... def rank(hits):
    ...     return sorted(hits)
    >>> @tracer.workflow("answer")
    ... async def answer(question):
    ...     return rank(question.split())
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        router_version: str | None = None,
        durability: Literal["process", "power"] = "process",
        rotate_mb: float | None = None,
        cost_stats: CostStatsManager | None = None,
        redact: Redact | None = mask_secrets,
        on_error: OnError | None = None,
        keep_runs: bool | None = None,
    ) -> None:
        carry_across_threads()
        self.router_version = router_version
        self.log = RunLog(
            path,
            durability=durability,
            rotate_mb=rotate_mb,
            cost_stats=cost_stats,
            redact=redact,
            on_error=on_error,
            keep_runs=path is None if keep_runs is None else keep_runs,
        )
        self.sequence = itertools.count(1)
        self._explicit: dict[str, OpenStep] = {}

    @property
    def runs(self) -> list[WorkflowTrace]:
        """The finished runs that are kept in memory."""
        return self.log.runs

    def workflow(
        self,
        workflow_name: str,
        /,
        *,
        request_id: str | None = None,
        question: str = "",
        mode: str = "default",
        conversation_id: str | None = None,
        turn_index: int = 0,
        knobs: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> OpenRun:
        """Return a run, to be used with ``with``, ``async with``, or as a decorator that records each call.

        Parameters
        ----------
        workflow_name : str
            Which workflow runs.
        request_id : str, optional
            Default: a fresh random id.
        question, mode, conversation_id, turn_index
            Recorded with the run.
        knobs : mapping, optional
            Inputs that were set *at random by design*. Only they make an effect experimental.
        **attributes : Any
            Anything else worth recording. The load of the host, the number of runs under way and a sequence number
            are recorded always, because a busy host alone makes unrelated steps slow together.
        """
        return OpenRun(
            self,
            workflow_name,
            {"knobs": dict(knobs), **attributes} if knobs else attributes,
            request_id=request_id,
            question=question,
            mode=mode,
            conversation_id=conversation_id,
            turn_index=turn_index,
        )

    @overload
    def step(self, step_name: str, /, **attributes: Any) -> OpenStep: ...

    @overload
    def step(self, step_name: _Function, /) -> _Function: ...

    def step(self, step_name: Any, /, **attributes: Any) -> Any:
        """Return a step of the run that is open where it begins; also a decorator, ``@tracer.step`` or with a name.

        Outside all runs of this tracer it does nothing, so that a decorated function can be used anywhere.

        Parameters
        ----------
        step_name : str or callable
            What the step is called; a function that is decorated without a name gives its own.
        **attributes : Any
            Recorded with the step.
        """
        if isinstance(step_name, str):
            return StepOfCurrentRun(self, step_name, attributes)
        return StepOfCurrentRun(self, step_name.__name__, attributes)(step_name)

    def start_step(self, step_name: str, state: Mapping[str, Any] | None = None) -> str:
        """Begin a step by hand and return its id; it lasts until `end_step`.

        It belongs to the run that is open here; where there is none, one begins that `write_workflow_trace` ends, and
        ``request_id``, ``question``, ``mode``, ``conversation_id`` and ``turn_index`` of `state` are recorded with it.
        The step around it is its parent; it is no parent itself, because nothing says which steps lie within it.

        Examples
        --------
        >>> tracer = Tracer()
        >>> step_id = tracer.start_step("search", {"request_id": "r1"})
        >>> tracer.end_step(step_id, {"final_answer": "so"})
        >>> tracer.write_workflow_trace()
        >>> tracer.runs[0].request_id, tracer.runs[0].steps[0].step_name
        ('r1', 'search')
        """
        run = next(self.runs_here(), None) or self._implicit_run(state or {})
        if state is not None:
            run.state = state
        step = OpenStep(run, step_name, {})
        self._explicit[step.step_id] = step
        step.start(current())
        return step.step_id

    def end_step(
        self,
        step_id: str,
        state: Mapping[str, Any] | None = None,
        success: bool = True,
        error: BaseException | str | None = None,
        model_loads: int = 0,
    ) -> None:
        """End a step that `start_step` began.

        Parameters
        ----------
        step_id : str
            What `start_step` returned.
        state : mapping, optional
            The state of the workflow now; the last one is what the quality signals are computed from.
        success : bool, default True
            Whether it succeeded; a step with an error did not.
        error : exception or str, optional
            What went wrong.
        model_loads : int, default 0
            How often a model was loaded.

        Raises
        ------
        CausalkitError
            If no such step is open (``.step_id``, ``.open_steps``).
        """
        ended_ns = perf_counter_ns()
        step = self._explicit.pop(step_id, None)
        if step is None:
            open_steps = {known: step.step_name for known, step in self._explicit.items()}
            names = ", ".join(f"{name!r} ({known})" for known, name in open_steps.items()) or "none"
            raise CausalkitError(
                f"no step {step_id!r} is open, or it was ended before; open are: {names}",
                step_id=step_id,
                open_steps=open_steps,
            )
        if state is not None:
            step.within.state = state
        step.model_loads = model_loads
        described = {"type": "", "message": error, "stack": ""} if isinstance(error, str) else describe_error(error)
        step.finish(ended_ns, success and error is None, described)

    def write_workflow_trace(self, trace: WorkflowTrace | None = None) -> None:
        """End the run that `start_step` began here, or write a given run.

        Parameters
        ----------
        trace : WorkflowTrace, optional
            A run to write. If the run that `start_step` began has its ``request_id``, that one ends, and what `trace`
            leaves empty of steps, timestamp and latency is taken from it.

        Raises
        ------
        CausalkitError
            If no run was begun by `start_step` here, or the given one has no steps and another ``request_id``
            (``.request_id``).
        """
        run = next((run for run in self.runs_here() if run.implicit), None)
        if trace is not None and (run is None or run.request_id != trace.request_id):
            self.log.check_open()
            if run is not None and not trace.steps:
                raise CausalkitError(
                    f"the steps that were begun here belong to run {run.request_id!r}, but the trace is of run "
                    f"{trace.request_id!r}; give start_step a state with this request_id, or the trace its steps",
                    request_id=run.request_id,
                )
            self.log.conclude(trace, {})
        elif run is None:
            raise CausalkitError("start_step began no run here; give the trace to write", request_id=None)
        else:
            done = run.leave(None)
            self.log.conclude(done if trace is None else _filled(trace, done), run.state, run.steps)

    def close(self) -> None:
        """Close the journal; closing twice does no harm, recording afterwards is an error."""
        self.log.close()

    def __enter__(self) -> Tracer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.close()

    def runs_here(self) -> Iterator[OpenRun]:
        """Yield the runs of this tracer that are open here, innermost first."""
        span = current()
        while span is not None:
            if span.open and isinstance(span, OpenRun) and span.tracer is self:
                yield span
            span = span.outer

    def _implicit_run(self, state: Mapping[str, Any]) -> OpenRun:
        told = {key: state[key] for key in RUN_KEYS if state.get(key) is not None}
        run = OpenRun(self, str(state.get("workflow_name") or ""), {}, **told)
        run.implicit = True
        run.enter(None)
        return run


def _filled(trace: WorkflowTrace, run: WorkflowTrace) -> WorkflowTrace:
    latency_ms = run.total_latency_ms if trace.total_latency_ms is None else trace.total_latency_ms
    return msgspec.structs.replace(
        trace,
        steps=trace.steps or run.steps,
        timestamp=trace.timestamp or run.timestamp,
        total_latency_ms=latency_ms,
        attributes={**run.attributes, **trace.attributes},
    )
