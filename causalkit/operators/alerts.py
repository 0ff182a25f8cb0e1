"""Thresholds: a function that is called when a statistic crosses one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

from causalkit.errors import CausalkitError
from causalkit.operators.receivers import Receiver
from causalkit.wording import number


@dataclass(frozen=True, repr=False)
class Crossing:
    """A statistic that has crossed a threshold.

    Attributes
    ----------
    stat : str or tuple of str
        As it was named.
    value : float
    threshold : float
    timestamp : datetime
        Of the event with which it happened.

    Examples
    --------
    >>> Crossing("error_rate", 0.25, 0.2, datetime(2026, 1, 2))
    <Crossing of error_rate: 0.25 is above 0.20>
    """

    stat: str | tuple[str | None, ...]
    value: float
    threshold: float
    timestamp: datetime

    def __repr__(self) -> str:
        stat = self.stat if isinstance(self.stat, str) else " ".join(map(str, self.stat))
        side = "above" if self.value > self.threshold else "below"
        return f"<Crossing of {stat}: {number(self.value)} is {side} {number(self.threshold)}>"


class Alert(Receiver):
    """A function that is called when a statistic crosses a threshold; see `OperatorMonitor.alert`.

    Attributes
    ----------
    stat : tuple of str
    above, below : float or None
    min_count : int
        With fewer values than these nothing is said.
    beyond : float or None
        The threshold that the statistic is beyond at present.
    error : Exception or None
        The first one that the function raised.
    num_errors : int
        How often it raised.
    """

    __slots__ = ("_forget", "_named", "above", "below", "beyond", "min_count", "stat")

    def __init__(
        self,
        stat: str | tuple[str | None, ...],
        above: float | None,
        below: float | None,
        callback: Callable[[Crossing], object],
        min_count: int,
        forget: Callable[[Alert], None],
    ) -> None:
        _check(above, below, callback, min_count)
        deliver: Any = callback
        super().__init__(deliver, "none")
        self.open = True
        self.stat = tuple(stat) if isinstance(stat, tuple | list) else (stat,)
        self.above, self.below, self.min_count = above, below, min_count
        self.beyond: float | None = None
        self._named, self._forget = stat, forget

    def __repr__(self) -> str:
        limits = [
            f"{side} {limit}" for side, limit in (("above", self.above), ("below", self.below)) if limit is not None
        ]
        return f"<Alert on {' '.join(map(str, self.stat))} {' or '.join(limits)}{'' if self.open else ', ended'}>"

    def unregister(self) -> None:
        """Call the function no more; doing so twice does no harm."""
        self.open = False
        self._forget(self)

    def look(self, value: float | None, count: int, timestamp: datetime) -> Crossing | None:
        """Return what is to be told of a new value of the statistic, which stands on so many values."""
        if value is None or count < self.min_count:
            return None
        beyond = None
        if self.above is not None and value > self.above:
            beyond = self.above
        elif self.below is not None and value < self.below:
            beyond = self.below
        if beyond == self.beyond:
            return None
        self.beyond = beyond
        return None if beyond is None else Crossing(self._named, value, beyond, timestamp)

    def tell(self, crossing: Crossing) -> None:
        """Call the function; what it raises is kept, and logged the first time."""
        try:
            told: Any = crossing
            self.deliver(told)
        except Exception as error:
            self.failed(error)


def _check(above: float | None, below: float | None, callback: Any, min_count: int) -> None:
    limits = [limit for limit in (above, below) if limit is not None]
    if not limits or not all(isinstance(limit, int | float) and isfinite(limit) for limit in limits):
        raise CausalkitError(
            f"above is {above!r} and below is {below!r}; give at least one of them, as a number",
            above=above,
            below=below,
        )
    if above is not None and below is not None and above < below:
        raise CausalkitError(
            f"every value is above {above} or below {below}; give an `above` that is not less than `below`",
            above=above,
            below=below,
        )
    if not callable(callback):
        raise CausalkitError(
            f"a {type(callback).__name__} cannot be called; give callback= a function of one Crossing",
            callback=callback,
        )
    if not isinstance(min_count, int) or min_count < 1:
        raise CausalkitError(f"min_count is {min_count!r}; give 1 or more", min_count=min_count)
