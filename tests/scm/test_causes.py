from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import FitError, GraphError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.scm.random_systems import LABELLED, RandomSystem, labelled_table
from tests.truth import Service, fewest, most

SERVICE = Service()
BATCHES = (1, 5, 50, 400)
SLOWER = 6.0


def _fit(seed: int, table: pd.DataFrame | None = None) -> FittedSCM:
    table = SERVICE.table(np.random.default_rng(seed)) if table is None else table
    # One true model of a hundred is called uncalibrated by chance; what is asked here is something else.
    return SCMFitter(groups="question", on_failure="return", random_seed=seed).fit(SERVICE.graph, table).trust()


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return _fit(0)


def _rows(seed: int, num_rows: int = 240, shifts: Mapping[str, float] | None = None) -> pd.DataFrame:
    return SERVICE.table(np.random.default_rng([seed, 1]), num_rows, shifts)


@pytest.mark.parametrize("own_questions", [False, True], ids=["new questions", "the model's own questions"])
def test_normal_batches_of_any_size_are_seldom_called_abnormal(proof: bool, own_questions: bool) -> None:
    seeds = range(200 if proof else 8)
    alarms: dict[int, list[bool]] = {size: [] for size in BATCHES}
    for seed in seeds:
        table = SERVICE.table(np.random.default_rng(seed), 2400)
        # The rows of one question are split between the model and the batches, or all its questions are new.
        part = (table.index % 2 == 0) if own_questions else (table["question"] < 100)
        scm, fresh = _fit(seed, table[part]), table[~part]
        for size in BATCHES:
            alarms[size].append(not scm.root_causes(fresh.head(size), "total_ms").frame.empty)
    print({size: np.mean(found) for size, found in alarms.items()})
    allowed = 0.08 if proof else most(0.05, len(seeds))
    assert all(np.mean(found) <= allowed for found in alarms.values())


def test_a_slower_step_is_found_first_and_its_interval_holds_the_true_shift(proof: bool) -> None:
    seeds = range(200 if proof else 7)
    first, held = [], []
    for seed in seeds:
        frame = _fit(seed).root_causes(_rows(seed, shifts={"search_ms": SLOWER}), "total_ms").frame
        first.append(not frame.empty and frame["node"][0] == "search_ms")
        # A slower search slows ranking by half as much.
        found = frame.set_index("node").loc[["search_ms"]] if first[-1] else frame.head(0)
        held.append(bool(((found["low"] <= 1.5 * SLOWER) & (found["high"] >= 1.5 * SLOWER)).any()))
    print(np.mean(first), np.mean(held))
    assert np.mean(first) >= (0.98 if proof else fewest(0.98, len(first)))
    assert np.mean(held) >= (0.90 if proof else fewest(0.92, len(held)))


def test_a_knob_whose_distribution_moved_is_named_and_not_the_steps_it_slows(proof: bool) -> None:
    seeds = range(200 if proof else 7)
    frames = [_fit(seed).root_causes(_rows(seed, shifts={"depth": 4.0}), "total_ms").frame for seed in seeds]
    named = [list(frame["node"])[:1] == ["depth"] for frame in frames]
    others = [len(frame) > 1 for frame in frames]
    held = [bool(frame["low"].iloc[0] <= 18 <= frame["high"].iloc[0]) for frame in frames if not frame.empty]
    print(np.mean(named), np.mean(others), np.mean(held))
    assert np.mean(named) >= (0.98 if proof else fewest(0.98, len(named)))
    assert np.mean(others) <= (0.10 if proof else most(0.07, len(others)))
    assert np.mean(held) >= (0.90 if proof else fewest(0.92, len(held)))


def test_two_faults_at_once_are_both_named(scm: FittedSCM) -> None:
    found = scm.root_causes(_rows(1, shifts={"search_ms": SLOWER, "rank_ms": 8.0}), "total_ms")
    assert list(found.frame["node"]) == ["search_ms", "rank_ms"]


def test_one_abnormal_row_is_enough_where_it_is_far_off(scm: FittedSCM) -> None:
    row = _rows(2, 1)
    row[["rank_ms", "total_ms"]] += 60.0
    found = scm.root_causes(row, "total_ms")
    assert list(found.frame["node"]) == ["rank_ms"]
    assert found.num_rows == 1
    assert found.frame["contribution"][0] == pytest.approx(60, abs=15)
    assert "one row: intervals tell what the model does not know, not how other such rows would be" in found.caveats


def test_the_slowest_tenth_of_the_runs_is_slow_for_the_true_drivers(scm: FittedSCM) -> None:
    table = SERVICE.table(np.random.default_rng(0))
    slowest = table[table["total_ms"] > table["total_ms"].quantile(0.9)]
    found = scm.root_causes(slowest, "total_ms").frame
    assert set(found["node"][:2]) == {"depth", "search_ms"}
    assert (found["contribution"] > 0).all()


def test_derived_nodes_are_never_to_blame(scm: FittedSCM) -> None:
    assert "total_ms" not in set(scm.root_causes(_rows(3, shifts={"rank_ms": 9.0}), "total_ms").frame["node"])


def test_a_normal_table_of_its_own_is_what_the_batch_is_compared_with(scm: FittedSCM) -> None:
    slow = {"rank_ms": 9.0}
    assert scm.root_causes(_rows(4, shifts=slow), "total_ms", _rows(5, 1200, slow)).frame.empty
    better = scm.root_causes(_rows(4), "total_ms", _rows(5, 1200, slow)).frame
    assert list(better["node"]) == ["rank_ms"]
    assert better["low"][0] <= -9 <= better["high"][0]


def test_what_is_left_of_an_exact_mechanism_is_rounding_and_no_cause() -> None:
    x = np.random.default_rng(0).normal(size=500)
    table = pd.DataFrame({"X": x, "Y": x / 3, "Z": x / 3 + np.random.default_rng(1).normal(size=500)})
    scm = SCMFitter(on_failure="return", random_seed=0).fit(nx.DiGraph([("X", "Y"), ("Y", "Z")]), table)
    far = pd.DataFrame({"X": x + 50, "Y": (x + 50) / 3, "Z": (x + 50) / 3 + table["Z"] - table["Y"]})
    assert list(scm.root_causes(far, "Z").frame["node"]) == ["X"]


def test_a_fault_is_found_among_more_nodes_than_there_are_draws_for_each() -> None:
    names = [f"n{i:03}" for i in range(250)]
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 250)), columns=names)
    table["sum"] = table.sum(axis=1)
    graph = nx.DiGraph([(name, "sum") for name in names])
    graph.nodes["sum"]["derived"] = "sum"
    scm = SCMFitter(random_seed=0).fit(graph, table)
    off = table.head(20).copy()
    off[["n007", "sum"]] += 5
    assert list(scm.root_causes(off, "sum").frame["node"]) == ["n007"]


def test_rows_without_their_groups_carry_a_caveat(scm: FittedSCM) -> None:
    caveats = scm.root_causes(_rows(6).drop(columns="question"), "total_ms").caveats
    assert any("question" in caveat and "independent" in caveat for caveat in caveats)


def test_nothing_abnormal_is_said_in_words(scm: FittedSCM) -> None:
    found = scm.root_causes(_rows(7, 5), "total_ms")
    assert found.frame.empty
    assert found.sentence == "Nothing upstream of total_ms is abnormal in these 5 rows."


def test_an_empty_table_has_nothing_to_explain(scm: FittedSCM) -> None:
    with pytest.raises(FitError, match="no abnormal rows"):
        scm.root_causes(_rows(8).head(0), "total_ms")
    with pytest.raises(FitError, match="no normal rows"):
        scm.root_causes(_rows(8), "total_ms", _rows(8).head(0))


def test_an_unknown_target_is_named_beside_the_known_nodes(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match=r"'latency'.*total_ms") as caught:
        scm.root_causes(_rows(8), "latency")
    assert caught.value.node == "latency"


@pytest.mark.parametrize("alpha", [0, 1, 5, float("nan")])
def test_alpha_is_a_share(scm: FittedSCM, alpha: float) -> None:
    with pytest.raises(FitError, match="alpha"):
        scm.root_causes(_rows(8), "total_ms", alpha=alpha)


@pytest.fixture(scope="module")
def labelled() -> FittedSCM:
    fitter = SCMFitter(on_failure="return", random_seed=0)
    return fitter.fit(LABELLED, labelled_table(np.random.default_rng(0), 1500)).trust()


@pytest.mark.parametrize("num_rows", [1, 5])
@pytest.mark.parametrize(
    ("node", "shift"), [("latency", 14.0), ("size", 6.0), ("retries", 10.0), ("region", "south"), ("failed", True)]
)
def test_faults_are_found_among_labels_switches_and_counts(
    labelled: FittedSCM, node: str, shift: object, num_rows: int
) -> None:
    shifts, values = ({}, {node: shift}) if isinstance(shift, str | bool) else ({node: shift}, {})
    rows = labelled_table(np.random.default_rng(5), num_rows, shifts, values)
    assert labelled.root_causes(rows, "latency").frame["node"].tolist() == [node]


def test_a_target_of_more_than_two_labels_has_no_mean_to_explain(labelled: FittedSCM) -> None:
    rows = labelled_table(np.random.default_rng(5), 3)
    with pytest.raises(GraphError, match="'region' holds labels, which have no mean"):
        labelled.root_causes(rows, "region")
    with pytest.raises(GraphError, match="'region' holds labels, which have no mean"):
        labelled.explain_outliers(rows, "region")


def test_a_label_that_was_never_recorded_is_named_with_its_row(labelled: FittedSCM) -> None:
    rows = labelled_table(np.random.default_rng(5), 3, values={"region": "north"})
    with pytest.raises(FitError, match=r"'region' holds a label that is not known.*'north'"):
        labelled.root_causes(rows, "latency")


def test_a_switch_as_target_is_explained_by_its_share(labelled: FittedSCM) -> None:
    rows = labelled_table(np.random.default_rng(6), 40, values={"failed": np.arange(40) < 20})
    found = labelled.root_causes(rows, "failed")
    assert found.frame["node"].tolist() == ["failed"]
    assert found.frame["contribution"][0] == pytest.approx(0.5, abs=0.02)


def test_what_is_missing_is_named_and_the_fault_beside_it_found(scm: FittedSCM) -> None:
    rows = _rows(2, 24, {"rank_ms": 20.0}).drop(columns=["load", "total_ms"])
    rows.loc[rows.index[:4], "depth"] = np.nan
    found = scm.root_causes(rows, "total_ms")
    assert found.frame["node"].tolist() == ["rank_ms"]
    (told,) = (caveat for caveat in found.caveats if "not recorded" in caveat)
    assert "depth (4 of 24)" in told
    assert "load (24 of 24)" in told
    assert "total_ms (24 of 24)" in told


def test_rows_without_any_value_have_nothing_to_explain(scm: FittedSCM) -> None:
    with pytest.raises(FitError, match="no value of any of"):
        scm.root_causes(_rows(2, 3)[["question"]], "total_ms")
    with pytest.raises(FitError, match="no value of any of"):
        scm.root_causes(_rows(2, 3).astype(float) * np.nan, "total_ms", _rows(2, 300))


CONSTANT = nx.DiGraph([("limit", "quota"), ("quota", "wait"), ("load", "wait"), ("wait", "total")])


def _limited(seed: int, num_rows: int, limit: float = 5.0, extra: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    load, wait, total = rng.normal(size=(3, num_rows))
    quota = np.full(num_rows, 2 * limit + extra)
    wait = wait + quota + load
    table = {"limit": np.full(num_rows, limit), "quota": quota, "load": load, "wait": wait, "total": 2 * wait + total}
    return pd.DataFrame(table)


@pytest.mark.parametrize("num_rows", [1, 5])
def test_a_constant_that_moves_is_found_with_what_it_did_below(num_rows: int) -> None:
    scm = SCMFitter(on_failure="return", random_seed=0).fit(CONSTANT, _limited(0, 500)).trust()
    root = scm.root_causes(_limited(1, num_rows, limit=8), "total")
    assert root.frame["node"].tolist() == ["limit"]
    # Beside the 12 that it did stands the noise of the node that it did it to.
    assert root.frame["contribution"][0] == pytest.approx(12, abs=4 / np.sqrt(num_rows))
    assert any("limit never varied before: what wait did" in caveat for caveat in root.caveats)
    exact = scm.root_causes(_limited(1, num_rows, extra=6), "total")
    assert exact.frame["node"].tolist() == ["quota"]
    assert not set(scm.root_causes(_limited(1, num_rows), "total").frame["node"]) & {"limit", "quota"}


def test_a_constant_that_moves_without_consequence_is_no_cause() -> None:
    scm = SCMFitter(on_failure="return", random_seed=0).fit(CONSTANT, _limited(0, 500)).trust()
    assert scm.root_causes(_limited(1, 5).assign(limit=5.5), "total").frame.empty


def test_a_switch_that_was_never_on_takes_the_blame_for_what_it_does() -> None:
    table = labelled_table(np.random.default_rng(0), 800, values={"failed": False})
    scm = SCMFitter(on_failure="return", random_seed=0).fit(LABELLED, table).trust()
    found = scm.root_causes(labelled_table(np.random.default_rng(1), 1, values={"failed": True}), "latency")
    assert found.frame["node"].tolist() == ["failed"]
    assert found.frame["contribution"][0] == pytest.approx(30, abs=8)


def test_a_short_time_still_names_the_first_cause_and_says_who_is_left(scm: FittedSCM) -> None:
    rows = _rows(1, shifts={"search_ms": SLOWER, "rank_ms": 8.0})
    found = scm.root_causes(rows, "total_ms", timeout_s=1e-9)
    assert len(found.frame) == 1
    assert any("time ran out before the contribution of" in caveat for caveat in found.caveats)
    assert set(found.examined["node"][:2]) == {"search_ms", "rank_ms"}


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_is_some_seconds(scm: FittedSCM, timeout_s: float) -> None:
    with pytest.raises(FitError, match="timeout_s"):
        scm.root_causes(_rows(8), "total_ms", timeout_s=timeout_s)


def test_no_progress_is_silent(scm: FittedSCM, capfd: pytest.CaptureFixture[str]) -> None:
    scm.root_causes(_rows(1, shifts={"search_ms": SLOWER}), "total_ms", progress=False)
    assert capfd.readouterr() == ("", "")


def test_neither_order_nor_number_of_jobs_changes_the_answer() -> None:
    system = RandomSystem.of(5, curved=True, num_nodes=10)
    rng = np.random.default_rng(0)
    table, row = system.table(rng, 400), system.table(rng, 1, {"n03": 8.0, "n05": -8.0})
    shuffled = nx.DiGraph(sorted(system.graph.edges, reverse=True))
    once = SCMFitter(on_failure="return", random_seed=0, n_jobs=1).fit(system.graph, table).trust()
    again = SCMFitter(on_failure="return", random_seed=0, n_jobs=2).fit(shuffled, table[table.columns[::-1]]).trust()
    found = [scm.root_causes(rows, system.target) for scm, rows in ((once, row), (again, row[row.columns[::-1]]))]
    assert not found[0].frame.empty
    pd.testing.assert_frame_equal(found[0].frame, found[1].frame)
    pd.testing.assert_frame_equal(found[0].examined, found[1].examined)
