from __future__ import annotations

import gzip
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sklearn
from sklearn.metrics import accuracy_score

from causalkit.__main__ import main
from causalkit.errors import CausalkitError, RecordingNotFoundError
from causalkit.examples import record_digits
from causalkit.examples.digits_members import Member
from causalkit.examples.digits_panel import ABSENT, LEAST_MEMBERS, NOISE_LEVELS, Case, DigitsPanel
from causalkit.examples.recordings import data_folder, load_digits_panel
from causalkit.operators.agreement import MEASURES
from causalkit.operators.analysis import OperatorAnalysis
from causalkit.operators.calls import calls_of
from causalkit.operators.events import OperatorEvent
from causalkit.operators.listening import collect_events
from causalkit.operators.votes import votes_of

FOLDER = data_folder() / "digits_panel"
STAGES = ("ensemble_1", "ensemble_2")


@pytest.fixture(scope="module")
def panel() -> DigitsPanel:
    return DigitsPanel.trained()


@pytest.fixture(scope="module")
def cases(panel: DigitsPanel) -> list[Case]:
    return panel.cases(250, random_seed=1)


@pytest.fixture(scope="module")
def live(panel: DigitsPanel, cases: list[Case]) -> Sequence[OperatorEvent]:
    with collect_events() as events:
        for case in cases:
            panel.decide(case)
    return events


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    return msgspec.json.decode((FOLDER / "recording.json").read_bytes())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def recorded() -> OperatorAnalysis:
    return OperatorAnalysis(load_digits_panel())


class Direct:
    """What NumPy and scikit-learn alone make of the members' predictions: no event, no operator."""

    def __init__(self, panel: DigitsPanel, cases: Sequence[Case]) -> None:
        predictions = panel.predictions(cases)
        self.names = list(predictions)
        self.votes = np.stack(list(predictions.values()), axis=1)
        self.present = np.array([[name in case.present for name in self.names] for case in cases])
        self.labels = np.array([case.label for case in cases])
        self.weights = np.array([panel.members[name].weight for name in self.names])
        # The votes of both ensembles follow one another, as their members do.
        seven = len(panel.ensembles["ensemble_1"])
        parts = {"ensemble_1": slice(seven), "ensemble_2": slice(seven, None), "both": slice(None)}
        self.sizes = {
            part: list(map(sizes_alike, self.votes[:, here], self.present[:, here])) for part, here in parts.items()
        }

    def accuracy(self) -> dict[str, float]:
        return {
            name: accuracy_score(self.labels[here], self.votes[here, place])
            for place, (name, here) in enumerate(zip(self.names, self.present.T, strict=True))
        }

    def disagreement(self, stage: str, measure: str) -> list[float]:
        return [FORMULAS[measure](sizes, sizes.sum()) for sizes in self.sizes[stage]]

    def judge_accuracy(self) -> dict[str, tuple[float, int]]:
        scores = np.zeros((len(self.votes), 10))
        for place, weight in enumerate(self.weights):
            scores[np.arange(len(scores)), self.votes[:, place]] += weight * self.present[:, place]
        right = scores.argmax(axis=1) == self.labels
        levels = np.array([f"{sizes.max()}/{sizes.sum()}" for sizes in self.sizes["both"]])
        return {level: (float(right[levels == level].mean()), int((levels == level).sum())) for level in {*levels}}


def sizes_alike(votes: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return how many voted alike, in the order in which the digits appear."""
    _, first, counts = np.unique(votes[present], return_index=True, return_counts=True)
    return counts[np.argsort(first)]


FORMULAS = {
    "non_unanimous": lambda sizes, n: float(len(sizes) > 1),
    "pairwise": lambda sizes, n: float(1 - (sizes * (sizes - 1)).sum() / (n * (n - 1))) if n > 1 else 0.0,
    "entropy": lambda sizes, n: 1 - sum(k * math.log(k) for k in sizes) / (n * math.log(n)) if len(sizes) > 1 else 0.0,
    "distinct": lambda sizes, n: float((len(sizes) - 1) / (n - 1)) if n > 1 else 0.0,
}


def assert_the_same(told: OperatorAnalysis, direct: Direct) -> None:
    members = told.operator_type("member")
    for name, accuracy in direct.accuracy().items():
        asked = members.where(lambda call, name=name: call.operator_id == name)
        assert asked.accuracy_distribution(ground_truth="label")["mean"].tolist() == [accuracy], name
    for stage, measure in product(STAGES, MEASURES):
        found, expected = told.stage(stage).ensemble_disagreement(measure), direct.disagreement(stage, measure)
        assert found.to_frame()["disagreement"].tolist() == expected, (stage, measure)
        assert found.value == np.mean(expected)
    judged = told.judge_accuracy_by_agreement()
    assert {level: (share.value, share.n) for level, share in judged.items()} == direct.judge_accuracy()
    assert judged.unlinked == judged.unjudged == 0


def test_what_events_of_a_live_run_say_is_exactly_what_the_predictions_say(
    panel: DigitsPanel, cases: list[Case], live: Sequence[OperatorEvent]
) -> None:
    assert_the_same(OperatorAnalysis(live), Direct(panel, cases))


def test_what_the_recording_says_is_exactly_what_predictions_made_anew_from_its_seed_say(
    panel: DigitsPanel, recorded: OperatorAnalysis, about: dict[str, Any]
) -> None:
    here = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    there = {name: about["packages"][name] for name in here}
    if here != there:
        pytest.skip(f"recorded with {there}, here are {here}: members may learn otherwise")
    assert_the_same(recorded, Direct(panel, panel.cases(about["decisions"], random_seed=about["random_seed"])))


def test_seven_different_classifiers_and_three_others_take_part(panel: DigitsPanel) -> None:
    assert {stage: len(members) for stage, members in panel.ensembles.items()} == {"ensemble_1": 7, "ensemble_2": 3}
    assert len(panel.members) == 10
    assert len({str(member.classifier) for member in panel.members.values()}) == 10


def test_the_images_judged_are_half_of_each_digit(panel: DigitsPanel) -> None:
    _, labels = sklearn.datasets.load_digits(return_X_y=True)
    halves = np.bincount(labels[panel.judged]) / np.bincount(labels)
    assert len(np.unique(panel.judged)) == len(panel.judged) == 899
    assert halves == pytest.approx(0.5, abs=0.01)


def test_a_decision_is_one_tree_of_calls_and_the_judge_is_linked_to_both_ensembles(
    panel: DigitsPanel, cases: list[Case], live: Sequence[OperatorEvent]
) -> None:
    calls = calls_of(live)
    roots = [call for call in calls.values() if call.parent is None]
    assert [root.operator_id for root in roots] == ["decide"] * len(cases)
    assert all(call.ended == "result" for call in calls.values())
    for root, case in zip(roots, cases, strict=True):
        first, second, judge = root.children
        assert (first.stage, second.stage, judge.stage) == (*STAGES, "judge_1")
        assert judge.links == [first.call_id, second.call_id]
        asked = [member.operator_id for ensemble in (first, second) for member in ensemble.children]
        assert sorted(asked) == sorted(case.present)
        assert {**votes_of(first), **votes_of(second)} == {**first.result, **second.result}


def test_the_root_says_what_was_set_at_random_what_was_there_before_and_what_the_members_see(
    panel: DigitsPanel, live: Sequence[OperatorEvent]
) -> None:
    root = next(iter(calls_of(live).values()))
    told = {role: {name for name in root.metrics if root.roles[name] == role} for role in {*root.roles.values()}}
    assert told == {
        "knob": {"noise", *(f"{name}_takes_part" for name in panel.members)},
        "covariate": {"image", "label"},
        "input": {"looks_like", "looks_margin", "leans_to", "leans_margin", "ink"},
    }


def test_the_same_seed_gives_the_same_votes_and_fewer_decisions_are_the_first_of_more(panel: DigitsPanel) -> None:
    assert panel.run(12, random_seed=3) == panel.run(20, random_seed=3)[:12]
    assert [case.image for case in panel.cases(12)] != [case.image for case in panel.cases(12, random_seed=1)]


def test_the_label_does_not_influence_the_verdict(panel: DigitsPanel, cases: list[Case]) -> None:
    for case in cases[:10]:
        assert panel.decide(case) == panel.decide(replace(case, label=(case.label + 1) % 10))


def test_of_digits_with_equal_weight_the_judge_takes_the_smallest(panel: DigitsPanel) -> None:
    equal = {stage: [Member(name, None, 1.0)] for stage, name in zip(STAGES, "ab", strict=True)}
    assert replace(panel, ensembles=equal).judge({"a": 7}, {"b": 3}, label=7) == 3


def test_many_threads_may_ask_one_panel(panel: DigitsPanel, cases: list[Case]) -> None:
    alone = [panel.decide(case) for case in cases[:20]]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(panel.decide, cases[:20])) == alone


@pytest.mark.parametrize("number", [0, -1])
def test_no_decisions_are_an_error(panel: DigitsPanel, number: int) -> None:
    with pytest.raises(CausalkitError, match=f"num_decisions is {number}; ask for at least one"):
        panel.cases(number)


@pytest.fixture
def anew(panel: DigitsPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DigitsPanel, "trained", lambda random_seed: panel)


@pytest.mark.usefixtures("anew")
def test_a_recording_is_made_by_a_command(
    panel: DigitsPanel, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALKIT_DATA", str(tmp_path))
    folder = tmp_path / "digits_panel"
    assert main(["record", "digits_panel", "--runs", "5", "--seed", "2", "--quiet"]) == 0
    verdicts, cases = panel.run(5, random_seed=2), panel.cases(5, random_seed=2)
    wrong = sum(verdict != case.label for verdict, case in zip(verdicts, cases, strict=True))
    assert capsys.readouterr().out == f"recorded 5 decisions ({wrong} wrong verdicts) into {folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["events.jsonl.gz", "recording.json"]
    calls = calls_of(load_digits_panel())
    assert [call.result for call in calls.values() if call.parent is None] == verdicts


@pytest.mark.usefixtures("anew")
def test_a_recording_that_breaks_off_leaves_the_old_one_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "events.jsonl.gz").write_text("old")
    monkeypatch.setattr(record_digits, "save_events", interrupt)
    with pytest.raises(KeyboardInterrupt):
        record_digits.record_digits_panel(tmp_path, num_decisions=1, progress=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_missing_recording_is_an_error_that_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALKIT_DATA", str(tmp_path))
    with pytest.raises(RecordingNotFoundError, match="python -m causalkit record digits_panel --output"):
        load_digits_panel()


def test_the_recording_is_whole_and_large_enough(recorded: OperatorAnalysis, about: dict[str, Any]) -> None:
    judges = recorded.operator_type("judge").calls
    assert len(recorded.operator_type("pipeline")) == len(judges) == about["decisions"] >= 3000
    assert sum(not judge.metrics["correct"] for judge in judges) == about["wrong_verdicts"]
    assert all(call.ended == "result" for call in recorded.calls)


def test_the_knobs_of_the_recording_were_turned_independently(recorded: OperatorAnalysis) -> None:
    roots = recorded.operator_type("pipeline").calls
    knobs = np.array([[root.metrics[name] for name, role in root.roles.items() if role == "knob"] for root in roots])
    assert tuple(np.unique(knobs[:, 0])) == NOISE_LEVELS
    absent = [1 - knobs[:, 1:8].mean(), 1 - knobs[:, 8:].mean()]
    assert absent == pytest.approx([*ABSENT.values()], abs=0.02)
    assert [knobs[:, 1:8].sum(axis=1).min(), knobs[:, 8:].sum(axis=1).min()] == [*LEAST_MEMBERS.values()]
    correlation = np.corrcoef(knobs.T) - np.eye(knobs.shape[1])
    assert np.abs(correlation).max() < 0.06


def test_noise_and_drop_out_show_in_the_recording(recorded: OperatorAnalysis) -> None:
    judges = recorded.operator_type("judge")

    def wrong(keep: Callable[[dict[str, Any]], object]) -> float:
        chosen = judges.where(lambda judge: keep(judge.parent.metrics))
        return 1 - float(np.mean([judge.metrics["correct"] for judge in chosen.calls]))

    by_noise = [wrong(lambda told, level=level: told["noise"] == level) for level in NOISE_LEVELS]
    assert by_noise == sorted(by_noise)
    assert by_noise[0] < 0.05 < 0.35 < by_noise[-1]
    best = [f"{name}_takes_part" for name in ("nearest_neighbours", "support_vectors", "logistic_regression")]
    assert wrong(lambda told: not any(told[name] for name in best)) > 0.04 + wrong(
        lambda told: all(told[name] for name in best)
    )
    split = recorded.stage("ensemble_1").ensemble_disagreement().to_frame()
    with_tree = {call.run_id for call in recorded.calls if call.operator_id == "decision_tree"}
    by_tree = split["disagreement"].groupby(split["run_id"].isin(with_tree)).mean()
    assert by_tree[True] - by_tree[False] > 0.15


@pytest.mark.parametrize("name", ["events.jsonl.gz", "recording.json"])
def test_no_path_of_the_recording_machine_is_in_the_files(name: str) -> None:
    content = (FOLDER / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    assert len(content) < 6e6
    assert not re.search(r"/(home|root|Users|work|tmp|usr|var|opt)/|[A-Z]:\\\\|site-packages", text)
