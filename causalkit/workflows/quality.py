"""How good an answer looks from the outside, computed from the final state of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from causalkit.workflows.records import StepTrace


@dataclass(frozen=True)
class QualitySignals:
    """Signals that need no judge.

    Attributes
    ----------
    citation_count : int
        Sources named.
    answer_length : int
        Characters of the final answer.
    has_search : bool
        Whether a step that searches ran.
    has_citations, has_structure : bool
        Whether sources are named; whether the answer has sections.
    failure_occurred : bool
        Whether a step failed.
    """

    citation_count: int
    answer_length: int
    has_search: bool
    has_citations: bool
    has_structure: bool
    failure_occurred: bool

    @classmethod
    def from_state(cls, state: Mapping[str, Any], steps: Iterable[StepTrace]) -> QualitySignals:
        """Compute the signals from the final state (``final_answer``, ``citations``, ...) and the steps that ran.

        Examples
        --------
        >>> QualitySignals.from_state({"final_answer": "so", "citations": ["doc://a"]}, []).citation_count
        1
        """
        steps = tuple(steps)
        citations = state.get("citations") or ()
        return cls(
            citation_count=len(citations),
            answer_length=len(str(state.get("final_answer") or "")),
            has_search=any("search" in step.step_name for step in steps),
            has_citations=bool(citations),
            has_structure=bool(state.get("lesson_explain_structured")),
            failure_occurred=not all(step.success for step in steps),
        )

    def to_dict(self) -> dict[str, int | bool]:
        """Return the signals as JSON can hold them.

        Examples
        --------
        >>> QualitySignals.from_state({"final_answer": "so"}, []).to_dict()["answer_length"]
        2
        """
        return asdict(self)
