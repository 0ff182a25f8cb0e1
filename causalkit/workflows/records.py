"""What is recorded about a run and about each of its steps."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from causalkit.journal import SCHEMA, plain

# Without a time zone an instant is no instant; such a record is refused rather than guessed at.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


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
        ``type``, ``message``, ``stack`` of the exception, and its ``cause``.
    notes : list of str
        What could not be written as it was: NaN, texts that were cut, secrets.
    """

    step_id: str
    parent_id: str | None = None
    step_name: str
    start: Instant
    latency_ms: float
    success: bool
    vram_peak_mb: float | None = None
    model_loads: Count = 0
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    error: dict[str, Any] | None = None
    notes: list[str] = msgspec.field(default_factory=list)


class WorkflowTrace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a workflow with its steps.

    A run is a success if no step failed and the run itself did not raise. A run whose own record never came (its
    process died, or is still at it) has ``crashed=True`` and no `total_latency_ms`.

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
        ``type``, ``message``, ``stack`` of what the run raised, and its ``cause``.
    notes : list of str
        What could not be written as it was: NaN, texts that were cut, secrets.
    extra : dict
        Keys of its record that this version does not know.
    """

    request_id: str
    workflow_name: str = ""
    question: str = ""
    conversation_id: str | None = None
    router_version: str | None = None
    mode: str = "default"
    turn_index: Count = 0
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
    notes: list[str] = msgspec.field(default_factory=list)
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


_TEXTS = {
    *("workflow_name", "question", "conversation_id", "router_version", "mode", "final_answer", "step_name"),
    "parent_id",
}
_RUN_FIELDS = {field.name for field in msgspec.structs.fields(WorkflowTrace)} - {"extra"}
_STEP_FIELDS = {field.name for field in msgspec.structs.fields(StepTrace)}


def read_record(record: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what of a journal record has the types of the format.

    Parameters
    ----------
    record : mapping
        Of any kind.

    Returns
    -------
    record : dict or None
        With the types of the format: ``"12.5"`` is read as 12.5, a time without a zone as UTC. None if the record
        cannot be read as what it says it is; records of other kinds come back as they are.
    refused : list of str
        Why it, or which of its steps, was left out.

    Examples
    --------
    >>> read_record({"kind": "run", "request_id": 7, "success": True, "total_latency_ms": "12.5"})
    ({'kind': 'run', 'request_id': '7', 'success': True, 'total_latency_ms': 12.5, 'steps': []}, [])
    >>> read_record({"kind": "run", "request_id": "b"})
    (None, ['run b: Object missing required field `success`'])
    """
    kind, name = record.get("kind"), f"{record.get('kind')} {record.get('request_id', 'without a request_id')}"
    if kind not in ("run", "step", "start"):
        return dict(record), []
    try:
        told: dict[str, Any] = {"request_id": _text(record.get("request_id"))}
        if kind == "step":
            return {**record, **told, **_step(record)}, []
        steps, refused = _steps(record.get("steps") or (), name)
        ended = {} if kind == "run" else {"success": False}
        head = _convert({**record, **told, **ended}, _RUN_FIELDS - {"steps"}, WorkflowTrace, "timestamp")
    except msgspec.ValidationError as error:
        return None, [f"{name}: {error}"]
    return {**record, **head, "steps": steps}, refused


def _steps(steps: Iterable[Any], run: str) -> tuple[list[dict[str, Any]], list[str]]:
    good: list[dict[str, Any]] = []
    refused: list[str] = []
    for number, step in enumerate(msgspec.convert(steps, list[dict[str, Any] | None]), start=1):
        try:
            # Without an id it is known by its place.
            good.append(_step({**(told := step or {}), "step_id": told.get("step_id") or number}))
        except msgspec.ValidationError as error:
            refused.append(f"step {number} of {run}: {error}")
    return good, refused


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    return _convert({**step, "step_id": _text(step.get("step_id"))}, _STEP_FIELDS, StepTrace, "start")


def _convert(record: Mapping[str, Any], names: Container[str], kind: type[Any], time: str) -> dict[str, Any]:
    # Null stands for "at its default", as other writers have it.
    known = {name: value for name, value in record.items() if name in names and value is not None}
    with suppress(TypeError, ValueError):
        known[time] = (told := datetime.fromisoformat(known.get(time))).replace(tzinfo=told.tzinfo or UTC)  # type: ignore[arg-type]
    for name in _TEXTS & set(known):
        # What should be a text is kept as its JSON.
        if not isinstance(known[name], str):
            known[name] = msgspec.json.encode(known[name]).decode()
    if isinstance(known.get("error"), str):
        known["error"] = {"message": known["error"]}
    converted: dict[str, Any] = msgspec.to_builtins(msgspec.convert(known, kind, strict=False), enc_hook=plain)
    return {name: value for name, value in converted.items() if name in names}


def _text(name: Any) -> str:
    if not isinstance(name, str | int):
        raise msgspec.ValidationError(f"an id is text, not {type(name).__name__}")
    return str(name)
