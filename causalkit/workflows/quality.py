"""How good an answer looks from the outside: signals of a run and its final state, without a judge."""

from __future__ import annotations

import math
import re
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeVar, overload

from causalkit.errors import CausalkitError
from causalkit.plain_values import plain
from causalkit.workflows.records import WorkflowTrace

Signal = Callable[[WorkflowTrace, Mapping[str, Any]], Any]
_Signal = TypeVar("_Signal", bound=Signal)

_HEADING_OR_LIST_LINE = re.compile(r"^ {0,3}(#{1,6}|[-*+]|\d{1,2}[.)])[ \t]+\S", re.MULTILINE)


class QualitySignalWarning(UserWarning):
    """A quality signal of the user's has no value for a run."""


@dataclass(frozen=True)
class QualitySignals:
    """Signals that need no judge.

    Attributes
    ----------
    citation_count : int
        Sources named: the entries of ``citations`` in the final state (a number counts as itself, a text as one), else
        of the run's ``urls_used``.
    answer_length : int
        Characters of ``final_answer`` in the final state, else in the run.
    has_search : bool
        Whether a step ran whose name contains "search" or "retriev".
    has_citations : bool
        Whether sources are named.
    has_structure : bool
        Whether the final state holds ``lesson_explain_structured``, or the answer has a Markdown heading or list line.
    failure_occurred : bool
        Whether a step failed or the run raised.
    """

    citation_count: int
    answer_length: int
    has_search: bool
    has_citations: bool
    has_structure: bool
    failure_occurred: bool

    @classmethod
    def from_trace(cls, trace: WorkflowTrace, state: Mapping[str, Any] | None = None) -> QualitySignals:
        r"""Compute the signals of a run.

        Parameters
        ----------
        trace : WorkflowTrace
            The run.
        state : mapping, optional
            Its final state; what is missing there is taken from the run.

        Examples
        --------
        >>> run = WorkflowTrace(request_id="a", success=True, urls_used=["doc://a"], final_answer="so")
        >>> QualitySignals.from_trace(run).citation_count
        1
        >>> QualitySignals.from_trace(run, {"final_answer": "# Why\n- so"}).has_structure
        True
        """
        state = state or {}
        counted = _count(state.get("citations"))
        citation_count = len(trace.urls_used) if counted is None else counted
        answer = _text(state.get("final_answer"), trace.final_answer or "")
        return cls(
            citation_count=citation_count,
            answer_length=len(answer),
            has_search=any(_searches(step.step_name.casefold()) for step in trace.steps),
            has_citations=citation_count > 0,
            has_structure=_holds(state.get("lesson_explain_structured")) or bool(_HEADING_OR_LIST_LINE.search(answer)),
            failure_occurred=not trace.success,
        )

    def to_dict(self) -> dict[str, int | bool]:
        """Return the signals as JSON can hold them.

        Examples
        --------
        >>> run = WorkflowTrace(request_id="a", success=True, final_answer="so")
        >>> QualitySignals.from_trace(run).to_dict()["answer_length"]
        2
        """
        return asdict(self)


def compute_signals(
    trace: WorkflowTrace, state: Mapping[str, Any] | None = None, problems: list[Exception] | None = None
) -> dict[str, Any]:
    """Compute every signal of a run: those of `QualitySignals`, then those of the user's.

    Parameters
    ----------
    trace : WorkflowTrace
        The run.
    state : mapping, optional
        Its final state.
    problems : list, optional
        Takes a `CausalkitError` (``.signal``) for each user's signal that raised or returned what is no signal; such a
        signal is None. Without a list each is a `QualitySignalWarning`.

    Returns
    -------
    dict
        Name to number, bool, text or None (also for NaN and infinities).

    Examples
    --------
    >>> list(compute_signals(WorkflowTrace(request_id="a", success=True)))[:2]
    ['citation_count', 'answer_length']
    """
    signals: dict[str, Any] = {**QualitySignals.from_trace(trace, state).to_dict()}
    found: list[Exception] = [] if problems is None else problems
    # A signal sees the final state as the run left it, whatever the signals before it would like to change.
    seen = MappingProxyType({**(state or {})})
    for name, function in quality_signal.registered.items():
        try:
            signals[name] = _finite(plain(function(trace, seen)))
        except Exception as error:
            signals[name] = None
            found.append(_problem(name, function, error))
    if problems is None:
        for problem in found:
            warnings.warn(str(problem), QualitySignalWarning, stacklevel=2)
    return signals


class SignalRegistry:
    """The decorator `quality_signal`: register a function of a run and its final state as a signal of every run.

    The function takes the `WorkflowTrace` and the final state (read-only) and returns a number, a bool, text or None.
    Registering the same function anew, as running a notebook cell again does, replaces it.

    Raises
    ------
    CausalkitError
        If the name is one of `QualitySignals`, or taken by a function from another place (``.signal``).

    Examples
    --------
    >>> @quality_signal
    ... def question_length(trace, state):
    ...     return len(trace.question)
    >>> @quality_signal(name="polite")
    ... def says_please(trace, state):
    ...     return "please" in trace.question
    >>> run = WorkflowTrace(request_id="a", success=True, question="why?")
    >>> signals = compute_signals(run)
    >>> signals["question_length"], signals["polite"]
    (4, False)
    >>> quality_signal.unregister("question_length")
    >>> quality_signal.unregister("polite")
    """

    def __init__(self) -> None:
        self._signals: dict[str, Signal] = {}

    @overload
    def __call__(self, function: _Signal) -> _Signal: ...

    @overload
    def __call__(self, *, name: str) -> Callable[[_Signal], _Signal]: ...

    def __call__(self, function: Any = None, *, name: str | None = None) -> Any:
        """Register a function under its own name, or under another: ``@quality_signal(name="tone")``."""
        if function is None:
            return lambda named: self._register(named, name)
        return self._register(function, name)

    @property
    def registered(self) -> dict[str, Signal]:
        """The user's signals in the order in which they were registered (a copy)."""
        return dict(self._signals)

    def unregister(self, name: str) -> None:
        """Forget a signal; one that is not registered does no harm."""
        self._signals.pop(name, None)

    def _register(self, function: Any, name: str | None) -> Any:
        name = name or getattr(function, "__name__", None)
        if not callable(function) or not name:
            raise CausalkitError(
                f"{function!r} is no function with a name; write @quality_signal above a function of (trace, state), "
                'or @quality_signal(name="...")',
                signal=name,
            )
        if name in {field.name for field in fields(QualitySignals)}:
            raise CausalkitError(f"{name!r} is a signal of every run already; choose another name", signal=name)
        known = self._signals.get(name)
        if known is not None and _place(known) != _place(function):
            raise CausalkitError(
                f"the signal {name!r} is {_place(known)} already; give {_place(function)} another name, or call "
                f"quality_signal.unregister({name!r}) first",
                signal=name,
            )
        self._signals[name] = function
        return function


quality_signal = SignalRegistry()


def _place(function: Signal) -> str:
    kind = type(function)
    return f"{getattr(function, '__module__', kind.__module__)}.{getattr(function, '__qualname__', kind.__qualname__)}"


def _finite(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    # What is left beside floats are pandas' missing values.
    return value if isinstance(value, float) and math.isfinite(value) else None


def _problem(name: str, function: Signal, error: Exception) -> CausalkitError:
    said = "".join(traceback.format_exception_only(error)).strip()
    problem = CausalkitError(
        f"the quality signal {name!r} has no value, because {_place(function)} failed ({said}); mend the function, or "
        f"call quality_signal.unregister({name!r})",
        signal=name,
    )
    problem.__cause__ = error
    return problem


def _searches(step_name: str) -> bool:
    return "search" in step_name or "retriev" in step_name


def _count(citations: Any) -> int | None:
    if isinstance(citations, str | bytes):
        return int(bool(citations.strip()))
    try:
        return max(0, int(float(citations))) if isinstance(citations, Real) else len(citations)
    except Exception:
        # None, NaN, a generator: it cannot be counted, or not without using it up.
        return None


def _text(value: Any, otherwise: str) -> str:
    if value is None:
        return otherwise
    try:
        return str(value)
    except Exception:
        # An answer that cannot be shown is none; what the run recorded stands.
        return otherwise


def _holds(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:
        # Arrays and tables have no truth of their own, but they are something.
        return True
