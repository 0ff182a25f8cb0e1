"""Record runs as they happen: each step is in the journal the moment it ends."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from causalkit.journal import JournalWriter, plain
from causalkit.spans import new_span_id, open_span
from causalkit.workflows.records import StepTrace, WorkflowTrace

# 0.1 microseconds: below the resolution of what a step does, and shorter lines.
_LATENCY_DECIMALS = 4
_STACK_LIMIT = 20

# Runs under way in this process, whichever tracer records them: they share its cores.
_under_way = 0
_counting = threading.Lock()


@dataclass
class OpenStep:
    """A step that is running; what is put into `attributes` is recorded with it."""

    step_id: str
    step_name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    model_loads: int = 0


@dataclass
class OpenRun:
    """A run that is running; its fields may be set until it ends."""

    request_id: str
    workflow_name: str
    question: str
    started_ns: int
    timestamp: datetime
    tracer: Tracer
    attributes: dict[str, Any] = field(default_factory=dict)
    urls_used: list[str] = field(default_factory=list)
    final_answer: str | None = None
    quality_signals: dict[str, Any] = field(default_factory=dict)
    cost_stats: dict[str, Any] = field(default_factory=dict)
    steps: list[StepTrace] = field(default_factory=list)
    _begun: set[str] = field(default_factory=set)

    @contextmanager
    def step(self, step_name: str, **attributes: Any) -> Iterator[OpenStep]:
        """Record what happens inside the block as one step.

        Parameters
        ----------
        step_name : str
            What the step is called.
        **attributes : Any
            Recorded with the step; more may be added to ``.attributes`` inside the block.

        Yields
        ------
        OpenStep
            The running step.
        """
        step = OpenStep(new_span_id(), step_name, attributes)
        error: BaseException | None = None
        self._begun.add(step.step_id)
        with open_span(step.step_id) as parent_id:
            started_ns = time.perf_counter_ns()
            try:
                yield step
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._end_step(step, parent_id, started_ns, time.perf_counter_ns(), error)

    def _end_step(
        self,
        step: OpenStep,
        parent_id: str | None,
        started_ns: int,
        ended_ns: int,
        error: BaseException | None,
    ) -> None:
        done = StepTrace(
            step_id=step.step_id,
            # The span that is open here may be a step of another run: a run within it is a run of its own.
            parent_id=parent_id if parent_id in self._begun else None,
            step_name=step.step_name,
            # One wall-clock reading a run; within it every start lies on the monotonic clock.
            start=self.timestamp + timedelta(microseconds=(started_ns - self.started_ns) / 1000),
            latency_ms=_milliseconds(started_ns, ended_ns),
            success=error is None,
            model_loads=step.model_loads,
            attributes=step.attributes,
            error=describe_error(error),
        )
        self.steps.append(done)
        self.tracer.write({"kind": "step", "request_id": self.request_id, **msgspec.to_builtins(done, enc_hook=plain)})


class Tracer:
    """Record runs and their steps, into a journal or in memory.

    Parameters
    ----------
    path : path-like, optional
        The journal to append to; without it the runs are kept in memory only.
    router_version : str, optional
        Recorded with every run.

    Examples
    --------
    >>> tracer = Tracer()
    >>> with tracer.workflow("answer", question="why?") as run:
    ...     with run.step("search"):
    ...         pass
    >>> tracer.runs
    [<WorkflowTrace answer ok: 1 steps, ... ms>]
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, router_version: str | None = None) -> None:
        self.router_version = router_version
        self.runs: list[WorkflowTrace] = []
        self._journal = None if path is None else JournalWriter(path)
        self._lock = threading.Lock()
        self._sequence = 0

    @contextmanager
    def workflow(
        self,
        workflow_name: str,
        *,
        request_id: str | None = None,
        question: str = "",
        mode: str = "default",
        conversation_id: str | None = None,
        turn_index: int = 0,
        knobs: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> Iterator[OpenRun]:
        """Record what happens inside the block as one run.

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

        Yields
        ------
        OpenRun
            The run, with ``.step(name)``.
        """
        seen = self._enter({"knobs": dict(knobs)} if knobs else {}, attributes)
        now, started_ns = datetime.now(UTC), time.perf_counter_ns()
        name = new_span_id() if request_id is None else str(request_id)
        run = OpenRun(name, workflow_name, str(question), started_ns, now, self, seen)
        error: BaseException | None = None
        try:
            yield run
        except BaseException as raised:
            error = raised
            raise
        finally:
            latency_ms = _milliseconds(started_ns, time.perf_counter_ns())
            self._leave(run, latency_ms, error, mode, conversation_id, turn_index)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record to the journal, if there is one."""
        if self._journal is not None:
            self._journal.append(record)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _enter(self, knobs: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._sequence += 1
            sequence = self._sequence
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        return {"load_1m": load, "concurrent_runs": _count(+1), "sequence": sequence, **knobs, **attributes}

    def _leave(
        self,
        run: OpenRun,
        latency_ms: float,
        error: BaseException | None,
        mode: str,
        conversation_id: str | None,
        turn_index: int,
    ) -> None:
        done = WorkflowTrace(
            request_id=run.request_id,
            workflow_name=run.workflow_name,
            question=run.question,
            conversation_id=None if conversation_id is None else str(conversation_id),
            router_version=self.router_version,
            mode=mode,
            turn_index=turn_index,
            timestamp=run.timestamp,
            success=error is None and all(step.success for step in run.steps),
            total_latency_ms=latency_ms,
            steps=tuple(run.steps),
            urls_used=run.urls_used,
            final_answer=run.final_answer,
            quality_signals=run.quality_signals,
            cost_stats=run.cost_stats,
            attributes=run.attributes,
            error=describe_error(error),
        )
        _count(-1)
        if self._journal is None:
            self.runs.append(done)
        record = done.to_record()
        # Its steps stand in the journal already, each on a line of its own.
        record.pop("steps", None)
        self.write(record)


def _count(change: int) -> int:
    global _under_way
    with _counting:
        _under_way += change
        return _under_way


def describe_error(error: BaseException | None) -> dict[str, str] | None:
    """Return type, message and a bounded stack (``module:function:line``) of an exception as JSON can hold them.

    Examples
    --------
    >>> describe_error(ValueError("too deep"))
    {'type': 'ValueError', 'message': 'too deep', 'stack': ''}
    """
    if error is None:
        return None
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return {"type": type(error).__name__, "message": str(error), "stack": "\n".join(frames[-_STACK_LIMIT:])}


def _milliseconds(started_ns: int, ended_ns: int) -> float:
    return round((ended_ns - started_ns) / 1e6, _LATENCY_DECIMALS)
