"""Runs made by chance, and the ways in which they stand in a journal; shared by the tests of what reads them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from causalkit.workflows import journal_tables
from causalkit.workflows.records import StepTrace, WorkflowTrace

BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
STEPS = ("search", "rerank", "answer")
Record = dict[str, Any]


def some_runs(count: int, seed: int = 0) -> list[WorkflowTrace]:
    """Return runs that differ in everything they may differ in; some failed, some crashed, some without steps."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    return [_run(f"r{number}", number, chance) for number in range(count)]


def _run(request_id: str, number: int, chance: random.Random) -> WorkflowTrace:
    began = BEGIN + timedelta(seconds=600 * number)
    steps = tuple(_step(f"s{place}", place, began, chance) for place in range(chance.randrange(5)))
    crashed = chance.random() < 0.15
    good = not crashed and all(step.success for step in steps) and chance.random() < 0.9
    told = {"tenant": "acme"} if chance.random() < 0.3 else {}
    signals = {"citation_count": chance.randrange(4), "has_search": chance.random() < 0.5, "mine": chance.random()}
    return WorkflowTrace(
        request_id=request_id,
        workflow_name=chance.choice(["qa", "lesson", ""]),
        question=f"why {number}?",
        mode=chance.choice(["default", "chat"]),
        router_version=chance.choice([None, "1", "2"]),
        turn_index=chance.randrange(3),
        timestamp=began,
        success=good,
        crashed=crashed,
        total_latency_ms=None if crashed else round(chance.uniform(50, 500), 4),
        steps=steps,
        quality_signals={} if crashed else signals,
        attributes={"knobs": {"depth": chance.choice([2, 9, 10])}, "release": chance.choice(["a", "b"])},
        extra=told,
    )


def _step(step_id: str, place: int, began: datetime, chance: random.Random) -> StepTrace:
    failed = chance.random() < 0.15
    error = {"type": chance.choice(["KeyError", "OSError"]), "message": "no", "stack": "a:b:1"}
    return StepTrace(
        step_id=step_id,
        parent_id=chance.choice([None, *(f"s{earlier}" for earlier in range(place))]),
        step_name=chance.choice(STEPS),
        start=began + timedelta(microseconds=chance.randrange(50_000) + place),
        latency_ms=round(chance.expovariate(1 / 30), 4),
        success=not failed,
        vram_peak_mb=chance.choice([None, round(chance.uniform(1, 900), 1)]),
        model_loads=chance.randrange(2),
        attributes={"tokens": chance.randrange(3)},
        error=error if failed else None,
    )


def in_order(run: WorkflowTrace) -> WorkflowTrace:
    """Return the run with its steps in the order in which they began."""
    return msgspec.structs.replace(run, steps=tuple(sorted(run.steps, key=lambda step: step.start)))


def run_record(run: WorkflowTrace, **fields: Any) -> Record:
    return {**run.to_record(), **fields}


def lines_of(run: WorkflowTrace) -> list[Record]:
    """Return the records of a run as a tracer writes them; of a crashed one all but the last."""
    whole = run.to_record()
    crashed = whole.pop("crashed", False)
    named = {"schema": 1, "request_id": run.request_id}
    steps = [{**named, "kind": "step", **step} for step in whole.pop("steps", ())]
    ended = ("success", "total_latency_ms", "quality_signals", "error")
    start = {name: value for name, value in whole.items() if name not in ended} | {"kind": "start"}
    return [start, *steps, *([] if crashed else [whole])]


def encoded(*records: Record) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def write(path: Path, *records: Record) -> Path:
    path.write_bytes(encoded(*records))
    return path


def hold_nothing(monkeypatch: Any) -> None:
    """Let every journal count as a large one."""
    monkeypatch.setattr(journal_tables, "_SMALL_BYTES", -1)
