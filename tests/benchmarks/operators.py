"""What an operator's report costs: while nobody listens, in memory, to a journal; beside OpenTelemetry and ``logging``.

Everything in one process, in turn, CPU time, the least of several repeats. An event is one of two that a call reports,
a span of OpenTelemetry is a whole call. OpenTelemetry (``pip install -e ".[test]"``) is left out where it is not
installed.

    python -m tests.benchmarks.operators [--calls 50000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from causalkit.operators.event_journal import EventJournal, save_events
from causalkit.operators.listening import EventCollector, collect_events
from causalkit.operators.tracing import trace

_EVENTS_A_CALL = 2


def plain(x: int) -> int:
    return x + 1


class Plain:
    def __call__(self, x: int) -> int:
        return x + 1


@trace
class Traced:
    def __call__(self, x: int) -> int:
        return x + 1


traced = trace(plain)


def cpu_ns(called: Callable[[int], object], calls: int, repeats: int, within: Callable[[], Any] = nullcontext) -> float:
    """Return CPU nanoseconds a call, without the loop's own."""
    return max(0.0, least(called, calls, repeats, within) - least(None, calls, repeats, nullcontext))


def least(
    called: Callable[[int], object] | None, calls: int, repeats: int, within: Callable[[], AbstractContextManager[Any]]
) -> float:
    costs = []
    for _ in range(repeats):
        with within():
            begun = time.process_time_ns()
            if called is None:
                for _number in range(calls):
                    pass
            else:
                for number in range(calls):
                    called(number)
            costs.append((time.process_time_ns() - begun) / calls)
    return min(costs)


def while_another_context_listens(calls: int, repeats: int) -> float:
    """Measure in one task while another one collects."""

    async def listen(ready: asyncio.Event, done: asyncio.Event) -> None:
        with collect_events():
            ready.set()
            await done.wait()

    async def measure() -> float:
        ready, done = asyncio.Event(), asyncio.Event()
        listening = asyncio.create_task(listen(ready, done))
        await ready.wait()
        cost = cpu_ns(traced, calls, repeats)
        done.set()
        await listening
        return cost

    return asyncio.run(measure())


def off(calls: int, repeats: int) -> dict[str, float]:
    return {
        "undecorated function": cpu_ns(plain, calls, repeats),
        "traced function, off": cpu_ns(traced, calls, repeats),
        "undecorated class": cpu_ns(Plain(), calls, repeats),
        "traced class, off": cpu_ns(Traced(), calls, repeats),
        "traced, another context listens": while_another_context_listens(calls, repeats),
        "logging.debug, disabled": cpu_ns(lambda x: logging.getLogger("bench").debug("x=%s", x), calls, repeats),
    }


def listening(folder: Path, calls: int, repeats: int) -> dict[str, float]:
    def registered() -> AbstractContextManager[Any]:
        return EventCollector.register(EventJournal(folder / "registered.jsonl"))

    a_call = {
        "collected in memory": cpu_ns(traced, calls, repeats, collect_events),
        "collected, newest 1000": cpu_ns(traced, calls, repeats, lambda: collect_events(limit=1000)),
        "journal of a block": cpu_ns(traced, calls, repeats, lambda: save_events(folder / "saved.jsonl")),
        "journal of the process": cpu_ns(traced, calls, repeats, registered),
    }
    return {f"{name}, an event": cost / _EVENTS_A_CALL for name, cost in a_call.items()}


def log_to_file(folder: Path, calls: int, repeats: int) -> float:
    logger = logging.getLogger("bench.file")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.FileHandler(folder / "log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        return cpu_ns(lambda x: logger.info("x=%s", x), calls, repeats)
    finally:
        logger.removeHandler(handler)
        handler.close()


def spans(folder: Path, calls: int, repeats: int) -> dict[str, float]:
    if not (find_spec("opentelemetry") and find_spec("opentelemetry.exporter.otlp.json.file")):
        return {}
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import NoOpTracerProvider

    def spanned(provider: Any) -> Callable[[int], int]:
        tracer = provider.get_tracer("benchmark")

        def called(x: int) -> int:
            with tracer.start_as_current_span("plain"):
                return plain(x)

        return called

    def exporting(exporter: Any) -> Callable[[int], int]:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return spanned(provider)

    few = max(1, calls // 10)
    return {
        "OpenTelemetry no-op, a span": cpu_ns(spanned(NoOpTracerProvider()), few, repeats),
        "OpenTelemetry in memory, a span": cpu_ns(exporting(InMemorySpanExporter()), few, repeats),
        "OpenTelemetry OTLP-JSON file, a span": cpu_ns(
            exporting(FileSpanExporter(folder / "spans.jsonl")), few, repeats
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    calls, repeats = given.calls, given.repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = off(calls, repeats) | listening(folder, calls, repeats)
        costs["logging.info to a file"] = log_to_file(folder, calls, repeats)
        costs |= spans(folder, calls, repeats)
    undecorated = costs["undecorated function"]
    for what, cost in costs.items():
        print(f"{what:38} {cost:9.0f} ns {cost / undecorated:8.1f}x undecorated")
    more = {kind: costs[f"traced {kind}, off"] - costs[f"undecorated {kind}"] for kind in ("function", "class")}
    print(f"while off a traced function costs {more['function']:.0f} ns more, a traced class {more['class']:.0f} ns")
    ours = {
        "OpenTelemetry no-op, a span": ("off", costs["traced function, off"]),
        "OpenTelemetry in memory, a span": ("a call", costs["collected in memory, an event"] * _EVENTS_A_CALL),
        "OpenTelemetry OTLP-JSON file, a span": ("a call", costs["journal of a block, an event"] * _EVENTS_A_CALL),
        "logging.info to a file": ("an event", costs["journal of a block, an event"]),
    }
    for what, (unit, cost) in ours.items():
        if what in costs:
            print(f"{what} beside {unit} of ours: {costs[what] / cost:.1f}x")


if __name__ == "__main__":
    main()
