"""A small router, wrong now and then: does a question want an answer or a lesson? With questions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from math import exp
from typing import Any

LESSON_CUES = {
    r"\bteach\b": 3.0,
    r"\b(lesson|tutorial|course|lecture|crash course)\b": 3.0,
    r"\b(beginner|newcomer|novice|student)s?\b": 1.5,
    r"\b(introduc\w+|overview|primer|basics|fundamentals|from scratch)\b": 2.0,
    r"\b(learn|understand|study)\b": 1.5,
    r"\b(explain|walk (me|us) through|guide)\b": 1.5,
    r"\bstep by step\b": 1.0,
}
SEARCH_CUES = {
    r"^(which|what|where|when|who|does|is|are|can|why)\b": 1.0,
    r"\b(error|raises?|warning|fails?|default|parameter|argument|returns?|version|deprecated)\b": 1.0,
    r"\bhow (do|can|to|should)\b": 1.0,
    r"\b(difference between|instead of)\b": 0.5,
    r"[a-z]_[a-z]|\w\(": 1.0,
}
BIAS = -1.5
"""Most questions want an answer."""


@dataclass(frozen=True)
class Route:
    """Where a question goes (``search_qa`` or ``lesson_pack``) and how sure that is, 0.5 to 1."""

    workflow: str
    confidence: float


def route(question: str) -> Route:
    """Choose the workflow for a question by the words in it.

    Examples
    --------
    >>> route("Teach me how group by works").workflow
    'lesson_pack'
    >>> route("What does n_jobs do?")
    Route(workflow='search_qa', confidence=0.97)
    """
    score = cue_score(question)
    confidence = round(1 / (1 + exp(-abs(score))), 2)
    return Route("lesson_pack" if score > 0 else "search_qa", confidence)


def cue_score(question: str) -> float:
    """Return how much the words of a question speak for a lesson; below zero they speak for an answer.

    Examples
    --------
    >>> cue_score("Teach me how group by works")
    1.5
    """
    text = question.lower()
    return BIAS + _weight(LESSON_CUES, text) - _weight(SEARCH_CUES, text)


def load_questions() -> list[dict[str, Any]]:
    """Load the questions: ``question``, ``expected_workflow`` and, for the last few, ``expected_failure``.

    Examples
    --------
    >>> load_questions()[-1]["expected_failure"]
    'NoDocumentError'
    """
    text = resources.files("causalkit.examples").joinpath("questions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _weight(cues: dict[str, float], text: str) -> float:
    return sum(weight for pattern, weight in cues.items() if re.search(pattern, text))
