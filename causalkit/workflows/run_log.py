"""Where a tracer's records go: lines of a journal, cost statistics, runs in memory, and a handler for what fails."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from causalkit.encoding import encode, encode_known
from causalkit.errors import CausalkitError
from causalkit.journal import SCHEMA, JournalWriter
from causalkit.redaction import mask_secrets, may_hold_secrets
from causalkit.workflows.records import StepTrace, WorkflowTrace

if TYPE_CHECKING:
    from causalkit.workflows.costs import CostStatsManager
    from causalkit.workflows.open_runs import OpenRun

Record = dict[str, Any]
Redact = Callable[[Record], Mapping[str, Any]]
OnError = Callable[[Exception, Record], object]

_HEAD = (
    "request_id", "workflow_name", "question", "conversation_id", "router_version", "mode", "turn_index", "timestamp",
    "attributes",
)  # fmt: skip
_RESULT = ("success", "total_latency_ms", "urls_used", "final_answer", "quality_signals", "cost_stats", "error")
_MOST_CLEAN = 10_000
_ALWAYS = ("request_id", "success", "total_latency_ms")


class RunLog:
    """Takes what runs and steps report; the arguments are those of `Tracer`."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        durability: Literal["process", "power"],
        rotate_mb: float | None,
        cost_stats: CostStatsManager | None,
        redact: Redact | None,
        on_error: OnError | None,
        keep_runs: bool,
    ) -> None:
        self.runs: list[WorkflowTrace] = []
        self._journal = None if path is None else JournalWriter(path, durability=durability, rotate_mb=rotate_mb)
        self._cost_stats = cost_stats
        self._redact = redact
        self._on_error = on_error
        self._keep_runs = keep_runs
        self.journaled = path is not None
        self._closed = False
        self._clean: set[str] = set()

    def check_open(self) -> None:
        """Raise a `CausalkitError` if the log is closed."""
        if self._closed:
            raise CausalkitError("this tracer is closed and records nothing any more; make a new Tracer")

    def close(self) -> None:
        """Take nothing any more; closing twice does no harm."""
        self._closed = True
        if self._journal is not None:
            self._journal.close()

    def start(self, run: OpenRun) -> None:
        """Note that a run has begun, so that it is heard of even if its process dies before its first step ends."""
        if self.journaled:
            self._write({"schema": SCHEMA, "kind": "start", **_told(run, _HEAD)}, None)

    def step(self, request_id: str, step: StepTrace, raised: BaseException | None) -> None:
        """Write a finished step; `raised` is on its way up and stays what is raised."""
        record = _with_step({"schema": SCHEMA, "kind": "step", "request_id": request_id}, step)
        # The same few names come again and again; that there is nothing to mask need not be found out each time.
        told = step.attributes or step.error is not None or self._redact is not mask_secrets
        clean = not told and self._is_clean(request_id) and self._is_clean(step.step_name)
        self._write(record, raised, clean=clean)

    def conclude(
        self,
        trace: WorkflowTrace,
        state: Mapping[str, Any],
        in_journal: Iterable[StepTrace] = (),
        raised: BaseException | None = None,
    ) -> None:
        """Compute the signals of a finished run, count its costs, and write it without the steps that are written."""
        problems: list[Exception] = []
        trace = _with_signals(trace, state, problems)
        if self._keep_runs:
            self.runs.append(trace)
        written = {step.step_id for step in in_journal}
        steps = [_with_step({}, step) for step in trace.steps if step.step_id not in written]
        record = {
            **{"schema": SCHEMA, "kind": "run"},
            **_told(trace, _HEAD + _RESULT),
            **({"steps": steps} if steps else {}),
            **trace.extra,
        }
        try:
            if self._cost_stats is not None:
                self._cost_stats.update(trace)
        except Exception as error:
            self._failed(error, record, raised)
        finally:
            # Whatever is wrong with the statistics, the run is written.
            self._write(record, raised)
        for problem in problems:
            self._no_signal(problem, record, raised)

    def _is_clean(self, text: str) -> bool:
        if text in self._clean:
            return True
        try:
            if may_hold_secrets(text.encode()):
                return False
        except UnicodeEncodeError:
            return False
        if len(self._clean) >= _MOST_CLEAN:
            self._clean.clear()
        self._clean.add(text)
        return True

    def _write(self, record: Record, raised: BaseException | None, *, clean: bool = False) -> None:
        try:
            if self._closed:
                self.check_open()
            if clean and self._journal is not None:
                self._journal.write(encode_known(record))
            elif self._journal is not None:
                problems: list[BaseException] = []
                self._journal.write(encode(record, redact=self._redact, problems=problems))
                if problems:
                    raise problems[0]
        except Exception as error:
            self._failed(error, record, raised)

    def _failed(self, error: Exception, record: Record, raised: BaseException | None) -> None:
        try:
            if self._on_error is None:
                raise error
            self._on_error(error, record)
        except Exception as failure:
            if raised is None:
                raise
            raised.add_note(f"and its trace was not recorded whole: {type(failure).__name__}: {failure}")

    def _no_signal(self, problem: Exception, record: Record, raised: BaseException | None) -> None:
        from causalkit.workflows.quality import QualitySignalWarning

        if self._on_error is not None:
            self._failed(problem, record, raised)
        elif raised is None:
            warnings.warn(str(problem), QualitySignalWarning, stacklevel=5)
        else:
            raised.add_note(str(problem))


def _with_signals(trace: WorkflowTrace, state: Mapping[str, Any], problems: list[Exception]) -> WorkflowTrace:
    from causalkit.workflows.quality import compute_signals

    signals = {**compute_signals(trace, state, problems), **trace.quality_signals}
    attributes = trace.attributes
    if problems:
        failed = {getattr(problem, "signal", "?"): str(problem) for problem in problems}
        attributes = {**attributes, "causalkit.signal_errors": failed}
    return msgspec.structs.replace(trace, quality_signals=signals, attributes=attributes)


def _told(source: Any, names: Iterable[str]) -> Record:
    """Return the fields that say something; a reader fills in the defaults."""
    fields = {name: getattr(source, name) for name in names}
    return {
        name: value
        for name, value in fields.items()
        if name in _ALWAYS or (value and not (name == "mode" and value == "default"))
    }


def _with_step(record: Record, step: StepTrace) -> Record:
    record["step_id"] = step.step_id
    if step.parent_id is not None:
        record["parent_id"] = step.parent_id
    record["step_name"] = step.step_name
    record["start"] = step.start
    record["latency_ms"] = step.latency_ms
    record["success"] = step.success
    if step.vram_peak_mb is not None:
        record["vram_peak_mb"] = step.vram_peak_mb
    if step.model_loads:
        record["model_loads"] = step.model_loads
    if step.attributes:
        record["attributes"] = step.attributes
    if step.error is not None:
        record["error"] = step.error
    return record
