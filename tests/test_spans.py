from __future__ import annotations

import gc
import inspect
import os
import re
import subprocess
import sys
import threading
import timeit
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path

import pytest

from causalkit.spans import Span, _handing_over, carry_across_threads, current, new_span_id

ROOT = Path(__file__).parents[1]

carry_across_threads()


@contextmanager
def span(name: str, within: object = None) -> Iterator[Span]:
    made = Span(name, within)
    made.begin(sys._getframe())
    try:
        yield made
    finally:
        made.end()


def current_id() -> str | None:
    found = current()
    return found and found.span_id


def test_outside_all_spans_there_is_no_parent() -> None:
    assert current() is None
    with span("a") as made:
        assert made.outer is None


def test_a_span_ends_with_its_block_also_when_the_block_raises() -> None:
    with span("a"):
        with pytest.raises(KeyError), span("b"):
            raise KeyError
        assert current_id() == "a"
    assert current() is None


def test_the_nearest_span_of_something_is_the_innermost_open_one_that_belongs_to_it() -> None:
    with span("a", within="x") as a, span("b", within="x") as b, span("c", within="y") as c:
        assert (c.nearest("x"), c.nearest("y"), c.nearest("z")) == (b, c, None)
        b.end()
        assert c.nearest("x") is a


def test_a_thread_begins_in_the_span_it_was_started_in() -> None:
    seen: list[str | None] = []
    with span("a"):
        thread = threading.Thread(target=lambda: seen.append(current_id()))
        thread.start()
        thread.join()
    assert seen == ["a"]


def test_a_span_that_ends_in_another_context_leaves_nobody_in_it() -> None:
    made = Span("a")
    made.begin(sys._getframe())
    Context().run(made.end)
    assert current() is None
    made.end()
    with span("b") as after:
        assert after.outer is None


def test_spans_that_each_end_after_the_next_has_begun_are_let_go() -> None:
    class Within:
        pass

    kept: list[weakref.ref[Within]] = []
    made = [Span("first", Within())]
    made[0].begin(sys._getframe())
    gc.disable()
    try:
        for _ in range(50):
            within = Within()
            kept.append(weakref.ref(within))
            made.append(Span("next", within))
            made[-1].begin(sys._getframe())
            made.pop(0).end()
        del within
        assert sum(reference() is not None for reference in kept) <= 3
    finally:
        gc.enable()
        made[0].end()
    assert current() is None


def test_what_is_wrapped_takes_returns_raises_and_is_called_as_before() -> None:
    assert str(inspect.signature(ThreadPoolExecutor.submit)) == "(self, fn, /, *args, **kwargs)"
    assert threading.Thread.start.__doc__
    assert threading.Thread.start.__name__ == "start"
    with span("a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(dict, func=1, self=2, fn=3).result() == {"func": 1, "self": 2, "fn": 3}
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
        with pytest.raises(TypeError, match="fn"):
            pool.submit()  # type: ignore[call-arg]


def test_wrapping_twice_changes_nothing() -> None:
    before = threading.Thread.start, ThreadPoolExecutor.submit
    carry_across_threads()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before


def test_a_thread_is_as_it_was_after_its_start() -> None:
    thread = threading.Thread(target=lambda: None, daemon=True)
    with span("a"):
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
    assert thread.daemon
    assert "run" not in vars(thread)


def test_a_run_that_was_set_on_a_thread_itself_is_kept() -> None:
    seen: list[str | None] = []

    def run() -> None:
        seen.append(current_id())

    thread = threading.Thread()
    thread.run = run  # type: ignore[method-assign]
    with span("a"):
        thread.start()
        thread.join()
    assert seen == ["a"]
    assert thread.run is run


def test_a_context_is_left_as_it_was_after_work_was_handed_over_in_it() -> None:
    with span("a"):
        with ThreadPoolExecutor(1) as pool:
            worker = pool.submit(current_id).result()
        assert (worker, current_id()) == ("a", "a")


def test_handing_over_costs_less_than_a_microsecond_when_no_span_is_open() -> None:

    class NoPool:
        def submit(self, fn: object, /, *args: object) -> None: ...

    plain, wrapped, pool = NoPool.submit, _handing_over(NoPool.submit), NoPool()
    cost = [min(timeit.repeat(lambda each=each: each(pool, len, ""), number=20_000)) for each in (plain, wrapped)]
    assert cost[1] - cost[0] < 20_000 * 1e-6


def test_span_ids_are_sixteen_hexadecimal_digits_and_differ() -> None:
    ids = {new_span_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", span_id) for span_id in ids)


FORK = """
import os
from causalkit.spans import new_span_id
first = new_span_id()
reader, writer = os.pipe()
if not os.fork():
    os.write(writer, new_span_id().encode())
    os._exit(0)
assert os.read(reader, 16).decode() != new_span_id()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_draws_other_ids() -> None:
    subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, check=True)
