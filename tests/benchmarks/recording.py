"""What recording costs: a journal beside ``open``, ``json.dumps``, ``close``; a step beside a span of OpenTelemetry.

Everything in one process, in turn, CPU time; OpenTelemetry (``pip install -e ".[test]"``) is left out where it is not
installed.

    python -m tests.benchmarks.recording [--runs 100000]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from causalkit.journal import JournalWriter
from causalkit.workflows.tracer import Tracer

STEPS = ("parse_question", "web_search", "rerank", "compose_answer", "check_answer")
# Steps are traced in runs of this many, so that a run does not grow without end.
_STEPS_A_RUN = 100


def cpu_us(work: Callable[[], object], count: int) -> float:
    """Return CPU microseconds a piece."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / count * 1e6


def steps_of(number: int) -> list[dict[str, Any]]:
    """Return the five steps of a run as records."""
    return [
        {
            "step_id": f"{number:08x}{place:08x}", "step_name": name,
            "start": "2026-11-21T02:08:24.351597Z", "latency_ms": 1.3259, "success": True,
            "attributes": {"tokens": number % 2000, "index": "small", "causalkit.reads": ["question", "terms"]},
        }
        for place, name in enumerate(STEPS)
    ]  # fmt: skip


def run_of(number: int, **more: Any) -> dict[str, Any]:
    """Return a run as a record."""
    return {
        "kind": "run", "request_id": f"r{number}", "workflow_name": "search_qa", "question": "compose two graphs",
        "timestamp": "2026-11-21T02:08:24.351551Z", "success": True, "total_latency_ms": 35.7107,
        "final_answer": "The answer, cut to its beginning. " * 4, "quality_signals": {"citation_count": 1},
        "attributes": {"load_1m": 0.43, "concurrent_runs": 1, "sequence": number}, **more,
    }  # fmt: skip


def whole_runs(count: int) -> Iterable[dict[str, Any]]:
    """Yield runs with their steps inside: a crash loses the steps of the run under way."""
    return (run_of(number, steps=steps_of(number)) for number in range(count))


def step_by_step(count: int) -> Iterable[dict[str, Any]]:
    """Yield each step as it ends, then the run: a crash loses nothing that was finished."""
    for number in range(count):
        for step in steps_of(number):
            yield {"kind": "step", "request_id": f"r{number}", **step}
        yield run_of(number)


def append_all(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with JournalWriter(path) as journal:
        for record in records:
            journal.append(record)


def write_all(path: Path, lines: Iterable[bytes]) -> None:
    with JournalWriter(path) as journal:
        for line in lines:
            journal.write(line)


def open_dump_close(path: Path, records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        with path.open("a") as file:
            file.write(json.dumps({"schema": 1, **record}) + "\n")


def trace(tracer: Tracer, count: int) -> None:
    for _ in range(count // _STEPS_A_RUN):
        with tracer.workflow("answer") as run:
            for _ in range(_STEPS_A_RUN):
                with run.step("search"):
                    pass
        tracer.runs.clear()


def spans(exporter: Any, count: int) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("benchmark")
    for _ in range(count // _STEPS_A_RUN):
        with tracer.start_as_current_span("answer"):
            for _ in range(_STEPS_A_RUN):
                with tracer.start_as_current_span("search"):
                    pass
        if hasattr(exporter, "clear"):
            exporter.clear()


def journals(folder: Path, runs: int) -> None:
    for title, records in (("steps as they end", step_by_step), ("whole runs", whole_runs)):
        made = cpu_us(lambda: sum(1 for _ in records(runs)), runs)  # noqa: B023 - called at once
        theirs = cpu_us(lambda: open_dump_close(folder / "dumped", records(runs)), runs) - made  # noqa: B023
        ours = cpu_us(lambda: append_all(folder / "appended", records(runs)), runs) - made  # noqa: B023
        print(f"{title:18} a run: open, json.dumps, close {theirs:.1f} us, append {ours:.1f} us: {theirs / ours:.1f}x")
        for path in ("dumped", "appended"):
            (folder / path).unlink()
    lines = [json.dumps({"schema": 1, **record}).encode() for record in step_by_step(runs // 10)]
    ready = cpu_us(lambda: write_all(folder / "lines", lines), len(lines))
    print(f"write of an encoded line {ready:.2f} us")


def steps(folder: Path, count: int) -> None:
    ours = {
        "in memory": cpu_us(lambda: trace(Tracer(), count), count),
        "to the journal": cpu_us(lambda: trace(Tracer(folder / "steps.jsonl"), count), count),
    }
    theirs: dict[str, float] = {}
    if find_spec("opentelemetry") and find_spec("opentelemetry.exporter.otlp.json.file"):
        from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        theirs["in memory"] = cpu_us(lambda: spans(InMemorySpanExporter(), count), count)
        theirs["to the journal"] = cpu_us(lambda: spans(FileSpanExporter(folder / "spans.jsonl"), count), count)
    for where, cost in ours.items():
        beside = f"; OpenTelemetry {theirs[where]:6.2f} us: {theirs[where] / cost:.1f}x" if theirs else ""
        print(f"a step {where:15} {cost:6.2f} us{beside}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps(Path(folder), given.runs)
        journals(Path(folder), given.runs)


if __name__ == "__main__":
    main()
