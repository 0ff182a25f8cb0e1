"""How often `why_changed` is right about releases of which it is known what changed, and from which size on.

Recorded by ``python -m causalkit record releases --seed N --output-dir DIR``; then

    python tests/benchmarks/releases.py DIR [DIR ...] [--resamplings 50] [--figure success.png]

asks about each release of each recording, as recorded and over resamplings of its questions (both sides drawn anew with
replacement; all runs of a question stay together), prints the share of right answers, draws it against the size of what
changed, and with ``--output success.json`` keeps it.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import msgspec
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from causalkit.examples.releases import INPUT_MIX
from causalkit.plots.style import OKABE_ITO
from causalkit.why.findings import WhyChanged
from causalkit.why.questions import why_changed
from causalkit.workflows.records import WorkflowTrace
from causalkit.workflows.traces import load_traces


@dataclass(frozen=True)
class Truth:
    """What is known of a release: its folder and name, its kind, where it changed, and by how much as measured."""

    folder: Path
    name: str
    kind: str
    at: tuple[str, ...]
    sizes: tuple[float, ...]

    @property
    def size(self) -> float:
        """The smallest of its changes."""
        return min(map(abs, self.sizes), default=0.0)

    def told_by(self, found: WhyChanged) -> bool:
        """Whether an answer is right: every changed step before all others, or that no step changed."""
        if self.kind in ("no change", INPUT_MIX):
            return found.verdict == self.kind
        return set(found.steps[: len(self.at)]) == set(self.at)


def truths_of(folder: Path) -> list[Truth]:
    """Return what is known of each release of a recording."""
    about = msgspec.json.decode((folder / "recording.json").read_bytes())
    return [
        Truth(
            folder,
            each["name"],
            each["kind"],
            tuple(each["truth"]),
            tuple(change["measured"] for change in each["changes"]),
        )
        for each in about["releases"]
    ]


def resampled(runs: list[WorkflowTrace], rng: np.random.Generator) -> list[WorkflowTrace]:
    """Draw the questions of runs anew, with replacement; each takes all of its runs along."""
    by_question: dict[str, list[WorkflowTrace]] = {}
    for run in runs:
        by_question.setdefault(run.question, []).append(run)
    drawn = rng.choice(np.array(list(by_question), dtype=object), len(by_question))
    again = [run for question in drawn for run in by_question[question]]
    return [msgspec.structs.replace(run, request_id=str(number)) for number, run in enumerate(again)]


def asked(truth: Truth, resampling: int) -> dict[str, Any]:
    """Ask about a release as recorded (resampling 0), or about a resampling of it."""
    before, after = _runs(truth.folder, "baseline"), _runs(truth.folder, truth.name)
    if resampling:
        rng = np.random.default_rng([resampling, *map(ord, truth.name)])
        before, after = resampled(before, rng), resampled(after, rng)
    found = why_changed(load_traces(before), load_traces(after), random_seed=resampling, progress=False)
    return {
        "folder": truth.folder.name,
        "release": truth.name,
        "kind": truth.kind,
        "at": ", ".join(truth.at),
        "size": truth.size,
        "resampling": resampling,
        "right": truth.told_by(found),
        "verdict": found.verdict,
        "steps": ", ".join(found.steps),
        "sentence": found.sentence,
    }


def answers(folders: list[Path], resamplings: int, n_jobs: int = 1, names: Collection[str] = ()) -> pd.DataFrame:
    """Return every answer about every release, or about those that are named."""
    tasks = ((truth, number) for truth, number in _tasks(folders, resamplings) if not names or truth.name in names)
    work = (delayed(asked)(truth, number) for truth, number in tasks)
    return pd.DataFrame(Parallel(n_jobs=n_jobs)(work))


def _tasks(folders: list[Path], resamplings: int) -> Iterator[tuple[Truth, int]]:
    for folder in folders:
        for truth in truths_of(folder):
            for number in range(resamplings + 1):
                yield truth, number


def _runs(folder: Path, name: str) -> list[WorkflowTrace]:
    key = (folder, name)
    if key not in _KNOWN:
        _KNOWN[key] = list(load_traces(folder / f"{name}.jsonl.gz"))
    return _KNOWN[key]


_KNOWN: dict[tuple[Path, str], list[WorkflowTrace]] = {}


def drawn(found: pd.DataFrame, figure: Path) -> None:
    """Draw the share of right answers about each release against the size of its smallest change."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    share = found.groupby(["folder", "release", "kind", "size"])["right"].mean().reset_index()
    ax = plt.subplots(figsize=(7.5, 4.0), layout="constrained")[1]
    for (kind, part), marker, color in zip(share.groupby("kind"), "osD^vPX", OKABE_ITO, strict=False):
        ax.plot(part["size"], part["right"], marker, label=kind, color=color, alpha=0.8)
    ax.axhline(0.95, color="#7F7F7F", linewidth=1)
    ax.set(xlabel="size of the smallest change (standard deviations; share of runs that fail)", ylim=(-0.03, 1.03))
    ax.set_ylabel("share of right answers")
    ax.legend(fontsize=8, frameon=False)
    ax.figure.savefig(figure)


def main() -> None:
    """Ask, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--resamplings", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    found = answers(given.folders, given.resamplings, given.jobs)
    pd.set_option("display.width", 200, "display.max_colwidth", 160)
    print(found[found["resampling"] == 0][["folder", "release", "right", "sentence"]].to_string(index=False))
    by = ["folder", "release", "kind", "at", "size"]
    print(found.groupby(by)["right"].agg(["mean", "size"]).to_string())
    print(found[~found["right"]].groupby([*by, "verdict", "steps"]).size().to_string())
    if given.figure:
        drawn(found, given.figure)
    if given.output:
        shares = found.groupby(["release", "kind", "at", "size"])["right"].agg(right="sum", asked="size").reset_index()
        told = shares.rename(columns={"size": "size_sd"}).to_dict("records")
        given.output.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")


if __name__ == "__main__":
    main()
