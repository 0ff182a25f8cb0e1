from __future__ import annotations

import gzip
import re
import sys
from collections import Counter
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from causalkit.__main__ import main
from causalkit.errors import CausalkitError, RecordingNotFoundError
from causalkit.examples import record, record_releases
from causalkit.examples.corpus import read_corpus
from causalkit.examples.recordings import data_folder, load_release
from causalkit.examples.release_steps import KINDS, BrokenStepError, Kind, failing
from causalkit.examples.releases import INPUT_MIX, ORDER, Release, asked_questions, draw_releases, tilted
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import DEFAULT_KNOBS, KNOBS, STEPS, State, Step, warm
from causalkit.workflows.traces import Traces, load_traces

NAMES = [step.__name__ for step in STEPS]
FOLDER = data_folder() / "releases"
QUESTIONS = ("shortest path between two nodes", "is a graph connected", "draw a random tree")


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    index = SearchIndex.build(read_corpus(["networkx"])[:250])
    warm(index, QUESTIONS)
    return index


def asked(question: str, **knobs: Any) -> dict[str, Any]:
    return {"question": question, "mode": "default", **DEFAULT_KNOBS, **knobs}


def operations(step: Step, state: State, index: SearchIndex) -> tuple[dict[str, Any], int]:
    """Return what a step makes, and how many functions it calls on the way."""
    counted = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        made = dict(step(state, index) or {})
    finally:
        sys.setprofile(None)
    return made, counted


@pytest.fixture(scope="module")
def given(index: SearchIndex) -> dict[str, list[tuple[dict[str, Any], dict[str, Any], int]]]:
    """Return for each step what it is given, what it makes of it, and in how many operations."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any], int]]] = {name: [] for name in NAMES}
    for question, cache in product(QUESTIONS, (False, True)):
        state = asked(question, cache=cache)
        for step in STEPS:
            made, counted = operations(step, dict(state), index)
            found[step.__name__].append((dict(state), made, counted))
            state |= made
    return found


def test_the_same_seed_draws_the_same_releases_and_another_seed_others() -> None:
    assert draw_releases(3) == draw_releases(3)
    assert draw_releases(3) != draw_releases(4)


@pytest.mark.parametrize("seed", range(12))
def test_a_dozen_holds_every_kind_and_tells_the_truth(seed: int) -> None:
    releases = draw_releases(seed)
    assert [release.name for release in releases] == [f"release_{number:02}" for number in range(1, 13)]
    assert sorted(release.kind for release in releases) == sorted(ORDER)
    by_kind = {kind: [release for release in releases if release.kind == kind] for kind in ORDER}
    slow = [release.size_sd[0] for release in by_kind["slow-down"]]
    assert {release.truth[0] for release in by_kind["slow-down"]} == set(NAMES)
    assert min(slow) < 1
    assert max(slow) > 2.5
    assert all(0.5 <= size <= 4 for size in slow)
    assert all(size < 0 for size in by_kind["speed-up"][0].size_sd)
    assert len(set(by_kind["double"][0].truth)) == 2
    assert sum(by_kind["hidden"][0].size_sd) == pytest.approx(0)
    assert by_kind["failing"][0].truth[0] in NAMES
    assert by_kind["failing"][0].size_sd == ()
    assert by_kind["input mix"][0].truth == (INPUT_MIX,)
    assert by_kind["no change"][0].truth == ()


def test_any_number_of_releases_can_be_drawn() -> None:
    assert draw_releases(0, 0) == []
    assert Counter(release.kind for release in draw_releases(0, 24)) == {
        kind: 2 * count for kind, count in Counter(ORDER).items()
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.make.__name__)
def test_a_changed_step_makes_what_it_made_with_more_or_less_work(kind: Kind, index: SearchIndex, given: Any) -> None:
    usual = sum(counted for _, _, counted in given[kind.step])
    counts = []
    for amount in (0.3, 1.0):
        done = [operations(kind.make(amount), dict(state), index) for state, _, _ in given[kind.step]]
        for (made, _), (state, same, _) in zip(done, given[kind.step], strict=True):
            # What is remembered is what `cache` remembers: the best of more candidates.
            otherwise = {**state, "cache": not state["cache"]} if "memory" in kind.make.__name__ else state
            assert made == same or made == dict(STEPS[NAMES.index(kind.step)](otherwise, index) or {})
        counts.append(sum(counted for _, counted in done))
    if kind.most < 0:
        assert counts[1] <= counts[0] <= usual
        assert counts[1] < 0.8 * usual
    else:
        assert usual <= counts[0] <= counts[1]
        assert 1.2 * usual < counts[1]


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_a_failing_step_fails_for_its_words_and_does_the_same_for_others(step: Step, index: SearchIndex) -> None:
    broken = failing(step, ("node", "tree"))
    assert broken.__name__ == step.__name__
    failed = 0
    for question in QUESTIONS:
        state: State = asked(question)
        for before in STEPS[: NAMES.index(step.__name__)]:
            state.update(before(state, index) or {})
        if re.search("node|tree", question):
            with pytest.raises(BrokenStepError, match=f"{step.__name__} cannot deal with (node|tree)") as caught:
                broken(state, index)
            assert caught.value.step == step.__name__
            failed += 1
        else:
            assert broken(state, index) == step(state, index)
    assert failed == 2


def test_a_release_changes_the_steps_it_names_and_no_others() -> None:
    for release in draw_releases(1):
        steps = release.steps(dict.fromkeys(release.changes, 0.5))
        changed = [made.__name__ for made, step in zip(steps, STEPS, strict=True) if made is not step]
        assert set(changed) == set(release.truth) - {INPUT_MIX}
        assert [step.__name__ for step in steps] == NAMES


def test_only_a_changed_input_mix_asks_otherwise() -> None:
    questions = asked_questions()
    for release in draw_releases(2):
        if release.kind != "input mix":
            assert release.knobs() == KNOBS
            assert release.questions(questions) == tuple(questions)
            continue
        for change in release.changes:
            usual = [len(question) for question in questions] if change.at == "question" else KNOBS[change.at]
            drawn = release.questions(questions) if change.at == "question" else release.knobs()[change.at]
            now = [len(value) for value in drawn] if change.at == "question" else drawn
            assert (np.mean(now) - np.mean(usual)) / np.std(usual) == pytest.approx(change.size, abs=0.05)


@pytest.mark.parametrize("shift", [-0.9, -0.3, 0.0, 0.5, 1.1])
def test_tilted_values_are_the_same_values_with_another_mean(shift: float) -> None:
    values = tuple(range(10))
    drawn = tilted(values, shift)
    assert (np.mean(drawn) - np.mean(values)) / np.std(values) == pytest.approx(shift, abs=0.03)
    assert set(drawn) <= set(values)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recording") / "releases"
    documents = read_corpus(["networkx"])[:250]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "read_corpus", lambda: documents)
        # How large the changes are is not looked at here.
        patch.setattr(record, "warm", lambda *_: None)
        patch.setattr(record_releases, "NUM_PROBES", 25)
        patch.setattr(record_releases, "NUM_COMPARED", 3)
        patch.setattr(record_releases, "ROUNDS", 1)
        return folder, record_releases.record_releases(folder, num_runs=4, random_seed=3, progress=False)


def test_a_recording_is_a_journal_of_each_release_and_a_page_with_the_truth(
    recorded: tuple[Path, dict[str, Any]],
) -> None:
    folder, about = recorded
    releases = draw_releases(3)
    names = ["baseline", *(release.name for release in releases)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "baseline.jsonl.gz", "recording.json", *(f"{name}.jsonl.gz" for name in names[1:])
    ]  # fmt: skip
    assert msgspec.json.decode((folder / "recording.json").read_bytes()) == about
    told = [(entry["name"], entry["kind"], tuple(entry["truth"])) for entry in about["releases"]]
    assert told == [(release.name, release.kind, release.truth) for release in releases]
    assert [[change["drawn"] for change in entry["changes"]] for entry in about["releases"]] == [
        [change.size for change in release.changes] for release in releases
    ]
    assert {part["total"] for part in about["runs"].values()} == {4}


def test_the_releases_answer_in_turn_one_run_at_a_time(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, about = recorded
    journals = [folder / f"{name}.jsonl.gz" for name in about["runs"]]
    runs = sorted((run for path in journals for run in load_traces(path)), key=lambda run: str(run.request_id))
    assert len({run.request_id for run in runs}) == len(runs) == 13 * 4
    assert Counter(run.attributes["release"] for run in runs) == dict.fromkeys(about["runs"], 4)
    assert {run.workflow_name for run in runs} == {"search_qa"}
    assert {run.attributes["concurrent_runs"] for run in runs} == {1}
    assert sum(one.attributes["release"] != other.attributes["release"] for one, other in pairwise(runs)) > 35
    assert [run.timestamp for run in runs] == sorted(run.timestamp for run in runs if run.timestamp)


def test_one_run_of_each_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(CausalkitError, match="num_runs is 1; record at least two of each release") as caught:
        record_releases.record_releases(tmp_path / "new", num_runs=1)
    assert caught.value.num_runs == 1
    assert not (tmp_path / "new").exists()


def test_the_command_hands_on_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def instead(folder: Path, **options: Any) -> dict[str, Any]:
        given.update(options, folder=folder)
        return {"runs": {"baseline": {}, "release_01": {}}}

    monkeypatch.setattr(record_releases, "record_releases", instead)
    assert main(["record", "releases", "--runs", "7", "--seed", "2", "--quiet", "--output-dir", str(tmp_path)]) == 0
    assert given == {"folder": tmp_path, "num_runs": 7, "random_seed": 2, "progress": False}
    assert capsys.readouterr().out == f"recorded 7 runs each of baseline, release_01 into {tmp_path}\n"


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    return msgspec.json.decode((FOLDER / "recording.json").read_bytes())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def shipped(about: dict[str, Any]) -> dict[str, Traces]:
    return {name: load_release(name) for name in about["runs"]}


def test_a_missing_release_is_an_error_that_says_where_to_get_it() -> None:
    with pytest.raises(RecordingNotFoundError, match=r"release_99\.jsonl\.gz; .*record releases --output") as caught:
        load_release("release_99")
    assert caught.value.path == str(FOLDER / "release_99.jsonl.gz")


def test_the_shipped_releases_are_whole_and_those_of_the_seed(
    shipped: dict[str, Traces], about: dict[str, Any]
) -> None:
    for name, traces in shipped.items():
        assert about["runs"][name] == {"total": 300, "failed": sum(not run.success for run in traces)}
        assert len(traces) == 300
        assert traces.damage == ()
        assert {run.attributes["release"] for run in traces} == {name}
    drawn = [[release.name, release.kind, list(release.truth)] for release in draw_releases(about["random_seed"])]
    assert [[entry["name"], entry["kind"], entry["truth"]] for entry in about["releases"]] == drawn


@pytest.fixture
def recorded_quietly(shipped: dict[str, Traces]) -> None:
    load = np.median([run.attributes["load_1m"] for run in shipped["baseline"]])
    if load > 2:
        pytest.skip(f"recorded under a load of {load:.1f}, where latencies tell little: record anew on a quiet host")


def test_what_was_measured_points_where_what_was_drawn_does(about: dict[str, Any]) -> None:
    for change in (change for entry in about["releases"] for change in entry["changes"]):
        if change["unit"] == "sd" and change["at"] in NAMES:
            assert np.sign(change["measured"]) == np.sign(change["drawn"]), change
        else:
            near = {"abs": 0.3} if change["unit"] == "sd" else {"abs": 0.06}
            assert change["measured"] == pytest.approx(change["drawn"], **near), change


@pytest.mark.usefixtures("recorded_quietly")
def test_what_was_measured_is_near_what_was_drawn(about: dict[str, Any]) -> None:
    for change in (change for entry in about["releases"] for change in entry["changes"]):
        if change["unit"] == "sd":
            assert change["measured"] == pytest.approx(change["drawn"], abs=0.35, rel=0.3), change


@pytest.mark.usefixtures("recorded_quietly")
def test_steps_that_did_not_change_take_as_long_as_before(shipped: dict[str, Traces], about: dict[str, Any]) -> None:
    usual = median_ms(shipped["baseline"])
    for entry in about["releases"]:
        if entry["kind"] == "input mix":
            continue
        now = median_ms(shipped[entry["name"]])
        for step in set(NAMES) - {"web_search"} - set(entry["truth"]):
            assert 0.7 < now[step] / usual[step] < 1.4, (entry["name"], step)


def median_ms(traces: Traces) -> dict[str, float]:
    return {
        name: float(np.median([step.latency_ms for run in traces for step in run.steps if step.step_name == name]))
        for name in NAMES
    }


def test_steps_fail_more_only_where_that_is_the_truth(shipped: dict[str, Traces], about: dict[str, Any]) -> None:
    for entry in about["releases"]:
        failed = shipped[entry["name"]].find_failed_steps()
        broken = failed[failed["error_type"] == "BrokenStepError"]
        assert set(broken["step_name"]) == (set(entry["truth"]) if entry["kind"] == "failing" else set())


def test_the_shipped_files_are_small_and_carry_no_path_of_the_recording_machine(about: dict[str, Any]) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3e6
    texts = [(FOLDER / "recording.json").read_bytes()]
    texts += [gzip.decompress((FOLDER / f"{name}.jsonl.gz").read_bytes()) for name in about["runs"]]
    path = re.compile(rb"/(home|root|Users|work|tmp|usr|var|opt)/|[A-Z]:\\\\|site-packages")
    assert not any(path.search(text) for text in texts)


def test_a_release_says_what_it_is() -> None:
    assert repr(Release("release_07", "no change")) == "Release(release_07: no change)"
