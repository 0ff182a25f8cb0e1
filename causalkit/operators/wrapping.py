"""Functions that report each call, of all four kinds: plain ones, coroutines, generators, async generators."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import wraps
from typing import Any

from causalkit.operators import receivers
from causalkit.operators.identity import Told, metadata_named, metadata_of_instance, name_of, parameters_of
from causalkit.operators.metrics import report_metrics
from causalkit.operators.open_calls import OpenCall
from causalkit.spans import in_generators

# Read at each call of a traced function: a global of this module is the quickest thing to ask.
_on = False


def traced_function(function: Callable[..., Any], told: Told, *, of_class: bool = False) -> Callable[..., Any]:
    """Return a function that does the same and reports each call."""
    operator = TracedFunction(function, told, of_class=of_class)
    wrapper: Any = wraps(function)(_kind(function)(function, operator))
    wrapper._causalkit_operator = operator
    operator.wrapper = wrapper
    return wrapper  # type: ignore[no-any-return]


def traced_before(function: Any) -> TracedFunction | None:
    """Return how a function reports its calls; None if it does not itself, as a decorator around one that does."""
    operator = getattr(function, "_causalkit_operator", None)
    return operator if isinstance(operator, TracedFunction) and operator.wrapper is function else None


class TracedFunction:
    """How the calls of one function begin: who it is, and what its arguments are called."""

    def __init__(self, function: Callable[..., Any], told: Told, *, of_class: bool = False) -> None:
        self.function, self.told, self.of_class = function, told, of_class
        self.names, self.rest, self.bound = parameters_of(function, of_class)
        self.metadata = metadata_named(
            told.operator_id or name_of(function), told.operator_type or "function", told.tags
        )
        self.in_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.wrapper: Any = None

    def open(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Report a call; None if nobody listens here, or if it is a class calling the one above it."""
        metadata, stage = self.metadata, self.told.stage
        given = args[1:] if self.bound else args
        if self.of_class:
            cls = type(args[0])
            if cls.__call__ is not self.wrapper:
                return None
            told: Told = cls._causalkit_told
            metadata, stage = metadata_of_instance(args[0], told), told.stage
        call = OpenCall(metadata, stage)
        frame = sys._getframe(1) if self.in_generator or in_generators else None
        return call if call.start(self.inputs(given, kwargs), frame) else None

    def inputs(self, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name."""
        inputs = {}
        for name, value in zip(self.names, given):  # noqa: B905  # the rest follows
            inputs[name] = value
        if len(given) > len(self.names):
            inputs[self.rest] = given[len(self.names) :]
        if kwargs:
            inputs.update(kwargs)
        return inputs

    def returned(self, call: OpenCall, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Report the metrics and the result."""
        metrics = type(args[0])._causalkit_told.metrics if self.of_class else self.told.metrics
        if metrics:
            try:
                report_metrics(call, metrics, result, self.inputs(args[1:] if self.bound else args, kwargs))
            except BaseException as error:
                call.raised(error)
                raise
        call.returned(result)


def _kind(function: Callable[..., Any]) -> Callable[[Callable[..., Any], TracedFunction], Callable[..., Any]]:
    if inspect.isasyncgenfunction(function):
        return _async_generator
    if inspect.isgeneratorfunction(function):
        return _generator
    return _coroutine if inspect.iscoroutinefunction(function) else _plain


def _plain(function: Callable[..., Any], operator: TracedFunction) -> Callable[..., Any]:
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


def _coroutine(function: Callable[..., Any], operator: TracedFunction) -> Callable[..., Any]:
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


def _generator(function: Callable[..., Any], operator: TracedFunction) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = operator.open(args, kwargs) if _on else None
        if call is None:
            return (yield from function(*args, **kwargs))
        try:
            inner = function(*args, **kwargs)
            call.pass_on(sys._getframe(), inner.gi_frame)
            result = yield from inner
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


def _async_generator(function: Callable[..., Any], operator: TracedFunction) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = operator.open(args, kwargs) if _on else None
        try:
            inner = function(*args, **kwargs)
            if call is not None:
                call.pass_on(sys._getframe(), inner.ag_frame)
            # Here is no "yield from": what is sent and what is thrown is handed on by hand.
            item = await anext(inner)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:
                    item = await inner.athrow(error)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            if call is not None:
                operator.returned(call, None, args, kwargs)
        except GeneratorExit:
            if call is not None:
                call.returned(None)
            raise
        except BaseException as error:
            if call is not None:
                call.raised(error)
            raise

    return wrapper


def _switch(on: bool) -> None:
    global _on
    _on = on


receivers.switches.append(_switch)
