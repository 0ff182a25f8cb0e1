"""Every step knows the step it ran in, whichever way the work got there."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import Context, copy_context
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.tracer import Tracer
from tests.workflows.ways import LEAVES, WAYS, leaf, parents, recorded

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("way", WAYS)
def test_work_handed_over_has_the_step_it_was_handed_over_in_as_parent(way: str) -> None:
    def work(run: OpenRun) -> None:
        with run.step("s"):
            WAYS[way](lambda: leaf(run, "a"))

    assert recorded(work) == LEAVES


@pytest.mark.parametrize("way", WAYS)
def test_work_handed_over_by_a_generator_has_the_generators_step_as_parent(way: str) -> None:
    def generate(run: OpenRun) -> Iterator[None]:
        with run.step("s"):
            yield
            WAYS[way](lambda: leaf(run, "a"))
            yield

    def work(run: OpenRun) -> None:
        items = generate(run)
        next(items)
        with run.step("consumer"):
            next(items)
        items.close()

    found = recorded(work)
    assert found.pop("consumer") is None
    assert found == LEAVES


@pytest.mark.parametrize("way", WAYS)
def test_work_handed_over_by_a_consumer_of_a_generator_has_the_consumers_step_as_parent(way: str) -> None:
    def generate(run: OpenRun) -> Iterator[None]:
        with run.step("generator"):
            yield
            yield

    def work(run: OpenRun) -> None:
        items = generate(run)
        next(items)
        with run.step("s"):
            next(items)
            WAYS[way](lambda: leaf(run, "a"))
        items.close()

    found = recorded(work)
    assert found.pop("generator") is None
    assert found == LEAVES


def test_many_pieces_of_one_pool_each_keep_the_step_they_were_submitted_in() -> None:
    def work(run: OpenRun) -> None:
        with ThreadPoolExecutor(2) as pool:
            futures = []
            for number in range(20):
                with run.step(f"s{number}"):
                    futures.append(pool.submit(leaf, run, f"a{number}"))
                    futures[-1].result()
            pool.submit(leaf, run, "outside").result()

    found = recorded(work)
    assert {found[f"a{number}"] == f"s{number}" for number in range(20)} == {True}
    assert found["outside"] is None


def test_a_worker_of_a_pool_does_not_keep_the_step_that_made_it_start() -> None:
    tracer = Tracer()
    with ThreadPoolExecutor(1) as pool, ThreadPool(1) as other, tracer.workflow("answer") as run:
        with run.step("first"):
            pool.submit(leaf, run, "a").result()
            with run.step("second"):
                other.apply(leaf, (run, "b"))
        pool.submit(leaf, run, "c").result()
        other.apply(leaf, (run, "d"))
    assert {name: parents(tracer.runs[0])[name] for name in "abcd"} == {
        "a": "first",
        "b": "second",
        "c": None,
        "d": None,
    }


def test_work_handed_to_a_pool_outside_all_steps_has_no_parent_though_the_worker_was_started_in_one() -> None:
    def work(run: OpenRun) -> None:
        with run.step("s"), ThreadPoolExecutor(1) as pool, ThreadPool(1) as other:
            pool.submit(leaf, run, "a").result()
            copy_of_nothing = Context()
            copy_of_nothing.run(lambda: pool.submit(leaf, run, "b").result())
            copy_of_nothing.run(lambda: other.apply(leaf, (run, "c")))

    found = recorded(work)
    assert {name: found[name] for name in "abc"} == {"a": "s", "b": None, "c": None}


def test_work_that_begins_after_its_step_has_ended_has_the_nearest_open_step_as_parent() -> None:
    def work(run: OpenRun) -> None:
        go = threading.Event()

        def late(name: str) -> None:
            go.wait()
            leaf(run, name)

        with run.step("outer"):
            with run.step("inner"):
                thread = threading.Thread(target=late, args=("a",))
                thread.start()
            go.set()
            thread.join()
        go.clear()
        with run.step("ended"):
            thread = threading.Thread(target=late, args=("b",))
            thread.start()
        go.set()
        thread.join()

    found = recorded(work)
    assert (found["a"], found["b"]) == ("outer", None)


@pytest.mark.parametrize("inside", [False, True])
def test_a_queue_worker_has_the_parent_it_was_started_in_while_that_is_open(inside: bool) -> None:
    def work(run: OpenRun) -> None:
        items: queue.Queue[str | None] = queue.Queue()

        def serve() -> None:
            while (name := items.get()) is not None:
                leaf(run, name)
                items.task_done()

        thread = threading.Thread(target=serve)
        with ExitStack() as started_in:
            if inside:
                started_in.enter_context(run.step("start"))
            thread.start()
            with run.step("put"):
                items.put("a")
                items.join()
        with run.step("later"):
            items.put("b")
            items.put(None)
            thread.join()

    found = recorded(work)
    assert (found["a"], found["b"]) == ("start" if inside else None, None)


def test_steps_that_end_in_another_order_leave_the_others_right() -> None:
    def work(run: OpenRun) -> None:
        one, two = run.step("one"), run.step("two")
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)
        leaf(run, "a")
        two.__exit__(None, None, None)
        leaf(run, "b")

    found = recorded(work)
    assert (found["two"], found["a"], found["b"]) == ("one", "two", None)


FORK = """
import os, sys
from causalkit.workflows.tracer import Tracer
tracer = Tracer(sys.argv[1])
with tracer.workflow("answer", request_id="r") as run:
    with run.step("parent"):
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                with run.step(f"child{number}"), run.step(f"inner{number}"):
                    pass
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        with run.step("after"):
            pass
tracer.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_steps_of_forked_processes_are_children_of_the_step_that_forked(tmp_path: Path) -> None:
    from causalkit.journal_reading import read_journal

    path = tmp_path / "runs.jsonl"
    subprocess.run([sys.executable, "-c", FORK, str(path)], cwd=ROOT, check=True)
    steps = [record for record in read_journal(path)[0] if record["kind"] == "step"]
    names = {step["step_id"]: step["step_name"] for step in steps}
    assert len(names) == len(steps) == 8
    found = {step["step_name"]: names.get(step.get("parent_id")) for step in steps}
    assert found == {
        "parent": None,
        "after": "parent",
        **{f"child{number}": "parent" for number in range(3)},
        **{f"inner{number}": f"child{number}" for number in range(3)},
    }


def test_a_context_of_another_place_keeps_its_own_chain() -> None:
    def work(run: OpenRun) -> None:
        with run.step("there"):
            context = copy_context()
            with run.step("here"), ThreadPoolExecutor(1) as pool:
                pool.submit(context.run, leaf, run, "a").result()

    assert recorded(work)["a"] == "there"
