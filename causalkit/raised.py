"""An exception as the journal holds it."""

from __future__ import annotations

import traceback
from collections import deque
from typing import Any

_STACK_LIMIT = 20
_MESSAGE_LIMIT = 10_000


def describe_error(error: BaseException | None) -> dict[str, Any] | None:
    """Return type, message, cause and a bounded stack (``module:function:line``) of an exception for the journal.

    Examples
    --------
    >>> describe_error(ValueError("too deep"))
    {'type': 'ValueError', 'message': 'too deep', 'stack': ''}
    """
    if error is None:
        return None
    frames = deque(traceback.walk_tb(error.__traceback__), maxlen=_STACK_LIMIT)
    described = {
        "type": type(error).__name__,
        "message": _message(error),
        "stack": "\n".join(
            f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}:{line}" for frame, line in frames
        ),
    }
    if error.__cause__ is not None:
        described["cause"] = f"{type(error.__cause__).__name__}: {_message(error.__cause__)}"
    return described


def _message(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception as why:
        return f"(its text cannot be made: {type(why).__name__})"
    if isinstance(error, BaseExceptionGroup):
        message += ": " + ", ".join(type(part).__name__ for part in error.exceptions)
    return message[:_MESSAGE_LIMIT]
