from __future__ import annotations

from typing import Any

import pytest

from causalkit.examples import lessons
from causalkit.examples.corpus import read_corpus
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import DEFAULT_KNOBS, EmptyQuestionError, TimeLimitError


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    return SearchIndex.build(read_corpus(["networkx"])[:600])


def teach(index: SearchIndex, question: str, **inputs: Any) -> dict[str, Any]:
    state = {"question": question, **DEFAULT_KNOBS, **inputs}
    for step in lessons.STEPS:
        state.update(step(state, index) or {})
    return state


def test_a_lesson_has_sections_written_from_several_documents(index: SearchIndex) -> None:
    state = teach(index, "Teach me shortest paths step by step")
    lesson = state["lesson_explain_structured"]
    assert lesson["title"] == "A lesson on shortest path"
    assert len(lesson["sections"]) == lessons.SECTIONS
    assert all(section.keys() == {"heading", "text", "citations"} for section in lesson["sections"])
    assert len(state["citations"]) >= lessons.SECTIONS
    assert 0 < state["checked"] <= 1
    assert len(state["final_answer"]) < sum(len(section["text"]) for section in lesson["sections"])


def test_the_steps_are_found_by_name() -> None:
    assert [step.__name__ for step in lessons.STEPS] == [
        "parse_topic", "gather_documents", "outline_lesson", "write_sections", "check_lesson",
    ]  # fmt: skip


def test_no_document_leads_one_section_and_joins_another(index: SearchIndex) -> None:
    outline = teach(index, "Explain centrality measures")["outline"]
    numbers = [number for _, section in outline for number in section]
    assert len(set(numbers)) == len(numbers)


def test_more_sentences_make_longer_sections(index: SearchIndex) -> None:
    def length(sentences: int) -> int:
        return len(teach(index, "Teach me trees", answer_sentences=sentences)["cited_sentences"])

    assert length(8) > length(2)


def test_a_question_without_a_topic_fails(index: SearchIndex) -> None:
    with pytest.raises(EmptyQuestionError):
        teach(index, "the of and")


def test_a_lesson_past_its_time_stops(index: SearchIndex) -> None:
    with pytest.raises(TimeLimitError):
        teach(index, "Teach me shortest paths", time_limit_ms=1, started_ns=0)
