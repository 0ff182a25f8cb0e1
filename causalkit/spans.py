"""The chain of open spans: which step is the parent of what starts here, now.

What a plain function or a coroutine opens stands in a context variable, which is right through ``await`` and tasks. The
body of a generator runs in the context of whoever asks it for its next item, so a context variable would hand its spans
to the consumer between two items; they are kept by the generator's frame instead and found by looking outwards.
`carry_across_threads` hands the chain over to threads and pools, which Python lets begin without it.

A span that has ended is nobody's parent: a missing edge is better than a wrong one.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from functools import partial, wraps
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR, CO_ITERABLE_COROUTINE
from types import CodeType, FrameType
from typing import Any

_innermost: ContextVar[Span | None] = ContextVar("causalkit_innermost_span", default=None)
# By the id of the frame, so that an abandoned generator is still closed the moment nobody refers to it.
_in_generators: dict[int, list[Span]] = {}
in_generators = _in_generators  # while it is empty, a plain function need not say in which frame it begins
_random = random.Random()  # noqa: S311  # ids are no secrets
draw_bits = _random.getrandbits  # for those who cannot afford the call of `new_span_id`
_CONTEXTLIB = contextlib.__file__
# Frames that open a span for whoever called them; `inner` is what contextlib's decorators call theirs.
_ENTERING = frozenset(("__enter__", "__aenter__", "enter_context", "enter_async_context", "inner"))
_GENERATORS = CO_GENERATOR | CO_ASYNC_GENERATOR
# Threads of these run other people's work: each piece of it brings its own chain.
_POOLS = ("concurrent.futures", "multiprocessing")


class Span:
    """A stretch of work that may be the parent of others.

    Attributes
    ----------
    span_id : str or None
        None for what is no parent by itself, as a whole run.
    within : Any
        What the span belongs to.
    outer : Span or None
        The span that was open where this one began.
    open : bool or None
        None before it begins, False when it has ended.

    Examples
    --------
    >>> span = Span("a", within="run")
    >>> span.begin(sys._getframe())
    >>> current() is span
    True
    >>> span.end()
    >>> current()
    """

    __slots__ = ("_before", "_frame", "open", "outer", "span_id", "within")

    def __init__(self, span_id: str | None, within: Any = None) -> None:
        self.span_id = span_id
        self.within = within
        self.open: bool | None = None

    def begin(self, frame: FrameType | None) -> None:
        """Be the parent of what starts from here on.

        Parameters
        ----------
        frame : frame or None
            Where the ``with`` statement stands; None if there is none, and the span belongs to the context.
        """
        self._before = outer = _innermost.get()
        if _in_generators or (outer is not None and not outer.open):
            outer = _seen_from(frame, outer)
        self.outer = outer
        self.open = True
        self._frame = 0
        if frame is not None:
            code = frame.f_code
            if (code.co_flags & _GENERATORS or code.co_name in _ENTERING) and self._begin_in_generator(_owner(frame)):
                return
        _innermost.set(self)

    def end(self) -> None:
        """Be nobody's parent any more; ending in another order, thread or context does no harm to others."""
        self.open = False
        before = self._before
        # Only open spans are kept hold of, or a chain in which each ends after the next has begun is never let go.
        if self.outer is not None and not self.outer.open:
            self.outer = _still_open(self.outer)
        while before is not None and not before.open:
            before = self._before = before._before
        if self._frame:
            self._end_in_generator()
        elif _innermost.get() is self:
            # Not by the token of `set`: that works in the same context only.
            _innermost.set(before)

    def pass_on(self, frame: FrameType, inner: FrameType) -> None:
        """Belong to the generator to which this one delegates: that is closed without a visit to this one.

        Parameters
        ----------
        frame, inner : frame
            Of the generator that delegates, and of the other.
        """
        if self._frame == id(frame):
            self._end_in_generator()
            self._frame = id(inner)
            _in_generators.setdefault(self._frame, []).append(self)

    def nearest(self, within: Any) -> Span | None:
        """Return the innermost open span of `within`: this one or one around it."""
        span: Span | None = self
        while span is not None and not (span.open and span.within is within):
            span = span.outer
        return span

    def _begin_in_generator(self, frame: FrameType) -> bool:
        if not _is_generator(frame.f_code):
            return False
        self._frame = id(frame)
        _in_generators.setdefault(self._frame, []).append(self)
        _carry_into_tasks()
        return True

    def _end_in_generator(self) -> None:
        spans = _in_generators.get(self._frame, [])
        if self in spans:
            spans.remove(self)
        if not spans:
            _in_generators.pop(self._frame, None)


def current() -> Span | None:
    """Return the innermost open span here, or None outside all spans.

    Examples
    --------
    >>> current()
    """
    chain = _innermost.get()
    return _seen_from(sys._getframe(1), chain) if _in_generators else _still_open(chain)


def new_span_id() -> str:
    """Return a fresh span id: 16 hexadecimal digits, as OpenTelemetry has them.

    Examples
    --------
    >>> len(new_span_id())
    16
    """
    return _random.getrandbits(64).to_bytes(8, "big").hex()


def carry_across_threads() -> None:
    """From now on let threads and what is handed to thread pools begin under the span that is open where they are made.

    Calling it again changes nothing. `threading.Thread.start`, `ThreadPoolExecutor.submit` and, once there is one, the
    methods of `multiprocessing.pool.ThreadPool` are wrapped; they take, return and raise what they did.
    """
    from concurrent.futures import ThreadPoolExecutor

    _wrap(threading.Thread, "start", _starting)
    _wrap(ThreadPoolExecutor, "submit", _handing_over)


def _seen_from(frame: FrameType | None, chain: Span | None) -> Span | None:
    chain = _still_open(chain)
    while frame is not None:
        spans = _in_generators.get(id(frame))
        if spans:
            # Either the chain was opened below this generator, or it is that of the generator's consumer.
            return chain if _is_around(spans[-1], chain) else spans[-1]
        frame = frame.f_back
    return chain


def _still_open(span: Span | None) -> Span | None:
    while span is not None and not span.open:
        span = span.outer
    return span


def _is_around(outer: Span, span: Span | None) -> bool:
    while span is not None and span is not outer:
        span = span.outer
    return span is not None


def _owner(frame: FrameType) -> FrameType:
    """Return the frame that a span belongs to: not the context manager that opens it, but the one that uses that."""
    back = frame.f_back
    while back is not None and (_enters(frame.f_code) or (_is_generator(frame.f_code) and _manages(back.f_code))):
        frame, back = back, back.f_back
    return frame


def _enters(code: CodeType) -> bool:
    return code.co_name in _ENTERING and (code.co_name != "inner" or code.co_filename == _CONTEXTLIB)


def _manages(code: CodeType) -> bool:
    # Only contextlib's: another's may go through a generator for other reasons than to open what stands in it.
    return _enters(code) and code.co_filename == _CONTEXTLIB


def _is_generator(code: CodeType) -> bool:
    return bool(code.co_flags & _GENERATORS) and not code.co_flags & CO_ITERABLE_COROUTINE


def _wrap(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    if not hasattr(original, "_carries_spans"):
        wrapper: Any = wraps(original)(around(original))
        wrapper._carries_spans = True
        setattr(owner, name, wrapper)


def _starting(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start(self: threading.Thread) -> None:
        module = getattr(getattr(self, "_target", None) or type(self), "__module__", None) or ""
        if module == "multiprocessing.pool":
            _carry_into_thread_pools()
        span = current()
        if span is None:
            return original(self)
        own = vars(self).get("run")
        # On the instance, because a subclass has a `run` of its own.
        vars(self)["run"] = partial(_run_thread, self, own, self.run, None if module.startswith(_POOLS) else span)
        try:
            return original(self)
        except BaseException:
            _restore_run(self, own)
            raise

    return start


def _run_thread(thread: threading.Thread, own: Any, run: Callable[[], None], span: Span | None) -> None:
    _restore_run(thread, own)
    _run_under(span, run)


def _restore_run(thread: threading.Thread, own: Any) -> None:
    if own is None:
        vars(thread).pop("run", None)
    else:
        vars(thread)["run"] = own


def _handing_over(original: Callable[..., Any]) -> Callable[..., Any]:
    def hand_over(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        span = current()
        if args and span is not None:
            args = (_under(span, args[0]), *args[1:])
        return original(self, *args, **kwargs)

    return hand_over


def _under(span: Span, function: Any) -> Any:
    """Return a function that does the same under a span."""
    run, first = (function.func, function.args) if isinstance(function, partial) else (function, ())
    context = getattr(run, "__self__", None)
    if not isinstance(context, Context):
        return partial(_run_under, span, function)
    if context.get(_innermost) is not _innermost.get():
        # A context from elsewhere, chosen by the caller, has its own chain.
        return function
    return partial(run, _run_under, span, *first, **getattr(function, "keywords", {}))


def _run_under(span: Span | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    before = _innermost.get()
    _innermost.set(span)
    try:
        return function(*args, **kwargs)
    finally:
        _innermost.set(before)


def _carry_into_thread_pools() -> None:
    pool = sys.modules["multiprocessing.pool"].ThreadPool
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        _wrap(pool, name, _handing_over)


def _carry_into_tasks() -> None:
    # A new task copies the context, in which the span of a generator does not stand.
    loops = sys.modules.get("asyncio.base_events")
    if loops is not None:
        _wrap(loops.BaseEventLoop, "create_task", _creating_task)


def _creating_task(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_task(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return (
            _run_under(current(), original, self, *args, **kwargs)
            if _in_generators
            else original(self, *args, **kwargs)
        )

    return create_task


if hasattr(os, "register_at_fork"):
    # Or parent and child would draw the same ids.
    os.register_at_fork(after_in_child=_random.seed)
