"""How strong each edge is: the variance, or the nats, that are lost when it is cut."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import GraphError, ValidationError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from causalkit.scm.strengths import _drawn
from tests.truth import fewest

GRAPH = nx.DiGraph([("a", "y"), ("b", "y"), ("a", "bent"), ("b", "bent"), ("on", "rate"), ("mode", "rate")])
GRAPH.add_edges_from([("count", "rate"), ("a", "slow"), ("a", "kind"), ("b", "kind"), ("a", "flag")])
GRAPH.add_edges_from([("y", "whole"), ("rate", "whole"), ("y", "most"), ("bent", "most")])
GRAPH.nodes["whole"]["derived"], GRAPH.nodes["most"]["derived"] = "sum", "max"
FEW = 10


def draw(rng: np.random.Generator, num_rows: int = 2000) -> pd.DataFrame:
    a, b, e, f, g = rng.normal(size=(5, num_rows))
    mode = rng.choice(["deep", "fast", "off"], num_rows)
    table = pd.DataFrame({"a": a, "b": b, "mode": mode, "on": rng.random(num_rows) < 0.3})
    table["count"] = rng.poisson(3, num_rows)
    table["y"] = 2 * a + 1.5 * b + e
    table["bent"] = a**2 + a * b + b / 2 + f
    table["rate"] = 3 * table["on"] + 2 * (mode == "fast") - (mode == "off") + table["count"] / 2 + g
    table["slow"] = np.exp(a / 2 + 0.3 * f)
    table["kind"] = np.array(["p", "q", "r"])[np.digitize(a + b / 2 + e, [-1, 1])]
    table["flag"] = rng.random(num_rows) < 1 / (1 + np.exp(-a))
    return table.assign(whole=table["y"] + table["rate"], most=table[["y", "bent"]].max(axis=1))


# The variance of f(copy, others) - by a, b with moments 1, 0, 3: Var(a^2) = 2, Var(a b) = 1.
TRUTH = {
    "y": {"a": 4.0, "b": 2.25},
    "bent": {"a": 2.0 + 1.0, "b": 1.0 + 0.25},
    "rate": {"on": 9 * 0.21, "mode": 14 / 9, "count": 0.75},
    "whole": {"y": 7.25, "rate": 9 * 0.21 + 14 / 9 + 0.75 + 1},
    "slow": {"a": np.exp(0.09 + 0.5) - np.exp(0.09 + 0.25)},
}


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return SCMFitter(on_failure="return", random_seed=0).fit(GRAPH, draw(np.random.default_rng(0))).trust()


@pytest.mark.parametrize("target", TRUTH)
def test_the_variance_that_an_edge_explains_is_found(scm: FittedSCM, target: str) -> None:
    frame = scm.strengths(target).frame.set_index("parent")
    assert list(frame.columns) == ["strength", "share", "low", "high"]
    assert frame["strength"].to_dict() == pytest.approx(TRUTH[target], rel=0.15)
    assert (frame["share"] == frame["strength"] / np.var(scm.table[target])).all()
    assert ((frame["low"] < frame["strength"]) & (frame["strength"] < frame["high"])).all()
    assert frame["strength"].is_monotonic_decreasing


@pytest.mark.parametrize("target", ["bent", "most", "slow", "kind"])
def test_it_is_what_dowhy_finds(scm: FittedSCM, target: str) -> None:
    gcm = pytest.importorskip("dowhy.gcm")
    table = scm.table.copy()
    for node, labels in scm.levels.items():
        table[node] = np.array(labels, dtype=object)[table[node].astype(int)]
    found = gcm.arrow_strength(
        scm.dowhy, target, table[sorted(GRAPH.predecessors(target))], 150, max_num_runs=60, tolerance=0, n_jobs=1
    )
    ours = scm.strengths(target).frame.set_index("parent")["strength"].to_dict()
    assert ours == pytest.approx({parent: strength for (parent, _), strength in found.items()}, rel=0.25, abs=0.02)


def test_a_closed_form_and_its_draws_agree(scm: FittedSCM) -> None:
    drawn, error = _drawn(scm, "bent", ["a", "b"], 0)
    for parent, strength in scm.strengths("bent").frame.set_index("parent")["strength"].items():
        assert drawn[str(parent)][0] == pytest.approx(strength, abs=5 * error)


def test_labels_are_counted_in_nats_and_the_error_of_drawing_is_stated(scm: FittedSCM) -> None:
    found = scm.strengths("kind")
    assert found.unit == "nats"
    assert found.frame["parent"].tolist() == ["a", "b"]
    assert any("their standard error is" in caveat for caveat in found.caveats)
    assert not any("standard error" in caveat for caveat in scm.strengths("bent").caveats)


def test_one_seed_gives_the_same_bits(scm: FittedSCM) -> None:
    first, again, other = (scm.strengths("slow", random_seed=seed).frame for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_root_has_no_direct_cause(scm: FittedSCM) -> None:
    found = scm.strengths("a")
    assert found.frame.empty
    assert found.sentence == "a has no direct cause in the graph."


def test_an_unknown_target_is_named(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match="'z' is no node") as caught:
        scm.strengths("z")
    assert caught.value.node == "z"


def test_a_mechanism_that_is_off_is_refused_but_not_one_beside_it() -> None:
    rng = np.random.default_rng(0)
    x, e, f = rng.normal(size=(3, 1000))
    table = pd.DataFrame({"x": x, "y": np.sin(3 * x) + 0.1 * e})
    table["z"] = table["y"] + x + f
    graph = nx.DiGraph([("x", "y"), ("y", "z"), ("x", "z")])
    scm = SCMFitter(quality="GOOD", on_failure="return", random_seed=0).fit(graph, table)
    with pytest.raises(ValidationError, match="y: "):
        scm.strengths("y")
    assert scm.strengths("z").frame["strength"].tolist() == pytest.approx([1.0, 0.5], rel=0.25)


def test_the_strongest_is_named_and_all_are_drawn(scm: FittedSCM) -> None:
    found = scm.strengths("y")
    assert found.sentence.startswith("a is the strongest direct cause of y: ")
    assert len(found.plot().patches) == len(found.to_frame()) == 2
    assert "not set at random" in " ".join(found.caveats)


def test_intervals_hold_the_truth(proof: bool) -> None:
    held = []
    for seed in range(200 if proof else FEW):
        table = draw(np.random.default_rng(seed), 600)
        quiet = SCMFitter(quality="GOOD", on_failure="return", random_seed=seed)
        for target in ("y", "bent", "rate"):
            family = GRAPH.subgraph([*GRAPH.predecessors(target), target])
            frame = quiet.fit(family, table).trust().strengths(target).frame
            truth = frame["parent"].map(TRUTH[target])
            held += ((frame["low"] <= truth) & (truth <= frame["high"])).tolist()
    print(round(float(np.mean(held)), 3))
    assert np.mean(held) >= (0.90 if proof else fewest(0.92, FEW))
