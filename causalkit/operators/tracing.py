"""Functions, methods and classes that report each call of them, at no cost while nobody listens.

A traced function asks one global before it calls what it wraps. A traced class is not touched at all: its ``__call__``
is replaced when somebody begins to listen and put back when nobody does any more.
"""

from __future__ import annotations

import inspect
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial, wraps
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary, WeakSet

from causalkit.errors import CausalkitError
from causalkit.operators import listening
from causalkit.operators.events import OperatorMetadata
from causalkit.operators.metrics import report_metrics
from causalkit.operators.open_calls import OpenCall

_Traced = TypeVar("_Traced", bound=Callable[..., Any])
_Metric = Callable[[Any, Any], Any]

# Read at each call of a traced function: a global of this module is the quickest thing to ask.
_on = False


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
    metrics: Sequence[_Metric] = (),
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
    metrics: Sequence[_Metric] = (),
) -> _Traced: ...


def trace(
    traced: Any = None,
    /,
    *,
    stage: str | None = None,
    operator_type: str | None = None,
    operator_id: str | None = None,
    tags: Sequence[str] = (),
    metrics: Sequence[_Metric] = (),
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
    told = _Told(stage, operator_type, operator_id, (tags,) if isinstance(tags, str) else tuple(tags), tuple(metrics))
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
        metrics: Sequence[_Metric] = (),
        **others: Any,
    ) -> None:
        super().__init_subclass__(**others)
        # A dataclass with slots makes the class anew, from its dictionary and without its keywords.
        told = cls.__dict__.get("_causalkit_told")
        if told is None:
            told = _Told(stage, operator_type, operator_id, tuple(tags), tuple(metrics)).over(_told_of(cls))
        _trace_class(cls, told)


class _Told:
    """What `trace` was told about an operator."""

    __slots__ = ("metrics", "operator_id", "operator_type", "stage", "tags")

    def __init__(
        self,
        stage: str | None,
        operator_type: str | None,
        operator_id: str | None,
        tags: tuple[str, ...],
        metrics: tuple[_Metric, ...],
    ) -> None:
        self.stage, self.operator_type, self.operator_id = stage, operator_type, operator_id
        self.tags, self.metrics = tags, metrics
        for what, name in (("stage", stage), ("operator_type", operator_type), ("operator_id", operator_id)):
            if name is not None and not isinstance(name, str):
                raise CausalkitError(f"{what} is a {type(name).__name__}; give a text", **{what: name})
        for metric in metrics:
            if not callable(metric):
                raise CausalkitError(
                    f"the metric {metric!r} cannot be called; give a function of result and input", metric=metric
                )

    def over(self, inherited: _Told | None) -> _Told:
        """Return the same, with what was not told taken from a class above."""
        if inherited is None:
            return self
        return _Told(
            self.stage or inherited.stage,
            self.operator_type or inherited.operator_type,
            self.operator_id or inherited.operator_id,
            self.tags or inherited.tags,
            self.metrics or inherited.metrics,
        )


class _Operator:
    """How the calls of one function begin: who it is, and what its arguments are called."""

    def __init__(self, function: Callable[..., Any], told: _Told, *, of_class: bool = False) -> None:
        self.told, self.of_class = told, of_class
        self.names, self.rest, self.bound = _parameters(function, of_class)
        self.metadata = _named(told.operator_id or _name(function), told.operator_type or "function", told.tags)
        self.wrapper: Any = None

    def open(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Report a call; None if nobody listens here, or if it is a class calling the one above it."""
        metadata, stage = self.metadata, self.told.stage
        given = args[1:] if self.bound else args
        if self.of_class:
            cls = type(args[0])
            if cls.__call__ is not self.wrapper:
                return None
            told: _Told = cls._causalkit_told
            metadata, stage = _metadata_of_instance(args[0], told), told.stage
        call = OpenCall(metadata, stage)
        return call if call.start(self.inputs(given, kwargs), sys._getframe(1)) else None

    def inputs(self, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name."""
        inputs = dict(zip(self.names, given))  # noqa: B905  # the rest follows, and strict=False is slower
        if len(given) > len(self.names):
            inputs[self.rest] = given[len(self.names) :]
        if kwargs:
            inputs.update(kwargs)
        return inputs

    def returned(self, call: OpenCall, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Report the metrics and the result."""
        metrics = type(args[0])._causalkit_told.metrics if self.of_class else self.told.metrics
        if metrics:
            report_metrics(call, metrics, result, self.inputs(args[1:] if self.bound else args, kwargs))
        call.returned(result)


def _trace(traced: Any, told: _Told) -> Any:
    if isinstance(traced, staticmethod | classmethod):
        return type(traced)(_trace(traced.__func__, told))
    if inspect.isclass(traced):
        if not any("__call__" in above.__dict__ for above in traced.__mro__):
            raise CausalkitError(
                f"class {traced.__name__} has no __call__, so none of its instances is an operator; trace a method of "
                "it instead",
                operator=traced.__name__,
            )
        _trace_class(traced, told.over(_told_of(traced)))
        return traced
    if not callable(traced):
        raise CausalkitError(f"a {type(traced).__name__} cannot be called; trace a function or a class with __call__")
    before = getattr(traced, "_causalkit_told", None) if hasattr(traced, "__wrapped__") else None
    if isinstance(before, _Told):
        # Traced twice it still reports once.
        return _traced_function(traced.__wrapped__, told.over(before))
    if any(inspect.isfunction(vars(above).get("__call__")) for above in type(traced).__mro__):
        return _traced_instance(traced, told.over(_told_of(type(traced))))
    return _traced_function(traced, told)


def _traced_function(function: Callable[..., Any], told: _Told, *, of_class: bool = False) -> Callable[..., Any]:
    operator = _Operator(function, told, of_class=of_class)
    wrapper: Any = wraps(function)(_kind(function)(function, operator))
    wrapper._causalkit_told = told
    operator.wrapper = wrapper
    return wrapper  # type: ignore[no-any-return]


def _traced_instance(instance: Any, told: _Told) -> Callable[..., Any]:
    """Return a function that calls and reports an object, which stays as it is; its class does not report it again."""
    who = _metadata_of_instance(instance, told)
    told = _Told(told.stage, who.type_hint, told.operator_id or who.id, who.tags, told.metrics)
    return _traced_function(partial(_call_of(type(instance)), instance), told)


def _kind(function: Callable[..., Any]) -> Callable[[Callable[..., Any], _Operator], Callable[..., Any]]:
    if inspect.isasyncgenfunction(function):
        return _async_generator
    if inspect.isgeneratorfunction(function):
        return _generator
    return _coroutine if inspect.iscoroutinefunction(function) else _plain


def _plain(function: Callable[..., Any], operator: _Operator) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not _on:
            return function(*args, **kwargs)
        call = operator.open(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        operator.returned(call, result, args, kwargs)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], operator: _Operator) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = operator.open(args, kwargs) if _on else None
        if call is None:
            return await function(*args, **kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        operator.returned(call, result, args, kwargs)
        return result

    return wrapper


def _generator(function: Callable[..., Any], operator: _Operator) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = operator.open(args, kwargs) if _on else None
        if call is None:
            return (yield from function(*args, **kwargs))
        try:
            result = yield from function(*args, **kwargs)
        except GeneratorExit:
            # Whoever asked for the items has enough of them; that is no error.
            call.returned(None)
            raise
        except BaseException as error:
            call.raised(error)
            raise
        operator.returned(call, result, args, kwargs)
        return result

    return wrapper


def _async_generator(function: Callable[..., Any], operator: _Operator) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = operator.open(args, kwargs) if _on else None
        inner = function(*args, **kwargs)
        try:
            # Here is no "yield from": what is sent and what is thrown is handed on by hand.
            item = await anext(inner)
            while True:
                try:
                    sent = yield item
                except Exception as error:
                    item = await inner.athrow(error)
                else:
                    item = await inner.asend(sent)
        except (StopAsyncIteration, GeneratorExit) as end:
            await inner.aclose()
            if call is not None and isinstance(end, StopAsyncIteration):
                operator.returned(call, None, args, kwargs)
            elif call is not None:
                call.returned(None)
            if isinstance(end, GeneratorExit):
                raise
        except BaseException as error:
            if call is not None:
                call.raised(error)
            raise
        finally:
            await inner.aclose()

    return wrapper


def _parameters(function: Callable[..., Any], of_class: bool) -> tuple[tuple[str, ...], str, bool]:
    """Return the names of what is given by place, the name of the rest, and whether the first is the object itself."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return (), "args", of_class
    by_place = [found.name for found in parameters if found.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD]
    rest = next((found.name for found in parameters if found.kind is inspect.Parameter.VAR_POSITIONAL), "args")
    named = getattr(function, "__qualname__", "").removesuffix(">").rpartition("<locals>.")[2]
    bound = of_class or (by_place[:1] in (["self"], ["cls"]) and "." in named)
    return tuple(by_place[1:] if bound else by_place), rest, bound


def _name(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]  # type: ignore[no-any-return]


@lru_cache(maxsize=65536)
def _named(operator_id: str, operator_type: str, tags: tuple[str, ...]) -> OperatorMetadata:
    return OperatorMetadata(operator_id, operator_type, tags)


def _metadata_of_instance(instance: Any, told: _Told) -> OperatorMetadata:
    known = _instances.get(id(instance))
    if known is not None and known[0]() is instance and known[1] is told:
        return known[2]
    named = getattr(instance, "operator_id", None)
    if type(named) is not str:
        named = told.operator_id or getattr(instance, "name", None)
        if type(named) is not str:
            named = _numbered(instance)
    metadata = _named(named, told.operator_type or type(instance).__name__, told.tags)
    with suppress(TypeError):
        # An object that no weak reference can be made of is asked for its name each time.
        _instances[id(instance)] = weakref.ref(instance, partial(_forget, id(instance))), told, metadata
    return metadata


_instances: dict[int, tuple[weakref.ref[Any], _Told, OperatorMetadata]] = {}


def _forget(key: int, gone: weakref.ref[Any]) -> None:
    # Another object may live at the same address by now.
    if key in _instances and _instances[key][0] is gone:
        _instances.pop(key, None)


_numbers: WeakKeyDictionary[type, WeakKeyDictionary[Any, int]] = WeakKeyDictionary()


def _numbered(instance: Any) -> str:
    cls = type(instance)
    try:
        with _lock:
            numbers = _numbers.setdefault(cls, WeakKeyDictionary())
            number = numbers.setdefault(instance, len(numbers) + 1)
    except TypeError:
        # Neither a hash nor a weak reference: its instances cannot be told apart for long.
        number = 1
    return cls.__name__ if number == 1 else f"{cls.__name__} #{number}"


_lock = threading.RLock()
_classes: WeakSet[type] = WeakSet()
# What stood in the dictionary of a class; nothing if it inherited its __call__.
_replaced: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def _told_of(cls: type) -> _Told | None:
    return getattr(cls, "_causalkit_told", None)


def _trace_class(cls: Any, told: _Told) -> None:
    hooked = any("_causalkit_told" in vars(above) for above in cls.__mro__) or issubclass(cls, TracedOperator)
    try:
        cls._causalkit_told = told
    except TypeError as error:
        raise CausalkitError(
            f"class {cls.__name__} cannot be changed ({error}); trace a subclass of it, or an instance", operator=cls
        ) from None
    if not hooked:
        _hook_subclasses(cls)
    with _lock:
        _classes.add(cls)
        if _on:
            _install(cls)


def _hook_subclasses(cls: Any) -> None:
    own = vars(cls).get("__init_subclass__")

    def __init_subclass__(sub: Any, **others: Any) -> None:  # noqa: N807
        if own is None:
            super(cls, sub).__init_subclass__(**others)
        else:
            own.__get__(None, sub)(**others)
        _trace_class(sub, vars(sub).get("_causalkit_told", _told_of(sub)))

    cls.__init_subclass__ = classmethod(__init_subclass__)


def _install(cls: Any) -> None:
    """Put a reporting ``__call__`` where a class has one of its own, or inherits one that does not report."""
    own = vars(cls).get("__call__")
    function = _call_of(cls) if own is None else own
    if function is None or cls in _replaced or (own is None and any(above in _classes for above in cls.__mro__[1:])):
        return
    _replaced[cls] = own
    cls.__call__ = _traced_function(getattr(function, "__wrapped__", function), cls._causalkit_told, of_class=True)


def _restore(cls: Any) -> None:
    own = _replaced.pop(cls)
    if own is None:
        del cls.__call__
    else:
        cls.__call__ = own


def _call_of(cls: type) -> Any:
    """Return the ``__call__`` of a class as it was written."""
    for above in cls.__mro__:
        found = _replaced.get(above) or vars(above).get("__call__")
        if found is not None:
            return found
    return None


def _switch(on: bool) -> None:
    global _on
    with _lock:
        _on = on
        for cls in [*_classes] if on else [*_replaced]:
            _install(cls) if on else _restore(cls)


listening.switches.append(_switch)
