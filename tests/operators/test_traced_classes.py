"""A traced class is its own while nobody listens, and reports each call of its objects once while somebody does."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import gc
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from causalkit.operators.listening import EventCollector, collect_events
from causalkit.operators.tracing import TracedOperator, trace
from tests.operators.family import parents


def reported(work: Callable[[], object]) -> list[str]:
    with collect_events() as events:
        work()
    return [event.operator_id for event in events if event.event_type == "result"]


@trace(stage="ensemble_1", operator_type="member")
class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: int) -> int:
        return x


@dataclass
class Plain:
    vote: int

    def __call__(self) -> int:
        return self.vote


def test_the_call_of_a_class_is_its_own_while_nobody_listens() -> None:
    def call(self: Any, x: int) -> int:
        return x

    Own = trace(type("Own", (), {"__call__": call}))
    Inheriting = trace(type("Inheriting", (type("Base", (), {"__call__": call}),), {}))

    def untouched() -> bool:
        return vars(Own)["__call__"] is call and "__call__" not in vars(Inheriting)

    assert untouched()
    with collect_events(), collect_events() as inner:
        with EventCollector.register(lambda event: None):
            assert not untouched()
        assert not untouched()
        assert (Own()(1), Inheriting()(2)) == (1, 2)
    assert untouched()
    assert len(inner) == 4
    with pytest.raises(KeyError), collect_events():
        raise KeyError
    assert untouched()


def test_an_object_has_the_id_that_it_was_given() -> None:
    class WithId(Named):
        operator_id = "by attribute"

    @trace(operator_id="by trace")
    class Told(Plain):
        name = "not asked"

    class Raising(Named):
        def __init__(self) -> None:
            pass

        @property
        def name(self) -> str:  # type: ignore[override]
            raise ConnectionError

    class Odd(Named):
        name = 3  # type: ignore[assignment]

        def __init__(self) -> None:
            pass

    assert reported(lambda: (Named("knn")(1), WithId("x")(1), Told(1)(), Raising()(1), Odd()(1), Named("")(1))) == [
        *("knn", "by attribute", "by trace", "Raising", "Odd", "Named"),
    ]


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"slots": True}, {"slots": True, "frozen": True}])
@pytest.mark.parametrize("how", ["trace", "inherit", "trace first"])
@pytest.mark.parametrize("listening", [False, True])
def test_dataclasses_of_every_kind_report_whichever_comes_first(how: str, options: Any, listening: bool) -> None:
    def make() -> Any:
        class Member(*[TracedOperator] * (how == "inherit")):  # type: ignore[misc]
            vote: int

            def __call__(self, image: object) -> int:
                return self.vote

        original = vars(Member)["__call__"] if how != "inherit" else None
        if how == "inherit":
            return dataclass(**options)(Member), original
        if how == "trace first":
            return dataclass(**options)(trace(Member)), original
        return trace(dataclass(**options)(Member)), original

    if listening:
        with collect_events():
            Member, original = make()
    else:
        Member, original = make()
    if original is not None:
        assert vars(Member)["__call__"] is original
    else:
        assert not hasattr(vars(Member)["__call__"], "__wrapped__")

    class Derived(Member):  # type: ignore[misc]
        def __call__(self, image: object) -> int:
            return int(super().__call__(image)) + 1

    one, two = Member(3), Derived(5)
    for _ in range(2):
        assert (one("image"), two("image")) == (3, 6)
        assert [name.partition(" ")[0] for name in reported(lambda: (one("image"), two("image")))] == [
            *("Member", "Derived"),
        ]


def test_a_subclass_reports_once_with_and_without_a_call_of_its_own() -> None:
    class Without(Named):
        pass

    class Calling(Named):
        def __call__(self, x: int) -> int:
            return super().__call__(x) + 1

    class Deeper(Calling):
        def __call__(self, x: int) -> int:
            return super().__call__(x) + 1

    objects = [Without("without"), Calling("calling"), Deeper("deeper")]
    with collect_events() as events:

        class Late(Calling):
            def __call__(self, x: int) -> int:
                return super().__call__(x) + 1

        assert [operator(1) for operator in [*objects, Late("late")]] == [1, 2, 3, 3]
    assert parents(events) == dict.fromkeys(("without", "calling", "deeper", "late"))
    assert {(event.stage, event.operator_type) for event in events} == {("ensemble_1", "member")}
    assert Late("late")(1) == 3
    assert reported(lambda: Late("late")(1)) == ["late"]


def test_a_diamond_reports_once() -> None:
    class Left(Named):
        def __call__(self, x: int) -> int:
            return super().__call__(x) * 2

    class Right(Named):
        def __call__(self, x: int) -> int:
            return super().__call__(x) + 1

    class Both(Left, Right):
        pass

    both = Both("both")
    assert both(1) == 4
    assert reported(lambda: both(1)) == ["both"]


def test_a_call_inherited_from_an_untraced_class_reports_only_for_the_traced_one() -> None:
    class Base:
        def __call__(self) -> int:
            return 1

    class Mixed(Base, TracedOperator):
        pass

    class OfTraced(TracedOperator):
        def __call__(self) -> int:
            return 2

    class First(Base, OfTraced):
        pass

    @trace
    class Traced(Base):
        pass

    class Other(Base):
        pass

    def work() -> None:
        assert [kind()() for kind in (Mixed, First, Traced, Other, Base)] == [1, 1, 1, 1, 1]

    for _ in range(2):
        assert reported(work) == ["Mixed", "First", "Traced"]
    assert reported(lambda: trace(Traced(), operator_id="again")()) == ["again"]


def test_a_class_traced_twice_or_whose_call_is_traced_reports_once() -> None:
    @trace(stage="s", operator_id="new")
    @trace(stage="r", operator_type="t")
    class Twice:
        @trace(operator_id="method")
        def __call__(self) -> int:
            return 1

    own = Twice.__call__
    with collect_events() as events:
        assert Twice()() == 1
    assert [(event.operator_id, event.stage, event.operator_type) for event in events] == [("new", "s", "t")] * 2
    assert Twice.__call__ is own


def test_what_a_decorator_does_to_the_call_is_done_while_somebody_listens_too() -> None:
    def plus_one(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> int:
            return function(*args) + 1

        return wrapper

    @trace
    class Decorated:
        @plus_one
        def __call__(self, x: int) -> int:
            return x

    with collect_events() as events:
        assert Decorated()(1) == 2
    assert events[1].data == {"result": 2}


def test_calls_that_are_static_methods_or_objects_stay_what_they_are() -> None:
    class Static(TracedOperator):
        @staticmethod
        def __call__(x: int) -> int:
            return x

    class Partial(TracedOperator):
        def scaled(self, scale: int, x: int) -> int:
            return scale * x

        __call__ = functools.partialmethod(scaled, 2)

    class Builtin(TracedOperator):
        __call__ = len

    def work() -> None:
        assert (Static()(1), Partial()(2), Builtin()([1])) == (1, 4, 1)  # type: ignore[operator]

    work()
    assert reported(work) == ["Static", "Partial", "Builtin"]
    work()


def test_slots_without_weak_references_hinder_nothing() -> None:
    @trace
    class Slotted:
        __slots__ = ("vote",)

        def __call__(self) -> int:
            self.vote = 3
            return self.vote

    assert reported(lambda: (Slotted()(), Slotted()())) == ["Slotted", "Slotted"]


def test_async_and_generating_calls_of_classes_are_covered_as_a_whole() -> None:
    class Async(TracedOperator):
        async def __call__(self) -> int:
            await asyncio.sleep(0)
            return Named("inner")(1)

    class Generating(TracedOperator):
        def __call__(self) -> Iterator[int]:
            yield Named("of generator")(1)

    class AsyncGenerating(TracedOperator):
        async def __call__(self) -> AsyncIterator[int]:
            yield Named("of async generator")(1)

    async def work() -> None:
        assert await Async()() == 1
        assert [*Generating()()] == [1]
        assert [item async for item in AsyncGenerating()()] == [1]

    with collect_events() as events:
        asyncio.run(work())
    assert parents(events) == {
        **{"Async": None, "inner": "Async", "Generating": None, "of generator": "Generating"},
        **{"AsyncGenerating": None, "of async generator": "AsyncGenerating"},
    }


def test_objects_without_a_name_have_a_number_of_their_own_as_long_as_they_live() -> None:
    trace(Plain)
    panel = [Plain(3), Plain(3), Plain(5)]

    def work() -> None:
        for member in panel:
            member()

    assert reported(work) == ["Plain", "Plain #2", "Plain #3"]
    assert reported(work) == ["Plain", "Plain #2", "Plain #3"]
    del panel[1]
    gc.collect()
    assert reported(work) == ["Plain", "Plain #3"]
    panel.append(Plain(3))
    assert reported(work) == ["Plain", "Plain #3", "Plain #2"]
    assert set(reported(lambda: [Plain(number)() for number in range(5)])) == {"Plain #4"}


def test_objects_can_be_copied_and_pickled_and_stay_as_they_are() -> None:
    original = Named("knn")
    before = dict(vars(original))
    with collect_events() as events:
        assert original(1) == 1
        others = [copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))]  # noqa: S301
        assert [other(2) for other in others] == [2, 2, 2]
    assert vars(original) == before
    assert all(vars(other) == before for other in others)
    assert {event.operator_id for event in events} == {"knn"}
    assert len(events) == 8


def test_abstract_classes_and_hooks_of_the_users_work_as_before() -> None:
    made: list[tuple[str, Any]] = []

    @trace
    class Base(abc.ABC):
        def __init_subclass__(cls, *, level: int = 0, **others: Any) -> None:
            super().__init_subclass__(**others)
            made.append((cls.__name__, level))

        @abc.abstractmethod
        def __call__(self) -> int: ...

    with collect_events():

        class Derived(Base, level=3):
            def __call__(self) -> int:
                return 1

        class Unfinished(Base):
            pass

    assert made == [("Derived", 3), ("Unfinished", 0)]
    with pytest.raises(TypeError, match="abstract"):
        Unfinished()  # type: ignore[abstract]
    assert reported(lambda: Derived()()) == ["Derived"]


def test_what_a_subclass_of_traced_operator_is_told_goes_down_to_its_own() -> None:
    class Judge(TracedOperator, stage="judge_1", operator_type="judge", tags="a"):
        def __call__(self) -> int:
            return 1

    class Strict(Judge, operator_type="strict judge"):
        pass

    with collect_events() as events:
        Judge()(), Strict()()
    assert [(event.operator_type, event.stage, event.context and event.context.tags) for event in events[::2]] == [
        *(("judge", "judge_1", ("a",)), ("strict judge", "judge_1", ("a",))),
    ]


def test_a_class_that_is_gone_is_not_kept() -> None:
    def make() -> None:
        class Gone(TracedOperator):
            def __call__(self) -> int:
                return 1

        Gone()()

    def living() -> int:
        gc.collect()
        return sum(kind.__name__ == "Gone" for kind in TracedOperator.__subclasses__())

    with collect_events():
        make()
    assert living() == 0
