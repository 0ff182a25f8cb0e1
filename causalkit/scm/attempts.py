"""What the ladder tried for one node, and why it stopped."""

from __future__ import annotations

from typing import NamedTuple


class Attempt(NamedTuple):
    """One rung that was tried.

    Attributes
    ----------
    rung : str
    error : float
        On rows left out: root mean squared error of a number, in its unit; log-loss of a category.
    p_value : float
        How surprising its residuals are if nothing is left to explain; NaN where that was not asked.
    """

    rung: str
    error: float
    p_value: float


class Ladder(NamedTuple):
    """The rungs that were tried for one node.

    Attributes
    ----------
    chosen : str
    attempts : tuple of Attempt
    stopped : str
        Why no further rung was tried.
    """

    chosen: str
    attempts: tuple[Attempt, ...] = ()
    stopped: str = ""
