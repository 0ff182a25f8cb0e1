"""The span that is open here: which step is the parent of what starts now.

The chain lives in a context variable, so it is right through ``await`` and tasks; a new thread starts with an empty
chain: a missing parent is preferred to a wrong one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_open_spans: ContextVar[tuple[str, ...]] = ContextVar("causalkit_open_spans", default=())


@contextmanager
def open_span(span_id: str) -> Iterator[str | None]:
    """Make `span_id` the parent of what starts inside the block; gives its own parent, or None.

    Examples
    --------
    >>> with open_span("a"), open_span("b") as parent:
    ...     print(parent, current_span())
    a b
    """
    chain = _open_spans.get()
    token = _open_spans.set((*chain, span_id))
    try:
        yield chain[-1] if chain else None
    finally:
        _open_spans.reset(token)


@contextmanager
def new_root() -> Iterator[None]:
    """Start an empty chain inside the block: a run within a step of another run is a run of its own.

    Examples
    --------
    >>> with open_span("a"), new_root():
    ...     print(current_span())
    None
    """
    token = _open_spans.set(())
    try:
        yield
    finally:
        _open_spans.reset(token)


def current_span() -> str | None:
    """Return the id of the innermost open span, or None outside all spans."""
    chain = _open_spans.get()
    return chain[-1] if chain else None


def new_span_id() -> str:
    """Return a fresh span id: 16 hexadecimal digits, as OpenTelemetry has them."""
    return secrets.token_hex(8)
