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
from tests.truth import fewest, most

NUM_ROWS = 20
FAR = 12.0


class Case:
    """A small random system, its model, and rows to ask about."""

    def __init__(self, seed: int) -> None:
        self.system = RandomSystem.of(seed, num_nodes=8)
        self.rng = np.random.default_rng([seed, 2])
        fitter = SCMFitter(on_failure="return", random_seed=seed, progress=False)
        self.scm: FittedSCM = fitter.fit(self.system.graph, self.rows(600)).trust()

    def rows(self, num_rows: int, faults: Mapping[str, float] | None = None) -> pd.DataFrame:
        return self.system.table(self.rng, num_rows, faults)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(0)


def _mixed(case: Case) -> pd.DataFrame:
    """Normal rows, and in two places, under one name, rows with a fault each."""
    parts = [case.rows(4), case.rows(1, {"n03": FAR}), case.rows(3), case.rows(1, {case.system.target: -FAR})]
    return pd.concat(parts, ignore_index=True).set_axis(["a", "b", "c", "d", "odd", "a", "b", "c", "odd"])


def test_tables_of_normal_rows_seldom_hold_an_outlier(proof: bool) -> None:
    cases = [Case(seed) for seed in range(200 if proof else 10)]
    found = [case.scm.explain_outliers(case.rows(NUM_ROWS), case.system.target, progress=False) for case in cases]
    alarms = [bool(result.scores["outlier"].any()) for result in found]
    named = [not result.frame.empty for result in found]
    print(f"tables with an outlier: {np.mean(alarms):.3f}, with a cause named: {np.mean(named):.3f}")
    allowed = 0.08 if proof else most(0.05, len(cases))
    assert np.mean(alarms) <= allowed
    assert np.mean(named) <= allowed


def test_each_faulty_row_is_explained_by_its_own_fault(proof: bool) -> None:
    flagged, first = [], []
    for seed in range(200 if proof else 4):
        case = Case(seed)
        faults = [str(node) for node in case.rng.choice(case.system.nodes, 3, replace=False)]
        rows = pd.concat([case.rows(5), *(case.rows(1, {node: FAR}) for node in faults)], ignore_index=True)
        found = case.scm.explain_outliers(rows, case.system.target, progress=False)
        causes = found.frame.groupby("row").first()["node"]
        out = found.scores["outlier"].tolist()
        flagged += out[5:]
        first += [causes.get(5 + place) == node for place, node in enumerate(faults) if out[5 + place]]
    print(f"of faulty rows {np.mean(flagged):.3f} are outliers; of those {np.mean(first):.3f} name the fault first")
    assert np.mean(first) >= (0.95 if proof else fewest(0.95, len(first)))


def test_rows_of_one_name_are_kept_apart_in_the_scores_and_drawn(case: Case) -> None:
    found = case.scm.explain_outliers(_mixed(case), case.system.target)
    assert found.scores["row"].tolist() == ["a", "b", "c", "d", "odd", "a", "b", "c", "odd"]
    assert found.scores.loc[found.scores["outlier"], "row"].tolist() == ["odd", "odd"]
    assert found.frame["row"].unique().tolist() == ["odd"]
    assert set(found.frame["node"]) == {"n03", case.system.target}
    drawn = [label.get_text() for label in found.plot().get_yticklabels()]
    assert sorted(drawn) == sorted(["row odd: n03", f"row odd: {case.system.target}"])
    pd.testing.assert_frame_equal(found.to_frame(), found.frame)


def test_outliers_are_told_in_words_and_normal_rows_too(case: Case) -> None:
    found = case.scm.explain_outliers(_mixed(case), case.system.target)
    assert found.sentence.startswith("Of 9 rows 2 are outliers in n07; ")
    normal = case.scm.explain_outliers(case.rows(1) * 0, case.system.target)
    assert normal.sentence == "Of 1 row none is an outlier in n07."
    assert normal.frame.empty
    assert "0 of 1 rows" in normal.plot().get_title()


def test_a_short_time_still_names_the_first_cause_of_each_outlier(case: Case) -> None:
    found = case.scm.explain_outliers(_mixed(case), case.system.target, timeout_s=1e-9)
    assert found.frame["node"].tolist() == ["n03", case.system.target]


def test_what_is_missing_is_named(case: Case) -> None:
    rows = _mixed(case).drop(columns="n01")
    found = case.scm.explain_outliers(rows, case.system.target)
    assert any("n01 (9 of 9)" in caveat for caveat in found.caveats)
    assert found.scores["outlier"].sum() == 2


def test_a_rare_switch_is_an_outlier_and_explains_itself() -> None:
    graph = nx.DiGraph([*LABELLED.edges, ("latency", "late")])

    def late(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(late=table["latency"] > 120)

    rng = np.random.default_rng(0)
    scm = SCMFitter(on_failure="return", random_seed=0).fit(graph, late(labelled_table(rng, 1500))).trust()
    found = scm.explain_outliers(late(labelled_table(rng, 2, {"size": 40.0})), "late")
    assert found.scores["value"].tolist() == [1.0, 1.0]
    assert found.scores["outlier"].all()
    failed = scm.explain_outliers(labelled_table(rng, 1, values={"failed": True}), "failed")
    assert failed.scores["outlier"].all()
    assert failed.frame["node"].tolist() == ["failed"]


def test_settings_tables_and_targets_that_make_no_sense_are_refused(case: Case) -> None:
    rows, target = case.rows(3), case.system.target
    with pytest.raises(FitError, match="alpha"):
        case.scm.explain_outliers(rows, target, alpha=1.5)
    with pytest.raises(FitError, match="timeout_s"):
        case.scm.explain_outliers(rows, target, timeout_s=0)
    with pytest.raises(FitError, match="no abnormal rows"):
        case.scm.explain_outliers(rows.head(0), target)
    with pytest.raises(GraphError, match="'n99' is no node"):
        case.scm.explain_outliers(rows, "n99")
