"""Numbers as sentences and labels have them."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, *, signed: bool = False) -> str:
    """Return a number with two decimals, or two digits where it is small.

    Examples
    --------
    >>> number(12.3456), number(0.00123), number(3, signed=True)
    ('12.35', '0.0012', '+3.00')
    """
    digits = ".2f" if value == 0 or abs(value) >= 0.1 else ".2g"
    return format(value, ("+" if signed else "") + digits)


def interval(bounds: Sequence[float], *, signed: bool = False) -> str:
    """Return an interval in words.

    Examples
    --------
    >>> interval((1, 2))
    '1.00 to 2.00'
    """
    low, high = (number(bound, signed=signed) for bound in bounds)
    return f"{low} to {high}"


def one_line(text: object, most: int) -> str:
    r"""Return a text on one line, cut to so many characters.

    Examples
    --------
    >>> one_line("no such\n  document", 9)
    'no such …'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
