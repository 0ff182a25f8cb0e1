"""Events of made-up pipelines, at times that a test sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from causalkit.operators.events import ExecutionContext, OperatorEvent, OperatorMetadata

ZERO = datetime(2026, 1, 2, tzinfo=UTC)


class Pipeline:
    """Writes events down, one each millisecond; `wait` lets more go by."""

    def __init__(self) -> None:
        self.events: list[OperatorEvent] = []
        self.now_ms = 0
        self.open: list[tuple[ExecutionContext, int]] = []
        self._numbers = iter(range(10**9))

    def begin(self, name: str, kind: str = "function", stage: str | None = None, **data: Any) -> ExecutionContext:
        parent = self.open[-1][0] if self.open else None
        call_id = f"c{next(self._numbers):06d}"
        stage = stage or (parent.stage if parent else None)
        run_id = parent.run_id if parent else call_id
        call = ExecutionContext(call_id, OperatorMetadata(name, kind), stage, run_id, parent)
        self.open.append((call, self.now_ms))
        self._tell(call, "call", data)
        return call

    def end(self, result: Any = None, **error: Any) -> None:
        call, began = self.open.pop()
        told = ("error", error) if error else ("result", {"result": result})
        self._tell(call, *told, duration_ms=float(self.now_ms - began))

    def metric(self, name: str, value: Any) -> None:
        self._tell(self.open[-1][0], "metric", {"name": name, "value": value})

    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @contextmanager
    def call(self, name: str, kind: str = "function", stage: str | None = None, **data: Any) -> Iterator[list[Any]]:
        self.begin(name, kind, stage, **data)
        result: list[Any] = []
        yield result
        self.end(*result)

    def ensemble(self, votes: Iterable[Any], stage: str = "ensemble_1", result: Any = None) -> ExecutionContext:
        call = self.begin(stage, "ensemble", stage)
        for member, vote in enumerate(votes):
            self.begin(f"m{member}", "member")
            self.end(vote)
        self.end(result)
        return call

    def judge(
        self, links: Iterable[str] = (), result: Any = None, correct: Any = None, **inputs: Any
    ) -> ExecutionContext:
        call = self.begin("judge", "judge", "judge_1", links=[*links], inputs=inputs)
        if correct is not None:
            self.metric("correct", correct)
        self.end(result)
        return call

    def _tell(self, call: ExecutionContext, kind: Any, data: dict[str, Any], duration_ms: float | None = None) -> None:
        at = ZERO + timedelta(milliseconds=self.now_ms)
        parent = call.parent and call.parent.call_id
        who = call.metadata
        told = OperatorEvent(who.id, who.type_hint, kind, call.call_id, at, call.stage, parent, duration_ms, call, data)
        self.events.append(told)
        self.now_ms += 1
