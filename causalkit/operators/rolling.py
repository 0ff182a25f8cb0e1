"""Statistics over the last so many values of a stream, kept up to date at a cost that does not grow with their number.

The last values themselves are kept. A mean is a running sum of whole numbers, so that nothing of what has left the
window stays behind as a rounding error. Quantiles are worked out when they are asked for or, where something asks after
each value, from a list that is kept in order (two bisections and two moves of memory a value).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from datetime import datetime

# Values are summed in units of 2**-60 (about 1e-18): all doubles from 2**-8 up are whole numbers of these.
_UNIT = 2**60
# In units no longer a double from here on.
_LARGEST = 2.0**900


class RollingMean:
    """The mean of the last `size` values.

    Parameters
    ----------
    size : int

    Examples
    --------
    >>> correct = RollingMean(2)
    >>> for value in (True, False, False):
    ...     correct.add(value)
    >>> correct.value, len(correct)
    (0.0, 2)
    """

    __slots__ = ("_last", "_total")

    def __init__(self, size: int) -> None:
        self._last: deque[int] = deque(maxlen=size)
        self._total = 0

    def __len__(self) -> int:
        return len(self._last)

    def add(self, value: float) -> None:
        """Take a value; NaN and infinities are left out."""
        if not -_LARGEST < value < _LARGEST:
            return
        if len(self._last) == self._last.maxlen:
            self._total -= self._last[0]
        units = int(value * _UNIT)
        self._last.append(units)
        self._total += units

    @property
    def value(self) -> float | None:
        """The mean; None if there are no values."""
        return self._total / (len(self._last) * _UNIT) if self._last else None


class RollingQuantiles:
    """Quantiles of the last `size` values.

    Parameters
    ----------
    size : int

    Examples
    --------
    >>> latency = RollingQuantiles(4)
    >>> for value in (90, 1, 2, 3, 6):
    ...     latency.add(value)
    >>> latency.quantile(0.5), len(latency)
    (2.5, 4)
    """

    __slots__ = ("_last", "_ordered")

    def __init__(self, size: int) -> None:
        self._last: deque[float] = deque(maxlen=size)
        self._ordered: list[float] | None = None

    def __len__(self) -> int:
        return len(self._last)

    def add(self, value: float) -> None:
        """Take a value; NaN and infinities are left out."""
        if not -_LARGEST < value < _LARGEST:
            return
        ordered = self._ordered
        if ordered is not None:
            if len(self._last) == self._last.maxlen:
                del ordered[bisect_left(ordered, self._last[0])]
            insort(ordered, value)
        self._last.append(value)

    def quantile(self, share: float) -> float | None:
        """Return the value below which this share lies, interpolated as NumPy does; None if there are no values."""
        if not self._last:
            return None
        ordered = sorted(self._last) if self._ordered is None else self._ordered
        place = share * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return below + (above - below) * (place % 1)

    def keep_ordered(self) -> None:
        """From now on keep the values in order, for one who asks after each of them."""
        if self._ordered is None:
            self._ordered = sorted(self._last)

    def copy(self) -> RollingQuantiles:
        """Return these values as they are now."""
        alone = RollingQuantiles(0)
        alone._last = self._last.copy()
        return alone


class RollingRate:
    """How many of the last `size` moments there are to a second.

    Parameters
    ----------
    size : int

    Examples
    --------
    >>> from datetime import UTC
    >>> ends = RollingRate(100)
    >>> for second in (0, 1, 2):
    ...     ends.add(datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC))
    >>> ends.value
    1.0
    """

    __slots__ = ("_last",)

    def __init__(self, size: int) -> None:
        self._last: deque[datetime] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._last)

    def add(self, moment: datetime) -> None:
        """Take a moment."""
        self._last.append(moment)

    @property
    def value(self) -> float | None:
        """The rate from the first to the last that came; None if no time lies between them."""
        seconds = (self._last[-1] - self._last[0]).total_seconds() if self._last else 0.0
        return (len(self._last) - 1) / seconds if seconds > 0 else None
