from __future__ import annotations

from pathlib import Path

import pytest

from causalkit.examples import answer as answering
from causalkit.examples.answer import answer
from causalkit.examples.corpus import corpus_hash, read_corpus
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import EmptyQuestionError
from causalkit.workflows.regression import run_regression
from causalkit.workflows.tracer import Tracer

CASES = Path(__file__).parents[2] / "data" / "regression_cases.jsonl"


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    return SearchIndex.build(read_corpus(["networkx"])[:600])


@pytest.fixture
def _small_index(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_index", lambda: index)


@pytest.mark.usefixtures("_small_index")
@pytest.mark.parametrize(
    ("question", "workflow", "fields"),
    [
        ("shortest path of a weighted graph", "search_qa", set()),
        ("teach me shortest paths", "lesson_pack", {"lesson_explain_structured"}),
    ],
)
def test_the_router_chooses_and_the_run_is_recorded(question: str, workflow: str, fields: set[str]) -> None:
    tracer = Tracer()
    result = answer(question, tracer)
    assert set(result) == {"workflow", "final_answer", "citations", "checked"} | fields
    assert result["workflow"] == workflow == tracer.runs[0].workflow_name
    assert tracer.runs[0].quality_signals["citation_count"] == len(result["citations"])


@pytest.mark.usefixtures("_small_index")
def test_what_cannot_be_answered_is_refused() -> None:
    with pytest.raises(EmptyQuestionError):
        answer("the of and")


@pytest.mark.usefixtures("_small_index")
def test_the_corpus_is_named_as_in_the_recordings(index: SearchIndex) -> None:
    assert answering.corpus_hash() == corpus_hash(index.documents)


def test_all_shipped_cases_pass(proof: bool) -> None:
    if not proof:
        pytest.skip("builds the whole index: with --proof")
    report = run_regression(CASES, answer, progress=False)
    assert [one.reasons for one in report.results if not one.passed] == []
