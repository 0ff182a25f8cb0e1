from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from causalkit.errors import CausalkitError
from causalkit.operators.agreement import agreement, disagreement
from causalkit.operators.analysis import OperatorAnalysis
from causalkit.operators.capture import summary
from causalkit.operators.events import OperatorEvent
from tests.operators.pipelines import Pipeline

Votes = list[list[Any]]
many_votes = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=6)


def recorded(runs: Votes, truth: Any = 1, order: int = 1) -> list[OperatorEvent]:
    """Return events of runs in which a judge is linked to an ensemble and takes its most frequent vote."""
    pipeline = Pipeline()
    for votes in runs:
        with pipeline.call("pipeline", stage="pipe", inputs={"label": truth}) as result:
            panel = pipeline.begin("panel", "ensemble", "ensemble_1")
            for member, vote in list(enumerate(votes))[::order]:
                pipeline.begin(f"m{member}", "member")
                pipeline.end(vote)
            pipeline.end(votes)
            result.append(max(sorted(votes), key=votes.count))
            pipeline.judge([panel.call_id], result[0], correct=result[0] == truth)
    return pipeline.events


def asked(runs: Votes, **options: Any) -> OperatorAnalysis:
    return OperatorAnalysis(recorded(runs), **options)


RUNS: Votes = [[1, 1, 1], [1, 1, 2], [2, 2, 2], [1, 2, 0]]


@given(many_votes)
def test_disagreement_and_judges_are_what_the_votes_say(runs: Votes) -> None:
    analysis = asked(runs)
    for measure in ("non_unanimous", "pairwise", "entropy", "distinct"):
        found = analysis.ensemble_disagreement(measure)
        assert found.frame["disagreement"].tolist() == [disagreement(votes, measure) for votes in runs]
        assert found.value == pytest.approx(found.frame["disagreement"].mean())
        assert found.interval[0] <= found.value <= found.interval[1]
    judged = analysis.judge_accuracy_by_agreement()
    by_level: dict[str, list[bool]] = {}
    for votes in runs:
        most, n = agreement(votes)
        by_level.setdefault(f"{most}/{n}", []).append(max(sorted(votes), key=votes.count) == 1)
    assert {level: estimate.value for level, estimate in judged.items()} == {
        level: pytest.approx(np.mean(right)) for level, right in by_level.items()
    }
    assert {level: estimate.n for level, estimate in judged.items()} == {k: len(v) for k, v in by_level.items()}


@given(many_votes, st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(runs: Votes, rng: random.Random) -> None:
    events = recorded(runs)
    shuffled = rng.sample(events, len(events))
    for ask in (
        lambda analysis: analysis.ensemble_disagreement("entropy").to_frame(),
        lambda analysis: analysis.disagreement_matrix(),
        lambda analysis: analysis.judge_accuracy_by_agreement().to_frame(),
        lambda analysis: analysis.accuracy_distribution(),
        lambda analysis: analysis.latency(),
        lambda analysis: analysis.critical_path(),
        lambda analysis: analysis.to_pandas(),
    ):
        assert_frame_equal(ask(OperatorAnalysis(events)), ask(OperatorAnalysis(shuffled)))


@given(many_votes)
def test_the_order_of_members_changes_nothing(runs: Votes) -> None:
    forward, backward = OperatorAnalysis(recorded(runs)), OperatorAnalysis(recorded(runs, order=-1))
    columns = ["disagreement", "votes", "agreement"]
    one, other = (analysis.ensemble_disagreement().to_frame()[columns] for analysis in (forward, backward))
    assert_frame_equal(one, other)
    assert_frame_equal(forward.disagreement_matrix(), backward.disagreement_matrix())
    judged = (analysis.judge_accuracy_by_agreement().to_frame() for analysis in (forward, backward))
    assert_frame_equal(*judged)


def test_95_percent_intervals_hold_the_truth_also_where_questions_come_again(proof: bool) -> None:
    seeds, least = (2000, 0.935) if proof else (150, 0.90)
    held: dict[str, list[bool]] = {"disagreement": [], "3/3": [], "2/3": []}
    truth = true_values()
    for seed in range(seeds):
        analysis = OperatorAnalysis(questions(seed), cluster="question")
        found = analysis.ensemble_disagreement()
        held["disagreement"].append(found.interval[0] <= truth["disagreement"] <= found.interval[1])
        for level, estimate in analysis.judge_accuracy_by_agreement().items():
            held[level].append(estimate.interval[0] <= truth[level] <= estimate.interval[1])
    covered = {name: np.mean(each) for name, each in held.items()}
    assert min(covered.values()) >= least, covered


# How likely each of three members errs, and the judge where all votes agree and where they do not, by kind of question.
HARD = {0.05: (0.05, 0.2), 0.45: (0.3, 0.7)}


def true_values() -> dict[str, float]:
    split = {wrong: 1 - wrong**3 - (1 - wrong) ** 3 for wrong in HARD}
    truth = {"disagreement": sum(split.values()) / 2}
    for level, place in (("3/3", 0), ("2/3", 1)):
        weight = {wrong: split[wrong] if place else 1 - split[wrong] for wrong in HARD}
        truth[level] = sum(weight[wrong] * (1 - HARD[wrong][place]) for wrong in HARD) / sum(weight.values())
    return truth


def questions(seed: int) -> list[OperatorEvent]:
    """Return events of 60 questions, each asked four times."""
    rng, pipeline = np.random.default_rng(seed), Pipeline()
    for question in range(60):
        wrong = float(rng.choice(list(HARD)))
        for _ in range(4):
            with pipeline.call("pipeline", inputs={"question": question}):
                votes = [int(rng.random() < wrong) for _ in range(3)]
                panel = pipeline.begin("panel", "ensemble")
                pipeline.end(votes)
                errs = HARD[wrong][len(set(votes)) > 1]
                pipeline.judge([panel.call_id], correct=bool(rng.random() >= errs))
    return pipeline.events


def test_runs_of_one_question_are_one_cluster() -> None:
    alone, together = (
        OperatorAnalysis(questions(1), cluster=cluster).ensemble_disagreement() for cluster in (None, "question")
    )
    assert alone.value == together.value
    assert (alone.estimate.clusters, together.estimate.clusters) == (240, 60)
    assert together.interval[1] - together.interval[0] > alone.interval[1] - alone.interval[0]


def test_a_cluster_that_no_call_reports_is_refused_with_those_there_are() -> None:
    with pytest.raises(CausalkitError, match="no metric, knob or input is called 'case'; reported are correct, label"):
        asked(RUNS, cluster="case").ensemble_disagreement()


def test_disagreement_tells_each_call_and_each_stage() -> None:
    pipeline = Pipeline()
    with pipeline.call("pipeline"):
        pipeline.ensemble(["a", "b", "a"], "ensemble_1")
        pipeline.ensemble(["a", "a"], "ensemble_2")
    found = OperatorAnalysis(pipeline.events).ensemble_disagreement("pairwise")
    assert found.to_frame()[["operator_id", "stage", "votes", "agreement"]].to_numpy().tolist() == [
        ["ensemble_1", "ensemble_1", 3, "2/3"],
        ["ensemble_2", "ensemble_2", 2, "2/2"],
    ]
    assert found.by_stage()["value"].to_dict() == {"ensemble_1": pytest.approx(2 / 3), "ensemble_2": 0}
    assert found.sentence.startswith("The members disagree by 0.33 (pairwise; 0 is unanimous, 1 all different)")
    assert repr(found) == f"<EnsembleDisagreement: {found.sentence}>"
    assert "agreement" in found._repr_html_()
    assert found.caveats == []


def test_equality_of_votes_can_be_chosen() -> None:
    analysis = asked([["Yes", "yes"], ["no", "no"]])
    alike = analysis.ensemble_disagreement(equal=lambda a, b: a.lower() == b.lower())
    assert (analysis.ensemble_disagreement().value, alike.value) == (0.5, 0)


def test_what_was_left_out_of_disagreement_is_said() -> None:
    pipeline = Pipeline()
    large = {"causalkit.type": "Answer", "digest": None}
    for votes in ([1], [large, large], [1, large, 2]):
        pipeline.ensemble(votes)
    pipeline.begin("panel", "ensemble")
    for failure in ({}, {"type": "KeyError", "message": "x"}):
        pipeline.begin("m", "member")
        pipeline.end(1, **failure)
    pipeline.end(None)
    found = OperatorAnalysis(pipeline.events).ensemble_disagreement()
    assert (found.value, found.frame["votes"].tolist()) == (pytest.approx(1 / 3), [1, 2, 1])
    assert [caveat.split(":")[0].split(";")[0] for caveat in found.caveats] == [
        "2 ensemble calls have a single vote, which counts as no disagreement",
        "1 ensemble calls without a known vote are left out",
        "1 calls of members failed",
        "1 votes are not known and left out",
        "ensembles of 1 to 2 votes are taken together, and more votes are less often unanimous",
    ]


def test_where_no_vote_is_known_and_where_no_ensemble_is_errors_say_so() -> None:
    pipeline = Pipeline()
    pipeline.ensemble([summary(object())])
    with pytest.raises(CausalkitError, match=r'no vote of the 1 ensemble calls is known.*capture="copy"'):
        OperatorAnalysis(pipeline.events).ensemble_disagreement()
    for ask in ("ensemble_disagreement", "disagreement_matrix"):
        with pytest.raises(CausalkitError, match="none of the 4 calls asked about is one of ensemble"):
            getattr(asked(RUNS).stage("judge_1"), ask)()
    with pytest.raises(CausalkitError, match="no measure of disagreement is called 'gini'; choose one of"):
        asked(RUNS).ensemble_disagreement("gini")


def test_the_matrix_has_the_share_of_calls_in_which_two_members_differ() -> None:
    pipeline = Pipeline()
    pipeline.ensemble([1, 1, 2])
    pipeline.ensemble([1, 2])
    pipeline.ensemble([])
    with pipeline.call("loner", "ensemble"), pipeline.call("m9", "member") as result:
        result.append(3)
    matrix = OperatorAnalysis(pipeline.events).disagreement_matrix()
    assert list(matrix) == list(matrix.index) == ["m0", "m1", "m2", "m9"]
    assert np.diag(matrix).tolist() == [0, 0, 0, 0]
    assert (matrix.loc["m0", "m1"], matrix.loc["m2", "m0"]) == (0.5, 1)
    assert math.isnan(matrix.loc["m0", "m9"])
    assert matrix.attrs["n"]["m0"] == {"m0": 2, "m1": 2, "m2": 1, "m9": 0}
    assert_frame_equal(matrix, matrix.T)


def test_items_of_results_are_other_members_in_another_ensemble() -> None:
    pipeline = Pipeline()
    for name in ("left", "right"):
        with pipeline.call(name, "ensemble") as result:
            result.append([1, 2])
    analysis = OperatorAnalysis(pipeline.events)
    assert list(analysis.disagreement_matrix()) == ["left: 0", "left: 1", "right: 0", "right: 1"]
    assert list(analysis.where(lambda call: call.operator_id == "left").disagreement_matrix()) == ["0", "1"]


def test_accuracy_by_type_and_stage_comes_from_what_calls_report() -> None:
    accuracy = asked(RUNS).accuracy_distribution()
    assert accuracy.index.names == ["operator_type", "stage"]
    row = accuracy.loc[("judge", "judge_1")]
    assert (row["mean"], row["n"], row["std"]) == (0.5, 4, pytest.approx(np.std([1, 1, 0, 0], ddof=1)))
    assert row["low"] < 0.5 < row["high"]


@pytest.mark.parametrize("by_run", [False, True])
def test_accuracy_comes_from_a_truth_that_was_reported_around_or_is_known(by_run: bool) -> None:
    analysis = asked(RUNS)
    truth: Any = {call.run_id: 1 for call in analysis.calls} if by_run else "label"
    accuracy = analysis.accuracy_distribution(truth)["mean"]
    members = [vote == 1 for votes in RUNS for vote in votes]
    # The panel returns all votes, which is no answer.
    assert accuracy.to_dict() == {
        ("function", "pipe"): 0.5, ("judge", "judge_1"): 0.5, ("member", "ensemble_1"): np.mean(members),
    }  # fmt: skip


def test_a_truth_that_is_nowhere_and_a_metric_that_is_no_share_are_refused() -> None:
    with pytest.raises(CausalkitError, match="is called 'lable'; reported are correct, label"):
        asked(RUNS).accuracy_distribution("lable")
    with pytest.raises(CausalkitError, match="the ground truth is of none of the runs"):
        asked(RUNS).accuracy_distribution({"other": 1})
    with pytest.raises(CausalkitError, match="nobody says what is right of 12 calls"):
        asked(RUNS).operator_type("member", "ensemble").stage("ensemble_1").where(
            lambda call: call.operator_type == "member"
        ).accuracy_distribution()
    for value in (97, "yes", [1]):
        pipeline = Pipeline()
        pipeline.judge(correct=value)
        with pytest.raises(
            CausalkitError, match=r"the metric 'correct' of a call of 'judge' is .*report True or False"
        ):
            OperatorAnalysis(pipeline.events).accuracy_distribution()


def test_judges_are_told_apart_by_agreement_the_best_first() -> None:
    judged = asked([*RUNS, [1, 1], [1, 1, 1]]).judge_accuracy_by_agreement()
    assert list(judged) == ["3/3", "2/2", "2/3", "1/3"]
    assert (judged["3/3"].value, judged["3/3"].n) == (pytest.approx(2 / 3), 3)
    assert list(judged.to_frame()) == ["agreement", "accuracy", "n", "low", "high"]
    assert judged.sentence.startswith("Judges are right in 66.7 % where 3/3 votes agree")
    assert (judged.unlinked, judged.unjudged, judged.caveats) == (0, 0, [])


def test_judges_that_nothing_links_or_nobody_judges_are_counted_and_said() -> None:
    pipeline = Pipeline()
    panel = pipeline.ensemble([1, 1])
    silent = pipeline.ensemble([summary(object())])
    for links, correct in (([], True), ([], None), ([panel.call_id], None), ([silent.call_id], True)):
        pipeline.judge(links, correct=correct)
    judged = OperatorAnalysis(pipeline.events).judge_accuracy_by_agreement()
    assert (dict(judged), judged.unlinked, judged.unjudged) == ({}, 2, 1)
    assert [caveat.split(":")[0] for caveat in judged.caveats] == [
        "2 judge calls are left out", "1 judge calls are left out", "1 judge calls are left out",
    ]  # fmt: skip
    assert judged.sentence == "Of no judge it is known both what it worked on and whether it was right."
    assert judged.to_frame().empty
    with pytest.raises(CausalkitError, match="is one of judge"):
        OperatorAnalysis([]).judge_accuracy_by_agreement()


def test_votes_of_all_ensembles_of_a_judge_are_pooled() -> None:
    pipeline = Pipeline()
    links = [
        pipeline.ensemble(votes, stage).call_id for votes, stage in (([1, 1, 2], "ensemble_1"), ([1, 3], "ensemble_2"))
    ]
    pipeline.judge(links, result=1, correct=False, label=1)
    analysis = OperatorAnalysis(pipeline.events)
    assert analysis.judge_accuracy_by_agreement()["3/5"].value == 0
    assert analysis.judge_accuracy_by_agreement(ground_truth="label")["3/5"].value == 1


def test_a_judge_keeps_its_ensemble_where_only_judges_are_asked_about() -> None:
    analysis = asked(RUNS)
    assert dict(analysis.stage("judge_1").judge_accuracy_by_agreement()) == dict(analysis.judge_accuracy_by_agreement())


def test_own_time_is_without_children_also_where_these_ran_at_the_same_time() -> None:
    latency = OperatorAnalysis(parallel()).latency()
    assert list(latency)[:5] == ["n", "mean_ms", "median_ms", "p95_ms", "sum_ms"]
    assert latency.loc[("panel", "ensemble_1"), ["mean_ms", "self_mean_ms"]].tolist() == [10, 2]
    assert latency.loc[("m0", "ensemble_1"), ["n", "sum_ms", "self_sum_ms"]].tolist() == [1, 6, 6]
    assert "open" not in latency.index.get_level_values("operator_id")


def test_the_critical_path_adds_up_to_the_run() -> None:
    path = OperatorAnalysis(parallel()).critical_path("c000000")
    assert path.set_index("operator_id")["ms"].to_dict() == {"m1": 6, "panel": 2, "m0": 2}
    assert (path["ms"].sum(), path["share"].sum()) == (10, pytest.approx(1))


def test_without_a_run_the_critical_path_is_the_mean_over_those_asked_about() -> None:
    analysis = asked([[1], [1, 2, 3]])
    runs = list(dict.fromkeys(call.run_id for call in analysis.calls))
    totals = [analysis.critical_path(run)["ms"].sum() for run in runs]
    mean = analysis.critical_path()
    assert mean["ms"].sum() == pytest.approx(np.mean(totals))
    assert mean.set_index("operator_id")["ms"]["m2"] == 0.5
    assert_frame_equal(analysis.run(runs[0]).critical_path(), analysis.critical_path(runs[0]))


def parallel() -> list[OperatorEvent]:
    """Return events of a panel from 0 to 10 ms, of its members from 1 to 7 and from 3 to 9, and of an open call."""
    told = {"stage": "ensemble_1", "parent_call_id": "c000000"}
    pipeline = Pipeline()
    context = pipeline.begin("panel", "ensemble", "ensemble_1")
    pipeline.now_ms = 10
    pipeline.end([1, 2])
    start = pipeline.events[0].timestamp
    events = [*pipeline.events, OperatorEvent("open", "member", "call", "x", start, context=context, **told)]
    for member, begun in enumerate((1, 3)):
        at = start + pd.Timedelta(milliseconds=begun + 6).to_pytimedelta()
        call = f"m{member}", "member", "result", f"y{member}", at
        events.append(OperatorEvent(*call, duration_ms=6.0, context=context, **told))  # type: ignore[arg-type]
    return events


def test_errors_are_first_where_no_call_within_failed_alike() -> None:
    pipeline = Pipeline()
    for name in ("outer", "middle", "inner"):
        pipeline.begin(name)
    pipeline.end(type="KeyError", message="'x'")
    pipeline.end(type="KeyError", message="'x'")
    pipeline.end(type="RuntimeError", message="lost")
    errors = OperatorAnalysis(pipeline.events).errors()
    assert list(errors) == ["run_id", "call_id", "operator_id", "stage", "type", "message", "timestamp", "first"]
    assert dict(zip(errors["operator_id"], errors["first"], strict=True)) == {
        "outer": True, "middle": False, "inner": True,
    }  # fmt: skip
    assert asked(RUNS).errors().empty


def test_calls_become_rows_and_their_metrics_columns() -> None:
    pipeline = Pipeline()
    with pipeline.call("a"):
        pipeline.metric("stage", "odd")
    frame = OperatorAnalysis([*recorded(RUNS), *pipeline.events]).to_pandas()
    assert frame["correct"].notna().sum() == 4
    assert frame["metric_stage"].notna().sum() == 1
    assert frame["self_ms"].notna().all()
    assert list(OperatorAnalysis([]).to_pandas())[:3] == ["operator_id", "operator_type", "stage"]


def test_filters_give_a_new_analysis_each_and_go_together() -> None:
    events = iter(recorded(RUNS))
    analysis = OperatorAnalysis(events)
    members = analysis.stage("ensemble_1").operator_type("member").where(lambda call: call.result == 1)
    assert (len(analysis), len(members)) == (24, 6)
    assert repr(analysis) == "<OperatorAnalysis: 24 calls in 4 runs>"
    assert repr(members) == "<OperatorAnalysis: 6 of 24 calls in 3 runs>"
    assert members._repr_html_() == "<p>&lt;OperatorAnalysis: 6 of 24 calls in 3 runs&gt;</p>"
    assert {call.run_id for call in analysis.run(analysis.calls[0].run_id).calls} == {analysis.calls[0].run_id}


@pytest.mark.parametrize(
    ("start", "end", "n"),
    [
        (None, None, 24), ("2026-01-02", "2026-01-02", 24), ("2026-01-03", None, 0), (None, "2026-01-01", 0),
        ("2026-01-02T00:00:00.001", None, 23), (None, datetime(2026, 1, 2), 1),
        ("2026-01-02T01:00+01:00", datetime(2026, 1, 2, tzinfo=UTC), 1), (None, datetime(2026, 1, 2).date(), 24),
    ],
)  # fmt: skip
def test_a_call_is_between_two_times_if_it_began_there(start: Any, end: Any, n: int) -> None:
    assert len(asked(RUNS).between(start, end)) == n


def test_wrong_filters_are_refused_with_what_there_is() -> None:
    analysis = asked(RUNS)
    with pytest.raises(CausalkitError, match="no stage 'judge_2'; there is 'ensemble_1', 'judge_1', 'pipe'") as caught:
        analysis.stage("judge_1", "judge_2")
    assert caught.value.stage == "judge_2"
    with pytest.raises(CausalkitError, match="no operator_type 'Judge'; there is"):
        analysis.operator_type("Judge")
    with pytest.raises(CausalkitError, match="no run_id 'x'"):
        analysis.critical_path("x")
    with pytest.raises(CausalkitError, match="start='yesterday' is no date"):
        analysis.between("yesterday")
    with pytest.raises(CausalkitError, match="is after"):
        analysis.between("2026-01-03", "2026-01-02")
    with pytest.raises(CausalkitError, match="a function of an OperatorCall, not a str"):
        analysis.where("stage")  # type: ignore[arg-type]
    with pytest.raises(CausalkitError, match="a int holds no events"):
        OperatorAnalysis(3)  # type: ignore[arg-type]
    with pytest.raises(CausalkitError, match="a int is no event"):
        len(OperatorAnalysis([3]))  # type: ignore[list-item]
    with pytest.raises(CausalkitError, match=r"give load_events\('events.jsonl'\)"):
        OperatorAnalysis("events.jsonl")  # type: ignore[arg-type]
    with pytest.raises(CausalkitError, match="equal is a int; give a function of two votes"):
        analysis.ensemble_disagreement(equal=3)  # type: ignore[arg-type]
