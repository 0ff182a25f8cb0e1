from __future__ import annotations

import asyncio
import logging
import statistics
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.operators import open_ensembles
from causalkit.operators.agreement import disagreement
from causalkit.operators.alerts import Crossing
from causalkit.operators.events import EventType, ExecutionContext, OperatorEvent, OperatorMetadata
from causalkit.operators.listening import EventCollector
from causalkit.operators.metrics import AccuracyMetric
from causalkit.operators.monitor import OperatorMonitor
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import trace

START = datetime(2026, 1, 2, tzinfo=UTC)


@trace(operator_type="member")
class Member:
    def __init__(self, name: str, shift: int = 0) -> None:
        self.name, self.shift = name, shift

    def __call__(self, label: int) -> int:
        if label < 0:
            raise ValueError(label)
        return label + self.shift


@trace(operator_type="ensemble", stage="ensemble_1")
def panel(label: int, members: list[Member]) -> list[int]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda member: member(label), members))


@trace(stage="judge_1", metrics=[AccuracyMetric("label")])
def judge(votes: list[int], label: int) -> int:
    return max(set(votes), key=votes.count)


@trace(stage="run")
def decide(label: int, shift: int = 0) -> int:
    return judge(panel(label, [Member("a"), Member("b", shift), Member("c", shift)]), label)


def emit(event_type: EventType, call_id: str, parent: str | None = None, **told: Any) -> OperatorEvent:
    """Tell of something that happened at a time of its own."""
    told = {"operator_type": "function", "stage": None, "timestamp": START} | told
    event = OperatorEvent(call_id, event_type=event_type, call_id=call_id, parent_call_id=parent, **told)
    EventCollector.emit(event)
    return event


def finish(num: int = 1, *, failed: bool = False, ms: float = 1.0) -> None:
    for _ in range(num):
        emit("error" if failed else "result", "x", duration_ms=ms)


def test_the_statistics_of_a_pipeline_of_threads_are_known_at_its_end() -> None:
    with OperatorMonitor(window_size=4) as monitor:
        for shift in (0, 1, 1, 0, 0):
            decide(3, shift)
        stats = monitor.get_rolling_stats()
    assert stats["disagreement_rate"] == 0.5
    assert stats["accuracy_by_stage"] == {"judge_1": 0.5}
    assert stats["error_rate"] == 0.0
    assert stats["num_calls"] == 30
    assert stats["num_events"] == 65
    assert stats["open_calls"] == stats["calls_let_go"] == 0
    assert list(stats["latency_by_stage"]) == ["ensemble_1", "judge_1", "run"]
    assert 0 < stats["latency_p50_ms"] <= stats["latency_p95_ms"]
    assert stats["throughput_per_s"] > 0
    assert stats["runs_per_s"] > 0


def test_before_the_first_call_nothing_is_known() -> None:
    stats = OperatorMonitor().get_rolling_stats()
    assert {name: value for name, value in stats.items() if value} == {}
    assert list(stats)[:4] == ["disagreement_rate", "accuracy_by_stage", "latency_p50_ms", "latency_p95_ms"]


def test_a_failed_member_does_not_vote_and_a_failed_ensemble_is_not_counted() -> None:
    with OperatorMonitor() as monitor, pytest.raises(ValueError, match="-1"):
        panel(-1, [Member("a")])
    stats = monitor.get_rolling_stats()
    assert (stats["disagreement_rate"], stats["error_rate"]) == (None, 1.0)


@pytest.mark.parametrize(("measure", "value"), [("non_unanimous", 1.0), ("distinct", 0.5), ("pairwise", 2 / 3)])
def test_the_measure_of_disagreement_is_chosen(measure: str, value: float) -> None:
    with OperatorMonitor(measure=measure) as monitor:
        decide(3, 1)
    assert monitor.get_rolling_stats()["disagreement_rate"] == pytest.approx(value)


def test_equality_is_chosen_and_gets_votes_as_captured() -> None:
    @trace(operator_type="ensemble")
    def texts() -> list[set[int]]:
        return [{1}, {2}]

    with OperatorMonitor(equal=lambda a, b: len(a) == len(b), capture="reference") as monitor:
        texts()
    assert monitor.get_rolling_stats()["disagreement_rate"] == 0.0


def test_an_equality_that_raises_is_reported_once_and_the_rest_is_known(caplog: pytest.LogCaptureFixture) -> None:
    def broken(a: Any, b: Any) -> bool:
        raise ZeroDivisionError

    with OperatorMonitor(equal=broken) as monitor:
        assert [decide(3), decide(3)] == [3, 3]
    stats = monitor.get_rolling_stats()
    assert (stats["disagreement_rate"], stats["accuracy_by_stage"]) == (None, {"judge_1": 1.0})
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_equality_may_wait_for_operators_in_other_threads() -> None:
    def slow(a: int, b: int) -> bool:
        with ThreadPoolExecutor(1) as pool:
            return bool(pool.submit(trace(lambda: a == b)).result(timeout=10))

    with OperatorMonitor(equal=slow) as monitor:
        decide(3, 1)
    assert monitor.get_rolling_stats()["disagreement_rate"] == 1.0


def test_tasks_and_interleaved_ensembles_are_told_apart() -> None:
    @trace(operator_type="member")
    async def member(vote: int) -> int:
        await asyncio.sleep(0)
        return vote

    @trace(operator_type="ensemble")
    async def gathered(vote: int) -> list[int]:
        return await asyncio.gather(*(member(vote) for _ in range(3)))

    async def run() -> None:
        await asyncio.gather(*(gathered(vote) for vote in range(20)))

    with OperatorMonitor() as monitor:
        asyncio.run(run())
    assert monitor.get_rolling_stats()["disagreement_rate"] == 0.0


def test_a_class_has_its_own_call_again_after_stop() -> None:
    written = Member.__call__
    monitor = OperatorMonitor().start()
    assert Member.__call__ is not written
    assert monitor.start() is monitor
    monitor.stop()
    assert Member.__call__ is written
    monitor.stop()
    assert Member.__call__ is written


def test_it_hears_nothing_after_stop_and_goes_on_after_start() -> None:
    monitor, told = OperatorMonitor(), list[bool]()
    monitor.switches.append(told.append)
    for running in (False, True, False, True, False):
        assert monitor.running is running
        decide(3)
        (monitor.stop if running else monitor.start)()
    monitor.stop()
    assert monitor.get_rolling_stats()["num_calls"] == 12
    assert told == [True, False] * 3
    assert repr(monitor) == "<OperatorMonitor not running, window of 100: 12 calls>"


def test_calls_that_are_open_when_it_stops_are_forgotten() -> None:
    monitor = OperatorMonitor().start()
    with ExecutionContext.operator(OperatorMetadata("slow", "ensemble")) as call:
        assert monitor.get_rolling_stats()["open_calls"] == 1
        monitor.stop()
        assert monitor.get_rolling_stats()["open_calls"] == 0
        monitor.start()
        call.result = [1, 2]
    monitor.stop()
    stats = monitor.get_rolling_stats()
    assert (stats["num_calls"], stats["error_rate"], stats["disagreement_rate"]) == (1, 0.0, None)


@pytest.mark.parametrize(
    ("value", "known"), [(True, 1.0), (np.bool_(False), 0.0), (np.float32(0.5), 0.5), ("yes", None), (None, None)]
)
def test_accuracy_is_of_numbers_and_truth_values(value: Any, known: float | None) -> None:
    @trace(stage="judge_1")
    def judged() -> None:
        emit_metric("correct", value)
        emit_metric("confidence", 0.1)

    with OperatorMonitor(capture="reference") as monitor:
        judged()
    assert monitor.get_rolling_stats()["accuracy_by_stage"].get("judge_1") == known


def test_many_threads_lose_no_event() -> None:
    with OperatorMonitor(window_size=50) as monitor:
        threads = [threading.Thread(target=lambda: [decide(3, 1) for _ in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    stats = monitor.get_rolling_stats()
    assert (stats["num_calls"], stats["num_events"], stats["open_calls"]) == (960, 2080, 0)
    assert (stats["disagreement_rate"], stats["accuracy_by_stage"]) == (1.0, {"judge_1": 0.0})


Plan = list[tuple[str, int, int]]
PLANS = st.lists(
    st.tuples(st.sampled_from(["call", "result", "error", "metric"]), st.integers(0, 99), st.integers(0, 3))
)


@settings(max_examples=150)
@given(PLANS, st.integers(1, 5), st.sampled_from(["non_unanimous", "pairwise", "entropy", "distinct"]))
def test_statistics_equal_those_of_the_last_calls_worked_out_anew(plan: Plan, window_size: int, measure: str) -> None:
    with OperatorMonitor(window_size, measure=measure) as monitor:
        events = list(happenings(plan))
        stats = monitor.get_rolling_stats()
    anew = brute_force(events, window_size, measure)
    assert set(stats) == set(anew)
    assert flat(stats) == pytest.approx(flat(anew))


def flat(stats: dict[Any, Any], *above: str | None) -> dict[tuple[str | None, ...], float | None]:
    found: dict[tuple[str | None, ...], float | None] = {}
    for name, value in stats.items():
        found |= flat(value, *above, name) if isinstance(value, dict) else {(*above, name): value}
    return found


def happenings(plan: Plan) -> Iterator[OperatorEvent]:
    """Emit and yield events of calls that begin within each other and end in any order, or never."""
    types, stages = ("ensemble", "member", "KNN", "Ensemble"), ("ensemble_1", "judge_1", None, "ensemble_2")
    began: list[dict[str, Any]] = []
    is_open: list[int] = []
    clock = count()
    for kind, which, value in plan:
        timestamp = START + timedelta(milliseconds=next(clock) * 7)
        if kind == "call":
            parent = began[which % len(began)]["call_id"] if began and which % 5 else None
            who = {"operator_type": types[value], "stage": stages[which % 4]}
            began.append({"call_id": str(len(began)), "parent": parent, **who})
            is_open.append(len(began) - 1)
            yield emit("call", **began[-1], timestamp=timestamp)
        elif is_open:
            place = is_open[which % len(is_open)]
            data = {"name": ("correct", "accuracy", "cost")[which % 3], "value": value / 3}
            told: dict[str, Any] = {"timestamp": timestamp, "data": data}
            if kind != "metric":
                is_open.remove(place)
                result = [value, which % 2] if began[place]["operator_type"] != "member" else value
                told |= {"duration_ms": float(which), "data": {"result": result} if kind == "result" else {}}
            yield emit(kind, **began[place], **told)  # type: ignore[arg-type]


def brute_force(events: list[OperatorEvent], size: int, measure: str) -> dict[str, Any]:
    ends = [event for event in events if event.event_type in ("result", "error")]
    last, runs = ends[-size:], [event for event in ends if event.parent_call_id is None][-size:]
    stages = dict.fromkeys(event.stage for event in events)
    right = {stage: [event.data["value"] for event in events if is_accuracy(event, stage)][-size:] for stage in stages}
    took = {stage: [event.duration_ms for event in ends if event.stage == stage][-size:] for stage in stages}
    apart = [value for event in ends if (value := disagreed(event, events, measure)) is not None][-size:]
    begun = [event.call_id for event in events if event.event_type == "call"]
    return {
        "disagreement_rate": statistics.fmean(apart) if apart else None,
        "accuracy_by_stage": {stage: statistics.fmean(values) for stage, values in right.items() if values},
        "latency_p50_ms": quantile([event.duration_ms for event in last], 0.5),
        "latency_p95_ms": quantile([event.duration_ms for event in last], 0.95),
        "error_rate": statistics.fmean(event.event_type == "error" for event in last) if last else None,
        "throughput_per_s": rate(last),
        "runs_per_s": rate(runs),
        "num_events": len(events),
        "num_calls": len(begun),
        "open_calls": len(set(begun) - {event.call_id for event in ends}),
        "calls_let_go": 0,
        "latency_by_stage": {
            stage: {"p50_ms": quantile(values, 0.5), "p95_ms": quantile(values, 0.95)}
            for stage, values in took.items()
            if values
        },
    }


def is_accuracy(event: OperatorEvent, stage: str | None) -> bool:
    return event.event_type == "metric" and event.stage == stage and event.data["name"] in ("correct", "accuracy")


def quantile(values: list[Any], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None


def rate(ends: list[OperatorEvent]) -> float | None:
    took = (ends[-1].timestamp - ends[0].timestamp).total_seconds() if ends else 0.0
    return (len(ends) - 1) / took if took else None


def disagreed(end: OperatorEvent, events: list[OperatorEvent], measure: str) -> float | None:
    """Return how far the votes of an ensemble differed at its end, all events before which are gone through."""
    before = events[: events.index(end)]
    calls = {event.call_id: event for event in before if event.event_type == "call"}
    ended = {event.call_id for event in before if event.event_type in ("result", "error")}
    own = calls[end.call_id]
    # A parent that has ended is no longer known when its straggling child begins.
    at_begin = before[: before.index(own)]
    closed = {event.call_id for event in at_begin if event.event_type in ("result", "error")}
    above = calls.get(own.parent_call_id or "") if own.parent_call_id not in closed else None
    in_stage = (own.stage or "").startswith("ensemble") and own.stage != (above and above.stage)
    if "member" in own.operator_type or not ("ensemble" in own.operator_type.lower() or in_stage):
        return None
    children = [call for call in calls.values() if call.parent_call_id == own.call_id]
    members = [call.call_id for call in children if call.operator_type == "member"] or [c.call_id for c in children]
    votes = [
        e.data["result"] for e in before if e.event_type == "result" and e.call_id in members and e.call_id in ended
    ]
    if not members:
        votes = end.data.get("result", [])
    return disagreement(votes, measure) if votes and end.event_type == "result" else None


def test_a_threshold_is_told_of_once_and_again_after_coming_back() -> None:
    monitor, told = OperatorMonitor(window_size=10), list[Crossing]()
    monitor.alert("error_rate", above=0.25, callback=told.append, min_count=4)
    with monitor:
        finish(3, failed=True)
        assert told == []
        finish(3, failed=True)
        assert told == [Crossing("error_rate", 1.0, 0.25, START)]
        finish(10)
        finish(3, failed=True)
    assert told[1:] == [Crossing("error_rate", 0.3, 0.25, START)]


def test_both_sides_of_a_statistic_can_be_watched() -> None:
    monitor, told = OperatorMonitor(window_size=3), list[Crossing]()
    alert = monitor.alert("latency_p50_ms", above=9, below=2, callback=told.append)
    with monitor:
        for ms in (5, 1, 1, 99, 99, 5, 5):
            finish(ms=ms)
        alert.unregister()
        alert.unregister()
        finish(5, ms=1)
    assert [(crossing.value, crossing.threshold) for crossing in told] == [(1, 2), (99, 9)]
    assert repr(told[0]) == "<Crossing of latency_p50_ms: 1.00 is below 2.00>"
    assert repr(alert) == "<Alert on latency_p50_ms above 9 or below 2, ended>"


def test_alerts_hear_of_ensembles_and_stages() -> None:
    monitor, told = OperatorMonitor(window_size=5), list[Crossing]()
    for stat, limits in (
        ("disagreement_rate", {"above": 0.5}),
        (("accuracy_by_stage", "judge_1"), {"below": 0.5}),
        (("accuracy_by_stage", "judge_2"), {"below": 0.5}),
        (("latency_by_stage", "run", "p95_ms"), {"above": 0.0}),
    ):
        monitor.alert(stat, **limits, callback=told.append)  # type: ignore[arg-type]
    with monitor:
        for _ in range(6):
            decide(3, 1)
    assert [crossing.stat for crossing in told] == [
        "disagreement_rate",
        ("accuracy_by_stage", "judge_1"),
        ("latency_by_stage", "run", "p95_ms"),
    ]


def test_the_pipeline_goes_on_when_a_callback_raises(caplog: pytest.LogCaptureFixture) -> None:
    def broken(crossing: Crossing) -> None:
        raise ZeroDivisionError(crossing.stat)

    monitor, told = OperatorMonitor(window_size=1), list[Crossing]()
    alert = monitor.alert("disagreement_rate", above=0.5, callback=broken)
    monitor.alert("disagreement_rate", above=0.5, callback=told.append)
    with monitor:
        assert [decide(3, shift) for shift in (1, 0, 1, 0)] == [4, 3, 4, 3]
    assert len(told) == 2
    assert alert.num_errors == 2
    assert isinstance(alert.error, ZeroDivisionError)
    assert len(caplog.records) == 1


def test_a_callback_may_ask_stop_and_call_operators() -> None:
    monitor = OperatorMonitor()
    told: list[Any] = []

    def stop(crossing: Crossing) -> None:
        told.append((Member("a")(3), monitor.get_rolling_stats()["num_calls"], crossing.value))
        monitor.stop()

    monitor.alert("num_calls", above=11, callback=stop)
    with monitor:
        for _ in range(5):
            decide(3)
    assert told == [(3, 12, 12)]
    assert not monitor.running


@pytest.mark.parametrize(
    "stat",
    ["dissent", ("accuracy_by_stage",), "accuracy_by_stage", ("latency_by_stage", "run", "p99_ms"), 3, ()],
)
def test_an_unknown_statistic_is_refused_and_those_there_are_named(stat: Any) -> None:
    with pytest.raises(CausalkitError, match=r"disagreement_rate, .*\('accuracy_by_stage', stage\)"):
        OperatorMonitor().alert(stat, above=1, callback=print)


@pytest.mark.parametrize(
    "wrong",
    [
        {"above": None},
        {"above": "high"},
        {"above": float("nan")},
        {"above": 1, "below": 2},
        {"callback": 3},
        {"min_count": 0},
    ],
)
def test_an_alert_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    given = {"above": 1, "callback": print, **wrong}
    with pytest.raises(CausalkitError):
        OperatorMonitor().alert("error_rate", **given)


@pytest.mark.parametrize(
    "wrong",
    [{"window_size": 0}, {"window_size": 2.5}, {"window_size": True}, {"measure": "x"}, {"equal": 3}, {"capture": "x"}],
)
def test_a_monitor_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CausalkitError):
        OperatorMonitor(**wrong)


def test_ensembles_that_never_end_are_let_go_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_ensembles, "_MOST_OPEN", 50)
    monkeypatch.setattr(open_ensembles, "_MOST_MEMBERS", 20)
    with OperatorMonitor() as monitor:
        for number in range(60):
            emit("call", f"e{number}", operator_type="ensemble")
        assert monitor.get_rolling_stats()["open_calls"] == 50
        assert monitor.get_rolling_stats()["calls_let_go"] == 10
        for number in range(30):
            emit("call", f"m{number}", "e59", operator_type="member")
            emit("result", f"m{number}", "e59", operator_type="member", data={"result": number})
        emit("result", "e59", operator_type="ensemble", data={"result": None})
        emit("call", "new", operator_type="ensemble")
        emit("result", "new", operator_type="ensemble", data={"result": [1, 1]})
    assert monitor.get_rolling_stats()["disagreement_rate"] == 0.0


def test_memory_is_flat_whatever_is_never_closed(proof: bool) -> None:
    monitor = OperatorMonitor()
    sizes = []

    def unfinished(begin: int, end: int) -> None:
        for number in range(begin, end):
            emit("call", f"e{number}", operator_type="ensemble", stage=f"stage {number}")
            emit("call", f"m{number}", f"e{number}", operator_type="member")
            emit("result", f"m{number}", f"e{number}", duration_ms=1.0, stage=f"stage {number}", data={"result": 1})
            emit("metric", f"m{number}", stage=f"stage {number}", data={"name": "correct", "value": True})

    step = 125_000 if proof else 4_000
    with pytest.MonkeyPatch.context() as patch, monitor:
        if not proof:
            patch.setattr(open_ensembles, "_MOST_OPEN", 1_000)
        tracemalloc.start()
        for part in range(1, 3):
            unfinished((part - 1) * step, part * step)
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    stats = monitor.get_rolling_stats()
    assert stats["num_events"] == 8 * step
    assert len(stats["latency_by_stage"]) == 1_000
    assert sizes[1] < 1.05 * sizes[0]


def cost(window_size: int, num: int, prepare: Callable[[OperatorMonitor], object] = id) -> float:
    """Return the CPU time of an event, in ns, once the window is full."""
    monitor = OperatorMonitor(window_size)
    prepare(monitor)
    calls = [(f"{place}", float(place * 7919 % 10_007)) for place in range(max(num, window_size))]
    events = [
        (
            OperatorEvent("x", "function", "call", call_id, START, "s"),
            OperatorEvent("x", "function", "result", call_id, START, "s", None, ms, None, {"result": 1}),
        )
        for call_id, ms in calls
    ]
    for pair in events[:window_size]:
        for event in pair:
            monitor._hear(event)
    began = time.process_time_ns()
    for pair in events[:num]:
        for event in pair:
            monitor._hear(event)
    return (time.process_time_ns() - began) / (2 * num)


def test_what_an_event_costs_is_told_and_not_judged(proof: bool) -> None:
    def alerted(monitor: OperatorMonitor) -> None:
        monitor.alert("latency_p95_ms", above=1e9, callback=print)

    long = 100_000 if proof else 10_000
    for size in (100, long):
        plain, watched = cost(size, 10_000), cost(size, 3_000, alerted)
        print(f"window of {size}: {plain:.0f} ns an event, with an alert on p95 {watched:.0f} ns")
        assert min(plain, watched) > 0
