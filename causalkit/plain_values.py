"""What a cell of a trace table can hold: one number, bool or text of Python's own, or nothing."""

from __future__ import annotations

import sys
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as a number, bool or text of Python's own, or as missing; refuse what is none of these.

    Parameters
    ----------
    value : object
        What a function returned.

    Returns
    -------
    int, float, bool, str, None or pandas' missing values
        The same value, of exactly that type.

    Raises
    ------
    UnusableResult
        If it is anything else.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.float64(0.5)), plain(np.array(3))
    (0.5, 3)
    """
    if type(value) in (float, int, bool, type(None)) or (type(value) is str and value.isascii()):
        return value
    # Looked up and not imported: where they are not loaded, no value can be theirs.
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy and (isinstance(value, numpy.generic) or (isinstance(value, numpy.ndarray) and value.ndim == 0)):
        value = value.item()
    if value is None or (pandas and (value is pandas.NA or value is pandas.NaT)):
        return value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            own = value if type(value) is kind else getattr(kind, f"__{kind.__name__}__")(value)
            return _whole(own) if isinstance(own, str) else own
    raise UnusableResult(f"returned a {type(value).__name__}; return one number, bool or text")


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnusableResult("returned half a character (a lone surrogate); return text that UTF-8 can hold") from None
    return text


class UnusableResult(Exception):  # noqa: N818 - its name is what a table of failures shows
    """A function returned what no cell of a trace table can hold."""
