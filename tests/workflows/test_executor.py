from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.workflows.executor import READS, WRITES, GraphExecutor, ObservedState
from causalkit.workflows.quality import quality_signal
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.tracer import Tracer


def search(state: ObservedState, runtime: Any) -> dict[str, Any]:
    return {"hits": [state["question"]] * state["depth"]}


def answer(state: ObservedState, runtime: Any) -> dict[str, Any]:
    return {"final_answer": f"{len(state['hits'])} {runtime}", "citations": ["doc://a", "doc://b"]}


def fail(state: ObservedState, runtime: Any) -> dict[str, Any]:
    state["half"] = state["question"]
    raise CausalkitError("nothing was found")


def execute(*steps: Any, **state: Any) -> tuple[dict[str, Any], WorkflowTrace]:
    tracer = Tracer()
    final = GraphExecutor({"qa": steps}, tracer).execute("qa", {"question": "why?", "depth": 3, **state}, "found")
    return final, tracer.runs[0]


def test_the_final_state_is_returned_and_the_steps_are_recorded_in_order() -> None:
    final, run = execute(search, answer)
    assert final["final_answer"] == "3 found"
    assert type(final) is dict
    assert [step.step_name for step in run.steps] == ["search", "answer"]


def test_what_each_step_read_and_wrote_is_recorded() -> None:
    _, run = execute(search, answer)
    noted = {step.step_name: (step.attributes[READS], step.attributes[WRITES]) for step in run.steps}
    assert noted == {
        "search": (["depth", "question"], ["hits"]),
        "answer": (["hits"], ["citations", "final_answer"]),
    }


@pytest.mark.parametrize(
    ("use", "reads", "writes"),
    [
        (lambda state: state.get("a"), {"a"}, set()),
        (lambda state: state.get("absent"), {"absent"}, set()),
        (lambda state: "a" in state, {"a"}, set()),
        (lambda state: list(state), {"a", "b"}, set()),
        (lambda state: dict(state.items()), {"a", "b"}, set()),
        (lambda state: {**state}, {"a", "b"}, set()),
        (lambda state: state.pop("a"), {"a"}, {"a"}),
        (lambda state: state.setdefault("a", 5), {"a"}, set()),
        (lambda state: state.update(c=1), set(), {"c"}),
        (lambda state: state.__delitem__("b"), set(), {"b"}),
        (lambda state: state == {"a": 1}, {"a", "b"}, set()),
        (lambda state: state.snapshot(), set(), set()),
        (lambda state: len(state), set(), set()),
    ],
)
def test_every_way_to_look_at_a_state_is_a_read(
    use: Callable[[ObservedState], object], reads: set[str], writes: set[str]
) -> None:
    state = ObservedState({"a": 1, "b": 2})
    use(state)
    assert (state.reads, state.writes) == (reads, writes)


def test_an_unknown_workflow_is_an_error_that_names_the_known_ones() -> None:
    executor = GraphExecutor({"qa": [search], "lesson": [answer]}, Tracer())
    with pytest.raises(CausalkitError, match="there is no workflow 'q'; known are 'qa', 'lesson'") as caught:
        executor.execute("q", {})
    assert caught.value.workflow == "q"
    assert executor.tracer.runs == []


def test_a_failing_step_is_recorded_with_what_it_read_and_passed_on() -> None:
    tracer = Tracer()
    with pytest.raises(CausalkitError, match="nothing was found"):
        GraphExecutor({"qa": [search, fail, answer]}, tracer).execute("qa", {"question": "why?", "depth": 1})
    (run,) = tracer.runs
    assert [(step.step_name, step.success) for step in run.steps] == [("search", True), ("fail", False)]
    assert run.steps[1].attributes == {READS: ["question"], WRITES: ["half"]}
    assert run.quality_signals["failure_occurred"]
    assert not run.success


def test_the_run_carries_answer_sources_and_quality_signals() -> None:
    _, run = execute(search, answer)
    assert (run.final_answer, run.urls_used) == ("3 found", ["doc://a", "doc://b"])
    assert run.quality_signals == {
        "citation_count": 2,
        "answer_length": 7,
        "has_search": True,
        "has_citations": True,
        "has_structure": False,
        "failure_occurred": False,
    }


def test_what_the_caller_tells_is_recorded_with_the_run() -> None:
    told = {"request_id": "r9", "mode": "chat", "conversation_id": "c1", "turn_index": 4}
    _, run = execute(search, **told)
    assert {name: getattr(run, name) for name in told} == told
    assert run.question == "why?"


def test_what_the_caller_leaves_open_has_the_defaults() -> None:
    _, run = execute(answer, hits=(), question=None, mode=None, turn_index=None, request_id=None)
    assert (run.question, run.mode, run.turn_index) == ("", "default", 0)
    assert run.request_id


def test_knobs_are_in_the_state_and_recorded_as_knobs() -> None:
    tracer = Tracer()
    executor = GraphExecutor({"qa": [search]}, tracer)
    final = executor.execute("qa", {"question": "why?", "depth": 1}, knobs={"depth": 2}, release="7")
    assert len(final["hits"]) == 2
    assert tracer.runs[0].attributes["knobs"] == {"depth": 2}
    assert tracer.runs[0].attributes["release"] == "7"


def test_an_object_with_run_and_name_is_a_step() -> None:
    class Reranker:
        name = "rerank"

        def run(self, state: ObservedState, runtime: Any) -> None:
            state["ranked"] = True

    final, run = execute(Reranker())
    assert final["ranked"]
    assert run.steps[0].step_name == "rerank"


def test_the_callers_state_is_left_as_it_was() -> None:
    state = {"question": "why?", "depth": 1}
    GraphExecutor({"qa": [search]}, Tracer()).execute("qa", state)
    assert state == {"question": "why?", "depth": 1}


def test_a_coroutine_function_is_refused_by_name() -> None:
    async def search_later(state: ObservedState, runtime: Any) -> None: ...

    class Later:
        name = "later"

        async def run(self, state: ObservedState, runtime: Any) -> None: ...

    for step, name in ((search_later, "search_later"), (Later(), "later")):
        with pytest.raises(CausalkitError, match=f"step '{name}' is a coroutine function") as caught:
            GraphExecutor({"qa": [step]}, Tracer())
        assert caught.value.step == name


def test_the_users_signals_see_the_final_state() -> None:
    @quality_signal(name="number_of_hits")
    def number_of_hits(trace: WorkflowTrace, state: Mapping[str, Any]) -> int:
        return len(state["hits"])

    try:
        _, run = execute(search, answer)
    finally:
        quality_signal.unregister("number_of_hits")
    assert run.quality_signals["number_of_hits"] == 3


def test_steps_within_a_step_are_its_children() -> None:
    tracer = Tracer()

    def outer(state: ObservedState, runtime: Any) -> None:
        with tracer.step("inner"):
            pass

    GraphExecutor({"qa": [outer]}, tracer).execute("qa", {})
    first, second = tracer.runs[0].steps
    assert (first.step_name, second.step_name, second.parent_id) == ("outer", "inner", first.step_id)
