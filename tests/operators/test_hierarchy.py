"""Every call knows its caller, whichever way the work got there, and is closed by one result or error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from causalkit.operators.events import ExecutionContext
from causalkit.operators.listening import collect_events
from causalkit.operators.tracing import trace
from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.tracer import Tracer
from tests.operators.family import endings, heard, operator, parents
from tests.workflows.ways import WAYS, joined


@pytest.mark.parametrize("way", WAYS)
def test_work_handed_over_has_the_operator_it_was_handed_over_in_as_caller(way: str) -> None:
    inner = operator("leaf", lambda: operator("leaf.inner")())
    assert heard(operator("outer", lambda: WAYS[way](inner))) == {
        "outer": None,
        "leaf": "outer",
        "leaf.inner": "leaf",
    }


@pytest.mark.parametrize("way", WAYS)
def test_work_handed_over_in_a_block_has_the_block_as_caller(way: str) -> None:
    def work() -> None:
        with ExecutionContext.operator("block"):  # type: ignore[arg-type]  # a text is taken as the id
            WAYS[way](operator("leaf"))
        WAYS[way](operator("after"))

    assert heard(work) == {"block": None, "leaf": "block", "after": None}


@pytest.mark.parametrize("way", WAYS)
def test_work_handed_over_by_a_generator_and_by_its_consumer_do_not_mix(way: str) -> None:
    def generate() -> Iterator[None]:
        yield
        WAYS[way](operator("of generator"))
        yield

    def consume() -> None:
        items = operator("generator", generate)()
        next(items)
        operator("between", lambda: (next(items), WAYS[way](operator("of consumer"))))()
        items.close()

    assert heard(operator("consumer", consume)) == {
        "consumer": None,
        "generator": "consumer",
        "of generator": "generator",
        "between": "consumer",
        "of consumer": "between",
    }


def test_many_members_in_one_pool_each_have_their_own_ensemble_as_caller() -> None:
    with ThreadPoolExecutor(3) as pool:

        def ensemble(number: int) -> Callable[[], object]:
            members = [operator(f"{number}.{member}") for member in range(5)]
            return operator(f"{number}", lambda: [*pool.map(lambda member: member(), members)])

        found = heard(lambda: [joined(threading.Thread(target=ensemble(number))) for number in range(10)])
    assert len(found) == 60
    assert all(caller == (name.partition(".")[0] if "." in name else None) for name, caller in found.items())


def test_a_worker_of_a_pool_does_not_keep_the_operator_that_made_it_start() -> None:
    with ThreadPoolExecutor(1) as pool, ThreadPool(1) as other:

        def work() -> None:
            operator("first", lambda: pool.submit(operator("a")).result())()
            operator("second", lambda: other.apply(operator("b")))()
            pool.submit(operator("c")).result()
            other.apply(operator("d"))

        found = heard(work)
    assert found == {"first": None, "a": "first", "second": None, "b": "second", "c": None, "d": None}


def test_work_that_begins_after_its_caller_has_ended_has_the_nearest_open_one() -> None:
    go = threading.Event()
    threads: list[threading.Thread] = []

    def start() -> None:
        threads.append(threading.Thread(target=lambda: (go.wait(), operator("late")())))
        threads[0].start()

    def outer() -> None:
        operator("inner", start)()
        go.set()
        threads[0].join()

    assert heard(operator("outer", outer)) == {"outer": None, "inner": "outer", "late": "outer"}


def test_a_function_that_calls_itself_is_its_own_caller() -> None:
    @trace
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    with collect_events() as events:
        assert factorial(20) == 2432902008176640000
    assert [len(event.context.parents) for event in events if event.context] == [*range(21), *reversed(range(21))]
    assert {event.run_id for event in events} == {events[0].call_id}
    assert [event.data["inputs"]["n"] for event in events[:21]] == list(range(20, -1, -1))


def test_operators_that_call_each_other_alternate() -> None:
    @trace(operator_id="even")
    def even(n: int) -> bool:
        return odd(n - 1) if n else True

    @trace(operator_id="odd")
    def odd(n: int) -> bool:
        return even(n - 1) if n else False

    with collect_events() as events:
        assert even(9) is False
    names = {event.call_id: event.operator_id for event in events}
    callers = [names.get(event.parent_call_id or "") for event in events if event.event_type == "call"]
    assert callers == [None, *["even", "odd"] * 4, "even"]


def test_an_object_that_calls_itself_and_others_of_its_class_reports_each_call() -> None:
    @trace
    class Node:
        def __init__(self, name: str, *others: Any) -> None:
            self.name, self.others = name, others

        def __call__(self, deep: int) -> int:
            return (self(deep - 1) if deep else 0) + sum(other(0) for other in self.others) + 1

    leaf = Node("leaf")
    root = Node("root", leaf, leaf)
    with collect_events() as events:
        assert root(2) == 9
    calls = [event for event in events if event.event_type == "call"]
    names = {event.call_id: event.operator_id for event in calls}
    found = sorted((event.operator_id, names.get(event.parent_call_id or "", "")) for event in calls)
    assert found == [("leaf", "root")] * 6 + [("root", ""), ("root", "root"), ("root", "root")]
    assert len(events) == 18


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("caught", range(5))
def test_an_error_at_any_level_closes_every_call_up_to_where_it_is_caught(level: int, caught: int) -> None:
    def work(depth: int) -> None:
        if depth == level:
            raise KeyError(depth)
        if depth < 4:
            with suppress(KeyError if depth == caught else ()):
                operator(f"{depth + 1}", lambda: work(depth + 1))()
            operator(f"{depth}.after")()

    with collect_events() as events, suppress(KeyError):
        operator("0", lambda: work(0))()
    found = parents(events)
    caught_at = caught if caught < level else -1
    assert endings(events) == {
        **{f"{depth}": "KeyError" if caught_at < depth <= level else "result" for depth in range(level + 1)},
        **{f"{depth}.after": "result" for depth in range(caught_at + 1)},
    }
    assert all(found[f"{depth}"] == (f"{depth - 1}" if depth else None) for depth in range(level + 1))
    assert all(found[f"{depth}.after"] == f"{depth}" for depth in range(caught_at + 1))


def test_cancelled_tasks_close_their_calls_and_leave_the_others_right() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)
        operator("before")()
        await asyncio.sleep(60)

    async def main() -> None:
        begun, never = (asyncio.create_task(operator(name, waits)()) for name in ("begun", "never"))
        never.cancel()
        await asyncio.sleep(0.01)
        begun.cancel()
        await asyncio.gather(begun, never, return_exceptions=True)
        operator("after")()

    with collect_events() as events:
        asyncio.run(operator("main", main)())
    assert parents(events) == {"main": None, "begun": "main", "before": "begun", "after": "main"}
    assert endings(events) == {"main": "result", "begun": "CancelledError", "before": "result", "after": "result"}


def test_in_a_task_group_that_fails_every_call_is_closed_under_its_own_caller() -> None:
    async def child(number: int) -> None:
        await asyncio.sleep(0)
        operator(f"{number}.leaf")()
        if number == 1:
            raise ValueError(number)
        await asyncio.sleep(60)

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(operator(f"{number}", child)(number))

    with collect_events() as events, pytest.raises(ExceptionGroup):
        asyncio.run(operator("group", group)())
    assert parents(events) == {
        "group": None,
        **{f"{number}": "group" for number in range(3)},
        **{f"{number}.leaf": f"{number}" for number in range(3)},
    }
    assert endings(events) == {
        **{"group": "ExceptionGroup", "0": "CancelledError", "1": "ValueError", "2": "CancelledError"},
        **{f"{number}.leaf": "result" for number in range(3)},
    }


def test_a_coroutine_that_is_never_finished_is_closed_all_the_same() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with collect_events() as events:
        unfinished = operator("unfinished", waits)()
        unfinished.send(None)
        unfinished.close()
        operator("after")()
    assert parents(events) == {"unfinished": None, "after": None}
    assert endings(events)["unfinished"] == "GeneratorExit"


def test_a_context_manager_made_of_a_traced_generator_is_the_caller_of_the_body() -> None:
    @contextmanager
    @trace(operator_id="manager")
    def manager() -> Iterator[None]:
        operator("entering")()
        yield
        operator("leaving")()

    def work() -> None:
        with manager():
            operator("body")()
        operator("after")()

    assert heard(operator("outer", work)) == {
        **{"outer": None, "manager": "outer", "after": "outer"},
        **{"entering": "manager", "body": "manager", "leaving": "manager"},
    }


def test_a_generator_consumed_while_something_is_entered_does_not_become_the_caller_of_the_consumer() -> None:
    class Session:
        def __enter__(self) -> None:
            for _ in operator("generator", generate)():
                operator("within enter")()

        def __exit__(self, *exception: object) -> None:
            pass

    def generate() -> Iterator[None]:
        yield
        operator("of generator")()
        yield

    def work() -> None:
        with Session():
            operator("body")()

    assert heard(operator("outer", work)) == {
        **{"outer": None, "generator": "outer", "of generator": "generator"},
        **{"within enter": "outer", "body": "outer"},
    }


@pytest.mark.parametrize("way", WAYS)
def test_operators_in_the_steps_of_a_workflow_belong_to_its_run(way: str) -> None:
    def work(run: OpenRun) -> None:
        with run.step("step"):
            WAYS[way](operator("in step", lambda: operator("inner")()))
        operator("outside steps")()

    tracer = Tracer()
    with collect_events() as events, tracer.workflow("answer", request_id="r1") as run:
        work(run)
    step = tracer.runs[0].steps[0]
    callers = {event.operator_id: event.parent_call_id for event in events if event.event_type == "call"}
    ids = {event.operator_id: event.call_id for event in events}
    assert callers == {"in step": step.step_id, "inner": ids["in step"], "outside steps": None}
    assert {event.run_id for event in events} == {"r1"}


def test_steps_in_operators_and_operators_in_these_steps_are_right_both_ways() -> None:
    tracer = Tracer()

    def work(run: OpenRun) -> None:
        with run.step("outer"):
            operator("a", lambda: middle(run))()

    def middle(run: OpenRun) -> None:
        with run.step("inner"):
            operator("b", lambda: operator("c")())()
        operator("d")()

    with collect_events() as events, tracer.workflow("answer", request_id="r1") as run:
        work(run)
    steps = {step.step_name: step for step in tracer.runs[0].steps}
    assert steps["inner"].parent_id == steps["outer"].step_id
    ids = {event.operator_id: event.call_id for event in events}
    callers = {event.operator_id: event.parent_call_id for event in events}
    assert callers == {
        **{"a": steps["outer"].step_id, "b": steps["inner"].step_id, "c": ids["b"], "d": ids["a"]},
    }
    assert {event.operator_id: event.context.parents for event in events if event.context} == {
        **{"a": (), "b": (ids["a"],), "c": (ids["a"], ids["b"]), "d": (ids["a"],)},
    }
    assert {event.run_id for event in events} == {"r1"}


def test_a_run_inside_an_operator_has_operators_of_the_outer_run() -> None:
    tracer = Tracer()

    def work() -> None:
        with tracer.workflow("answer", request_id="r1") as run, run.step("step"):
            operator("inner")()

    with collect_events() as events:
        operator("outer", work)()
    step = tracer.runs[0].steps[0]
    found = {event.operator_id: (event.parent_call_id, event.run_id) for event in events}
    assert found["outer"] == (None, events[0].call_id)
    assert found["inner"] == (step.step_id, "r1")
    assert step.parent_id is None
