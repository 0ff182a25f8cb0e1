"""The recordings that lie in ``data/``: real runs of the example pipelines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from causalkit.errors import RecordingNotFoundError

if TYPE_CHECKING:
    from causalkit.operators.events import OperatorEvent
    from causalkit.workflows.traces import Traces

DATA_VARIABLE = "CAUSALKIT_DATA"


def load_recording(name: str = "search_qa", part: str = "runs") -> Traces:
    """Read one of the recordings of ``data/``.

    Parameters
    ----------
    name : str, default "search_qa"
        The folder in ``data/``.
    part : str, default "runs"
        The journal in it: ``runs``, or ``slow_check``, the release whose last step was deliberately slowed.

    Returns
    -------
    Traces
        Its runs.

    Raises
    ------
    RecordingNotFoundError
        If it is not there.

    Examples
    --------
    >>> sorted({run.workflow_name for run in load_recording(part="slow_check")})
    ['lesson_pack', 'search_qa']
    """
    from causalkit.workflows.traces import load_traces

    return load_traces(_found(data_folder() / name / f"{part}.jsonl"))


def load_release(name: str) -> Traces:
    """Read the recording of one release of the example pipeline (`causalkit.examples.releases`).

    Parameters
    ----------
    name : str
        ``baseline``, the pipeline as it is, or ``release_01`` to ``release_12``. What changed in each stands in
        ``recording.json`` beside them.

    Returns
    -------
    Traces
        Its runs.

    Raises
    ------
    RecordingNotFoundError
        If it is not there.

    Examples
    --------
    >>> len(load_release("baseline"))
    300
    """
    from causalkit.workflows.traces import load_traces

    return load_traces(_found(data_folder() / "releases" / f"{name}.jsonl.gz"))


def load_digits_panel() -> list[OperatorEvent]:
    """Read the recording of the panel that reads digits (`causalkit.examples.digits_panel`).

    Returns
    -------
    list of OperatorEvent
        Of some thousand decisions.

    Raises
    ------
    RecordingNotFoundError
        If it is not there.

    Examples
    --------
    >>> load_digits_panel()[0].operator_id
    'decide'
    """
    from causalkit.operators.event_journal import load_events

    return load_events(_found(data_folder() / "digits_panel" / "events.jsonl.gz"))


def data_folder() -> Path:
    """Return ``data/`` of the source tree, or the folder that the environment variable CAUSALKIT_DATA names.

    Examples
    --------
    >>> (data_folder() / "search_qa" / "recording.json").is_file()
    True
    """
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else Path(__file__).parents[2] / "data"


def _found(path: Path) -> Path:
    if path.is_file():
        return path
    raise RecordingNotFoundError(
        f"there is no recording {path}; it is part of the project's source tree: clone it, set {DATA_VARIABLE} to "
        f"its data folder, or record anew with `python -m causalkit record {path.parent.name} --output {path.parent}`",
        path=str(path),
    )
