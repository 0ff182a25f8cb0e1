"""What is recorded about a run and about each of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from causalkit.journal import SCHEMA, plain

# Without a time zone an instant is no instant; such a record is refused rather than guessed at.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class StepTrace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finished step of a run.

    Attributes
    ----------
    step_id, parent_id : str
        Span ids; `parent_id` is None for a step directly under the run.
    step_name : str
        What the step is called; steps of one name are one variable of the trace table.
    start : datetime
        UTC.
    latency_ms : float
        Milliseconds on the monotonic clock, children included.
    success : bool
        False if the step raised.
    vram_peak_mb : float or None
        Peak GPU memory in MB; None where it was not measured.
    model_loads : int
        How often a model was loaded.
    attributes : dict
        Anything JSON; our own names begin with ``causalkit.``.
    error : dict or None
        ``type``, ``message``, ``stack`` of the exception.
    """

    step_id: str
    parent_id: str | None = None
    step_name: str
    start: Instant
    latency_ms: float
    success: bool
    vram_peak_mb: float | None = None
    model_loads: int = 0
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    error: dict[str, Any] | None = None


class WorkflowTrace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a workflow with its steps.

    A run is a success if no step failed and the run itself did not raise. A run whose own record never came (its
    process died) has ``crashed=True`` and no `total_latency_ms`.

    Attributes
    ----------
    request_id, workflow_name, question, conversation_id, router_version, mode, turn_index
        As the caller of the run told them.
    timestamp : datetime or None
        When the run began, with its time zone.
    success, crashed : bool
        How it ended.
    total_latency_ms : float or None
        Milliseconds on the monotonic clock.
    steps : tuple of StepTrace
        In the order in which they began.
    urls_used, final_answer, quality_signals, cost_stats
        What came out of it.
    attributes : dict
        Anything JSON; ``knobs`` are the inputs that were set at random by design.
    error : dict or None
        ``type``, ``message``, ``stack`` of what the run raised.
    extra : dict
        Keys of its record that this version does not know.
    """

    request_id: str
    workflow_name: str = ""
    question: str = ""
    conversation_id: str | None = None
    router_version: str | None = None
    mode: str = "default"
    turn_index: int = 0
    timestamp: Instant | None = None
    success: bool
    total_latency_ms: float | None = None
    steps: tuple[StepTrace, ...] = ()
    urls_used: list[str] = msgspec.field(default_factory=list)
    final_answer: str | None = None
    quality_signals: dict[str, Any] = msgspec.field(default_factory=dict)
    cost_stats: dict[str, Any] = msgspec.field(default_factory=dict)
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    error: dict[str, Any] | None = None
    crashed: bool = False
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        state = "crashed" if self.crashed else "ok" if self.success else "failed"
        latency = "?" if self.total_latency_ms is None else f"{self.total_latency_ms:.1f}"
        return f"<WorkflowTrace {self.workflow_name or '?'} {state}: {len(self.steps)} steps, {latency} ms>"

    def to_record(self) -> dict[str, Any]:
        """Return the run as one journal record, steps inside; fields at their defaults are left out.

        Examples
        --------
        >>> WorkflowTrace(request_id="a", workflow_name="qa", success=True).to_record()["kind"]
        'run'
        """
        fields = msgspec.to_builtins(self, enc_hook=plain)
        fields.pop("extra", None)
        return {"schema": SCHEMA, "kind": "run", **fields, **self.extra}


_RUN_FIELDS = {field.name for field in msgspec.structs.fields(WorkflowTrace)} - {"extra"} | {"schema", "kind"}


def merge_records(records: Iterable[Mapping[str, Any]]) -> tuple[list[WorkflowTrace], list[str]]:
    """Put run and step records together into runs.

    Records of one run are joined by ``request_id``, steps by ``step_id``; the later record wins.

    Parameters
    ----------
    records : iterable of mapping
        Journal records of kind ``run`` and ``step``; other kinds are passed over.

    Returns
    -------
    runs : list of WorkflowTrace
        In the order in which each run was first heard of; a run without a record of its own is marked as crashed.
    refused : list of str
        One reason for each record that has not the types of the format.

    Examples
    --------
    >>> merge_records([{"kind": "run", "request_id": "a", "success": True}, {"kind": "run", "request_id": "b"}])
    ([<WorkflowTrace ? ok: 0 steps, ? ms>], ['record of b: Object missing required field `success`'])
    """
    runs: dict[str, dict[str, Any]] = {}
    steps: dict[str, dict[str, StepTrace]] = {}
    refused: list[str] = []
    for record in records:
        try:
            _take(record, runs, steps)
        except msgspec.ValidationError as error:
            refused.append(f"record of {record.get('request_id', 'an unnamed run')}: {error}")
    merged = [_run(request_id, runs.get(request_id), tuple(parts.values())) for request_id, parts in steps.items()]
    return merged, refused


def _take(record: Mapping[str, Any], runs: dict[str, dict[str, Any]], steps: dict[str, dict[str, StepTrace]]) -> None:
    kind = record.get("kind")
    if kind not in ("run", "step"):
        return
    request_id = msgspec.convert(record.get("request_id"), str)
    taken = msgspec.convert([record] if kind == "step" else record.get("steps", ()), tuple[StepTrace, ...])
    if kind == "run":
        head = {name: value for name, value in record.items() if name in _RUN_FIELDS - {"steps", "schema", "kind"}}
        head["extra"] = {name: value for name, value in record.items() if name not in _RUN_FIELDS}
        runs[request_id] = msgspec.structs.asdict(msgspec.convert(head, WorkflowTrace))
    mine = steps.setdefault(request_id, {})
    mine.update((step.step_id, step) for step in taken)


def _run(request_id: str, head: dict[str, Any] | None, steps: tuple[StepTrace, ...]) -> WorkflowTrace:
    ordered = tuple(sorted(steps, key=lambda step: step.start))
    if head is None:
        return WorkflowTrace(request_id=request_id, steps=ordered, success=False, crashed=True)
    return WorkflowTrace(**{**head, "steps": ordered})
