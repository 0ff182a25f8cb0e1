"""Functions, methods and classes that report each call of them, at no cost while nobody listens.

A traced function asks one global before it calls what it wraps. A traced class is not touched at all: its ``__call__``
is replaced when somebody begins to listen and put back when nobody does any more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType
from typing import Any, TypeVar, overload

from causalkit.errors import CausalkitError
from causalkit.operators.identity import Metric, Told, metadata_of_instance
from causalkit.operators.traced_classes import call_of, told_of, trace_class
from causalkit.operators.wrapping import traced_before, traced_function

_Traced = TypeVar("_Traced", bound=Callable[..., Any])


@overload
def trace(traced: _Traced, /) -> _Traced: ...


@overload
def trace(
    traced: None = None,
    /,
    *,
    stage: str | None = None,
    operator_type: str | None = None,
    operator_id: str | None = None,
    tags: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
) -> Callable[[_Traced], _Traced]: ...


@overload
def trace(
    traced: _Traced,
    /,
    *,
    stage: str | None = None,
    operator_type: str | None = None,
    operator_id: str | None = None,
    tags: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
) -> _Traced: ...


def trace(
    traced: Any = None,
    /,
    *,
    stage: str | None = None,
    operator_type: str | None = None,
    operator_id: str | None = None,
    tags: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
) -> Any:
    """Let a function, a method, a class with ``__call__`` or a callable object report each call of it.

    Parameters
    ----------
    traced : callable, optional
        Plain, a coroutine, a generator or an async generator (whose body is what is reported, not its making). A class
        is returned as it is; all its instances and those of its subclasses report. An object is not changed: what comes
        back reports and calls it.
    stage : str, optional
        Its place in the pipeline; by default that of its caller.
    operator_type : str, optional
        What kind it is, such as ``ensemble`` or ``judge``; default the name of the class, or ``function``.
    operator_id : str, optional
        Default the qualified name of a function. For an instance its ``operator_id`` or ``name``, where that is a
        text, else the name of the class, numbered from the second instance that is called.
    tags : sequence of str, optional
    metrics : sequence of callable, optional
        Each is called with the result and the input and reports what it returns, as `AccuracyMetric` does.

    Returns
    -------
    callable
        Of the same kind; without `traced` a decorator.

    Raises
    ------
    CausalkitError
        If it cannot be called, or is a class that cannot be changed.

    Examples
    --------
    >>> from causalkit.operators.listening import collect_events
    >>> @trace(stage="ensemble_1", operator_type="member")
    ... class Always:
    ...     def __init__(self, name, vote):
    ...         self.name, self.vote = name, vote
    ...
    ...     def __call__(self, image):
    ...         return self.vote
    >>> with collect_events() as events:
    ...     Always("a", 3)(None), Always("b", 5)(None)
    (3, 5)
    >>> [(event.operator_id, event.data["result"]) for event in events if event.event_type == "result"]
    [('a', 3), ('b', 5)]
    """
    told = Told(stage, operator_type, operator_id, tags, metrics)
    return partial(_trace, told=told) if traced is None else _trace(traced, told)


class TracedOperator:
    """A class whose subclasses report each call; made for frozen dataclasses as well.

    Keywords of the class statement are those of `trace`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from causalkit.operators.listening import collect_events
    >>> @dataclass(frozen=True)
    ... class Threshold(TracedOperator, stage="judge_1", operator_type="judge"):
    ...     least: float
    ...
    ...     def __call__(self, score):
    ...         return score >= self.least
    >>> with collect_events() as events:
    ...     Threshold(0.5)(0.7)
    True
    >>> events[0]
    <OperatorEvent call of Threshold: {'inputs': {'score': 0.7}}>
    """

    def __init_subclass__(
        cls,
        *,
        stage: str | None = None,
        operator_type: str | None = None,
        operator_id: str | None = None,
        tags: Sequence[str] = (),
        metrics: Sequence[Metric] = (),
        **others: Any,
    ) -> None:
        super().__init_subclass__(**others)
        # A dataclass with slots makes the class anew, from its dictionary and without its keywords.
        told = cls.__dict__.get("_causalkit_told")
        if told is None:
            told = Told(stage, operator_type, operator_id, tags, metrics).over(told_of(cls))
        trace_class(cls, told, hook=False)


def _trace(traced: Any, told: Told) -> Any:
    if isinstance(traced, staticmethod | classmethod):
        return type(traced)(_trace(traced.__func__, told))
    if inspect.isclass(traced):
        if not any("__call__" in above.__dict__ for above in traced.__mro__):
            raise CausalkitError(
                f"class {traced.__name__} has no __call__, so none of its instances is an operator; trace a method of "
                "it instead",
                operator=traced.__name__,
            )
        trace_class(traced, told.over(told_of(traced)))
        return traced
    if not callable(traced):
        raise CausalkitError(f"a {type(traced).__name__} cannot be called; trace a function or a class with __call__")
    before = traced_before(getattr(traced, "__func__", traced))
    if before is not None:
        # Traced twice it still reports once.
        function = MethodType(before.function, traced.__self__) if inspect.ismethod(traced) else before.function
        return traced_function(function, told.over(before.told))
    if any(inspect.isfunction(vars(above).get("__call__")) for above in type(traced).__mro__):
        return _traced_instance(traced, told.over(told_of(type(traced))))
    return traced_function(traced, told)


def _traced_instance(instance: Any, told: Told) -> Callable[..., Any]:
    """Return a function that calls and reports an object, which stays as it is; its class does not report it again."""
    who = metadata_of_instance(instance, told)
    told = Told(told.stage, who.type_hint, told.operator_id or who.id, who.tags, told.metrics)
    return traced_function(partial(call_of(type(instance)), instance), told)
