"""Where a target's variance comes from: each node's own noise, exactly where all is linear, drawn where it is not."""

from __future__ import annotations

import time
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import CausalkitError, GraphError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service, fewest

FEW = 16
GRAPH = nx.DiGraph([("a", "bent"), ("b", "bent"), ("a", "on"), ("on", "rate"), ("mode", "rate"), ("count", "rate")])
GRAPH.add_edges_from([("a", "slow"), ("b", "slow"), ("bent", "whole"), ("rate", "whole"), ("a", "kind")])
GRAPH.nodes["whole"]["derived"] = "sum"


def draw(rng: np.random.Generator, num_rows: int = 2000) -> pd.DataFrame:
    a, b, e, f, g = rng.normal(size=(5, num_rows))
    mode = rng.choice(["deep", "fast", "off"], num_rows)
    table = pd.DataFrame({"a": a, "b": b, "mode": mode, "count": rng.poisson(3, num_rows)})
    table["on"] = rng.random(num_rows) < np.where(a > 0, 0.8, 0.2)
    table["bent"] = a * b + b / 2 + e
    table["rate"] = 3 * table["on"] + 2 * (mode == "fast") - (mode == "off") + table["count"] / 2 + f
    table["slow"] = np.exp(0.4 * a + 0.3 * b + 0.5 * g)
    table["kind"] = np.array(["p", "q", "r"])[np.digitize(a + f, [-1, 1])]
    return table.assign(whole=table["bent"] + table["rate"])


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return SCMFitter(on_failure="return", random_seed=0).fit(GRAPH, draw(np.random.default_rng(0))).trust()


@pytest.fixture(scope="module")
def service() -> FittedSCM:
    table = Service().table(np.random.default_rng(0))
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(Service().graph, table).trust()


# Total effect squared times variance of the noise.
SERVICE = {"depth": 4.5**2 * 5.25, "search_ms": 1.5**2 * 16, "rank_ms": 16.0, "load": 4.0}


def test_a_linear_model_is_answered_without_error(service: FittedSCM) -> None:
    frame = service.influence("total_ms").frame
    assert list(frame.columns) == ["node", "influence", "share", "low", "high", "error"]
    assert (frame["error"] == 0).all()
    assert frame["share"].sum() == pytest.approx(1)
    assert frame.set_index("node")["influence"].to_dict() == pytest.approx(SERVICE, rel=0.35)
    assert frame["node"].tolist()[0] == "depth"


def test_what_two_nodes_do_together_is_shared_by_both(scm: FittedSCM) -> None:
    """The product of a and b has variance 1: half of it is a's, half b's."""
    frame = scm.influence("bent").frame.set_index("node")
    assert frame["influence"].to_dict() == pytest.approx({"a": 0.5, "b": 0.75, "bent": 1.0}, rel=0.15)
    assert frame["error"]["bent"] == 0
    assert 0 < frame["error"]["a"] < 0.05


def test_noise_on_a_logarithm_multiplies(scm: FittedSCM) -> None:
    """Of exp(sum of normals) the variance of conditional expectations is known for every set of nodes."""
    sizes = {"a": 0.16, "b": 0.09, "slow": 0.25}
    mean = np.exp(sum(sizes.values()) / 2)

    def explained(*nodes: str) -> float:
        return float(mean**2 * (np.exp(sum(sizes[node] for node in nodes)) - 1))

    def shapley(node: str) -> float:
        one, other = (name for name in sizes if name != node)
        alone, last = explained(node), explained(*sizes) - explained(one, other)
        middle = explained(one, node) - explained(one) + explained(other, node) - explained(other)
        return alone / 3 + middle / 6 + last / 3

    found = scm.influence("slow").frame.set_index("node")["influence"].to_dict()
    assert found == pytest.approx({node: shapley(node) for node in sizes}, rel=0.3)


def test_labels_pass_on_what_their_causes_give_them(scm: FittedSCM) -> None:
    frame = scm.influence("whole").frame.set_index("node")
    assert set(frame.index) == {"a", "b", "bent", "on", "mode", "count", "rate"}
    assert frame["influence"]["count"] == pytest.approx(0.75, rel=0.15)
    assert frame["influence"]["mode"] == pytest.approx(14 / 9, rel=0.15)
    assert frame["influence"].sum() == pytest.approx(np.var(scm.table["whole"]), rel=0.1)


def test_of_labels_it_is_the_variance_of_their_indicators(scm: FittedSCM) -> None:
    shares = np.bincount(scm.table["kind"].astype(int)) / len(scm.table)
    found = scm.influence("kind").frame
    assert found["influence"].sum() == pytest.approx((shares * (1 - shares)).sum(), rel=0.05)
    assert scm.influence("mode").frame["influence"].item() == pytest.approx(2 / 3, rel=0.05)


def test_the_error_of_drawing_is_as_stated(scm: FittedSCM) -> None:
    frames = [scm.influence("bent", num_samples=2000, random_seed=seed).frame.set_index("node") for seed in range(12)]
    spread = np.std([frame["influence"]["a"] for frame in frames], ddof=1)
    assert spread == pytest.approx(np.mean([frame["error"]["a"] for frame in frames]), rel=0.6)


@pytest.mark.parametrize("target", ["bent", "slow", "rate"])
def test_it_is_what_dowhy_finds(scm: FittedSCM, target: str) -> None:
    gcm = pytest.importorskip("dowhy.gcm")
    part = scm.dowhy.graph.subgraph(nx.ancestors(GRAPH, target) | {target}).copy()
    few = {"num_samples_randomization": 100, "num_samples_baseline": 300, "num_training_samples": 100}
    if target == "rate":
        few = {"num_samples_randomization": 30, "num_samples_baseline": 200, "num_training_samples": 100}
    gcm.config.disable_progress_bars()
    gcm.util.general.set_random_seed(0)
    quick = gcm.shapley.ShapleyConfig(n_jobs=1)
    theirs = gcm.intrinsic_causal_influence(
        gcm.StructuralCausalModel(part), target, "exact", shapley_config=quick, **few
    )
    ours = scm.influence(target).frame.set_index("node")["influence"].to_dict()
    whole = sum(ours.values())
    assert theirs == pytest.approx(ours, abs=0.2 * whole)


def test_correlated_roots_carry_a_caveat(scm: FittedSCM) -> None:
    rng = np.random.default_rng(0)
    x, e, f = rng.normal(size=(3, 500))
    table = pd.DataFrame({"x": x, "w": x + e})
    table["y"] = x + table["w"] + f
    graph = nx.DiGraph([("x", "y"), ("w", "y")])
    tied = SCMFitter(on_failure="return", random_seed=0).fit(graph, table).trust()
    assert any(
        "roots count as independent, but are correlated: w and x" in each for each in tied.influence("y").caveats
    )
    assert not any("correlated" in caveat for caveat in scm.influence("bent").caveats)


def test_twenty_bent_nodes_are_answered_within_seconds() -> None:
    rng, table, edges = np.random.default_rng(0), pd.DataFrame(), []
    for place in range(20):
        parents = list(table.columns[-2:])
        edges += [(parent, f"n{place:02}") for parent in parents]
        table[f"n{place:02}"] = sum(np.abs(table[parent]) for parent in parents) + rng.normal(size=500)
    quiet = SCMFitter(on_failure="return", random_seed=0, progress=False)
    model = quiet.fit(nx.DiGraph(edges), table).trust()
    begin = time.process_time()
    found = model.influence("n19")
    assert time.process_time() - begin < 10
    assert found.frame["share"].sum() == pytest.approx(1)
    assert set(found.frame["node"]) == set(table)


def test_one_seed_gives_the_same_bits(scm: FittedSCM) -> None:
    first, again, other = (scm.influence("bent", random_seed=seed).frame for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_root_is_all_its_own(scm: FittedSCM) -> None:
    found = scm.influence("a")
    assert found.frame["share"].tolist() == [1]
    assert found.sentence.startswith("100 % of the variance of a comes from a itself: ")
    assert len(found.plot().patches) == 1


def test_what_is_asked_wrongly_is_refused(scm: FittedSCM) -> None:
    with pytest.raises(GraphError, match="'z' is no node"):
        scm.influence("z")
    wrong: Any
    for wrong in (0, 1, 2.5):
        with pytest.raises(CausalkitError, match="num_samples is"):
            scm.influence("a", num_samples=wrong)


@pytest.mark.parametrize("kind", ["linear", "drawn"])
def test_intervals_hold_the_truth(kind: str, proof: bool) -> None:
    held = []
    for seed in range(200 if proof else FEW):
        rng = np.random.default_rng(seed)
        quiet = SCMFitter(
            groups="question" if kind == "linear" else None, quality="GOOD", on_failure="return", random_seed=seed
        )
        if kind == "linear":
            graph, table, target, truth = Service().graph, Service().table(rng), "total_ms", SERVICE
        else:
            graph, table, target = GRAPH.subgraph(["a", "b", "bent"]), draw(rng, 600), "bent"
            truth = {"a": 0.5, "b": 0.75, "bent": 1.0}
        frame = quiet.fit(graph, table).trust().influence(target).frame.set_index("node")
        held += [frame["low"][node] <= value <= frame["high"][node] for node, value in truth.items()]
    print(kind, round(float(np.mean(held)), 3))
    assert np.mean(held) >= (0.88 if proof else fewest(0.90, FEW))


def test_a_label_that_few_groups_have_blows_up_no_interval() -> None:
    rng = np.random.default_rng(0)
    values = {f"x{place}": column for place, column in enumerate(rng.normal(size=(5, 300)))}
    question = np.arange(300) // 3
    failed = (question < 4) & (rng.random(300) < 0.9)
    values["x0"] = np.where(failed, 2.5 + 0.1 * rng.normal(size=300), values["x0"])
    worked = 20 + 5 * values["x0"] + 3 * values["x0"] * values["x1"] + rng.normal(size=300)
    table = pd.DataFrame({**values, "failed": failed, "ms": np.where(failed, worked * rng.random(300) * 0.3, worked)})
    graph = nx.DiGraph([(node, "ms") for node in table if node != "ms"])
    fitter = SCMFitter(groups="question", quality="GOOD", on_failure="return", random_seed=0)
    frame = fitter.fit(graph, table.assign(question=question)).trust().influence("ms").frame
    assert (frame["high"] < frame["influence"].sum()).all()
