"""Simulated services that call one another and fail, to choose a root-cause method by; laid out like PetShop's tables.

A system is a call graph with a front end, shared backends, stores at the leaves, wrappers whose latency nearly equals
their callee's, and leaves that are another service as its caller sees it. A five-minute window of it obeys an account:
the latency of a service is its own time plus what it waits for the calls it made, its failures are its own plus those
its callees pass on, its requests are the calls made to it. A fault changes one service only; all else follows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx
import numpy as np
import pandas as pd

from tests.benchmarks.service_faults import FAULTS, NO_FAULT, Fault, draw_fault
from tests.benchmarks.service_windows import Call, Conditions, Service, latencies, layout, traffic

NORMAL_START = 1_692_608_400
MONTHS_AWAY = 120 * 86_400
NORMAL_ROWS = 589
MADS_MOVED = 5.0
REMADE = 0.5
# One failure in 2,000 requests: below it the deviation of an availability that never moved means nothing.
SMALLEST_MAD = {"latency": 1e-6, "availability": 0.05}


@dataclass(frozen=True)
class System:
    """Services, the calls between them, and how they run; everything else is drawn from the generator handed in."""

    calls: nx.DiGraph
    services: dict[str, Service]
    links: dict[tuple[str, str], Call]
    front: str
    day: float
    lost: float
    unrecorded: frozenset[str]

    def normal(self, num_rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """A recording without fault; a service that is hardly ever called may be absent from it."""
        table = self.record(rng, NORMAL_START, num_rows, 0.0, NO_FAULT)
        usual = usual_requests(self.services, self.links)
        rare = [name for name in sorted(self.services) if usual[name] < 1]
        return without(table, rare[:1])

    def incident(
        self, rng: np.random.Generator, kind: str, node: str, rows: int = 5, strength: float = 1.0
    ) -> pd.DataFrame:
        """Windows months from the normal recording, with a fault of this kind at `node`; strength 0 is none."""
        seed = int(rng.integers(2**60))
        fault = draw_fault(np.random.default_rng([seed, 1]), kind, node, rows, strength)
        table = self.record(np.random.default_rng([seed, 2]), NORMAL_START - MONTHS_AWAY, rows, 0.2, fault)
        choice = np.random.default_rng([seed, 3])
        others = sorted(set(self.services) - {self.front, node} - self.unrecorded)
        silent = [name for name in others if not table[name]["latency"].notna().any(axis=None)]
        absent = [name for name in silent if choice.random() < 0.5]
        return without(table, [*absent, *choice.choice(others, size=int(choice.integers(0, 2)), replace=False)])

    def normal_windows(self, rng: np.random.Generator, count: int, rows: int = 5) -> list[pd.DataFrame]:
        """Windows without fault, drifted as far from the normal recording as an incident is."""
        return [self.incident(rng, "delay", self.front, rows, strength=0.0) for _ in range(count)]

    def record(self, rng: np.random.Generator, start: float, rows: int, change: float, fault: Fault) -> pd.DataFrame:
        """What is measured from `start` on, every service changed by up to the share `change` from what it was.

        The same generator gives the same windows with and without fault, but for what the fault changes.
        """
        conditions = draw_conditions(self, rng, rows, change)
        order = callers_first(self.services, self.links)
        requests, made = traffic(order, self.services, self.links, conditions, fault)
        measured = latencies(order, self.services, self.links, conditions, fault, requests, made)
        recorded = [name for name in self.services if name not in self.unrecorded]
        return layout(recorded, measured, start + 300.0 * np.arange(rows), conditions, self.lost)


class Incident(NamedTuple):
    """What a ranker is asked, and the right answer."""

    normal: pd.DataFrame
    abnormal: pd.DataFrame
    calls: nx.DiGraph
    target: tuple[str, str, str]
    root: str
    kind: str


def simulate_system(seed: int) -> System:
    """The system of this seed: 10 to 45 services of which 9 to 17 % of the windows see no request."""
    for attempt in itertools.count():
        system = draw_system(np.random.default_rng([seed, attempt]))
        usual = usual_requests(system.services, system.links)
        quiet = float(np.mean([math.exp(-usual[name]) for name in system.services]))
        if 0.09 <= quiet <= 0.17 and 10 <= len(system.services) <= 45:
            break
    return system


def draw_incident(system: System, normal: pd.DataFrame, rng: np.random.Generator, kind: str = "") -> Incident | None:
    """A fault that moves latency or availability at the front end, at any service that can, each as likely.

    Of any kind where this kind moves nothing there; None where none does.
    """
    nodes = sorted(set(system.calls) & set(normal.columns.get_level_values(0)) & callees_below(system))
    kinds = [kind] if kind else [str(k) for k in rng.permutation(FAULTS)]
    for kind_tried, node in itertools.product(kinds, rng.permutation(nodes)):
        for strength in (1.0, 3.0, 9.0):
            seed = int(rng.integers(2**60))
            abnormal, twin = (
                system.incident(np.random.default_rng(seed), kind_tried, str(node), strength=s) for s in (strength, 0)
            )
            seen = node in abnormal.columns and bool(abnormal[node]["latency"].notna().any(axis=None))
            moved = [m for m in SMALLEST_MAD if seen and moves(normal, abnormal, twin, (system.front, m, "Average"))]
            if moved:
                target = (system.front, str(rng.choice(moved)), "Average")
                return Incident(normal, abnormal, system.calls, target, str(node), kind_tried)
    return draw_incident(system, normal, rng) if kind else None


def callees_below(system: System) -> set[str]:
    """Every service that the front end calls, directly or not, and that is a service of its own."""
    return {name for name in nx.descendants(system.calls, system.front) if not system.services[name].view_of}


def moves(normal: pd.DataFrame, abnormal: pd.DataFrame, twin: pd.DataFrame, target: tuple[str, str, str]) -> bool:
    """Whether two windows or more are far from normal and as far from what they were without the fault."""
    usual = normal[target].median()
    far = MADS_MOVED * max((normal[target] - usual).abs().median(), SMALLEST_MAD[target[1]])
    return bool((((abnormal[target] - usual).abs() > far) & ((abnormal[target] - twin[target]).abs() > far)).sum() >= 2)


def without(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return table.loc[:, ~table.columns.get_level_values(0).isin(names)]


def callers_first(services: dict[str, Service], links: dict[tuple[str, str], Call]) -> list[str]:
    """Callers before callees; a view comes before the service it is a view of."""
    graph = nx.DiGraph([*links, *((name, s.view_of) for name, s in services.items() if s.view_of)])
    return list(nx.lexicographical_topological_sort(graph))


def usual_requests(services: dict[str, Service], links: dict[tuple[str, str], Call]) -> dict[str, float]:
    usual = {name: service.entries for name, service in services.items()}
    for caller in callers_first(services, links):
        for (name, callee), call in links.items():
            if name == caller:
                usual[callee] += usual[caller] * call.per_request
    return usual


def unheeded(system: System) -> list[str]:
    """The services that, whatever they do, the front end hardly feels: on which it seldom or never waits."""
    weight = dict.fromkeys(system.services, 0.0) | {system.front: 1.0}
    for caller in callers_first(system.services, system.links):
        for (name, callee), call in system.links.items():
            if name == caller and call.waits != "never":
                weight[callee] += weight[caller] * call.per_request
    spent = {name: weight[name] * service.own_seconds for name, service in system.services.items()}
    total = sum(spent.values())
    return [n for n in sorted(spent) if weight[n] < 1e-3 and spent[n] < 0.01 * total and n != system.front]


def draw_conditions(system: System, rng: np.random.Generator, rows: int, change: float) -> Conditions:
    """How each service and each share of calls happens to run in these windows, whatever the fault."""
    seed = int(rng.integers(2**60))
    names, edges = sorted(system.services), sorted(system.links)
    wobble = np.array([system.services[name].wobble for name in names])
    memory = np.array([system.services[name].memory for name in names])
    steps = rng.normal(size=(rows, len(names)))
    for row in range(1, rows):
        steps[row] = memory * steps[row - 1] + np.sqrt(1 - memory**2) * steps[row]
    walk = np.cumsum(rng.normal(size=(rows, len(names))) * 0.03 / math.sqrt(NORMAL_ROWS), axis=0)
    pace = np.exp(wobble * steps + walk) * (1 + change * rng.uniform(-1, 1, len(names)))
    mixing = np.cumsum(rng.normal(size=(rows, len(edges))) * 0.03 / math.sqrt(NORMAL_ROWS), axis=0)
    mix = np.exp(mixing) * (1 + change * rng.uniform(-1, 1, len(edges)))
    hour = 2 * np.pi * (rng.integers(288) + np.arange(rows)) / 288
    busy = (1 + system.day * np.sin(hour)) * (1 + change * rng.uniform(-1, 1)) * np.exp(0.02 * rng.normal(size=rows))
    errors = {name: service.error_rate for name, service in system.services.items()}
    paces = dict(zip(names, pace.T, strict=True))
    for name in unheeded(system) if change else ():
        # Of the services that the front end does not depend on, PetShop's are often far from what they were.
        if rng.random() < REMADE:
            paces[name] = paces[name] * np.exp(1.5 * rng.normal())
        if rng.random() < REMADE:
            errors[name] = float(rng.choice([0.0, rng.uniform(0.3, 1.0), 1.0]))
    return Conditions(
        seed=seed,
        pace=paces,
        mix=dict(zip(edges, mix.T, strict=True)),
        busy=busy,
        errors=errors,
        usual=usual_requests(system.services, system.links),
    )


def draw_system(rng: np.random.Generator) -> System:
    """A tree of calls with shared backends, wrappers, views, other entries and a few services without data."""
    draft = _Draft(rng)
    size = int(rng.integers(10, 44))
    while len(draft.services) < size:
        draft.grow()
    for _ in range(int(0.2 * size)):
        draft.share()
    for _ in range(int(rng.integers(0, 3))):
        draft.view()
    for _ in range(int(rng.integers(0, 4))):
        draft.enter()
    names = [str(name) for name in rng.permutation(sorted(draft.services))]
    leaves = sorted(set(draft.services) - {caller for caller, _ in draft.links})
    calls = nx.DiGraph()
    calls.add_nodes_from(names)
    calls.add_edges_from(draft.links)
    return System(
        calls=calls,
        services={name: draft.services[name] for name in names},
        links=draft.links,
        front="front",
        day=float(rng.choice([0.0, rng.uniform(0.05, 0.4)])),
        lost=float(rng.uniform(0.0, 0.02)),
        unrecorded=frozenset(str(name) for name in rng.choice(leaves, size=int(rng.integers(0, 2)), replace=False)),
    )


class _Draft:
    """A system under construction; services are kept in an order in which callers precede callees."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.numbers = iter(rng.permutation(100))
        self.services = {"front": self._service("app", entries=10 ** rng.uniform(2.3, 3.3))}
        self.links: dict[tuple[str, str], Call] = {}
        self.apps = ["front"]

    def grow(self) -> None:
        kind = "app" if len(self.apps) < 3 else str(self.rng.choice(["app", "store", "remote"], p=[0.45, 0.35, 0.2]))
        name, parent = f"{kind}-{next(self.numbers)}", str(self.rng.choice(self.apps))
        self.services[name] = self._service(kind)
        call = self._call(rare=kind != "app", unheeded=self.services[name].error_rate > 0.1)
        if self.rng.random() < 0.25:
            wrapper = f"{name}_{self.rng.choice(['client', 'function', 'remote'])}"
            self.services[wrapper] = self._service("wrapper")
            self.links[wrapper, name] = Call(per_request=1.0, waits="one by one", passes_on=1.0)
            self.links[parent, wrapper] = call
        else:
            self.links[parent, name] = call
        if kind == "app":
            self.apps.append(name)

    def share(self) -> None:
        """One more caller of a service that came later than it, so that no circle closes."""
        made = [name for name in self.services if self.services[name].kind != "wrapper"]
        caller = str(self.rng.choice(self.apps))
        later = [name for name in made[made.index(caller) + 1 :] if (caller, name) not in self.links]
        if later:
            self.links[caller, str(self.rng.choice(later))] = self._call()

    def view(self) -> None:
        """A leaf that is another service as its caller sees it; the graph does not know that they are one."""
        seen = [(a, b) for a, b in self.links if b in self.apps and self.services[a].kind == "app"]
        if seen:
            caller, name = seen[int(self.rng.integers(len(seen)))]
            view = f"{name}_seen-{next(self.numbers)}"
            self.services[view] = self._service("wrapper", view_of=name)
            self.links[caller, view] = Call(self.links[caller, name].per_request, waits="never", passes_on=0.0)

    def enter(self) -> None:
        """A client of its own that calls one of the services, past the front end."""
        name, entry = str(self.rng.choice(self.apps[1:])), f"client-{next(self.numbers)}"
        self.services[entry] = self._service("wrapper", entries=10 ** self.rng.uniform(1, 2.5))
        self.links[entry, name] = Call(per_request=1.0, waits="one by one", passes_on=1.0)

    def _service(self, kind: str, entries: float = 0.0, view_of: str = "") -> Service:
        rng = self.rng
        low, high = {"app": (-3, -1.3), "store": (-2.7, -1), "remote": (-2, -0.3), "wrapper": (-4.5, -3.3)}[kind]
        faulty = rng.choice([0.0, 10 ** rng.uniform(-4.5, -2), rng.uniform(0.2, 0.6)], p=[0.6, 0.37, 0.03])
        return Service(
            kind=kind,
            own_seconds=10 ** rng.uniform(low, high),
            spread=rng.uniform(0.3, 1.2),
            wobble=10 ** rng.uniform(-2.3, -1),
            memory=rng.uniform(0.2, 0.8),
            load=rng.uniform(0.05, 0.5),
            error_rate=0.0 if kind == "wrapper" else float(faulty),
            entries=entries,
            view_of=view_of,
        )

    def _call(self, *, rare: bool = False, unheeded: bool = False) -> Call:
        rng = self.rng
        share = 0.25 if rare else 0.0
        often = rng.choice(
            [1.0, rng.uniform(0.1, 0.9), 2.0, 3.0, 10 ** rng.uniform(-4.5, -2.8)],
            p=[0.45, 0.35 - share, 0.15, 0.05, share],
        )
        return Call(
            per_request=float(often),
            waits=str(rng.choice(["one by one", "together", "never"], p=[0.7, 0.2, 0.1])),
            passes_on=0.0 if unheeded else float(rng.choice([1.0, rng.uniform(), 0.0], p=[0.45, 0.35, 0.2])),
            retries=int(rng.choice([0, 1, 2], p=[0.7, 0.2, 0.1])),
        )
