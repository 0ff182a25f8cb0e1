"""Releases of `search_qa` drawn by seed: what changed in each of them, where and how much, is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, TypeVar

import numpy as np
from scipy.optimize import brentq

from causalkit.examples.release_steps import KINDS, Kind, failing
from causalkit.examples.router import load_questions, route
from causalkit.examples.search_index import split_words
from causalkit.examples.search_qa import KNOBS, STEPS, STOP_WORDS, Step

INPUT_MIX = "input mix"
ORDER = (
    "slow-down", "no change", "speed-up", "slow-down", "input mix", "failing", "slow-down", "hidden", "slow-down",
    "double", "slow-down", "slow-down",
)  # fmt: skip
"""What a dozen of releases is made of; which comes when is drawn."""
SIZES = (0.5, 4.0)
DOUBLE_SIZES = (1.0, 3.0)
MIX_SIZES = (0.5, 1.2)
FAILING_SHARES = (0.05, 0.15)
LEAST_USES = 9
COPIES = 20
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Change:
    """One change: of a step, or of what the workflow is asked.

    Parameters
    ----------
    at : str
        The step; or the input: a knob, or ``question``.
    what : str
        In words.
    size : float
        How much: in standard deviations of the step's self time or of the input (of a question its length), or for a
        step that fails the share of the questions that it fails at.
    words : tuple of str
        Of a step that fails: the questions with one of these words are those that it fails at.
    """

    at: str
    what: str
    size: float
    words: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What the size is counted in: ``sd``, or ``share`` of the questions."""
        return "share" if self.words else "sd"


@dataclass(frozen=True)
class Release:
    """A version of the workflow of which it is known what changed.

    Parameters
    ----------
    name : str
    kind : str
        ``slow-down``, ``speed-up``, ``double`` (two slow-downs), ``hidden`` (a speed-up and a slow-down of about as
        many milliseconds), ``failing``, ``input mix`` or ``no change``.
    changes : tuple of Change

    Examples
    --------
    >>> Release("release_01", "slow-down", (Change("rerank", "aligns documents in more passes", 1.5),))
    Release(release_01: slow-down, rerank +1.50 sd)
    """

    name: str
    kind: str
    changes: tuple[Change, ...] = ()

    @property
    def truth(self) -> tuple[str, ...]:
        """The steps whose own behaviour changed, ``("input mix",)``, or nothing."""
        return (INPUT_MIX,) if self.kind == INPUT_MIX else tuple(change.at for change in self.changes)

    @property
    def size_sd(self) -> tuple[float, ...]:
        """The size of each change in standard deviations; nothing for a step that fails."""
        return () if self.kind == "failing" else tuple(change.size for change in self.changes)

    def steps(self, amounts: Mapping[Change, float]) -> tuple[Step, ...]:
        """Return the steps of this release, each changed one with so much work more or less."""
        changed = {change.at: change for change in self.changes}
        return tuple(
            _changed(step, changed[name], amounts) if (name := step.__name__) in changed else step for step in STEPS
        )

    def knobs(self) -> dict[str, tuple[Any, ...]]:
        """Return what each knob is drawn from."""
        shifts = self._shifts()
        return {name: tilted(values, shifts.get(name, 0.0)) for name, values in KNOBS.items()}

    def questions(self, questions: Sequence[str]) -> tuple[str, ...]:
        """Return what the questions are drawn from: longer ones occur more often if their length was to grow."""
        return tilted(questions, self._shifts().get("question", 0.0), [len(question) for question in questions])

    def _shifts(self) -> dict[str, float]:
        return {change.at: change.size for change in self.changes} if self.kind == INPUT_MIX else {}

    def __repr__(self) -> str:
        told = ", ".join(f"{change.at} {change.size:+.2f} {change.unit}" for change in self.changes)
        return f"Release({self.name}: {self.kind}{', ' + told if told else ''})"


def draw_releases(random_seed: int, n: int = 12) -> list[Release]:
    """Draw releases: which steps change, how, and how much.

    Parameters
    ----------
    random_seed : int
        Decides all of it.
    n : int, default 12
        How many. In a dozen are six slow-downs (at least one of every step, from half a standard deviation to four), a
        speed-up, a double change, a hidden one, a step that fails, a changed input mix, and one without any change.

    Returns
    -------
    list of Release

    Examples
    --------
    >>> releases = draw_releases(0)
    >>> Counter(release.kind for release in releases).most_common(1)
    [('slow-down', 6)]
    >>> draw_releases(0) == releases
    True
    """
    rng = np.random.default_rng(random_seed)
    kinds = [str(kind) for kind in rng.permutation(list(islice(cycle(ORDER), n)))]
    slow_downs = _slow_downs(rng, kinds.count("slow-down"))
    return [
        Release(f"release_{number:02}", kind, (next(slow_downs),) if kind == "slow-down" else _CHANGES[kind](rng))
        for number, kind in enumerate(kinds, 1)
    ]


def kind_of(change: Change) -> Kind | None:
    """Return how the step is made slower or faster; None where it fails, or where what is asked changes."""
    return next((kind for kind in KINDS if kind.what == change.what), None)


def asked_questions(expected_failure: bool = False) -> list[str]:
    """Return the questions that the workflow is asked, those it can answer or the few it cannot.

    Examples
    --------
    >>> asked_questions()[0]
    'I am trying to understand the warning that my rolling window is not monotonic'
    """
    return [
        entry["question"]
        for entry in load_questions()
        if ("expected_failure" in entry) == expected_failure and route(entry["question"]).workflow == "search_qa"
    ]


def tilted(values: Sequence[_Value], shift_sd: float, sizes: Sequence[float] | None = None) -> tuple[_Value, ...]:
    """Repeat values so that the mean of what is drawn from them lies so many standard deviations higher.

    Examples
    --------
    >>> Counter(tilted((1, 2, 3), 0.5)).most_common()
    [(3, 34), (2, 17), (1, 9)]
    """
    if not shift_sd:
        return tuple(values)
    numbers = np.asarray(values if sizes is None else sizes, dtype=float)
    scaled = (numbers - numbers.mean()) / numbers.std()

    def shares(tilt: float) -> np.ndarray:
        weights: np.ndarray = np.exp(tilt * scaled - (tilt * scaled).max())
        weights /= weights.sum()
        return weights

    tilt = brentq(lambda tilt: shares(tilt) @ scaled - shift_sd, -20, 20)
    counts = np.round(shares(tilt) * len(values) * COPIES).astype(int)
    return tuple(value for value, count in zip(values, counts, strict=True) for _ in range(count))


def _slow_downs(rng: np.random.Generator, count: int) -> Iterator[Change]:
    """Yield slow-downs of all steps in turn, in sizes of all orders."""
    edges = np.geomspace(*SIZES, count + 1)
    steps = cycle(rng.permutation([step.__name__ for step in STEPS]))
    for place in rng.permutation(count):
        yield _change(rng, str(next(steps)), rng.uniform(edges[place], edges[place + 1]))


def _change(rng: np.random.Generator, step: str, size: float) -> Change:
    fitting = [kind for kind in KINDS if kind.step == step and kind.least <= size <= kind.most]
    return Change(step, fitting[rng.integers(len(fitting))].what, round(float(size), 2))


def _speed_up(rng: np.random.Generator) -> tuple[Change, ...]:
    return (_faster(rng, [kind for kind in KINDS if kind.most < 0]),)


def _faster(rng: np.random.Generator, kinds: Sequence[Kind]) -> Change:
    kind = kinds[int(rng.integers(len(kinds)))]
    return Change(kind.step, kind.what, round(rng.uniform(kind.least, kind.most), 2))


def _double(rng: np.random.Generator) -> tuple[Change, ...]:
    steps = rng.permutation([step.__name__ for step in STEPS])[:2]
    return tuple(_change(rng, str(step), rng.uniform(*DOUBLE_SIZES)) for step in steps)


def _hidden(rng: np.random.Generator) -> tuple[Change, ...]:
    # Their times vary by about as many milliseconds: as many standard deviations hide each other.
    steps = ("web_search", "rerank")
    faster = _faster(rng, [kind for kind in KINDS if kind.most < 0 and kind.step in steps])
    other = steps[faster.at == steps[0]]
    return (faster, _change(rng, other, -faster.size))


def _fails(rng: np.random.Generator) -> tuple[Change, ...]:
    asked = [set(split_words(question)) for question in asked_questions()]
    uses = Counter(word for question in asked for word in question - STOP_WORDS)
    often = rng.permutation(sorted(word for word, count in uses.items() if count >= LEAST_USES))
    least = rng.uniform(*FAILING_SHARES)
    words: tuple[str, ...] = ()
    while (share := sum(not question.isdisjoint(words) for question in asked) / len(asked)) < least:
        words += (str(often[len(words)]),)
    step = STEPS[rng.integers(len(STEPS))].__name__
    return (Change(step, f"fails for questions that speak of {' or '.join(words)}", round(share, 3), words),)


def _input_mix(rng: np.random.Generator) -> tuple[Change, ...]:
    knob = str(rng.choice(["candidates", "rerank_depth", "corpus_size", "answer_sentences"]))
    # Most questions are short: their mean length can only grow by as much.
    shift, sign = rng.uniform(*MIX_SIZES, size=2), rng.choice([-1, 1])
    return (
        Change("question", "longer questions are asked more often", round(float(shift[0]), 2)),
        Change(knob, "other values of the setting are drawn more often", round(float(sign * shift[1]), 2)),
    )


def _no_change(_: np.random.Generator) -> tuple[Change, ...]:
    return ()


_CHANGES = {
    "speed-up": _speed_up,
    "double": _double,
    "hidden": _hidden,
    "failing": _fails,
    "input mix": _input_mix,
    "no change": _no_change,
}


def _changed(step: Step, change: Change, amounts: Mapping[Change, float]) -> Step:
    if kind := kind_of(change):
        return kind.make(amounts[change])
    return failing(step, change.words)
