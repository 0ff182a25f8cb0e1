"""What fitting costs and how well it predicts, beside DoWhy's automatic assignment: ``python -m tests.benchmarks.fit``.

Each measurement runs in a process of its own, warm, with one thread; CPU seconds are those of the fastest run (one run
where it takes long). All are judged on the same fresh rows from the generator: R2 for numbers, log-loss skill for
labels. ``--rows 100000`` and ``--nodes 1000`` make the random graph larger: with more than 1,000 rows DoWhy fits only
`SAMPLED` of the nodes, and its seconds are scaled to all of them (``--full``: fits all); with more than 100 nodes it
is left out (unless ``--full``). ``--profile`` shows where our time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests import truth

SEED, HELD_OUT, REFERENCE, NOISE = 7, 2000, 20_000, 0.3
# DoWhy takes minutes a node on 100,000 rows.
SAMPLED = 10
ENGINES = ("AUTO", "GOOD", "DoWhy")
SHAPES: dict[str, Callable[[Any, float], Any]] = {
    "linear": lambda x, a: a * x,
    "square": lambda x, a: a * x**2,
    "sine": lambda x, a: np.sin(2 * x),
    "tanh": lambda x, a: np.tanh(2 * x),
}


@dataclass(frozen=True)
class Case:
    """A graph and a generator of its rows."""

    title: str
    graph: nx.DiGraph
    draw: Callable[[int, int], pd.DataFrame]
    num_rows: int = 1000

    @property
    def modelled(self) -> list[str]:
        return [node for node in nx.topological_sort(self.graph) if self.graph.in_degree(node)]


def main() -> None:
    asked = _arguments()
    if asked.engine:
        print(json.dumps(measure(asked)))
    elif asked.profile:
        profile(asked)
    else:
        large = asked.rows != 1000 or asked.nodes != 100
        for name in asked.cases or (["random"] if large else list(CASES)):
            compare(name, asked)


def compare(name: str, asked: argparse.Namespace) -> None:
    """Print the figures of one case and the nodes that DoWhy predicts better."""
    case = CASES[name](asked)
    sizes = f"{len(case.graph)} nodes, {len(case.modelled)} with parents, {case.num_rows:,} rows"
    print(f"\n{name}: {case.title} ({sizes})", flush=True)
    engines = ENGINES if asked.nodes <= 100 or asked.full else ENGINES[:2]
    found = {engine: _in_a_child(name, engine, asked) for engine in engines}
    theirs = found.get("DoWhy")
    if theirs and len(theirs["scores"]) < len(case.modelled):
        print(
            f"  DoWhy fitted {', '.join(theirs['scores'])} only; its seconds are scaled to {len(case.modelled)} nodes"
        )
    print(
        f"  {'':6}{'CPU s':>10}{'DoWhy /':>9}{'mean':>8}{'worst':>8}{'peak MB':>9}  (scores of the nodes DoWhy fitted)"
    )
    for engine, figures in found.items():
        ratio = theirs["cpu"] / figures["cpu"] if theirs else float("nan")
        scores = [figures["scores"][node] for node in (theirs or figures)["scores"]]
        print(
            f"  {engine:6}{figures['cpu']:10.3f}{ratio:9.1f}{np.mean(scores):8.4f}{min(scores):8.4f}"
            f"{figures['peak']:9.0f}"
        )
    for engine in ENGINES[:2]:
        if theirs:
            _print_losses(engine, found[engine], theirs, case.graph)


def _print_losses(engine: str, ours: dict[str, Any], theirs: dict[str, Any], graph: nx.DiGraph) -> None:
    losses = {node: score - ours["scores"][node] for node, score in theirs["scores"].items()}
    lost = sorted((node for node in losses if losses[node] > 0.002), key=lambda node: -losses[node])
    gained = sum(loss < -0.002 for loss in losses.values())
    print(f"  {engine} is lower by more than .002 on {len(lost)} nodes, higher on {gained}")
    for node in lost[:15]:
        print(
            f"    {node:6} {ours['scores'][node]:.4f} {ours['forms'][node]}, DoWhy {theirs['scores'][node]:.4f} "
            f"{theirs['forms'][node]}; {graph.nodes[node].get('made', '')}"
        )


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Return CPU seconds, peak memory in MB above table and imports, and each node's score and form."""
    case = CASES[asked.cases[0]](asked)
    table, unseen = case.draw(case.num_rows, 1), case.draw(HELD_OUT, 2)
    fit = fit_dowhy if asked.engine == "DoWhy" else fit_ours
    for warm in (_random(10, 300), _labels()):
        fit(warm.graph, warm.draw(300, 1), warm.modelled, asked.engine)
    nodes = case.modelled
    if asked.engine == "DoWhy" and case.num_rows > 1000 and not asked.full:
        nodes = nodes[:: max(1, len(nodes) // SAMPLED)][:SAMPLED]
    before = _from_here_on()
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < 5:
        began = time.process_time()
        fitted = fit(case.graph, table, nodes, asked.engine)
        seconds.append(time.process_time() - began)
    judge = judge_dowhy if asked.engine == "DoWhy" else judge_ours
    judged = {node: judge(fitted, node, table, unseen) for node in nodes}
    return {
        "cpu": min(seconds) * len(case.modelled) / len(nodes),
        "peak": (_memory("VmHWM") - before) / 1024,
        "scores": {node: score for node, (score, _) in judged.items()},
        "forms": {node: form for node, (_, form) in judged.items()},
    }


def fit_ours(graph: nx.DiGraph, table: pd.DataFrame, nodes: list[str], quality: Any) -> FittedSCM:
    return SCMFitter(quality=quality, random_seed=0, on_failure="return", progress=False).fit(graph, table)


def fit_dowhy(graph: nx.DiGraph, table: pd.DataFrame, nodes: list[str], quality: Any) -> Any:
    from dowhy import gcm

    gcm.config.disable_progress_bars()
    gcm.config.set_default_n_jobs(1)
    gcm.util.general.set_random_seed(0)
    families = set(nodes).union(*(graph.predecessors(node) for node in nodes))
    plain = nx.DiGraph((parent, node) for node in nodes for parent in graph.predecessors(node))
    model = gcm.InvertibleStructuralCausalModel(plain)
    gcm.auto.assign_causal_mechanisms(model, table[sorted(families)])
    gcm.fit(model, table)
    return model


def judge_ours(scm: FittedSCM, node: str, table: pd.DataFrame, unseen: pd.DataFrame) -> tuple[float, str]:
    from causalkit.tables import check_table

    mechanism = scm.mechanisms[node]
    rows = check_table(unseen, mechanism.parents, levels=scm.levels)
    columns = [rows[[parent]].to_numpy() for parent in mechanism.parents]
    if node in scm.levels:
        return skill(
            mechanism.probabilities(columns)[..., 0].T, scm.levels[node], table[node], unseen[node]
        ), mechanism.rung
    predicted = mechanism.fitted(columns)[:, 0]
    if mechanism.log:
        predicted = np.exp(predicted) * np.mean(np.exp(mechanism.residuals))
    return r2(predicted, unseen[node]), mechanism.rung


def judge_dowhy(model: Any, node: str, table: pd.DataFrame, unseen: pd.DataFrame) -> tuple[float, str]:
    mechanism = model.causal_mechanism(node)
    parents = unseen[sorted(model.graph.predecessors(node))].to_numpy()
    if hasattr(mechanism, "classifier_model"):
        classifier = mechanism.classifier_model
        chances = classifier.predict_probabilities(parents)
        return skill(chances, list(classifier.classes), table[node], unseen[node]), _form(classifier)
    return r2(mechanism.prediction_model.predict(parents).ravel(), unseen[node]), _form(mechanism.prediction_model)


def r2(predicted: np.ndarray, actual: pd.Series) -> float:
    return float(1 - np.mean((actual.to_numpy() - predicted) ** 2) / np.var(actual.to_numpy()))


def skill(chances: np.ndarray, labels: Any, learnt: pd.Series, actual: pd.Series) -> float:
    """Log-loss against that of the base rates; probabilities of both engines end at a millionth."""
    places = actual.map({label: place for place, label in enumerate(labels)}).to_numpy(int)
    told = np.clip(chances, 1e-6, 1)[np.arange(len(places)), places]
    base = actual.map(learnt.value_counts(normalize=True)).to_numpy(float)
    return float(1 - np.log(told).sum() / np.log(base).sum())


def profile(asked: argparse.Namespace) -> None:
    """Print the 15 functions in which a warm fit of ours spends most."""
    case = CASES[(asked.cases or ["random"])[0]](asked)
    table = case.draw(case.num_rows, 1)
    fit_ours(case.graph, table.head(300), [], "AUTO")
    profiler = cProfile.Profile()
    profiler.runcall(fit_ours, case.graph, table, [], "AUTO")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(15)


class RandomGraph:
    """Nodes with one to three parents among earlier ones, each bent in its own way, and noise; all of unit variance."""

    def __init__(self, num_nodes: int) -> None:
        generator = np.random.default_rng(SEED)
        self.made: dict[str, list[tuple[str, str, float]]] = {}
        for node in range(num_nodes):
            # Ten roots, so that there is something to choose parents from.
            num_parents = 0 if node < min(10, num_nodes // 3) else int(generator.integers(1, 4))
            parents = generator.choice(node, min(num_parents, node), replace=False) if num_parents else []
            shapes = generator.choice(list(SHAPES), len(parents))
            sizes = generator.uniform(0.5, 1.5, len(parents)) * generator.choice([-1, 1], len(parents))
            named = [f"n{parent}" for parent in parents]
            self.made[f"n{node}"] = list(zip(named, map(str, shapes), sizes.tolist(), strict=True))

    @cached_property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        for node, parts in self.made.items():
            graph.add_node(node, made=" + ".join(f"{shape}({parent})" for parent, shape, _ in parts))
            graph.add_edges_from((parent, node) for parent, _, _ in parts)
        return graph

    def draw(self, num_rows: int, seed: int) -> pd.DataFrame:
        return pd.DataFrame(self._columns(num_rows, seed, self._moments))

    @cached_property
    def _moments(self) -> dict[str, tuple[float, float]]:
        # One standardisation for all tables: otherwise each would come from its own generator.
        moments: dict[str, tuple[float, float]] = {}
        self._columns(REFERENCE, 0, moments)
        return moments

    def _columns(self, num_rows: int, seed: int, moments: dict[str, tuple[float, float]]) -> dict[str, np.ndarray]:
        generator = np.random.default_rng((SEED, seed))
        columns: dict[str, np.ndarray] = {}
        for node, parts in self.made.items():
            noise = generator.normal(size=num_rows)
            if not parts:
                columns[node] = noise
                continue
            value = sum(SHAPES[shape](columns[parent], size) for parent, shape, size in parts)
            centre, scale = moments.setdefault(node, (float(np.mean(value)), float(np.std(value))))
            columns[node] = ((value - centre) / scale + NOISE * noise) / np.hypot(1, NOISE)
        return columns


def _random(num_nodes: int, num_rows: int) -> Case:
    made = RandomGraph(num_nodes)
    return Case("linear, quadratic, sine and tanh edges", made.graph, made.draw, num_rows)


def _labels(num_rows: int = 1000) -> Case:
    edges = [("load", "ok"), ("region", "ok"), ("load", "route"), ("tier", "route"), ("ok", "route")]
    edges += [("route", "search"), ("load", "search"), ("ok", "cost"), ("tier", "cost"), ("search", "cost")]
    edges += [("cost", "paid"), ("route", "paid")]
    return Case(
        "text roots, boolean and three-label targets, numeric children", nx.DiGraph(edges), draw_labels, num_rows
    )


def draw_labels(num_rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng((SEED, seed))
    region, tier = generator.choice(["eu", "us", "ap"], num_rows), generator.choice(["free", "pro"], num_rows)
    load = generator.normal(size=num_rows)
    ok = 1.5 * load + 1.5 * (region == "eu") - 0.5 + generator.logistic(size=num_rows) > 0
    leaning = np.column_stack([0 * load, 2 * load + (tier == "pro"), 2 * ok - load])
    route = np.array(["deep", "fast", "none"])[np.argmax(leaning + generator.gumbel(size=leaning.shape), axis=1)]
    search = 2 * (route == "deep") - (route == "none") + load * (1 + (route == "fast"))
    search = search + 0.5 * generator.normal(size=num_rows)
    cost = search * (1 + (tier == "pro")) + 2 * ok + 0.5 * generator.normal(size=num_rows)
    paid = cost**2 / 4 - 1 + (route == "fast") + generator.logistic(size=num_rows) > 0
    columns = {"region": region, "tier": tier, "load": load, "ok": ok, "route": route}
    return pd.DataFrame({**columns, "search": search, "cost": cost, "paid": paid})


def _recipe(title: str, edges: list[tuple[str, str]], recipe: Callable[[int, int], pd.DataFrame]) -> Case:
    return Case(title, nx.DiGraph(edges), recipe)


CASES: dict[str, Callable[[argparse.Namespace], Case]] = {
    "chain": lambda asked: _recipe("X -> Y -> Z", [("X", "Y"), ("Y", "Z")], truth.linear_chain),
    "diamond": lambda asked: _recipe(
        "A -> B, C -> D", [("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")], truth.complex_dag
    ),
    "random": lambda asked: _random(asked.nodes, asked.rows),
    "labels": lambda asked: _labels(),
}


def _from_here_on() -> int:
    """Forget the peak of what came before; return the memory held now, in kB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _form(model: Any) -> str:
    steps = getattr(model.sklearn_model, "steps", [("", model.sklearn_model)])
    return "+".join(type(step).__name__ for _, step in steps)


def _in_a_child(name: str, engine: str, asked: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.fit", name, "--engine", engine]
    command += ["--rows", str(asked.rows), "--nodes", str(asked.nodes), *(["--full"] if asked.full else [])]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    parser.add_argument("--rows", type=int, default=1000, help="of the random graph")
    parser.add_argument("--nodes", type=int, default=100, help="of the random graph")
    parser.add_argument("--full", action="store_true", help="DoWhy fits every node of large cases too")
    parser.add_argument("--profile", action="store_true", help="where our time goes")
    parser.add_argument("--engine", choices=ENGINES, help="measure one engine and print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
