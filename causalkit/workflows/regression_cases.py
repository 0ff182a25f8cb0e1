"""The cases of a regression run: what is asked, what must come of it, and whether it did."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec

from causalkit.errors import TraceFormatError
from causalkit.workflows.quality import QualitySignals, quality_signal

_MOST_BAD_LINES_NAMED = 5


class RegressionCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question and what must come of it.

    Attributes
    ----------
    id, question : str
        The workflow is given the question and nothing else.
    expected_workflow : str, optional
        What the router must choose.
    expected_error : str, optional
        The name of the exception that must be raised: for questions that have to be refused.
    expected_fields : tuple of str
        Fields that the result must have, not empty.
    quality_thresholds : dict
        ``min_<signal>`` and ``max_<signal>`` to number; bools count as 0 and 1.
    max_latency_ms, max_cost_usd : float, optional
    tags : tuple of str

    Examples
    --------
    >>> RegressionCase(id="a", question="why?", quality_thresholds={"min_citation_count": 1}).limits()
    [('citation_count', 'min', 1)]
    """

    id: Annotated[str, msgspec.Meta(min_length=1)]
    question: Annotated[str, msgspec.Meta(min_length=1)]
    expected_workflow: str | None = None
    expected_error: str | None = None
    expected_fields: tuple[str, ...] = ()
    quality_thresholds: dict[str, bool | float] = {}
    max_latency_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_cost_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    tags: tuple[str, ...] = ()

    def limits(self) -> list[tuple[str, str, float]]:
        """Return the thresholds as (signal, ``min`` or ``max``, value)."""
        return [(name[4:], name[:3], value) for name, value in self.quality_thresholds.items()]

    def fingerprint(self) -> str:
        """Return a hash of what is asked and expected: a case of another one is another case."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, tags=()))).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What one repetition of a case came to.

    Attributes
    ----------
    id, question, fingerprint, tags
        Of the case.
    repeat : int
        Which repetition, from 0.
    passed : bool
    reasons : tuple of str
        Why it did not pass.
    workflow : str or None
        What the router chose.
    signals : dict
    latency_ms, cost_usd : float or None
    steps : dict
        The time of each step in milliseconds without its children.
    error : dict or None
        ``type`` and ``message``.
    """

    id: str
    question: str
    fingerprint: str
    repeat: int = 0
    passed: bool
    reasons: tuple[str, ...] = ()
    workflow: str | None = None
    signals: dict[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None
    cost_usd: float | None = None
    steps: dict[str, float] = field(default_factory=dict)
    error: dict[str, str] | None = None
    tags: tuple[str, ...] = ()


def load_cases(path: str | os.PathLike[str]) -> list[RegressionCase]:
    """Read cases, one JSON object a line.

    Raises
    ------
    TraceFormatError
        If there is none, or a line is no case: every such line is named (``.lines``).
    """
    cases: list[RegressionCase] = []
    bad: dict[int, str] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            case = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"), type=RegressionCase)
            check_case(case)
        except (msgspec.DecodeError, UnicodeDecodeError, TraceFormatError) as error:
            bad[number] = str(error)
            continue
        if case.id in first:
            bad[number] = f"the id {case.id!r} stands in line {first[case.id]} already"
        first.setdefault(case.id, number)
        cases.append(case)
    if bad:
        raise TraceFormatError(_told(path, bad), path=str(path), lines=tuple(bad))
    if not cases:
        raise TraceFormatError(f"{path} holds no case; write one JSON object a line, with id and question", path=path)
    return cases


def check_case(case: RegressionCase) -> None:
    """Refuse a case with a threshold on what is no signal, or with expectations that exclude each other."""
    signals = [*(known.name for known in fields(QualitySignals)), *quality_signal.registered]
    for name in case.quality_thresholds:
        if name[:4] not in ("min_", "max_") or name[4:] not in signals:
            raise TraceFormatError(
                f"the threshold {name!r} is none; write min_ or max_ and one of {', '.join(signals)}", threshold=name
            )
    if case.expected_error and case.expected_fields:
        raise TraceFormatError("a case that expects an error has no fields to expect", case=case.id)


def judge(case: RegressionCase, run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a run does not meet a case; nothing if it does.

    Parameters
    ----------
    case : RegressionCase
    run : mapping
        ``workflow``, ``signals``, ``latency_ms``, ``cost_usd``, ``error``, and ``fields``: those that are not empty.

    Examples
    --------
    >>> case = RegressionCase(id="a", question="why?", expected_workflow="qa", quality_thresholds={"min_words": 3})
    >>> judge(case, {"workflow": "lessons", "signals": {"words": 2}})
    ("chose the workflow 'lessons', not 'qa'", 'words is 2, at least 3 was expected')
    """
    reasons = [*_errors(case, run.get("error"))]
    chosen, signals = run.get("workflow"), run.get("signals", {})
    if case.expected_workflow not in (None, chosen) and (chosen or not reasons):
        reasons.append(f"chose the workflow {chosen!r}, not {case.expected_workflow!r}")
    if not run.get("error"):
        missing = [name for name in case.expected_fields if name not in run.get("fields", ())]
        reasons += [f"the result's {name!r} is missing or empty" for name in missing]
        reasons.append(_limit("cost_usd", run.get("cost_usd"), "max", case.max_cost_usd))
    if case.expected_error or not run.get("error"):
        reasons += [_limit(name, signals.get(name), side, value) for name, side, value in case.limits()]
    reasons.append(_limit("latency_ms", run.get("latency_ms"), "max", case.max_latency_ms))
    return tuple(filter(None, reasons))


def _errors(case: RegressionCase, error: Mapping[str, str] | None) -> Sequence[str]:
    if case.expected_error is None:
        return [f"{error['type']}: {error['message']}"] if error else []
    if error is None:
        return [f"answered, {case.expected_error} was expected"]
    met = error["type"] == case.expected_error
    return [] if met else [f"{error['type']}: {error['message']}; {case.expected_error} was expected"]


def _limit(name: str, value: Any, side: str, limit: float | None) -> str:
    if limit is None or (name == "latency_ms" and value is None):
        return ""  # without a latency the run was stopped, and failed for that
    if not isinstance(value, bool | int | float):
        return f"{name} is not known, so it cannot be {'at least' if side == 'min' else 'at most'} {limit:g}"
    met = value >= limit if side == "min" else value <= limit
    return "" if met else f"{name} is {value:.6g}, {'at least' if side == 'min' else 'at most'} {limit:g} was expected"


def _told(path: str | os.PathLike[str], bad: Mapping[int, str]) -> str:
    named = [f"line {number}: {reason}" for number, reason in list(bad.items())[:_MOST_BAD_LINES_NAMED]]
    more = f"; and {len(bad) - len(named)} more" if len(bad) > len(named) else ""
    return f"{path} holds {len(bad)} line{'s' * (len(bad) > 1)} that are no case: {'; '.join(named)}{more}"
