"""A panel that reads handwritten digits: ten classifiers in two ensembles, and a judge who decides from their votes.

Two things about each decision are drawn at random, whatever the image: how much noise is put on it, and which members
take part. So it is known what causes disagreement and wrong verdicts, and how much of it. The images are scikit-learn's
1,797 digits of 8 x 8 pixels; the members have learnt from one half of them and judge the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from causalkit.errors import CausalkitError
from causalkit.examples.digits_members import Member, train_members
from causalkit.operators.open_calls import emit_metric
from causalkit.operators.tracing import trace

NOISE_LEVELS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
"""What the standard deviation of the noise is drawn from; pixels go from 0 to 16."""
ABSENT = {"ensemble_1": 0.4, "ensemble_2": 0.2}
"""How likely each member is to be left out of a decision."""
LEAST_MEMBERS = {"ensemble_1": 2, "ensemble_2": 1}
"""How many members of each ensemble take part at least: who does is drawn anew until so many do.

That is rarely needed (in 1.9 and 0.8 % of the draws), so that one member's taking part says next to nothing about
another's.
"""
_INK = 16
# Variance added to each pixel before the covariance is inverted: many pixels of the margin are always 0.
_LEAST_VARIANCE = 10.0
_WORKERS = 4


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """An image to judge, and how the knobs stand.

    Attributes
    ----------
    image : int
        Its number among scikit-learn's digits.
    label : int
        The digit that it is.
    noise : float
        Standard deviation of the noise that was put on it.
    present : frozenset of str
        The members that take part.
    pixels : ndarray
        With the noise: whole numbers from 0 to 16.
    looks_like, leans_to : int
        The digit whose average image is nearest to the pixels, by plain distance and by one that makes less of what
        varies much, or together, among images of one digit.
    looks_margin, leans_margin : float
        The distance from the nearest over that from the second nearest: 1 if the pixels lie midway.
    ink : float
        The mean of the pixels.
    """

    image: int
    label: int
    noise: float
    present: frozenset[str]
    pixels: NDArray[np.float64]
    looks_like: int
    looks_margin: float
    leans_to: int
    leans_margin: float
    ink: float

    def __repr__(self) -> str:
        return f"<Case of image {self.image}, a {self.label}, noise {self.noise:g}, {len(self.present)} members>"


@dataclass(frozen=True, eq=False, repr=False)
class DigitsPanel:
    """Two ensembles and a judge; make one with `trained`.

    Attributes
    ----------
    ensembles : dict of str to list of Member
        The members by stage.
    templates : ndarray
        The average image of each digit.
    precision : ndarray
        The inverse of how pixels vary together among images of one digit.
    judged : ndarray
        The numbers of the images that no member learnt from.

    Examples
    --------
    >>> panel = DigitsPanel.trained()
    >>> case = panel.cases(1)[0]
    >>> case, panel.decide(case)
    (<Case of image 1530, a 2, noise 6, 7 members>, 2)
    """

    ensembles: dict[str, list[Member]]
    templates: NDArray[np.float64]
    precision: NDArray[np.floating[Any]]
    judged: NDArray[np.int64]
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_WORKERS))

    @classmethod
    def trained(cls, random_seed: int = 0) -> DigitsPanel:
        """Train the ten members; takes a few seconds of one core.

        Parameters
        ----------
        random_seed : int, default 0
            Decides which half of the images they learn from, and what is random in their learning.
        """
        pixels, labels = load_digits(return_X_y=True)
        learnt, judged = train_test_split(
            np.arange(len(labels)), test_size=0.5, stratify=labels, random_state=random_seed
        )
        known, digits = pixels[learnt], labels[learnt]
        templates = np.array([known[digits == digit].mean(axis=0) for digit in range(10)])
        spread = np.cov((known - templates[digits]).T) + _LEAST_VARIANCE * np.eye(known.shape[1])
        members = train_members(known, digits, random_seed=random_seed)
        return cls(members, templates, np.linalg.inv(spread), np.sort(judged))

    def cases(self, num_decisions: int, *, random_seed: int = 0) -> list[Case]:
        """Draw images, noise and who takes part, each independently of the others.

        Parameters
        ----------
        num_decisions : int
            How many; fewer are the first of more.
        random_seed : int, default 0

        Raises
        ------
        CausalkitError
            If that is less than one.
        """
        if num_decisions < 1:
            raise CausalkitError(f"num_decisions is {num_decisions}; ask for at least one", num_decisions=num_decisions)
        pixels, labels = load_digits(return_X_y=True)
        rng = np.random.default_rng(random_seed)
        images = (int(rng.choice(self.judged)) for _ in range(num_decisions))
        return [self._case(image, pixels[image], int(labels[image]), rng) for image in images]

    def run(self, num_decisions: int, *, random_seed: int = 0) -> list[int]:
        """Draw cases, decide each, and return the verdicts; times aside, a seed always gives the same.

        Parameters
        ----------
        num_decisions, random_seed
            As for `cases`.
        """
        return [self.decide(case) for case in self.cases(num_decisions, random_seed=random_seed)]

    @trace(operator_id="decide", operator_type="pipeline")
    def decide(self, case: Case) -> int:
        """Return the verdict of the panel on one case."""
        self._tell(case)
        return self.judge(self.ensemble_1(case), self.ensemble_2(case), case.label)

    @trace(operator_id="ensemble_1", stage="ensemble_1", operator_type="ensemble")
    def ensemble_1(self, case: Case) -> dict[str, int]:
        """Return the votes of those of the first seven that take part."""
        return self._ask("ensemble_1", case)

    @trace(operator_id="ensemble_2", stage="ensemble_2", operator_type="ensemble")
    def ensemble_2(self, case: Case) -> dict[str, int]:
        """Return the votes of those of the other three that take part."""
        return self._ask("ensemble_2", case)

    @trace(operator_id="judge", stage="judge_1", operator_type="judge")
    def judge(self, first: dict[str, int], second: dict[str, int], label: int) -> int:
        """Return the digit that most weight is for, the smallest of several; report whether it is the label."""
        scores = [0.0] * 10
        for name, vote in (*first.items(), *second.items()):
            scores[vote] += self.members[name].weight
        verdict = scores.index(max(scores))
        emit_metric("correct", verdict == label)
        return verdict

    def predictions(self, cases: Sequence[Case]) -> dict[str, NDArray[np.int64]]:
        """Return what each member votes on each case, also where it is left out, without a call of any operator."""
        pixels = np.array([case.pixels for case in cases])
        return {name: member.classifier.predict(pixels) for name, member in self.members.items()}

    @cached_property
    def members(self) -> dict[str, Member]:
        """All members, by name."""
        return {member.name: member for members in self.ensembles.values() for member in members}

    def __repr__(self) -> str:
        return f"<DigitsPanel of {len(self.members)} members, {len(self.judged)} images to judge>"

    def _case(self, image: int, clean: NDArray[np.float64], label: int, rng: np.random.Generator) -> Case:
        noise = float(rng.choice(NOISE_LEVELS))
        present = frozenset(name for stage in self.ensembles for name in self._draw(stage, rng))
        # Whole numbers, as they were: distances between them are exact on every machine.
        pixels = np.clip(np.rint(clean + noise * rng.standard_normal(clean.shape)), 0, _INK)
        apart = pixels - self.templates
        looks, leans = _nearest((apart**2).sum(axis=1)), _nearest(((apart @ self.precision) * apart).sum(axis=1))
        return Case(image, label, noise, present, pixels, *looks, *leans, round(float(pixels.mean()), 2))

    def _draw(self, stage: str, rng: np.random.Generator) -> list[str]:
        present: list[str] = []
        while len(present) < LEAST_MEMBERS[stage]:
            present = [member.name for member in self.ensembles[stage] if rng.random() >= ABSENT[stage]]
        return present

    def _tell(self, case: Case) -> None:
        emit_metric("noise", case.noise, role="knob")
        for name in self.members:
            emit_metric(f"{name}_takes_part", int(name in case.present), role="knob")
        for name in ("image", "label"):
            emit_metric(name, getattr(case, name), role="covariate")
        for name in ("looks_like", "looks_margin", "leans_to", "leans_margin", "ink"):
            emit_metric(name, getattr(case, name), role="input")

    def _ask(self, stage: str, case: Case) -> dict[str, int]:
        asked = [member for member in self.ensembles[stage] if member.name in case.present]
        votes = self._pool.map(lambda member: member(case.pixels), asked)
        return {member.name: vote for member, vote in zip(asked, votes, strict=True)}


def _nearest(squared: NDArray[np.float64]) -> tuple[int, float]:
    """Return the digit at the smallest squared distance, and how near it comes to the second smallest."""
    nearest, second = np.argsort(squared, kind="stable")[:2]
    return int(nearest), round(float(np.sqrt(squared[nearest] / squared[second])), 3)
