"""Every step knows the step it ran in, also where generators and context managers are left and entered again."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.tracer import Tracer
from tests.workflows.ways import LEAVES, WAYS, Parents, joined, leaf, parents, recorded


def test_two_generators_and_their_consumer_do_not_mix() -> None:
    def generate(run: OpenRun, name: str) -> Iterator[None]:
        with run.step(name):
            yield
            leaf(run, f"{name}.1")
            yield
            with run.step(f"{name}.2"):
                yield
                leaf(run, f"{name}.3")

    def work(run: OpenRun) -> None:
        with run.step("s"):
            one, two = generate(run, "one"), generate(run, "two")
            for number in range(4):
                next(one, None)
                with run.step(f"between{number}"):
                    next(two, None)
                    leaf(run, f"leaf{number}")

    found = {name: parent for name, parent in recorded(work).items() if not name.endswith("inner")}
    assert found == {
        "s": None,
        **{"one": "s", "one.1": "one", "one.2": "one", "one.3": "one.2"},
        **{"two": "between0", "two.1": "two", "two.2": "two", "two.3": "two.2"},
        **{f"between{number}": "s" for number in range(4)},
        **{f"leaf{number}": f"between{number}" for number in range(4)},
    }


def test_a_generator_within_a_generator_has_its_step_as_parent() -> None:
    def inner(run: OpenRun) -> Iterator[None]:
        with run.step("inner"):
            yield
            leaf(run, "a")
            yield

    def outer(run: OpenRun) -> Iterator[None]:
        with run.step("outer"):
            yield from inner(run)
            leaf(run, "b")

    def work(run: OpenRun) -> None:
        for number, _ in enumerate(outer(run)):
            leaf(run, f"c{number}")

    found = recorded(work)
    assert {name: found[name] for name in ("outer", "inner", "a", "b", "c0", "c1")} == {
        **{"outer": None, "inner": "outer", "a": "inner", "b": "outer"},
        **{"c0": None, "c1": None},
    }


def test_a_generator_goes_on_in_another_thread_under_its_own_step() -> None:
    def generate(run: OpenRun) -> Iterator[None]:
        with run.step("s"):
            yield
            leaf(run, "a")
            yield

    def work(run: OpenRun) -> None:
        items = generate(run)
        next(items)
        joined(threading.Thread(target=lambda: next(items)))
        items.close()

    assert recorded(work) == LEAVES


def test_an_abandoned_generator_ends_its_step_and_leaves_nothing_behind() -> None:
    def generate(run: OpenRun) -> Iterator[None]:
        with run.step("s"):
            yield

    tracer = Tracer()
    gc.disable()
    try:
        with tracer.workflow("answer") as run:
            for _ in range(10):
                next(generate(run))
                leaf(run, "a")
            assert len(run.steps) == 30
    finally:
        gc.enable()
    assert parents(tracer.runs[0]) == {"s": None, "a": None, "a.inner": "a"}
    assert {step.error["type"] for step in tracer.runs[0].steps if step.error} == {"GeneratorExit"}


@pytest.mark.parametrize("by_hand", [False, True])
def test_async_generators_and_their_consumer_do_not_mix(by_hand: bool) -> None:
    async def generate(run: OpenRun, name: str) -> AsyncIterator[None]:
        async with run.step(name):
            yield
            await asyncio.sleep(0)
            leaf(run, f"{name}.1")
            await asyncio.gather(asyncio.to_thread(leaf, run, f"{name}.2"), child(run, f"{name}.3"))
            yield

    async def child(run: OpenRun, name: str) -> None:
        await asyncio.sleep(0)
        leaf(run, name)

    async def consume(run: OpenRun, name: str) -> None:
        items = generate(run, name)
        if by_hand:
            await anext(items)
            with run.step(f"{name}.between"):
                await anext(items)
            await items.aclose()  # type: ignore[attr-defined]
            return
        async for _ in items:
            leaf(run, f"{name}.between")

    async def main(run: OpenRun) -> None:
        with run.step("s"):
            await asyncio.gather(consume(run, "one"), consume(run, "two"))

    found = {n: p for n, p in recorded(lambda run: asyncio.run(main(run))).items() if not n.endswith("inner")}
    assert found == {
        "s": None,
        **{f"{name}.{number}": name for name in ("one", "two") for number in (1, 2, 3)},
        **{"one": "s", "two": "s", "one.between": "s", "two.between": "s"},
    }


def test_the_body_under_a_context_manager_is_in_the_step_that_this_opened() -> None:
    @contextmanager
    def nested(run: OpenRun, name: str) -> Iterator[None]:
        with run.step(name), plain(run, f"{name}.nested"):
            yield

    @contextmanager
    def plain(run: OpenRun, name: str) -> Iterator[None]:
        with run.step(name):
            yield

    class ByHand:
        def __init__(self, run: OpenRun) -> None:
            self.step = run.step("hand")

        def __enter__(self) -> None:
            self.step.__enter__()

        def __exit__(self, *exception: Any) -> None:
            self.step.__exit__(*exception)

    def generate(run: OpenRun) -> Iterator[None]:
        with nested(run, "generated"), ByHand(run), ExitStack() as stack:
            stack.enter_context(run.step("stacked"))
            yield
            leaf(run, "a")
            yield

    def work(run: OpenRun) -> None:
        with nested(run, "cm"), ExitStack() as stack:
            stack.enter_context(plain(run, "stack"))
            leaf(run, "b")
            for _ in generate(run):
                leaf(run, "c")
        leaf(run, "d")

    found = {name: parent for name, parent in recorded(work).items() if not name.endswith("inner")}
    assert found == {
        **{"cm": None, "cm.nested": "cm", "stack": "cm.nested", "b": "stack", "c": "stack", "d": None},
        **{"generated": "stack", "generated.nested": "generated", "hand": "generated.nested"},
        **{"stacked": "hand", "a": "stacked"},
    }


def test_the_body_under_an_async_context_manager_is_in_the_step_that_this_opened() -> None:
    @asynccontextmanager
    async def managed(run: OpenRun, name: str) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        async with run.step(name):
            yield
            await asyncio.sleep(0)

    async def generate(run: OpenRun) -> AsyncIterator[None]:
        async with managed(run, "generated"):
            yield
            leaf(run, "a")
            yield

    async def main(run: OpenRun) -> None:
        async with managed(run, "cm"), AsyncExitStack() as stack:
            await stack.enter_async_context(managed(run, "stack"))
            leaf(run, "b")
            async for _ in generate(run):
                leaf(run, "c")
        leaf(run, "d")

    found = recorded(lambda run: asyncio.run(main(run)))
    assert {name: parent for name, parent in found.items() if not name.endswith("inner")} == {
        **{"cm": None, "stack": "cm", "b": "stack", "c": "stack", "d": None, "generated": "stack", "a": "generated"},
    }


# A tree of steps: how the work gets there, and what happens in the step. "generator" steps are open in a generator that
# is asked for an item before each of the steps in it; "interleaved" ones are asked for one in between, too.
Tree = tuple[str, list["Tree"]]
SHAPES = [
    "call",
    "thread",
    "executor_submit",
    "executor_context",
    "pool_apply",
    "generator",
    "async",
    "managed",
    "to_thread",
]
trees: st.SearchStrategy[Tree] = st.recursive(
    st.tuples(st.sampled_from(SHAPES), st.just([])),
    lambda inner: st.tuples(st.sampled_from(SHAPES), st.lists(inner, max_size=3)),
    max_leaves=6,
)


class Interpreter:
    """Does what a tree says and notes which parent each step must have."""

    def __init__(self, run: OpenRun) -> None:
        self.run = run
        self.expected: Parents = {}

    def visit(self, tree: Tree, parent: str | None) -> None:
        shape, inner = tree
        name = f"{shape}{len(self.expected)}"
        self.expected[name] = parent
        if shape == "generator":
            self.consume(self.generate(name, inner), name, parent)
        elif shape == "async":
            self.alone(lambda: asyncio.run(self.consume_async(name, inner, parent)))
        elif shape == "managed":
            with self.managed(name):
                self.below(name, inner)
        else:
            WAYS[shape](lambda: self.plain(name, inner))

    def plain(self, name: str, inner: list[Tree]) -> None:
        with self.run.step(name):
            self.below(name, inner)

    def below(self, name: str, inner: list[Tree]) -> None:
        for tree in inner:
            self.visit(tree, name)

    def between(self, name: str, number: int, parent: str | None) -> None:
        self.expected[f"{name}.between{number}"] = parent
        with self.run.step(f"{name}.between{number}"):
            pass

    def generate(self, name: str, inner: list[Tree]) -> Iterator[None]:
        with self.run.step(name):
            for tree in inner:
                yield
                self.visit(tree, name)
            yield

    def consume(self, items: Iterator[None], name: str, parent: str | None) -> None:
        next(items)
        self.between(name, 0, parent)
        for number, _ in enumerate(items, 1):
            self.between(name, number, parent)

    async def consume_async(self, name: str, inner: list[Tree], parent: str | None) -> None:
        async def generate() -> AsyncIterator[None]:
            with self.run.step(name):
                for tree in inner:
                    yield
                    await asyncio.to_thread(self.visit, tree, name)
                yield

        number = 0
        async for _ in generate():
            self.between(name, number, parent)
            number += 1

    def alone(self, work: Callable[[], object]) -> None:
        # A loop cannot run within a loop.
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            work()
        else:
            joined(threading.Thread(target=work))

    @contextmanager
    def managed(self, name: str) -> Iterator[None]:
        with self.run.step(name):
            yield


def check(tree: Tree) -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as run:
        interpreter = Interpreter(run)
        interpreter.visit(tree, None)
    assert parents(tracer.runs[0]) == interpreter.expected


def test_in_any_mixture_every_step_has_the_right_parent(proof: bool) -> None:
    settings(max_examples=2000 if proof else 60)(given(tree=trees)(check))()


@given(turns=st.lists(st.integers(0, 3), max_size=30))
def test_generators_asked_in_any_order_keep_to_themselves(turns: list[int]) -> None:
    expected: Parents = {}

    def generate(run: OpenRun, name: str, parent: str | None) -> Iterator[None]:
        expected[name] = parent
        with run.step(name):
            for number in range(5):
                expected[f"{name}.{number}"] = name
                with run.step(f"{name}.{number}"):
                    yield

    def work(run: OpenRun) -> None:
        generators: dict[int, Iterator[None]] = {}
        for turn, which in enumerate(turns):
            expected[f"t{turn}"] = None
            with run.step(f"t{turn}"):
                items = generators.setdefault(which, generate(run, f"g{which}", f"t{turn}"))
                next(items, None)
        for items in generators.values():
            items.close()  # type: ignore[attr-defined]

    assert recorded(work) == expected
