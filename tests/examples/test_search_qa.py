from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.examples import search_qa
from causalkit.examples.corpus import read_corpus
from causalkit.examples.router import load_questions
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import DEFAULT_KNOBS, KNOBS, SLOW_CHECK_STEPS, STEPS, Step

QUESTION = "How do I find the shortest path between two nodes of a weighted graph?"


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    return SearchIndex.build(read_corpus(["networkx"])[:600])


def run(index: SearchIndex, question: str = QUESTION, steps: tuple[Step, ...] = STEPS, **inputs: Any) -> dict[str, Any]:
    state = {"question": question, **DEFAULT_KNOBS, **inputs}
    for step in steps:
        state.update(step(state, index) or {})
    return state


def test_the_steps_are_found_by_name() -> None:
    names = ["parse_question", "web_search", "rerank", "compose_answer", "check_answer"]
    assert [step.__name__ for step in STEPS] == names
    assert [step.__name__ for step in SLOW_CHECK_STEPS] == names


def test_every_knob_has_a_default_among_its_values() -> None:
    assert DEFAULT_KNOBS.keys() == KNOBS.keys()
    assert all(DEFAULT_KNOBS[name] in values for name, values in KNOBS.items())
    assert max(KNOBS["rerank_depth"]) <= min(KNOBS["candidates"])


def test_an_answer_cites_what_it_says(index: SearchIndex) -> None:
    state = run(index)
    assert "shortest path" in state["final_answer"]
    assert all(url.startswith("doc://networkx/") for url in state["citations"])
    assert state["final_answer"].count("\n- ") == DEFAULT_KNOBS["answer_sentences"] - 1
    assert "[1]" in state["final_answer"]
    assert state["checked"] == 1.0


def test_a_misspelt_word_is_corrected(index: SearchIndex) -> None:
    assert "shortest" in run(index, "shortst path betwen nodes")["terms"]


def test_a_sentence_that_no_document_holds_is_not_verified(index: SearchIndex) -> None:
    cited = search_qa.Cited("The shortest path of a weighted graph is made of green cheese.", 0)
    state = {"terms": ("shortest", "path"), "cited_sentences": (cited,)}
    assert search_qa.check_answer(state, index) == {"checked": 0.0}


def test_chat_mode_writes_a_shorter_plain_paragraph(index: SearchIndex) -> None:
    chat = run(index, mode="chat")["final_answer"]
    assert "\n" not in chat
    assert not chat.startswith("- ")
    assert len(chat) < len(run(index)["final_answer"])


@pytest.mark.parametrize("knob", ["candidates", "rerank_depth", "answer_sentences"])
def test_a_knob_sets_how_much_is_done(index: SearchIndex, knob: str) -> None:
    written = {"candidates": "hits", "rerank_depth": "ranked", "answer_sentences": "cited_sentences"}[knob]
    for value in (KNOBS[knob][0], KNOBS[knob][-1]):
        assert len(run(index, **{knob: value})[written]) == value


def test_only_the_first_documents_are_searched(index: SearchIndex) -> None:
    assert all(hit.number < 200 for hit in run(index, corpus_size=200)["hits"])


def test_a_cached_search_finds_what_a_fresh_one_finds(index: SearchIndex) -> None:
    fresh = run(index)["hits"]
    assert run(index, cache=True)["hits"] == run(index, cache=True)["hits"] == fresh


def test_a_warm_index_answers_without_searching(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    search_qa.warm(index, [QUESTION, ""])
    monkeypatch.setattr(SearchIndex, "search", None)
    assert len(run(index, cache=True, candidates=max(KNOBS["candidates"]))["hits"]) == max(KNOBS["candidates"])


def test_the_slow_release_reads_all_documents_and_comes_to_the_same_verdict(index: SearchIndex) -> None:
    assert run(index, steps=SLOW_CHECK_STEPS)["checked"] == run(index)["checked"]
    with pytest.raises(KeyError, match="ranked"):
        SLOW_CHECK_STEPS[-1]({"terms": ("path",), "cited_sentences": ()}, index)


@pytest.mark.parametrize("case", load_questions()[-6:], ids=lambda case: case["question"][:20] or "empty")
def test_a_question_that_cannot_be_answered_fails_as_expected(index: SearchIndex, case: dict[str, Any]) -> None:
    with pytest.raises(CausalkitError) as caught:
        run(index, case["question"])
    assert type(caught.value).__name__ == case["expected_failure"]


def test_a_run_past_its_time_stops_between_documents(index: SearchIndex) -> None:
    started = perf_counter_ns() - 50_000_000
    with pytest.raises(search_qa.TimeLimitError, match="lower rerank_depth") as caught:
        run(index, time_limit_ms=20, started_ns=started)
    assert caught.value.elapsed_ms >= 50
    assert run(index, time_limit_ms=60_000, started_ns=started)["checked"] == 1.0


def test_one_index_serves_several_threads(index: SearchIndex) -> None:
    questions = [QUESTION, "minimum spanning tree", "maximum flow between two nodes", "page rank"] * 3
    alone = [run(index, question)["final_answer"] for question in questions]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda question: run(index, question, cache=True)["final_answer"], questions))
    assert together == alone
