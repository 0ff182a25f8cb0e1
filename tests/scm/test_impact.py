"""What a node reaches: everything downstream, in its own unit and in standard deviations."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import GraphError, ValidationError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service, fewest

FEW = 20


@pytest.fixture(scope="module")
def service() -> FittedSCM:
    table = Service(interaction=1.0).table(np.random.default_rng(0))
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(Service().graph, table).trust()


@pytest.fixture(scope="module")
def labels() -> FittedSCM:
    rng = np.random.default_rng(0)
    mode, e = rng.choice(["deep", "fast", "off"], 1500), rng.normal(size=1500)
    table = pd.DataFrame({"mode": mode, "on": rng.random(1500) < 0.5})
    table["ms"] = 3 * (mode == "fast") + 2 * table["on"] + e
    table["late"] = np.array(["no", "some", "very"])[np.digitize(table["ms"] + rng.normal(size=1500), [1, 4])]
    graph = nx.DiGraph([("mode", "ms"), ("on", "ms"), ("ms", "late")])
    return SCMFitter(on_failure="return", random_seed=0).fit(graph, table).trust()


def test_everything_downstream_moves_as_its_effect_says(service: FittedSCM) -> None:
    frame = service.impact("depth", contrast=2).frame
    assert list(frame.columns) == ["node", "effect", "low", "high", "standardised"]
    assert set(frame["node"]) == {"search_ms", "rank_ms", "total_ms"}
    for row in frame.to_dict("records"):
        effect = service.effect("depth", row["node"], 2)
        assert row["effect"] == pytest.approx(effect.value)
        assert (row["low"], row["high"]) == pytest.approx(effect.interval, rel=0.05)
        assert row["standardised"] == pytest.approx(effect.value / np.std(service.table[row["node"]]))
    assert frame["standardised"].abs().is_monotonic_decreasing


def test_slopes_and_rows_give_the_same(labels: FittedSCM) -> None:
    """Below `on` stand labels, so rows are asked; without them, slopes."""
    part = labels.graph.subgraph(["mode", "on", "ms"])
    table = labels.table[["mode", "on", "ms"]].copy()
    table["mode"] = np.array(labels.levels["mode"], dtype=object)[table["mode"].astype(int)]
    table["on"] = table["on"] == 1
    shorter = SCMFitter(on_failure="return", random_seed=0).fit(part, table).trust().impact("on").frame.loc[0]
    whole = labels.impact("on").frame.set_index("node").loc["ms"]
    assert shorter["effect"] == pytest.approx(whole["effect"], rel=1e-6)


def test_labels_have_a_row_each_and_two_values_are_switched(labels: FittedSCM) -> None:
    found = labels.impact("on")
    assert set(found.frame["node"]) == {"ms", "late=no", "late=some", "late=very"}
    assert found.frame.set_index("node")["effect"]["ms"] == pytest.approx(2, abs=0.2)
    assert found.frame["effect"][found.frame["node"].str.startswith("late")].sum() == pytest.approx(0, abs=1e-9)
    assert "do(on = True) instead of False reaches 2 nodes and moves " in found.sentence


def test_labels_are_compared_by_name(labels: FittedSCM) -> None:
    found = labels.impact("mode", values=("off", "fast"))
    assert found.frame.set_index("node")["effect"]["ms"] == pytest.approx(3, abs=0.2)
    assert found.sentence.startswith("do(mode = fast) instead of off reaches")
    for values in (None, ("off",), ("off", "slow"), 4):
        with pytest.raises(GraphError, match="'mode'"):
            labels.impact("mode", values=values)  # type: ignore[arg-type]


def test_nothing_lies_downstream_of_a_leaf(labels: FittedSCM) -> None:
    found = labels.impact("late", values=("no", "very"))
    assert found.frame.empty
    assert found.sentence == "Nothing lies downstream of late."


def test_unknown_and_derived_nodes_are_refused(service: FittedSCM) -> None:
    with pytest.raises(GraphError, match="'dept' is no node"):
        service.impact("dept")
    with pytest.raises(GraphError, match="act on one of"):
        service.impact("total_ms")


def test_caveats_are_those_of_effects(service: FittedSCM) -> None:
    assert any("load was not set at random" in caveat for caveat in service.impact("load").caveats)
    assert not any("at random" in caveat for caveat in service.impact("depth").caveats)
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 1000))
    table = pd.DataFrame({"x": x, "y": np.sin(3 * x) + 0.1 * e})
    wrong = SCMFitter(quality="GOOD", on_failure="return", random_seed=0).fit(nx.DiGraph([("x", "y")]), table)
    with pytest.raises(ValidationError, match="y: "):
        wrong.impact("x")


def test_one_seed_gives_the_same_bits(labels: FittedSCM) -> None:
    first, again, other = (labels.impact("on", random_seed=seed).frame for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_all_rows_are_drawn_in_standard_deviations(labels: FittedSCM) -> None:
    found = labels.impact("on")
    assert len(found.plot().patches) == 4
    bars = found.bars()[2].set_index("name")
    assert ((bars["low"] <= bars["value"]) & (bars["value"] <= bars["high"])).all()


def test_intervals_hold_the_truth(proof: bool) -> None:
    held = []
    truth = {"search_ms": 3.0, "rank_ms": 1.5, "total_ms": 4.5}
    for seed in range(200 if proof else FEW):
        table = Service().table(np.random.default_rng(seed))
        quiet = SCMFitter(groups="question", quality="GOOD", on_failure="return", random_seed=seed)
        frame = quiet.fit(Service().graph, table).trust().impact("depth").frame.set_index("node")
        held += [frame["low"][node] <= effect <= frame["high"][node] for node, effect in truth.items()]
    print(round(float(np.mean(held)), 3))
    assert np.mean(held) >= (0.90 if proof else fewest(0.92, FEW))
