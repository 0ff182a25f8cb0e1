"""The exception family: one base class, each error with its facts as attributes.

::

    CausalkitError
    ├── GraphError                 a causal graph that is not one (a cycle, an unknown node)
    ├── TraceCollectionError       functions and graph do not fit together
    │   └── ExecutionError         functions that fail too often when run
    ├── TraceFormatError           a file that holds no readable traces
    ├── ModelFormatError           a file that holds no model, or a damaged one
    ├── WorkerError                a fitting process that died, was silent or answered with something else
    ├── RecordingNotFoundError     the recordings in ``data/`` are not where they were looked for
    └── FitError                   a table that no model can be fitted to
        └── ValidationError        a model whose mechanisms fail on held-out rows
            └── InsufficientDataError   too few rows to fit and judge one
"""

from __future__ import annotations

from typing import Any


class CausalkitError(Exception):
    """Base of all errors raised on purpose by causalkit.

    Parameters
    ----------
    message : str
        One sentence: what is wrong, where, and what to do.
    **facts : Any
        What the sentence speaks of, kept as attributes of the error.

    Examples
    --------
    >>> CausalkitError("column 'x' is missing", column="x").column
    'x'
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that are not there; typed as Any so that facts need no declaration.
        raise AttributeError(f"{type(self).__name__} carries no fact named {name!r}")


class GraphError(CausalkitError):
    """A causal graph that is not one: a cycle (``.cycle``), an unknown node (``.node``)."""


class TraceCollectionError(CausalkitError):
    """Functions and graph do not fit together (``.node``, ``.parameter``, ``.parents``)."""


class ExecutionError(TraceCollectionError):
    """Functions failed on too many rows (``.failures``: one row each; ``.failure_rate``)."""


class TraceFormatError(CausalkitError):
    """A file that holds no readable traces (``.path``, ``.damage``)."""


class ModelFormatError(CausalkitError):
    """A file that holds no model, a damaged one, or one with a type that is not trusted (``.path``)."""


class WorkerError(CausalkitError):
    """A fitting process that died, was silent too long or answered with something else (``.stderr``)."""


class RecordingNotFoundError(CausalkitError, FileNotFoundError):
    """A recording of ``data/`` is not where it was looked for (``.path``)."""


class FitError(CausalkitError):
    """A trace table that no model can be fitted to (``.column``, ``.row``)."""


class ValidationError(FitError):
    """Mechanisms failed on held-out rows.

    Carries ``r2_scores``, ``mean_r2``, ``threshold``, ``failed_nodes``, the fitted model as ``scm``, and from a fit the
    ``advice``: what was tried, and what the residuals look like.
    """


class InsufficientDataError(ValidationError):
    """Too few rows to fit a model and judge it (``.num_rows``, ``.min_samples``)."""
