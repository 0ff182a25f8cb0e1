"""Collectors hear their own context and what it starts, listeners the whole process; none disturbs an operator."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from causalkit.errors import CausalkitError
from causalkit.operators.events import OperatorEvent
from causalkit.operators.listening import EventCollection, EventCollector, Handle, collect_events
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import trace
from causalkit.workflows.tracer import Tracer
from tests.operators.family import operator, parents
from tests.workflows.ways import WAYS, joined


@trace(operator_id="identity")
def identity(value: Any) -> Any:
    return value


def names(events: Any) -> list[str]:
    return [event.operator_id for event in events if event.event_type == "call"]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_block_starts_is_heard_and_what_others_do_meanwhile_is_not(way: str) -> None:
    go, done = threading.Event(), threading.Event()

    def other() -> None:
        go.wait()
        operator("other")()
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with collect_events() as events:
        WAYS[way](operator("own"))
        go.set()
        done.wait()
    thread.join()
    assert names(events) == ["own"]


def test_two_collectors_in_two_threads_hear_nothing_of_each_other(proof: bool) -> None:
    number = 50_000 if proof else 5_000
    both = threading.Barrier(2)
    found: dict[str, EventCollection] = {}

    def work(name: str) -> None:
        own = operator(name)
        with collect_events() as events:
            both.wait()
            for _ in range(number):
                own()
            both.wait()
        found[name] = events

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, events in found.items():
        assert Counter(event.operator_id for event in events) == {name: 2 * number}


def test_two_gathered_tasks_hear_nothing_of_each_other() -> None:
    async def work(name: str) -> list[str]:
        async with collect_events() as events:
            for number in range(20):
                operator(f"{name}{number}")()
                await asyncio.sleep(0)
            await asyncio.to_thread(operator(f"{name} in a thread"))
        return names(events)

    async def main() -> list[list[str]]:
        with collect_events() as events:
            found = await asyncio.gather(work("a"), work("b"))
        return [*found, names(events)]

    one, other, both = asyncio.run(main())
    assert {name[0] for name in one} == {"a"}
    assert {name[0] for name in other} == {"b"}
    assert (len(one), len(other)) == (21, 21)
    assert Counter(both) == Counter(one + other)


def test_an_outer_collector_hears_what_the_inner_one_hears_and_both_end_in_any_order() -> None:
    outer, inner = collect_events(), collect_events()
    operator("before")()
    outer.__enter__()
    operator("a")()
    inner.__enter__()
    operator("b")()
    outer.__exit__(None, None, None)
    operator("c")()
    inner.__exit__(None, None, None)
    operator("after")()
    assert (names(outer), names(inner)) == (["a", "b"], ["b", "c"])


def test_a_generator_that_holds_a_collector_open_hears_nothing_of_its_consumer() -> None:
    found: list[EventCollection] = []

    def generate() -> Iterator[None]:
        with collect_events() as events:
            found.append(events)
            for number in range(3):
                operator(f"generator{number}")()
                yield

    with collect_events() as outer:
        for _ in generate():
            operator("consumer")()
        items = generate()
        next(items)
        del items
        operator("after")()
    assert [names(events) for events in found] == [[f"generator{n}" for n in range(3)], ["generator0"]]
    assert Counter(names(outer)) == {"generator0": 2, "generator1": 1, "generator2": 1, "consumer": 3, "after": 1}


def test_a_thread_that_outlives_the_block_is_not_heard_after_it() -> None:
    go = threading.Event()

    def work() -> None:
        operator("a")()
        go.wait()
        operator("b")()

    with collect_events() as events:
        thread = threading.Thread(target=operator("worker", work))
        thread.start()
        while len(events) < 3:
            pass
    go.set()
    thread.join()
    assert [(event.operator_id, event.event_type) for event in events] == [
        *(("worker", "call"), ("a", "call"), ("a", "result")),
    ]


def test_a_collector_opened_inside_a_call_hears_only_what_is_called_in_it() -> None:
    found: list[EventCollection] = []

    def work() -> None:
        with collect_events() as events:
            operator("inner")()
        found.append(events)

    with collect_events() as outer:
        operator("outer", work)()
    assert names(outer) == ["outer", "inner"]
    assert [(event.operator_id, event.event_type) for event in found[0]] == [("inner", "call"), ("inner", "result")]
    assert found[0][0].parent_call_id == outer[0].call_id


def test_a_collection_is_a_sequence_of_events_equal_each_time_they_are_looked_at() -> None:
    with collect_events() as events:
        identity(3)
        assert len(events) == 2
    assert events[0] == events[0]
    assert events[-1] is not events[0]
    assert events[:1] == [events[0]]
    assert [*reversed(events)] == [events[1], events[0]]
    assert events[1] in events
    assert events.index(events[1]) == 1
    assert events != collect_events()
    assert repr(events) == "<EventCollection of 2 events>"
    with pytest.raises(IndexError):
        events[2]


def test_a_collection_may_be_read_while_threads_add_to_it() -> None:
    with collect_events(limit=100) as limited, collect_events() as events, ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(identity, number) for number in range(3000)]
        for _ in range(20):
            assert len([*limited]) <= 100
            assert all(event.operator_id == "identity" for event in [*events])
        [future.result() for future in futures]
    assert (len(events), len(limited), limited.dropped) == (6000, 100, 5900)


def test_the_limit_keeps_the_newest_events_and_counts_the_others() -> None:
    with collect_events(limit=3) as events:
        for number in range(5):
            identity(number)
    assert [event.data for event in events] == [{"result": 3}, {"inputs": {"value": 4}}, {"result": 4}]
    assert events.dropped == 7
    assert repr(events) == "<EventCollection of 3 events, 7 older ones dropped>"


def test_memory_stays_flat_over_many_calls_with_a_limit(proof: bool) -> None:
    number = 5_000_000 if proof else 300_000
    panel = operator("panel", lambda vote: [vote], operator_type="ensemble")

    def work() -> None:
        for vote in range(number):
            identity(vote)
            if not vote % 100:
                panel(vote)

    with collect_events(limit=1000) as events:
        operator("warm", lambda: [panel(vote) for vote in range(1000)])()
        gc.collect()
        before = sys.getallocatedblocks()
        operator("run", work)()
        grown = sys.getallocatedblocks() - before
    assert len(events) == 1000
    # Each event kept would be three blocks and more.
    assert grown < 5_000


def test_what_was_collected_is_let_go_with_the_collection() -> None:
    class Kept:
        pass

    def living() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Kept | EventCollection) for thing in gc.get_objects())

    before = living()
    for _ in range(10):
        with collect_events(capture="reference") as events:
            operator("outer", lambda: identity(Kept()))()
        assert len(events) == 4
        del events
    assert living() == before


def test_a_sample_keeps_whole_runs_the_same_ones_in_every_collector() -> None:
    run = operator("run", lambda: identity(1))
    with collect_events(sample=0.5) as half, collect_events() as events, collect_events(sample=0.5) as other:
        for _ in range(400):
            run()
    kept = Counter(event.run_id for event in half)
    assert set(kept.values()) == {4}
    assert 140 < len(kept) < 260
    assert [event.call_id for event in half] == [event.call_id for event in other]
    assert len(events) == 1600
    with collect_events(sample=0) as none, collect_events(sample=1) as everything:
        run()
    assert (len(none), len(everything)) == (0, 4)


def test_where_chooses_events() -> None:
    with collect_events(where=lambda event: event.event_type == "result", limit=2) as events:
        for number in range(4):
            identity(number)
    assert [event.data["result"] for event in events] == [2, 3]
    assert events.dropped == 2


def test_a_where_or_capture_that_raises_disturbs_nothing_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def where(event: OperatorEvent) -> bool:
        if event.data.get("result") == 2:
            raise ValueError("where?")
        return True

    def capture(value: Any) -> str:
        return f"about {value}" if value != 3 else {}["nothing"]

    with caplog.at_level(logging.ERROR), collect_events(where=where) as chosen, collect_events(capture=capture) as all_:
        assert [identity(number) for number in (1, 2, 2, 3, 3)] == [1, 2, 2, 3, 3]
    assert len(chosen) == 8
    assert (type(chosen.receiver.error), chosen.receiver.num_errors) == (ValueError, 2)
    parents(all_)
    assert all_[1].data == {"result": "about 1"}
    assert all_[-1].data == {"result": {"causalkit.type": "int", "not_captured": "KeyError"}}
    assert (type(all_.receiver.error), all_.receiver.num_errors) == (KeyError, 4)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "ValueError('where?')" in caplog.text
    assert "KeyError('nothing')" in caplog.text


@pytest.mark.parametrize("what", ["listener", "where", "where of a collector", "capture"])
def test_a_listener_that_calls_operators_itself_does_not_go_on_for_ever(what: str) -> None:
    def call_another(value: Any) -> Any:
        operator("another", lambda given: None)([value])
        return True

    calls: list[Any] = []
    with ExitStack() as stack:
        if what == "listener":
            stack.enter_context(EventCollector.register(lambda event: calls.append(call_another(event))))
        elif what == "where":
            stack.enter_context(EventCollector.register(calls.append, where=call_another))
        elif what == "where of a collector":
            calls = stack.enter_context(collect_events(where=call_another))  # type: ignore[assignment]
        else:
            calls = stack.enter_context(collect_events(capture=call_another))  # type: ignore[assignment]
        assert identity(1) == 1
    assert len([*calls]) == (6 if what == "capture" else 2)


def test_two_listeners_that_call_operators_hear_each_others_and_come_to_an_end() -> None:
    heard: dict[str, list[str]] = {"a": [], "b": []}

    def listener(name: str) -> Callable[[OperatorEvent], None]:
        def hear(event: OperatorEvent) -> None:
            heard[name].append(event.operator_id)
            operator(f"by {name}")()

        return hear

    with EventCollector.register(listener("a")), EventCollector.register(listener("b")):
        identity(1)
    assert set(heard["a"]) == {"identity", "by b"}
    assert set(heard["b"]) == {"identity", "by a"}


def test_a_listener_hears_all_threads_until_it_is_unregistered() -> None:
    heard: list[OperatorEvent] = []
    handle = EventCollector.register(heard.append)
    assert isinstance(handle, Handle)
    joined(threading.Thread(target=identity, args=(1,)))
    asyncio.run(operator("task", lambda: asyncio.sleep(0))())
    identity(2)
    assert repr(handle) == "<Handle listening>"
    handle.unregister()
    handle.unregister()
    with handle:
        identity(3)
    assert names(heard) == ["identity", "task", "identity"]
    assert repr(handle) == "<Handle not listening>"
    with EventCollector.register(heard.append) as handle:
        identity(4)
        handle.unregister()
        identity(5)
    assert len(names(heard)) == 4
    with pytest.raises(KeyError), EventCollector.register(heard.append):
        raise KeyError
    identity(6)
    assert len(names(heard)) == 4


def test_one_function_registered_twice_hears_twice() -> None:
    heard: list[OperatorEvent] = []
    with EventCollector.register(heard.append), EventCollector.register(heard.append, where=lambda _: True):
        identity(1)
    assert len(heard) == 4


def test_a_listener_registered_during_a_long_call_hears_its_children_and_its_end() -> None:
    heard: list[OperatorEvent] = []
    handles: list[Handle] = []

    def work() -> None:
        handles.append(EventCollector.register(heard.append))
        operator("child")()

    operator("unheard", work)()
    with collect_events() as events:
        operator("long", work)()
    for handle in handles:
        handle.unregister()
    assert [(event.operator_id, event.event_type) for event in heard[:2]] == [("child", "call"), ("child", "result")]
    assert heard[0].parent_call_id is None
    later = [event for event in heard if event.operator_id == "child"][-1]
    assert later.parent_call_id == events[0].call_id
    assert (heard[-1].operator_id, heard[-1].event_type) == ("long", "result")


def test_a_listener_that_raises_disturbs_neither_operators_nor_others_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[OperatorEvent] = []

    def bad(event: OperatorEvent) -> None:
        raise ValueError("not today")

    with caplog.at_level(logging.ERROR), EventCollector.register(bad) as handle, EventCollector.register(heard.append):
        assert [identity(number) for number in range(5)] == [*range(5)]
        emit_metric("load", 3)
    assert len(heard) == 11
    assert (type(handle.error), handle.num_errors) == (ValueError, 11)
    assert len(caplog.records) == 1
    assert "ValueError('not today')" in caplog.text
    assert repr(handle) == "<Handle not listening, raised 11 times>"


@pytest.mark.parametrize("event_type", ["call", "result", "error"])
def test_an_interrupt_in_a_listener_passes_and_leaves_every_call_closed(event_type: str) -> None:
    def interrupted(event: OperatorEvent) -> None:
        if event.event_type == event_type:
            raise KeyboardInterrupt

    def fail() -> None:
        raise ValueError

    heard: list[OperatorEvent] = []
    with collect_events() as events:
        listening = EventCollector.register(interrupted), EventCollector.register(heard.append)
        with listening[0], listening[1], pytest.raises(KeyboardInterrupt):
            operator("outer", operator("inner", fail) if event_type == "error" else lambda: identity(1))()
        operator("after")()
    assert parents(events)["after"] is None
    parents(heard)


def test_events_can_be_emitted_to_those_who_listen_here() -> None:
    event = OperatorEvent("other", "tool", "result", "c1", datetime.now(UTC), duration_ms=1.5, data={"result": 1})
    heard: list[OperatorEvent] = []
    EventCollector.emit(event)
    with EventCollector.collect() as events, EventCollector.register(heard.append):
        EventCollector.emit(event)
        joined(threading.Thread(target=EventCollector.emit, args=(event,)))
        with collect_events(where=lambda event: False) as none:
            EventCollector.emit(event)
    assert [*events] == heard == [event] * 3
    assert len(none) == 0
    assert event.duration == timedelta(milliseconds=1.5)


def test_a_metric_outside_all_operators_is_heard_as_such() -> None:
    emit_metric("unheard", 1)
    with collect_events() as events:
        emit_metric("load", np.float64(0.5), role="covariate")
    assert events[0].data == {"name": "load", "value": 0.5, "role": "covariate"}
    assert events[0].operator_id == "(outside all operators)"


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: collect_events(limit=0), "limit is 0; give how many events are kept"),
        (lambda: collect_events(limit=2.5), "limit is 2.5"),  # type: ignore[arg-type]
        (lambda: collect_events(limit=True), "limit is True"),
        (lambda: collect_events(sample=1.5), "sample is 1.5; give the share of the runs to keep, 0 to 1"),
        (lambda: collect_events(sample=float("nan")), "sample is nan"),
        (lambda: collect_events(sample="half"), "sample is 'half'"),  # type: ignore[arg-type]
        (lambda: collect_events(where="result"), "where is a str; give a function of one event"),  # type: ignore[arg-type]
        (lambda: collect_events(capture="all"), "capture is 'all'; choose 'summary'"),  # type: ignore[arg-type]
        (lambda: collect_events(capture=["copy"]), "capture is \\['copy'\\]"),  # type: ignore[arg-type]
        (lambda: EventCollector.register(None), "a NoneType cannot be called"),  # type: ignore[arg-type]
        (lambda: EventCollector.register(print, sample=-1), "sample is -1"),
        (lambda: EventCollector.emit("event"), "a str is no event"),  # type: ignore[arg-type]
        (lambda: EventCollector.emit(OperatorEvent("a", "b", "end", "c", NOW)), "'end'; choose one of call, result"),  # type: ignore[arg-type]
        (lambda: EventCollector.emit(OperatorEvent("a", "b", "call", "c", datetime(2026, 1, 1))), "no time zone"),
        (lambda: emit_metric("a", 1, role="cause"), "role is 'cause'; choose one of metric, knob"),  # type: ignore[arg-type]
    ],
)
def test_wrong_input_is_said_in_a_sentence(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(CausalkitError, match=says):
        wrong()


def test_events_are_collected_once() -> None:
    events = collect_events()
    with events, pytest.raises(CausalkitError, match="collected already"), events:
        pass
    with pytest.raises(CausalkitError, match="collected already"), events:
        pass


def test_what_is_refused_is_not_listened_to() -> None:
    class Operator:
        def __call__(self) -> None:
            pass

    own = Operator.__call__
    trace(Operator)
    with pytest.raises(CausalkitError):
        EventCollector.register(print, capture="all")  # type: ignore[arg-type]
    assert Operator.__call__ is own


def test_threads_that_begin_and_cease_to_listen_disturb_no_operator() -> None:
    @trace
    class Member:
        def __call__(self, value: int) -> int:
            return identity(value) + 1

    member, own, stop = Member(), Member.__call__, threading.Event()
    found: list[EventCollection] = []

    def listen() -> None:
        while not stop.is_set():
            with collect_events() as events:
                assert member(1) == 2
            found.append(events)
            with EventCollector.register(lambda event: None):
                pass

    threads = [threading.Thread(target=listen) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert [member(number) for number in range(3000)] == [*range(1, 3001)]
    with collect_events() as events:
        assert [member(number) for number in range(500)] == [*range(1, 501)]
    stop.set()
    for thread in threads:
        thread.join()
    assert Member.__call__ is own
    assert len(events) == 2000
    for collected in [events, *found]:
        assert len(collected) == 4 * len([name for name in names(collected) if name == "Member"])
        parents(collected)


def test_a_collector_opened_in_the_step_of_a_workflow_hears_operators_of_that_step() -> None:
    tracer = Tracer()
    with tracer.workflow("answer", request_id="r1") as run, run.step("step"), collect_events() as events:
        identity(1)
    assert events[0].parent_call_id == tracer.runs[0].steps[0].step_id
    assert events[0].run_id == "r1"
