"""Every call knows its caller, also where generators are left and entered again, and in any mixture of all ways."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.operators.listening import collect_events
from tests.operators.family import Parents, endings, heard, operator, parents
from tests.workflows.ways import WAYS, joined


def test_a_call_covers_the_body_of_a_generator_and_not_its_making() -> None:
    def generate(n: int) -> Iterator[int]:
        yield from range(n)

    with collect_events() as events:
        items = operator("generator", generate)(3)
        operator("before")()
        assert [*items] == [0, 1, 2]
    assert [event.operator_id for event in events] == ["before", "before", "generator", "generator"]
    assert events[2].data == {"inputs": {"n": 3}}


def test_two_generators_and_their_consumer_do_not_mix() -> None:
    def generate(name: str) -> Iterator[None]:
        yield
        operator(f"{name}.1")()
        yield
        operator(f"{name}.2", lambda: operator(f"{name}.3")())()
        yield

    def work() -> None:
        one, two = operator("one", generate)("one"), operator("two", generate)("two")
        for number in range(4):
            next(one, None)
            operator(f"between{number}", lambda number=number: (next(two, None), operator(f"leaf{number}")()))()

    assert heard(operator("s", work)) == {
        "s": None,
        **{"one": "s", "one.1": "one", "one.2": "one", "one.3": "one.2"},
        **{"two": "between0", "two.1": "two", "two.2": "two", "two.3": "two.2"},
        **{f"between{number}": "s" for number in range(4)},
        **{f"leaf{number}": f"between{number}" for number in range(4)},
    }


def test_a_generator_within_a_generator_has_it_as_caller() -> None:
    def inner() -> Iterator[None]:
        yield
        operator("a")()
        yield

    def outer() -> Iterator[None]:
        yield from operator("inner", inner)()
        operator("b")()

    def work() -> None:
        for _ in operator("outer", outer)():
            operator("c")()

    assert heard(work) == {"outer": None, "inner": "outer", "a": "inner", "b": "outer", "c": None}


def test_a_generator_goes_on_in_another_thread_as_the_same_caller() -> None:
    def generate() -> Iterator[None]:
        yield
        operator("a")()
        yield

    def work() -> None:
        items = operator("s", generate)()
        next(items)
        joined(threading.Thread(target=lambda: next(items)))
        items.close()

    assert heard(work) == {"s": None, "a": "s"}


@pytest.mark.parametrize("how", ["close", "forget", "exhaust", "break"])
def test_however_a_generator_is_left_its_call_is_closed_without_an_error(how: str) -> None:
    def generate() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            operator("cleaning")()

    gc.disable()
    try:
        with collect_events() as events:
            items = operator("s", generate)()
            next(items)
            if how == "close":
                items.close()
            elif how == "exhaust":
                assert [*items] == [2]
            elif how == "break":
                for _ in items:
                    break
            del items
            operator("after")()
    finally:
        gc.enable()
    assert parents(events) == {"s": None, "cleaning": "s", "after": None}
    assert set(endings(events).values()) == {"result"}


def test_what_is_sent_thrown_and_returned_passes_through_a_generator() -> None:
    def echo() -> Generator[Any, Any, str]:
        heard: Any = None
        while heard != "stop":
            try:
                heard = yield heard
            except KeyError as error:
                operator("catching")()
                heard = ("caught", *error.args)
        return "done"

    with collect_events() as events:
        items = operator("echo", echo)()
        assert (next(items), items.send(3), items.throw(KeyError("k"))) == (None, 3, ("caught", "k"))
        with pytest.raises(StopIteration) as stopped:
            items.send("stop")
    assert stopped.value.value == "done"
    assert events[-1].data == {"result": "done"}
    assert parents(events) == {"echo": None, "catching": "echo"}


def test_what_is_thrown_and_not_caught_closes_the_call_of_a_generator_as_an_error() -> None:
    def generate() -> Iterator[None]:
        yield

    with collect_events() as events:
        items = operator("s", generate)()
        next(items)
        with pytest.raises(KeyError):
            items.throw(KeyError("k"))
        operator("after")()
    assert parents(events) == {"s": None, "after": None}
    assert endings(events)["s"] == "KeyError"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_that_fails_while_it_is_closed_closes_its_call_as_an_error(is_async: bool) -> None:
    def generate() -> Iterator[None]:
        try:
            yield
        finally:
            raise OSError("full")

    async def generate_async() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            raise OSError("full")

    async def main() -> None:
        items = operator("s", generate_async)()
        await anext(items)
        await items.aclose()

    def work() -> None:
        items = operator("s", generate)()
        next(items)
        items.close()

    with collect_events() as events:
        with pytest.raises(OSError, match="full"):
            asyncio.run(main()) if is_async else work()
        operator("after")()
    assert parents(events) == {"s": None, "after": None}
    assert endings(events)["s"] == "OSError"


def test_what_is_sent_and_thrown_passes_through_an_async_generator() -> None:
    async def echo() -> AsyncGenerator[Any, Any]:
        told: Any = None
        while told != "stop":
            try:
                told = yield told
            except (KeyError, asyncio.CancelledError) as error:
                operator("catching")()
                told = ("caught", *error.args)

    async def main() -> list[Any]:
        items = operator("echo", echo)()
        found = [await anext(items), await items.asend(3), await items.athrow(KeyError("k"))]
        found.append(await items.athrow(asyncio.CancelledError("c")))
        with pytest.raises(StopAsyncIteration):
            await items.asend("stop")
        return found

    with collect_events() as events:
        assert asyncio.run(main()) == [None, 3, ("caught", "k"), ("caught", "c")]
    assert parents(events) == {"echo": None, "catching": "echo"}
    assert endings(events)["echo"] == "result"


@pytest.mark.parametrize("how", ["aclose", "exhaust", "forget", "athrow", "cancel"])
def test_however_an_async_generator_is_left_its_call_is_closed(how: str) -> None:
    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60 if how == "cancel" else 0)
            yield 2
        finally:
            operator("cleaning")()

    async def main() -> None:
        items = operator("s", generate)()
        await anext(items)
        if how == "aclose":
            await items.aclose()
        elif how == "exhaust":
            assert [item async for item in items] == [2]
        elif how == "athrow":
            with pytest.raises(KeyError):
                await items.athrow(KeyError())
        elif how == "cancel":
            task = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        del items
        await asyncio.sleep(0)
        operator("after")()

    with collect_events() as events:
        asyncio.run(main())
    assert parents(events) == {"s": None, "cleaning": "s", "after": None}
    assert endings(events)["s"] == {"athrow": "KeyError", "cancel": "CancelledError"}.get(how, "result")


@pytest.mark.parametrize("by_hand", [False, True])
def test_async_generators_and_their_consumers_do_not_mix(by_hand: bool) -> None:
    async def generate(name: str) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(0)
        operator(f"{name}.1")()
        await asyncio.gather(asyncio.to_thread(operator(f"{name}.2")), operator(f"{name}.3", child)())
        yield

    async def child() -> None:
        await asyncio.sleep(0)

    async def consume(name: str) -> None:
        items = operator(name, generate)(name)
        if by_hand:
            await anext(items)
            await operator(f"{name}.between", items.__anext__)()
            await items.aclose()
            return
        async for _ in items:
            operator(f"{name}.between")()

    async def main() -> None:
        await asyncio.gather(consume("one"), consume("two"))

    assert heard(lambda: asyncio.run(operator("s", main)())) == {
        "s": None,
        **{f"{name}.{number}": name for name in ("one", "two") for number in (1, 2, 3)},
        **{"one": "s", "two": "s", "one.between": "s", "two.between": "s"},
    }


@given(turns=st.lists(st.integers(0, 3), max_size=30))
def test_generators_asked_in_any_order_keep_to_themselves(turns: list[int]) -> None:
    expected: Parents = {}

    def generate(name: str) -> Iterator[None]:
        for number in range(5):
            expected[f"{name}.{number}"] = name
            yield operator(f"{name}.{number}")()

    def work() -> None:
        generators: dict[int, Any] = {}

        def ask(which: int, turn: str) -> None:
            if which not in generators:
                expected[f"g{which}"] = turn
                generators[which] = operator(f"g{which}", generate)(f"g{which}")
            next(generators[which], None)

        for turn, which in enumerate(turns):
            expected[f"t{turn}"] = None
            operator(f"t{turn}", ask)(which, f"t{turn}")
        for items in generators.values():
            items.close()

    assert heard(work) == expected


# A tree of calls: how the work gets there, whether it fails, and what is called in it.
Tree = tuple[str, bool, list["Tree"]]
SHAPES = [
    *("call", "thread", "executor_submit", "executor_context", "pool_apply", "to_thread", "gather"),
    *("generator", "abandoned", "async", "managed", "self"),
]
trees: st.SearchStrategy[Tree] = st.recursive(
    st.tuples(st.sampled_from(SHAPES), st.booleans(), st.just([])),
    lambda inner: st.tuples(st.sampled_from(SHAPES), st.booleans(), st.lists(inner, max_size=3)),
    max_leaves=8,
)


class Interpreter:
    """Does what a tree says and notes which caller each call must have."""

    def __init__(self) -> None:
        self.expected: Parents = {}

    def visit(self, tree: Tree, caller: str | None) -> None:
        shape, fails, inner = tree
        name = f"{shape}{len(self.expected)}"
        self.expected[name] = caller
        with suppress(KeyError):
            if shape in ("generator", "abandoned"):
                self.consume(operator(name, self.generate)(name, inner, fails), name, caller, shape == "abandoned")
            elif shape == "async":
                self.alone(lambda: asyncio.run(self.consume_async(name, inner, caller)))
            elif shape == "managed":
                with contextmanager(operator(name, self.manage))():
                    self.below(name, inner, fails)
            elif shape == "self":
                self.expected[f"{name}.again"] = name
                operator(name, lambda: operator(f"{name}.again", lambda: self.below(f"{name}.again", inner, fails))())()
            else:
                self.alone(lambda: WAYS[shape](operator(name, lambda: self.quietly(name, inner, fails))))

    def below(self, name: str, inner: list[Tree], fails: bool) -> None:
        for tree in inner:
            self.visit(tree, name)
        if fails:
            raise KeyError(name)

    def quietly(self, name: str, inner: list[Tree], fails: bool) -> None:
        # An error in a thread would be one of the test.
        with suppress(KeyError):
            self.below(name, inner, fails)

    def between(self, name: str, number: int, caller: str | None) -> None:
        self.expected[f"{name}.between{number}"] = caller
        operator(f"{name}.between{number}")()

    def generate(self, name: str, inner: list[Tree], fails: bool) -> Iterator[None]:
        for tree in inner:
            yield
            self.visit(tree, name)
        yield
        if fails:
            raise KeyError(name)

    def manage(self) -> Iterator[None]:
        yield

    def consume(self, items: Any, name: str, caller: str | None, abandoned: bool) -> None:
        next(items)
        self.between(name, 0, caller)
        if not abandoned:
            for number, _ in enumerate(items, 1):
                self.between(name, number, caller)

    async def consume_async(self, name: str, inner: list[Tree], caller: str | None) -> None:
        async def generate() -> AsyncIterator[None]:
            for tree in inner:
                yield
                await asyncio.to_thread(self.visit, tree, name)
            yield

        number = 0
        async for _ in operator(name, generate)():
            self.between(name, number, caller)
            number += 1

    def alone(self, work: Callable[[], object]) -> None:
        # A loop cannot run within a loop.
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            work()
        else:
            joined(threading.Thread(target=work))


def check(tree: Tree) -> None:
    interpreter = Interpreter()
    found = heard(lambda: interpreter.visit(tree, None))
    assert found == interpreter.expected


def test_in_any_mixture_every_call_has_the_right_caller_and_is_closed_once(proof: bool) -> None:
    settings(max_examples=2000 if proof else 200)(given(tree=trees)(check))()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_given_wrong_arguments_closes_its_call(is_async: bool) -> None:
    def generate() -> Iterator[None]:
        yield

    async def generate_async() -> AsyncIterator[None]:
        yield

    async def main() -> None:
        await anext(operator("s", generate_async)(1))

    with collect_events() as events:
        with pytest.raises(TypeError):
            asyncio.run(main()) if is_async else next(operator("s", generate)(1))
        operator("after")()
    assert parents(events) == {"s": None, "after": None}
    assert endings(events)["s"] == "TypeError"
