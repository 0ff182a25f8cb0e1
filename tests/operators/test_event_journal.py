"""Operator events in a journal: whatever happens, what was saved comes back, and what is damaged is named."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import CausalkitError, TraceFormatError
from causalkit.operators.event_journal import EventJournal, load_events, replay, save_events
from causalkit.operators.event_reading import EventList
from causalkit.operators.events import EVENT_TYPES, ExecutionContext, OperatorEvent, OperatorMetadata
from causalkit.operators.listening import EventCollector, collect_events
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import trace
from causalkit.workflows.tracer import Tracer
from causalkit.workflows.traces import load_traces
from tests.journal_children import trace_run_and_operators

ROOT = Path(__file__).parents[2]
KEY = "sk-proj-abcdefghij0123456789"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@trace(operator_type="member", tags=["panel", "digits"])
def member(image: Any, name: str) -> Any:
    emit_metric("margin", 0.25, role="covariate")
    if name == "broken":
        raise ValueError("no vote")
    return image


@trace(stage="ensemble_1", operator_type="ensemble")
def panel(image: Any) -> list[Any]:
    with ThreadPoolExecutor(3) as pool:
        votes = [*pool.map(lambda name: member(image, name), ("a", "b", "c"))]
    try:
        member(image, "broken")
    except ValueError:
        votes.append(None)
    return votes


@trace(stage="judge_1", operator_type="judge")
def judge(votes: list[Any]) -> None:
    return None


@trace(stage="pipeline")
def pipeline(image: Any) -> None:
    judge(panel(image))


@trace(operator_id="same")
def same(value: Any) -> Any:
    return value


def event(**told: Any) -> OperatorEvent:
    return OperatorEvent(**{
        "operator_id": "knn", "operator_type": "member", "event_type": "result", "call_id": "c1",
        "timestamp": NOW, **told,
    })  # fmt: skip


def in_order(events: Iterable[OperatorEvent]) -> list[OperatorEvent]:
    """Sort events that threads reported at the same time."""
    return sorted(events, key=lambda found: (found.timestamp, found.call_id, found.event_type))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_what_happens_in_a_block_is_written_as_it_happens_and_comes_back_the_same(path: Path) -> None:
    with collect_events() as events, save_events(path):
        pipeline(3)
        # On the disk already.
        assert in_order(load_events(path)) == in_order(events)
        pipeline("a text")
    read = load_events(path)
    assert in_order(read) == in_order(events)
    assert read.damage == []
    assert {len(found.context.parents) for found in read if found.context} == {0, 1, 2}
    assert {found.context.tags for found in read if found.operator_id == "member" and found.context} == {
        ("panel", "digits")
    }
    assert len({found.run_id for found in read}) == 2


def test_a_journal_registered_for_the_process_hears_all_threads_and_writes_what_a_collector_collects(
    path: Path,
) -> None:
    with EventJournal(path) as journal, EventCollector.register(journal) as listening, collect_events() as events:
        threads = [threading.Thread(target=pipeline, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert listening.error is None
    assert in_order(load_events(path)) == in_order(events)
    assert len(events) == 4 * 18


def test_an_async_block_saves_its_own_events_and_not_those_of_others(path: Path) -> None:
    async def main() -> None:
        async def other() -> None:
            same("other")

        beside = asyncio.create_task(other())
        async with save_events(path):
            same("mine")
            await beside

    asyncio.run(main())
    assert [found.data for found in load_events(path)] == [{"inputs": {"value": "mine"}}, {"result": "mine"}]


def test_given_events_are_counted_and_those_that_a_file_has_already_stay(path: Path) -> None:
    with collect_events() as events:
        pipeline(1)
    assert save_events(path, events) == len(events)
    assert save_events(path, iter(events)) == len(events)
    assert load_events(path) == [*events, *events]
    assert save_events(path.with_name("none.jsonl"), []) == 0
    assert load_events(path.with_name("none.jsonl")) == []


def test_the_quick_and_the_slow_way_write_the_same(path: Path, tmp_path: Path) -> None:
    with collect_events() as events, save_events(path):
        for value in (1, -1.5, 1e300, True, None, "text", [1, "2"], {"a": 3}, 2**63, b"bytes", (1, 2)):
            same(value)
    save_events(tmp_path / "slow.jsonl", events)
    quick, slow = (
        [json.loads(line) for line in file.read_text().splitlines()] for file in (path, tmp_path / "slow.jsonl")
    )
    assert quick == slow
    assert all(line.lstrip().startswith('{"schema":1,"kind":"event",') for line in path.read_text().splitlines())


def test_sample_where_and_capture_choose_as_a_collector_does(path: Path) -> None:
    def results(found: OperatorEvent) -> bool:
        return found.event_type == "result"

    with (
        collect_events(sample=0.5, where=results) as chosen,
        save_events(path, sample=0.5, where=results, capture="none"),
    ):
        for n in range(50):
            same(n)
    read = load_events(path)
    assert [found.call_id for found in read] == [found.call_id for found in chosen]
    assert 10 < len(read) < 40
    assert all(found.data == {} for found in read)


def test_secrets_are_masked_in_the_file_and_nowhere_else(path: Path) -> None:
    @trace
    def login(password: str, age: int) -> str:
        return f"Bearer {KEY}"

    named = trace(lambda x: x, operator_id=f"call with {KEY}")
    with collect_events() as events, save_events(path):
        for age in range(3):
            login("hunter2", age)
            named(age)
            same("bob@example.org")
            same({"api_key": age})
            same("harmless")
    text = path.read_text()
    assert not [secret for secret in (KEY, "hunter2", "bob@", '"api_key":0', '"api_key":2') if secret in text]
    assert text.count("harmless") == 6
    assert events[0].data == {"inputs": {"password": "hunter2", "age": 0}}
    assert events[1].data == {"result": f"Bearer {KEY}"}
    assert [found.call_id for found in load_events(path)] == [found.call_id for found in events]


def test_a_run_named_by_a_secret_is_masked_in_every_event_of_it(path: Path) -> None:
    with save_events(path), Tracer().workflow("answer", request_id=KEY) as run, run.step("search"):
        trace(same, operator_id="around")(1)
    assert KEY not in path.read_text()
    assert {found.run_id for found in load_events(path)} == {"[masked: api key]"}


def test_redaction_is_the_users_choice(path: Path) -> None:
    with save_events(path, redact=None):
        same(KEY)
    assert KEY in path.read_text()
    with save_events(path, redact=lambda record: {**record, "data": {"hidden": True}}):
        same(2)
    assert [found.data for found in load_events(path)[2:]] == [{"hidden": True}] * 2
    with pytest.raises(CausalkitError, match="redact is a str; give a function"):
        EventJournal(path, redact="all")  # type: ignore[arg-type]


def test_where_redaction_fails_who_and_when_stay_in_the_file_and_the_error_is_raised(path: Path) -> None:
    def fail(record: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("no such field")

    with pytest.raises(KeyError, match="no such field"), save_events(path, redact=fail):
        same(KEY)
    call, result = load_events(path)
    assert (call.operator_id, call.event_type, call.data) == ("same", "call", {})
    assert call.call_id == result.call_id
    assert result.duration_ms is not None


def test_what_redacts_may_be_traced_itself(path: Path) -> None:
    @trace
    def hide(record: dict[str, Any]) -> dict[str, Any]:
        return record

    with EventJournal(path, redact=hide) as journal, EventCollector.register(journal) as listening:
        same(1)
    assert listening.error is None
    assert {found.operator_id for found in load_events(path)} == {"same"}


def test_what_could_not_be_written_is_raised_when_the_block_ends() -> None:
    with pytest.raises(OSError, match="make room on the disk"), save_events("/dev/full"):
        assert same(1) == 1
    mine = ValueError("mine")
    with suppress(ValueError), save_events("/dev/full"):
        same(1)
        raise mine
    assert "and 2 events were not saved: OSError" in mine.__notes__[0]


def test_an_error_of_writing_is_kept_where_the_journal_was_registered(path: Path) -> None:
    journal = EventJournal(path)
    journal.close()
    journal.close()
    with EventCollector.register(journal) as listening:
        assert same(1) == 1
    assert listening.num_errors == 2
    assert "was closed" in str(listening.error)


texts = st.text(max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


times = st.datetimes(
    datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])
)


@st.composite
def event_lists(draw: st.DrawFn) -> list[OperatorEvent]:
    contexts: list[ExecutionContext] = []
    events = []
    for number in range(draw(st.integers(1, 5))):
        parent = draw(st.sampled_from([None, *contexts]))
        who = OperatorMetadata(draw(texts), draw(texts), draw(st.lists(texts, max_size=2)))  # type: ignore[arg-type]
        own_id = f"{draw(texts)} {number}"
        context = ExecutionContext(own_id, who, draw(st.none() | texts), draw(texts), parent)
        contexts.append(context)
        step = draw(st.none() | texts.map("step {}".format))
        events.append(
            OperatorEvent(
                who.id, who.type_hint, draw(st.sampled_from(EVENT_TYPES)), own_id,
                draw(times),
                context.stage, step or (None if parent is None else parent.call_id),
                draw(st.none() | st.floats(0, 1e9)), context, draw(st.dictionaries(texts, values, max_size=3)),
            )
        )  # fmt: skip
    return events


@given(event_lists())
def test_whatever_json_can_hold_comes_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, events: list[OperatorEvent]
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    save_events(path, events, redact=None)
    assert load_events(path) == events


hostile = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\ud800", "a\nb", '"}{', "\0", "null", "\u2028", "x" * 2000]
)
anything = st.recursive(
    hostile
    | st.floats()
    | st.integers()
    | st.binary(max_size=5)
    | st.builds(object)
    | st.sets(st.integers(), max_size=2),
    lambda inner: st.tuples(inner, inner) | st.dictionaries(hostile | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@given(hostile, hostile, st.lists(hostile, max_size=2), hostile, anything)
def test_whatever_names_and_values_are_each_event_is_one_whole_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, kind: str, tags: list[str], stage: str, value: Any
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    traced = trace(lambda x: x, operator_id=name or "?", operator_type=kind, tags=tags, stage=stage)
    with save_events(path, capture="reference"):
        for _ in range(2):
            traced(value)
    read = load_events(path)
    assert [found.event_type for found in read] == ["call", "result"] * 2
    assert len(path.read_bytes().split(b"\n")) == 5


def test_numbers_that_json_lacks_are_none_and_long_values_are_cut(path: Path) -> None:
    with save_events(path, capture="reference"):
        same(math.nan)
        same("x" * 2_000_000)
    assert [found.data.get("result", "?") for found in load_events(path)[:2]] == ["?", None]
    assert "was nan" in path.read_text()
    assert load_events(path)[3].data["result"].endswith("more characters]")


def test_a_caller_outside_the_journal_is_known_by_its_id(path: Path) -> None:
    with save_events(path, where=lambda found: found.operator_id == "member"), collect_events() as events:
        panel(3)
    assert {found.parent_call_id for found in load_events(path)} == {events[0].call_id}


def test_runs_steps_and_events_of_two_processes_stand_in_one_journal(path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=trace_run_and_operators, args=(path, 1))
    child.start()
    trace_run_and_operators(path, 0)
    child.join(60)
    assert child.exitcode == 0
    traces, events = load_traces(path), load_events(path)
    assert traces.damage == ()
    assert events.damage == []
    assert len(events) == 2 * 20 * 4
    assert sorted(run.request_id for run in traces) == ["run 0", "run 1"]
    for run in traces:
        outer = [found for found in events if found.run_id == run.request_id and found.operator_id == "around"]
        steps = {step.step_id for step in run.steps}
        assert len(steps) == 20
        assert {found.parent_call_id for found in outer} == steps
        assert {found.context.parents for found in outer if found.context} == {()}


def test_segments_and_packed_files_are_read_as_one(path: Path) -> None:
    with collect_events() as events, EventJournal(path, rotate_mb=0.01) as journal, EventCollector.register(journal):
        for n in range(100):
            same(n)
    assert path.with_name("events.0001.jsonl").exists()
    packed = path.with_name("events.jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert load_events(path) == list(events)
    save_events(path.with_name("more.jsonl"), events[:1])
    assert load_events([path, path.with_name("more.jsonl")]) == [*events, events[0]]


def test_of_a_damaged_journal_every_good_event_is_read_and_the_rest_is_named(path: Path) -> None:
    with save_events(path):
        same(1)
    good = path.read_bytes().splitlines()
    wrong = {
        b'{"schema":1,"kind":"event","operator_id":"a"}': "event_type",
        good[0].replace(b'"call"', b'"begin"'): "begin",
        good[0].replace(b'"same"', b"3"): "operator_id",
        good[0].replace(b'Z"', b'"'): "timestamp",
        good[1].replace(b"Z", b"Zulu"): "timestamp",
        good[1].replace(b'{"result":1}', b"[1]"): "data",
        b'{"schema":1,"kind":"run","request_id":"a"}': "",
        b"\0\0\0": "NUL",
        good[0][:50]: "",
    }
    path.write_bytes(b"\n".join([*wrong, *good]))
    with pytest.warns(UserWarning, match="read 2 events and left out .*events.jsonl, bytes 0 to 46: no whole event"):
        read = load_events(path)
    assert [found.data for found in read] == [{"inputs": {"value": 1}}, {"result": 1}]
    assert repr(read) == "<EventList of 2 events, 8 damaged places>"
    assert len(read.damage) == 8
    for part, said in zip(read.damage, [word for line, word in wrong.items() if b'"run"' not in line], strict=True):
        assert said in part.reason or said == "timestamp"


@pytest.mark.parametrize("around", [["a", "a"], ["b", "a"]])
def test_calls_that_say_they_are_their_own_callers_do_not_hang_the_reader(path: Path, around: list[str]) -> None:
    records = [
        {"schema": 1, "kind": "event", "event_type": "call", "operator_id": "x", "operator_type": "y",
         "call_id": call_id,
         "parent_call_id": parent, "request_id": "r", "timestamp": "2026-01-02T03:04:05Z"}
        for call_id, parent in zip("ab", around, strict=True)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, records)))
    assert [found.parent_call_id for found in load_events(path)] == around


def test_a_source_that_holds_no_events_is_refused_in_one_sentence(path: Path, tmp_path: Path) -> None:
    picture, runs = tmp_path / "a.png", tmp_path / "runs.jsonl"
    picture.write_bytes(b"\x89PNG\r\n")
    with Tracer(runs).workflow("answer"):
        pass
    refused: list[tuple[Any, str]] = [
        (path, "there is no journal"),
        (tmp_path, "is a folder; name the journals in it"),
        (picture, "holds no operator event, only damage"),
        (runs, "holds no operator event, only 2 other records"),
        (3, "a int is no path of|a int is no path"),
        ([], "no journal was named"),
        ([event()], "a OperatorEvent is no path"),
    ]
    for source, said in refused:
        with pytest.raises(TraceFormatError, match=said):
            load_events(source)


def test_what_is_no_event_is_refused_in_one_sentence(path: Path) -> None:
    refused: list[tuple[Any, str]] = [
        ("events.jsonl", r"events.jsonl is a path, not events; give load_events\('events.jsonl'\)"),
        (3, "a int holds no events"),
        ([event(), 3], "a int is no event"),
        ([event(timestamp=datetime(2026, 1, 2))], "has no time zone"),
    ]
    for events, said in refused:
        with pytest.raises(CausalkitError, match=said):
            save_events(path, events)
        with pytest.raises(CausalkitError, match=said):
            replay(events)
    for speed in (0, -1.0, "fast", True):
        with pytest.raises(CausalkitError, match="give a number above 0"):
            replay([], speed=speed)  # type: ignore[arg-type]
    with pytest.raises(CausalkitError, match="for events as they happen"):
        save_events(path, [], sample=0.5)  # type: ignore[call-overload]


def test_replay_gives_the_events_in_the_order_of_their_times_to_whoever_listens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = [event(call_id=str(n), timestamp=NOW + timedelta(seconds=n % 3)) for n in range(6)]
    heard: list[OperatorEvent] = []
    with EventCollector.register(heard.append), collect_events() as collected:
        assert replay(events, progress=True) == 6
        assert replay(iter([])) == 0
    assert [found.call_id for found in collected] == ["0", "3", "1", "4", "2", "5"]
    assert heard == list(collected)
    assert "6/6" in capsys.readouterr().err


def test_replay_keeps_the_recorded_tempo_or_a_multiple_of_it() -> None:
    events = [event(timestamp=NOW + timedelta(milliseconds=60 * n)) for n in range(3)]
    begun = time.monotonic()
    replay(events, speed=2)
    assert 0.06 <= time.monotonic() - begun < 2


def test_a_list_of_events_shows_how_many_there_are() -> None:
    assert repr(EventList([event()])) == "<EventList of 1 events>"


@pytest.mark.filterwarnings("ignore:read .* events and left out:UserWarning")
@pytest.mark.parametrize("at_once", [1, 3])
def test_no_event_that_was_acknowledged_is_lost_by_a_kill(tmp_path: Path, proof: bool, at_once: int) -> None:
    kills = 200 if proof else 5
    subprocess.run(
        [sys.executable, "-m", "tests.journal_children", "die", "events", str(tmp_path), str(kills), str(at_once)],
        cwd=ROOT, check=True, timeout=600,
    )  # fmt: skip
    events = load_events(tmp_path / "runs.jsonl")
    # Among others a kill can cut the one record that was being written, at a page of the file.
    assert len(events.damage) <= (0 if at_once == 1 else kills)
    results: dict[str, list[int]] = {}
    for found in events:
        if "result" in found.data:
            results.setdefault(found.operator_id, []).append(found.data["result"])
    for who in map(str, range(kills)):
        last = int.from_bytes((tmp_path / who).read_bytes(), "big")
        # One more may have been written and not yet acknowledged.
        assert results[who] in (list(range(1, last + 1)), list(range(1, last + 2)))


def test_a_hundred_thousand_events_are_read_in_about_a_second(path: Path, proof: bool) -> None:
    line = msgspec.json.encode({
        "schema": 1, "kind": "event", "event_type": "result", "operator_id": "knn", "operator_type": "member",
        "call_id": "c", "timestamp": NOW, "request_id": "r", "duration_ms": 0.5, "data": {"result": 3},
    })  # fmt: skip
    count = 100_000 if proof else 10_000
    path.write_bytes((line + b"\n") * count)
    begun = time.process_time()
    assert len(load_events(path)) == count
    # Ten times what it takes.
    assert time.process_time() - begun < count * 50e-6
