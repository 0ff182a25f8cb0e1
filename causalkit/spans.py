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


def current_span() -> str | None:
    """Return the id of the innermost open span, or None outside all spans.

    Examples
    --------
    >>> with open_span("a"):
    ...     current_span()
    'a'
    """
    chain = _open_spans.get()
    return chain[-1] if chain else None


def new_span_id() -> str:
    """Return a fresh span id: 16 hexadecimal digits, as OpenTelemetry has them.

    Examples
    --------
    >>> len(new_span_id())
    16
    """
    return secrets.token_hex(8)
