"""The account of a simulated system's windows: requests from callers to callees, failures and latency back again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tests.benchmarks.service_faults import Fault

STATISTICS = [
    ("latency", "Average"),
    ("latency", "p90"),
    ("latency", "p50"),
    ("latency", "p95"),
    ("latency", "p99"),
    ("requests", "Sum"),
    ("availability", "Average"),
]
# Requests drawn one by one for a window's percentiles; its average is over all its requests.
DRAWN = 96
# Of its own time, what a request has not spent yet when it fails fast.
SPARED = 0.8
BUSIEST = 0.95


@dataclass(frozen=True)
class Service:
    """How one service runs when nothing is wrong; `wobble` and `memory` are of a window's mean own time."""

    kind: str
    own_seconds: float
    spread: float
    wobble: float
    memory: float
    load: float
    error_rate: float
    entries: float = 0.0
    view_of: str = ""


@dataclass(frozen=True)
class Call:
    """How one service calls another: how often a request, whether it waits, which share of failures it passes on."""

    per_request: float
    waits: str
    passes_on: float
    retries: int = 0

    def failed(self, seen: np.ndarray) -> np.ndarray:
        """Share of the caller's requests that fail by this call, where `seen` is the share of single calls failing."""
        return np.asarray(self.passes_on * (1 - (1 - seen ** (1 + self.retries)) ** self.per_request))


@dataclass(frozen=True)
class Conditions:
    """How everything happened to run: factors of own times, calls a request and requests from outside, error rates."""

    seed: int
    pace: dict[str, np.ndarray]
    mix: dict[tuple[str, str], np.ndarray]
    busy: np.ndarray
    errors: dict[str, float]
    usual: dict[str, float]

    def generator(self, name: str, purpose: int) -> np.random.Generator:
        """One stream a service and purpose: what a fault does not touch is drawn as it would be without."""
        return np.random.default_rng([self.seed, sorted(self.pace).index(name), purpose])


class Measured(NamedTuple):
    """One service's windows: requests, mean latency, single requests' latencies, failed requests."""

    requests: np.ndarray
    latency: np.ndarray
    drawn: np.ndarray
    failed: np.ndarray

    @property
    def failing(self) -> np.ndarray:
        return self.failed / np.maximum(self.requests, 1)


Links = dict[tuple[str, str], Call]


def traffic(
    order: list[str], services: dict[str, Service], links: Links, now: Conditions, fault: Fault
) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Requests of every service, and calls made along every link."""
    reach, attempts = expected_calls(order, services, links, now, fault)
    requests = {name: np.zeros(len(now.busy)) for name in order}
    made: dict[tuple[str, str], np.ndarray] = {}
    for name in order:
        rng = now.generator(name, 0)
        if services[name].entries:
            requests[name] = requests[name] + rng.poisson(services[name].entries * now.busy)
        if services[name].view_of:
            continue
        requests[name] = np.rint(requests[name] * (1 + fault.at(name).extra))
        for callee in callees(name, links):
            call = links[name, callee]
            often = call.per_request * reach[name, callee] * attempts[name, callee]
            if call.per_request == int(call.per_request):
                made[name, callee] = np.rint(requests[name] * often)
            else:
                made[name, callee] = rng.poisson(requests[name] * often * now.mix[name, callee]).astype(float)
        for callee in callees(name, links):
            if services[callee].view_of:
                made[name, callee] = made[name, services[callee].view_of]
            requests[callee] = requests[callee] + made[name, callee]
    return requests, made


def expected_calls(
    order: list[str], services: dict[str, Service], links: Links, now: Conditions, fault: Fault
) -> tuple[dict[tuple[str, str], np.ndarray], dict[tuple[str, str], np.ndarray]]:
    """Of each link: share of requests that live to make the call, and attempts a call, retries included."""
    failing: dict[str, np.ndarray] = {}
    reach, attempts = {}, {}
    for name in reversed(order):
        wrong = fault.at(name)
        alive = np.ones(len(now.busy)) * (1 - (wrong.errors if wrong.fast else 0.0))
        for callee in callees(name, links):
            call = links[name, callee]
            seen = np.minimum(1, failing[callee] + fault.at(callee).timeouts)
            reach[name, callee] = alive
            attempts[name, callee] = sum((seen**n for n in range(call.retries + 1)), start=np.zeros(len(alive)))
            if call.waits != "never":
                alive = alive * (1 - call.failed(seen))
        late = now.errors[name] + (0.0 if wrong.fast else wrong.errors)
        failing[name] = 1 - alive * np.maximum(0, 1 - late)
    return reach, attempts


def latencies(
    order: list[str],
    services: dict[str, Service],
    links: Links,
    now: Conditions,
    fault: Fault,
    requests: dict[str, np.ndarray],
    made: dict[tuple[str, str], np.ndarray],
) -> dict[str, Measured]:
    """What every service measures, callees first."""
    measured: dict[str, Measured] = {}
    for name in reversed(order):
        service, rng = services[name], now.generator(name, 1)
        if service.view_of:
            measured[name] = seen_by_caller(service, measured[service.view_of], requests[name], rng)
            continue
        count = np.maximum(requests[name], 1)
        latency, drawn = own_time(name, service, now, fault.at(name), requests[name], rng)
        own = np.clip(now.errors[name] + fault.at(name).errors, 0, 1)
        alive = 1 - rng.binomial(count.astype(int), own * np.ones(len(count))) / count
        longest, longest_drawn = np.zeros(len(count)), np.zeros_like(drawn)
        for callee in callees(name, links):
            call, wrong, below = links[name, callee], fault.at(callee), measured[callee]
            seen = np.minimum(1, below.failing + wrong.timeouts)
            if call.waits == "never":
                continue
            calls = made[name, callee] / count
            part = calls * (as_called(below, made[name, callee], rng) + wrong.backoff * seen)
            repeated = seen[:, None] > rng.random(drawn.shape)
            part_drawn = of_single_requests(below.drawn + wrong.backoff * repeated, calls, rng)
            if call.waits == "together":
                longest, longest_drawn = np.maximum(longest, part), np.maximum(longest_drawn, part_drawn)
            else:
                latency, drawn = latency + part, drawn + part_drawn
            failed = call.failed(seen)
            exact = call.passes_on == 1 and call.per_request == 1
            alive = alive * (1 - (failed if exact else rng.binomial(count.astype(int), failed) / count))
        measured[name] = Measured(
            requests[name], latency + longest, drawn + longest_drawn, np.rint((1 - alive) * requests[name])
        )
    return measured


def own_time(
    name: str, service: Service, now: Conditions, wrong: Fault, requests: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A service's own seconds a request: the mean over all requests of a window, and of single ones."""
    usual = now.usual[name]
    crowd = requests / usual if usual > 50 else 1.0
    queue = (1 - service.load) / (1 - np.minimum(BUSIEST, service.load * crowd))
    mean = service.own_seconds * now.pace[name] * queue * (1 + wrong.slower) * np.ones(len(requests))
    spread, count = service.spread + wrong.tail, np.maximum(requests, 1)
    scatter = np.log1p(np.expm1(spread**2) / count)
    spared = 1 - SPARED * (wrong.errors if wrong.fast else 0.0)
    average = mean * spared * np.exp(np.sqrt(scatter) * rng.normal(size=len(mean)) - scatter / 2)
    drawn = (mean * spared)[:, None] * np.exp(spread * rng.normal(size=(len(mean), DRAWN)) - spread**2 / 2)
    share = np.minimum(1, wrong.share * np.ones(len(mean)))
    average = average + wrong.delay * rng.binomial(count.astype(int), share) / count
    return average, drawn + wrong.delay * (rng.random(drawn.shape) < share[:, None])


def as_called(below: Measured, calls: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean latency of one caller's share of a callee's requests."""
    unlike = below.drawn.std(axis=1) * np.sqrt(
        np.maximum(0, 1 / np.maximum(calls, 1) - 1 / np.maximum(below.requests, 1))
    )
    return np.maximum(0.2 * below.latency, below.latency + unlike * rng.normal(size=len(calls)))


def of_single_requests(drawn: np.ndarray, calls: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What single requests wait for a callee, of whose latencies each call takes one."""
    total = np.zeros_like(drawn)
    for number in range(int(min(4, np.ceil(calls.max(initial=0))))):
        total += rng.permuted(drawn, axis=1) * (rng.random(drawn.shape) < (calls - number)[:, None])
    return total


def seen_by_caller(service: Service, below: Measured, requests: np.ndarray, rng: np.random.Generator) -> Measured:
    """A service once more, from the outside: its latency and failures, and the way there."""
    latency = as_called(below, requests, rng) + service.own_seconds
    failed = rng.binomial(requests.astype(int), np.minimum(1, below.failing))
    return Measured(requests, latency, below.drawn + service.own_seconds, failed.astype(float))


def callees(name: str, links: Links) -> list[str]:
    return [callee for caller, callee in links if caller == name]


def layout(
    recorded: list[str], measured: dict[str, Measured], times: np.ndarray, now: Conditions, lost: float
) -> pd.DataFrame:
    """The columns of PetShop's tables; a service without requests has neither latency nor availability."""
    columns: dict[tuple[str, str, str], np.ndarray] = {}
    for metric, statistic in STATISTICS:
        for name in recorded:
            of = measured[name]
            match metric:
                case "requests":
                    values = of.requests
                case "availability":
                    values = 100 * (1 - of.failing)
                case _ if statistic == "Average":
                    values = of.latency
                case _:
                    values = np.quantile(of.drawn, float(statistic[1:]) / 100, axis=1)
            gone = now.generator(name, 2).random(len(times)) < lost
            silent = (of.requests == 0) & (metric != "requests")
            columns[name, metric, statistic] = np.where(gone | silent, np.nan, values)
    table = pd.DataFrame(columns, index=pd.Index(times, name="unix_timestamp"))
    table.columns.names = ["microservice", "metric", "statistic"]
    return table
