"""Record the panel that reads digits anew."""

from __future__ import annotations

import gzip
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import scipy
import sklearn
from tqdm.auto import tqdm

import causalkit
from causalkit.examples.digits_panel import DigitsPanel
from causalkit.operators.capture import SUMMARY
from causalkit.operators.event_journal import save_events

NUM_DECISIONS = 4000
_PACKAGES = {"causalkit": causalkit, "scikit-learn": sklearn, "numpy": np, "scipy": scipy}


def record_digits_panel(
    folder: str | os.PathLike[str], *, num_decisions: int = NUM_DECISIONS, random_seed: int = 0, progress: bool = True
) -> dict[str, Any]:
    """Record decisions of the panel into ``events.jsonl.gz``.

    Parameters
    ----------
    folder : path-like
        Where the journal goes; one that is there is replaced when the recording is complete, not before.
    num_decisions : int, default 4000
    random_seed : int, default 0
        Decides everything but the times: what the members learn, the images, the noise and who takes part.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    dict
        How it was recorded: time, versions, counts; written to ``recording.json`` as well.
    """
    target = Path(folder)
    panel = DigitsPanel.trained(random_seed)
    cases = panel.cases(num_decisions, random_seed=random_seed)
    target.mkdir(parents=True, exist_ok=True)
    # Beside the old journal, so that putting the new one in its place is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=".recording-", dir=target) as made:
        journal = Path(made) / "events.jsonl"
        with save_events(journal, capture=_kept):
            verdicts = [panel.decide(case) for case in tqdm(cases, disable=not progress, unit="decision")]
        lines = journal.read_bytes()
        # Twenty times smaller.
        (Path(made) / "events.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
        about = {
            "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
            "random_seed": random_seed,
            "decisions": len(cases),
            "wrong_verdicts": sum(verdict != case.label for verdict, case in zip(verdicts, cases, strict=True)),
            "events": lines.count(b"\n"),
            "python": platform.python_version(),
            "packages": {name: package.__version__ for name, package in _PACKAGES.items()},
        }
        (Path(made) / "recording.json").write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
        for name in ("events.jsonl.gz", "recording.json"):
            (Path(made) / name).replace(target / name)
    return about


def _kept(value: Any) -> Any:
    """Keep votes and numbers; of images that there was one, since the seed makes them again."""
    return value if isinstance(value, int | float | str | dict) else {SUMMARY: type(value).__name__}
