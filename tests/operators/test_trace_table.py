"""The trace table and the causal graph of ensembles and judges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count, product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from causalkit.errors import CausalkitError, GraphError
from causalkit.graphs import check_graph
from causalkit.operators.agreement import MEASURES, disagreement
from causalkit.operators.calls import OperatorCall, calls_of
from causalkit.operators.events import ExecutionContext
from causalkit.operators.listening import collect_events
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.trace_table import causal_graph, to_trace_table
from causalkit.operators.tracing import trace
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.formulas import FormulaOfParents

START = datetime(2026, 1, 2, tzinfo=UTC)
DIGITS = 10
MEMBERS = tuple("abcdefghij")


class Panel:
    """A panel whose law is known: how often each member is right, and which wrong answers it gives."""

    def __init__(self, num_members: int, hidden: float = 0.0) -> None:
        rng = np.random.default_rng(7)
        self.members, self.hidden = MEMBERS[:num_members], hidden
        self.skill = 2 + 0.7 * rng.normal(size=(num_members, DIGITS))
        self.slope = 1.5 + 2 * rng.random(num_members)
        self.mistakes = rng.dirichlet(np.full(DIGITS - 1, 0.5), size=(num_members, DIGITS)).cumsum(axis=2)

    def draw(
        self, rng: np.random.Generator, num_runs: int, noise: float | None = None, out: Sequence[int] = ()
    ) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
        """Return noise, digit and who takes part, and the votes (-1: none), under an intervention or without."""
        size = (num_runs, len(self.members))
        told = pd.DataFrame({"noise": rng.random(num_runs) if noise is None else np.full(num_runs, noise)})
        told["digit"] = rng.integers(0, DIGITS, num_runs)
        takes_part = rng.random(size) < 0.8
        takes_part[:, list(out)] = False
        hard = self.hidden * rng.normal(size=(num_runs, 1))
        odds = self.skill[:, told["digit"]].T - self.slope * told[["noise"]].to_numpy() - hard
        right = rng.random(size) < 1 / (1 + np.exp(-odds))
        mistakes = self.mistakes[:, told["digit"]].transpose(1, 0, 2)
        wrong = np.minimum((rng.random((*size, 1)) > mistakes).sum(axis=2), DIGITS - 2)
        wrong += wrong >= told[["digit"]].to_numpy()
        votes = np.where(takes_part, np.where(right, told[["digit"]].to_numpy(), wrong), -1)
        return told.assign(**{f"{m}_takes_part": takes_part[:, i] for i, m in enumerate(self.members)}), votes

    def calls(self, told: pd.DataFrame, votes: np.ndarray[Any, Any]) -> dict[str, OperatorCall]:
        """Return the calls of a pipeline of these: the panel, then a judge that takes the most frequent vote."""
        calls: dict[str, OperatorCall] = {}
        for row, cast in zip(told.to_dict("records"), votes.tolist(), strict=True):
            roles = {name: "covariate" if name == "digit" else "knob" for name in row}
            root = _called(calls, "pipeline", "function", None, metrics=row, roles=roles, duration_ms=3.0)
            panel = _called(calls, "panel", "ensemble", root, stage="ensemble_1")
            for member, vote in zip(self.members, cast, strict=True):
                if vote >= 0:
                    _called(calls, member, "member", panel, stage="ensemble_1", result=vote)
            _called(calls, "most", "judge", root, stage="judge_1", links=[panel.call_id], result=verdicts([cast])[0])
        return calls


_ids = count()


def _called(
    calls: dict[str, OperatorCall], name: str, kind: str, parent: OperatorCall | None, **told: Any
) -> OperatorCall:
    call_id = f"c{next(_ids)}"
    run_id = call_id if parent is None else parent.run_id
    told.setdefault("stage", None)
    call = OperatorCall(
        name,
        kind,
        call_id=call_id,
        parent_call_id=parent and parent.call_id,
        run_id=run_id,
        start=START,
        has_result="result" in told,
        parent=parent,
        **told,
    )
    if parent is not None:
        parent.children.append(call)
    calls[call_id] = call
    return call


def verdicts(votes: Any) -> list[int]:
    """The most frequent vote; of several the least."""
    votes = np.asarray(votes)
    return np.stack([(votes == digit).sum(axis=1) for digit in range(DIGITS)], axis=1).argmax(axis=1).tolist()


@pytest.fixture(scope="module")
def small() -> tuple[pd.DataFrame, np.ndarray[Any, Any], dict[str, OperatorCall]]:
    told, votes = Panel(4).draw(np.random.default_rng(0), 400)
    return told, votes, Panel(4).calls(told, votes)


def assert_derived_columns_are_their_formulas(graph: Any, table: pd.DataFrame) -> list[str]:
    derived = [node for node, formula in graph.nodes(data="derived") if formula]
    for node in derived:
        parents = sorted(graph.predecessors(node))
        rows = table[parents].astype(float).to_numpy()
        computed = FormulaOfParents(graph.nodes[node]["derived"], parents).predict(rows)
        np.testing.assert_allclose(computed, table[node].to_numpy(float), atol=1e-12)
    return derived


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("ground_truth", ["digit", None])
def test_each_derived_column_is_its_formula_in_every_row(small: Any, measure: str, ground_truth: str | None) -> None:
    calls = small[2]
    table = to_trace_table(calls, measure=measure, ground_truth=ground_truth)
    graph = causal_graph(calls, measure=measure, ground_truth=ground_truth)
    derived = assert_derived_columns_are_their_formulas(graph, table)
    counts = ["ensemble_1_votes"] + ["ensemble_1_right_votes"] * (ground_truth is not None)
    assert derived == [*counts, "ensemble_1_disagreement"]


@pytest.mark.parametrize("measure", MEASURES)
def test_disagreement_is_the_measure_of_the_votes(small: Any, measure: str) -> None:
    _, votes, calls = small
    told = to_trace_table(calls, measure=measure)["ensemble_1_disagreement"]
    cast = [[vote for vote in row if vote >= 0] for row in votes.tolist()]
    assert told.tolist() == pytest.approx([disagreement(row, measure) if row else 0 for row in cast], abs=1e-12)


def test_a_row_tells_what_was_set_voted_and_decided(small: Any) -> None:
    told, votes, calls = small
    table = to_trace_table(calls, ground_truth="digit")
    truth = told["digit"].to_numpy()
    assert table[["a_vote", "b_vote", "c_vote", "d_vote"]].astype(int).to_numpy().tolist() == votes.tolist()
    for name in told:
        assert table[name].astype(float).tolist() == told[name].astype(float).tolist()
    assert table["ensemble_1_right_votes"].tolist() == (votes == truth[:, None]).sum(axis=1).tolist()
    assert table["judge_1_verdict"].astype(int).tolist() == verdicts(votes)
    assert table["judge_1_correct"].tolist() == (np.array(verdicts(votes)) == truth).tolist()
    assert table["a_vote"].dtype == table["d_vote"].dtype == table["digit"].dtype
    assert set(table["total_latency_ms"]) == {3.0}
    assert table.attrs["knobs"] == ["noise", *(f"{member}_takes_part" for member in "abcd")]


def test_the_graph_tells_what_is_set_what_is_shared_and_what_is_only_counted(small: Any) -> None:
    graph = causal_graph(small[2], ground_truth="digit")
    assert {node: role for node, role in graph.nodes(data="role") if role in {"knob", "confounder"}} == {
        "noise": "knob",
        **{f"{member}_takes_part": "knob" for member in "abcd"},
        "digit": "confounder",
    }
    assert dict(graph.pred["c_right"].items()).keys() == {"noise", "digit", "c_takes_part", "a_right", "b_right"}
    assert graph.edges["a_right", "c_right"]["kind"] == "shared"
    assert set(graph["a_takes_part"]) == {"a_right"}
    assert not set(graph["ensemble_1_disagreement"])
    counted = {"ensemble_1_votes", "ensemble_1_right_votes", "ensemble_1_wrong_differ"}
    assert set(graph.pred["ensemble_1_disagreement"]) == counted
    # Who voted for what says more than how many did, so what bears on that may bear on the verdict past the counts.
    assert set(graph.pred["judge_1_correct"]) == {*counted, "noise", "digit"}
    assert graph.edges["noise", "judge_1_correct"]["kind"] == "unrecorded"
    assert all(data["why"] for _, _, data in graph.edges(data=True))


def test_without_the_truth_disagreement_is_of_the_votes_and_so_is_what_the_judge_reports(small: Any) -> None:
    calls = dict(small[2])
    for call in calls.values():
        if call.is_judge:
            call.metrics["correct"] = call.result == 3
    graph = causal_graph(calls)
    assert set(graph.pred["judge_1_correct"]) == {f"{member}_vote" for member in "abcd"}
    assert set(graph.pred["a_vote"]) == {"noise", "digit", "a_takes_part"}
    assert not any(node.endswith(("_right", "_right_votes")) for node in graph)
    for call in calls.values():
        call.metrics.pop("correct", None)


def traced(rows: Sequence[tuple[Any, ...]], link: bool = True, **names: str) -> dict[str, OperatorCall]:
    """Each row the votes of a panel and the truth, through the tracer; None abstains."""

    @trace(stage="ensemble_1", operator_type="ensemble")
    def panel(votes: Sequence[Any]) -> str:
        for place, vote in enumerate(votes):
            if vote is not None:
                trace(lambda: vote, operator_id=names.get(f"m{place}", f"m{place}"), operator_type="member")()  # noqa: B023
        context = ExecutionContext.current()
        return "" if context is None else context.call_id

    @trace(stage="judge_1")
    def judge(call_id: str, votes: Sequence[Any], truth: Any) -> Any:
        if link:
            ExecutionContext.link(call_id)
        return next((vote for vote in votes if vote is not None), None)

    @trace
    def pipeline(votes: Sequence[Any], truth: Any) -> Any:
        emit_metric("size", len(str(truth)), role="input")
        return judge(panel(votes), votes, truth)

    with collect_events() as events:
        for *votes, truth in rows:
            pipeline(votes, truth)
    return calls_of(events)


def test_answers_that_are_no_whole_numbers_share_codes() -> None:
    calls = traced([("cat", "dog", "cat"), ("cat", None, "dog"), ("eel", "cat", "eel")])
    table = to_trace_table(calls, ground_truth="truth")
    assert table.attrs["vote_labels"] == {0: "cat", 1: "dog", 2: "eel"}
    assert table[["m0_vote", "m1_vote", "truth"]].astype(int).to_numpy().tolist() == [[0, 1, 0], [0, -1, 1], [2, 0, 2]]
    assert table["m1_takes_part"].tolist() == [True, False, True]
    assert "m0_takes_part" not in table
    assert table["judge_1_correct"].tolist() == [True, False, True]


def test_votes_are_equal_where_the_caller_says_so() -> None:
    calls = traced([("Cat", "cat ", "cat"), ("dog", "cat", "dog")])
    table = to_trace_table(calls, equal=lambda one, other: one.strip().lower() == other.strip().lower())
    assert table["ensemble_1_disagreement"].tolist() == [0, 1]


def test_the_truth_may_be_given_by_run(small: Any) -> None:
    told, _, calls = small
    runs = list(dict.fromkeys(call.run_id for call in calls.values()))
    by_run = to_trace_table(calls, ground_truth=dict(zip(runs, told["digit"].tolist(), strict=True)))
    assert by_run["label"].tolist() == told["digit"].tolist()
    by_name = to_trace_table(calls, ground_truth="digit")
    assert by_run["a_right"].tolist() == by_name["a_right"].tolist()


def test_who_takes_part_may_depend_on_anything_where_no_knob_set_it() -> None:
    rows = [(1, 2, 1), (1, None, 22), (2, 2, 2), (1, 1, 33)]
    graph = causal_graph(traced(rows), ground_truth="truth")
    assert set(graph.pred["m1_takes_part"]) == {"truth", "size"}
    assert graph.edges["size", "m1_takes_part"]["kind"] == "dataflow"
    assert set(graph.pred["size"]) == {"truth"}


def test_an_unlinked_judge_may_depend_on_every_ensemble() -> None:
    rows = [(1, 2, 1), (1, None, 2), (2, 2, 2), (1, 1, 3), (4, 5, 6)]
    graph = causal_graph(traced(rows, link=False), ground_truth="truth")
    kinds = {kind for _, _, kind in graph.in_edges("judge_1_correct", data="kind")}
    assert kinds == {"unrecorded"}


def test_the_number_of_a_case_is_no_variable(small: Any) -> None:
    graph = causal_graph(small[2], ground_truth="digit", cluster="noise")
    assert set(causal_graph(small[2], ground_truth="digit")) - set(graph) == {"noise"}


def test_constant_columns_are_no_nodes_but_count_in_formulas() -> None:
    calls = traced([(7, None, 7, 2, 7), (7, None, 7, 7, 7), (7, None, 7, 3, 7), (7, 1, 7, None, 7)])
    for ground_truth, measure in product(("truth", None), MEASURES):
        graph = check_graph(causal_graph(calls, ground_truth=ground_truth, measure=measure))
        assert not {"m0_vote", "m0_right", "m2_vote", "truth", "ensemble_1_votes"} & set(graph)
        table = to_trace_table(calls, ground_truth=ground_truth, measure=measure)
        assert "ensemble_1_disagreement" in assert_derived_columns_are_their_formulas(graph, table)


def test_names_that_no_formula_can_hold_are_changed() -> None:
    calls = traced([(7, 2, 7), (2, 7, 7), (7, 3, 7), (3, 7, 7)], m0="3-nn", m1="lambda")
    assert {"_3_nn_vote", "lambda__vote"} <= set(to_trace_table(calls))
    assert_derived_columns_are_their_formulas(causal_graph(calls), to_trace_table(calls))


def test_members_of_two_ensembles_with_one_name_are_told_apart() -> None:
    calls: dict[str, OperatorCall] = {}
    for votes in ((1, 2), (3, 3)):
        root = _called(calls, "run", "function", None)
        for stage, vote in zip(("ensemble_1", "ensemble_2"), votes, strict=True):
            panel = _called(calls, "panel", "ensemble", root, stage=stage)
            _called(calls, "knn", "member", panel, stage=stage, result=vote)
    table = to_trace_table(calls)
    assert table["ensemble_1_knn_vote"].tolist() == [1, 3]
    assert table["ensemble_2_knn_vote"].tolist() == [2, 3]


def test_edges_of_the_user_are_added_and_left_out(small: Any) -> None:
    graph = causal_graph(
        small[2], ground_truth="digit", required=[("noise", "judge_1_correct")], forbidden=[("a_right", "b_right")]
    )
    assert graph.edges["noise", "judge_1_correct"]["kind"] == "user"
    assert not graph.has_edge("a_right", "b_right")
    with pytest.raises(GraphError, match="'nose' is no variable of these runs; known are noise, "):
        causal_graph(small[2], required=[("nose", "a_vote")])


def test_what_cannot_be_a_row_is_refused() -> None:
    twice: dict[str, OperatorCall] = {}
    root = _called(twice, "run", "function", None)
    for _ in range(2):
        _called(twice, "panel", "ensemble", root, result=[1, 2])
    with pytest.raises(GraphError, match="called 'panel' more than once") as raised:
        to_trace_table(twice)
    assert raised.value.run_id == root.run_id
    with pytest.raises(CausalkitError, match="there are no calls"):
        to_trace_table({})
    calls = traced([(1, 2, 1)])
    with pytest.raises(CausalkitError, match="no measure 'unanimity'; choose one of non_unanimous"):
        to_trace_table(calls, measure="unanimity")
    with pytest.raises(GraphError, match="no run knows the truth by 'label'"):
        to_trace_table(calls, ground_truth="label")
    member = next(call for call in calls.values() if call.operator_id == "m0")
    member.metrics["size"], member.roles["size"] = 9, "input"
    with pytest.raises(GraphError, match="reported 'size' with two values, 1 and 9"):
        to_trace_table(calls)
    member.metrics, member.roles = {"m1_vote": 1}, {"m1_vote": "knob"}
    with pytest.raises(GraphError, match="two columns would be called 'm1_vote'"):
        to_trace_table(calls)


FITTER = SCMFitter(on_failure="return", random_seed=0, progress=False)
ASKED: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "more noise": ({"noise": 0.9}, {"noise": 0.9}),
    "less noise": ({"noise": 0.1}, {"noise": 0.1}),
    "without two": ({"a_takes_part": 0, "b_takes_part": 0}, {"out": (0, 1)}),
}


def truths(panel: Panel, measure: str, done: dict[str, Any]) -> dict[str, float]:
    """Disagreement and correct verdicts in a fresh recording in which it was really done."""
    told, votes = panel.draw(np.random.default_rng(99), 20_000, **done)
    cast = [[vote for vote in row if vote >= 0] for row in votes.tolist()]
    return {
        "ensemble_1_disagreement": float(np.mean([disagreement(row, measure) if row else 0 for row in cast])),
        "judge_1_correct": float(np.mean(np.array(verdicts(votes)) == told["digit"])),
    }


def test_an_scm_foretells_what_noise_and_drop_out_do(proof: bool) -> None:
    for hidden, measure in product((0.0, 1.0), MEASURES) if proof else [(1.0, "non_unanimous")]:
        panel = Panel(5, hidden)
        wanted = {name: truths(panel, measure, done) for name, (_, done) in ASKED.items()}
        covered = []
        for seed in range(8 if proof else 1):
            calls = panel.calls(*panel.draw(np.random.default_rng(seed), 3000 if proof else 1500))
            table = to_trace_table(calls, measure=measure, ground_truth="digit")
            # How much the spread of wrong votes scatters is modelled less well than its mean, which is asked for.
            scm = FITTER.fit(causal_graph(calls, measure=measure, ground_truth="digit"), table).trust()
            for name, (actions, _) in ASKED.items():
                told = scm.intervene(actions, num_samples=1000 if proof else 300, random_seed=seed).statistics
                for node, truth in wanted[name].items():
                    assert told.loc[node, "mean"] == pytest.approx(truth, abs=0.05 if proof else 0.1)
                    covered.append(told.loc[node, "low"] <= truth <= told.loc[node, "high"])
        # 95 % intervals; one recording is asked six things at once, which miss together.
        assert np.mean(covered) >= (0.9 if proof else 0.8)


def test_members_that_fail_together_disagree_less_than_independent_ones() -> None:
    panel = Panel(4, hidden=2.5)
    calls = panel.calls(*panel.draw(np.random.default_rng(0), 2000))
    table = to_trace_table(calls, ground_truth="digit")
    shared = causal_graph(calls, ground_truth="digit")
    apart = shared.copy()
    apart.remove_edges_from([edge for *edge, kind in shared.edges(data="kind") if kind == "shared"])
    truth = truths(panel, "non_unanimous", {})["ensemble_1_disagreement"]
    told = [FITTER.fit(graph, table).sample(8000, random_seed=0) for graph in (shared, apart)]
    together, independent = (sample["ensemble_1_disagreement"].mean() for sample in told)
    assert abs(together - truth) < 0.03
    assert independent > truth + 0.04


def test_disagreement_cannot_be_set(small: Any) -> None:
    graph = causal_graph(small[2], ground_truth="digit")
    scm = FITTER.fit(graph, to_trace_table(small[2], ground_truth="digit"))
    with pytest.raises(GraphError, match="'ensemble_1_disagreement' is made of its parts and cannot be set"):
        scm.intervene({"ensemble_1_disagreement": 0})
