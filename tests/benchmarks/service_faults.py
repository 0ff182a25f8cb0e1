"""What goes wrong at one service of a simulated system, window by window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

FAULTS = ("delay", "errors", "cpu hog", "leak", "misconfiguration", "throttling", "timeouts", "surge")


@dataclass(frozen=True)
class Fault:
    """Changes at `node`; arrays hold one number a window.

    Parameters
    ----------
    node
        The true root cause; empty where nothing is wrong.
    delay, share
        Seconds added to this share of its requests.
    slower, tail
        Its own time grows by this factor minus one, and its spread by `tail`.
    errors, fast
        Share of its requests that fail on their own; whether they fail before any work is done.
    backoff
        Seconds a caller waits before it repeats a call that failed.
    timeouts
        Share of its requests that callers give up on; they fail for the caller only.
    extra
        Requests from elsewhere, as a multiple of those it gets.
    """

    node: str
    delay: float = 0.0
    share: np.ndarray | float = 0.0
    slower: np.ndarray | float = 0.0
    tail: float = 0.0
    errors: np.ndarray | float = 0.0
    fast: bool = False
    backoff: float = 0.0
    timeouts: np.ndarray | float = 0.0
    extra: np.ndarray | float = 0.0

    def at(self, name: str) -> Fault:
        """The fault as that service has it: itself, or nothing."""
        return self if name == self.node else NO_FAULT


NO_FAULT = Fault("")


def draw_fault(rng: np.random.Generator, kind: str, node: str, rows: int, strength: float) -> Fault:
    """A fault of this kind whose size is drawn anew, times `strength`, with its lag and its recovery."""
    course = draw_course(rng, rows)
    nothing = Fault(node)
    if strength == 0:
        return nothing

    def size(low: float, high: float, most: float = np.inf) -> float:
        return float(min(most, strength * np.exp(rng.uniform(np.log(low), np.log(high)))))

    match kind:
        case "delay":
            return replace(nothing, delay=size(0.05, 1.0), share=course * np.exp(rng.uniform(np.log(0.02), 0)))
        case "errors":
            return replace(nothing, errors=course * size(0.01, 0.3, 0.9))
        case "cpu hog":
            return replace(nothing, slower=course * size(1, 10), tail=0.4)
        case "leak":
            return replace(nothing, slower=np.linspace(0.2, 1, rows) * size(1, 10))
        case "misconfiguration":
            return replace(nothing, errors=course * size(0.03, 0.6, 0.95), fast=True)
        case "throttling":
            return replace(nothing, errors=course * size(0.02, 0.4, 0.9), fast=True, backoff=rng.uniform(0.1, 0.5))
        case "timeouts":
            given_up = course * size(0.01, 0.2, 0.9)
            return replace(nothing, delay=rng.uniform(1, 5), share=given_up, timeouts=given_up)
        case "surge":
            return replace(nothing, extra=course * size(0.5, 4, 30))
        case _:
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(FAULTS)}")


def draw_course(rng: np.random.Generator, rows: int) -> np.ndarray:
    """How much of the fault is there, of at most 1: often none yet in the first window or two, and over in the last."""
    course = rng.uniform(0.5, 1.0, rows)
    lag = int(rng.choice([0, 1, 2], p=[0.15, 0.4, 0.45]))
    course[:lag] = 0.0
    if lag and rng.random() < 0.5:
        course[lag - 1] = rng.uniform(0.1, 0.5)
    if rng.random() < 0.7:
        course[-1] = rng.choice([0.0, rng.uniform(0.05, 0.4)])
    return course
