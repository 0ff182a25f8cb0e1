"""A workflow that writes a lesson from several documents: parse, gather, outline, write, check.

It shares the index, the knobs and the errors of ``search_qa``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import (
    Cited,
    State,
    Step,
    is_verified,
    parse_question,
    rerank,
    select_sentences,
    web_search,
)

ASKING = re.compile(
    r"\b(teach|explain|learn\w*|lesson|tutorial|course|beginner\w*|introduc\w+|overview|primer|basics|fundamentals"
    r"|guide|understand\w*|walk|step by step|scratch|student\w*|class)\b",
    re.IGNORECASE,
)
"""Words that ask for a lesson rather than name what it is about."""
SECTIONS = 4
DOCUMENTS_PER_SECTION = 2


def parse_topic(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Find what the lesson is about: the terms of ``question`` without the words that ask for a lesson."""
    question = state["question"]
    topic = ASKING.sub(" ", question)
    parsed = parse_question({"question": topic if topic.strip(" .,!?") else question}, runtime)
    return {**parsed, "topic": " ".join(parsed["terms"])}


def gather_documents(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Retrieve and rerank the documents to teach from."""
    found = web_search(state, runtime)
    asked = {key: state[key] for key in ("terms", "rerank_depth")}
    if state.get("time_limit_ms") is not None:
        asked |= {"time_limit_ms": state["time_limit_ms"], "started_ns": state["started_ns"]}
    return rerank(asked | found, runtime)


def outline_lesson(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Group the best documents into sections: each led by the best one left, joined by those most like it."""
    left = [entry.number for entry in state["ranked"]]
    outline: list[tuple[str, tuple[int, ...]]] = []
    while left and len(outline) < SECTIONS:
        lead = left.pop(0)
        joined = sorted(left, key=lambda number: -_likeness(lead, number, runtime))[: DOCUMENTS_PER_SECTION - 1]
        left = [number for number in left if number not in joined]
        heading = runtime.documents[lead].name.rsplit(".", 1)[-1].replace("_", " ")
        outline.append((heading, (lead, *joined)))
    return {"outline": tuple(outline)}


def write_sections(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Write every section of the outline from its own documents, and a summary of all of them."""
    weights = runtime.weights(state["terms"])
    length = state["answer_sentences"]
    written = [(heading, select_sentences(numbers, weights, length, runtime)) for heading, numbers in state["outline"]]
    sections = [
        {
            "heading": heading,
            "text": " ".join(cited.text for cited in chosen),
            "citations": _urls(chosen, runtime),
        }
        for heading, chosen in written
    ]
    cited_sentences = tuple(cited for _, chosen in written for cited in chosen)
    return {
        "lesson_explain_structured": {"title": f"A lesson on {state['topic']}", "sections": sections},
        "final_answer": " ".join(chosen[0].text for _, chosen in written if chosen),
        "citations": _urls(cited_sentences, runtime),
        "cited_sentences": cited_sentences,
    }


def check_lesson(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Verify every sentence of the lesson; ``checked`` is the share verified."""
    weights = runtime.weights(state["terms"])
    verdicts = [is_verified(cited, [runtime.sentences[cited.number]], weights) for cited in state["cited_sentences"]]
    return {"checked": sum(verdicts) / max(1, len(verdicts))}


STEPS: tuple[Step, ...] = (parse_topic, gather_documents, outline_lesson, write_sections, check_lesson)


def _likeness(one: int, other: int, runtime: SearchIndex) -> float:
    mine, theirs = runtime.bags[one], runtime.bags[other]
    return len(mine & theirs) / max(1, len(mine | theirs))


def _urls(cited_sentences: Sequence[Cited], runtime: SearchIndex) -> list[str]:
    return list(dict.fromkeys(runtime.documents[cited.number].url for cited in cited_sentences))
