"""Recording by ``with``, by ``async with``, and of whole functions."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from causalkit.spans import Span

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Recorded(Span):
    """What is recorded from its beginning to its end, by ``with``, ``async with`` or as a decorator."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __enter__(self) -> Self: ...

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
        ) -> None: ...

        def anew(self) -> Recorded:
            """Return another one that was told the same, and has not begun."""

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, stack)

    def __call__(self, function: _Function) -> _Function:
        """Return the function (plain, coroutine, generator, async generator), each call of it recorded anew."""
        return recorded(function, self.anew)


def recorded(function: _Function, opened: Callable[[], Recorded]) -> _Function:
    """Return a function that does what another does, inside a run or step that is made for each call."""
    if inspect.isasyncgenfunction(function):
        around = _async_generator
    elif inspect.isgeneratorfunction(function):
        around = _generator
    elif inspect.iscoroutinefunction(function):
        around = _coroutine
    else:
        around = _plain
    wrapper: Any = wraps(function)(around(function, opened))
    found: _Function = wrapper
    return found


def _plain(function: Callable[..., Any], opened: Callable[[], Recorded]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with opened():
            return function(*args, **kwargs)

    return wrapper


def _coroutine(function: Callable[..., Any], opened: Callable[[], Recorded]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with opened():
            return await function(*args, **kwargs)

    return wrapper


def _generator(function: Callable[..., Any], opened: Callable[[], Recorded]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with opened():
            result = yield from function(*args, **kwargs)
        return result

    return wrapper


def _async_generator(function: Callable[..., Any], opened: Callable[[], Recorded]) -> Callable[..., Any]:
    # Here is no "yield from": what is sent and what is thrown is handed on by hand.
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with opened():
            inner = function(*args, **kwargs)
            try:
                item = await anext(inner)
                while True:
                    try:
                        sent = yield item
                    except Exception as error:
                        item = await inner.athrow(error)
                    else:
                        item = await inner.asend(sent)
            except StopAsyncIteration:
                return
            finally:
                await inner.aclose()

    return wrapper
