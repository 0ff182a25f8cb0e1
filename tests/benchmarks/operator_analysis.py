"""What asking a million operator events costs: ``python -m tests.benchmarks.operator_analysis [--runs 33333]``.

CPU seconds of this process, with what the questions need loaded before; the events are made beforehand. Each run is
a pipeline with an ensemble of seven, one of three, and a judge, which reports two metrics.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pandas as pd
import scipy.special

from causalkit.operators.analysis import OperatorAnalysis
from causalkit.operators.events import EventType, ExecutionContext, OperatorEvent, OperatorMetadata

MEMBERS = {"ensemble_1": 7, "ensemble_2": 3}
WHO = {name: OperatorMetadata(name, "member") for name in map(str, range(7))} | {
    name: OperatorMetadata(name, name.partition("_")[0]) for name in (*MEMBERS, "judge_1", "pipeline")
}
numbers = count()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=33_333)
    parser.add_argument("--unlinked", action="store_true", help="leave links out: judges are sought by value, in vain")
    arguments = parser.parse_args()
    rng = random.Random(7)  # noqa: S311 - no secret
    events = [event for _ in range(arguments.runs) for event in run(rng, not arguments.unlinked)]
    print(f"{len(events):,} events, pandas {pd.__version__}, scipy {scipy.__version__}")
    begin = last = time.process_time()
    analysis = OperatorAnalysis(events)
    for name, ask in (
        ("calls put together", lambda: f"{len(analysis):,} calls"),
        ("disagreement", lambda: analysis.ensemble_disagreement().sentence),
        ("accuracy", lambda: analysis.accuracy_distribution().to_string()),
        ("judge", lambda: analysis.judge_accuracy_by_agreement().sentence),
    ):
        print(ask())
        now = time.process_time()
        print(f"{name}: {now - last:.2f} CPU s")
        last = now
    print(f"together: {last - begin:.2f} CPU s (under 3)")


def run(rng: random.Random, linked: bool) -> Iterator[OperatorEvent]:
    """The events of one run, in the order in which they happen."""
    truth = rng.randrange(10)
    pipeline = context("pipeline", None)
    yield event(pipeline, "call", inputs={"image": truth})
    pooled: list[int] = []
    links = []
    for stage, size in MEMBERS.items():
        ensemble = context(stage, pipeline)
        yield event(ensemble, "call", inputs={"image": truth})
        votes = [truth if rng.random() < 0.8 else rng.randrange(10) for _ in range(size)]
        for name, vote in enumerate(votes):
            member = context(str(name), ensemble)
            yield event(member, "call", inputs={"image": truth})
            yield event(member, "result", result=vote)
        yield event(ensemble, "result", result=votes)
        pooled += votes
        links.append(ensemble.call_id)
    judge = context("judge_1", pipeline)
    yield event(judge, "call", inputs={"votes": pooled}, **({"links": links} if linked else {}))
    verdict = max(pooled, key=pooled.count)
    yield event(judge, "metric", name="correct", value=verdict == truth)
    yield event(judge, "metric", name="margin", value=pooled.count(verdict) / len(pooled))
    yield event(judge, "result", result=verdict)
    yield event(pipeline, "result", result=verdict)


def context(name: str, parent: ExecutionContext | None) -> ExecutionContext:
    call_id = f"{next(numbers):016x}"
    stage = parent.stage if parent and name not in (*MEMBERS, "judge_1") else name
    return ExecutionContext(call_id, WHO[name], stage, parent.run_id if parent else call_id, parent)


def event(call: ExecutionContext, kind: EventType, **data: Any) -> OperatorEvent:
    at = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(microseconds=next(numbers))
    parent = call.parent and call.parent.call_id
    took = 0.001 if kind == "result" else None
    who = call.metadata
    return OperatorEvent(who.id, who.type_hint, kind, call.call_id, at, call.stage, parent, took, call, data)


if __name__ == "__main__":
    main()
