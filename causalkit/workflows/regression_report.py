"""What a regression run found: complete as JSON, as a table, as a picture and in words."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.errors import TraceFormatError
from causalkit.workflows.regression_cases import CaseResult
from causalkit.workflows.regression_compare import ALPHA_PRIMARY, Comparison, Difference
from causalkit.workflows.regression_statistics import detectable_drop, share_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SCHEMA = 1
ASSUMED_DISCORDANCE = 0.2
"""Share of cases that come out otherwise, for what could be shown where there is no baseline yet."""


@dataclass(frozen=True, kw_only=True)
class RegressionReport:
    """The results of a regression run.

    Attributes
    ----------
    results : tuple of CaseResult
        In the order of the cases, repetition by repetition.
    timestamp : str
        When it began, ISO 8601, UTC.
    workflow : str
    corpus_hash : str or None
        Of what the workflow under test answers from, if it says.
    dataset_hash : str
    random_seed, repeat, jobs : int
    time_limit_s : float
    host : dict
        ``cores``, ``python``, ``platform``, ``load_1m`` before and ``load_1m_after``, ``packages`` of the workflow.
    comparison : Comparison or None
        With the baseline, if there was one.
    caveats : tuple of str
    """

    results: tuple[CaseResult, ...]
    timestamp: str
    workflow: str
    corpus_hash: str | None = None
    dataset_hash: str = ""
    random_seed: int = 0
    repeat: int = 1
    jobs: int = 1
    time_limit_s: float = 60.0
    host: dict[str, Any] = field(default_factory=dict)
    comparison: Comparison | None = None
    caveats: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Runs: cases times repetitions."""
        return len(self.results)

    @property
    def passed(self) -> int:
        """Runs that met their case."""
        return sum(result.passed for result in self.results)

    @property
    def failed(self) -> int:
        """Runs that did not."""
        return self.total - self.passed

    @property
    def pass_rate(self) -> float:
        """Share of the runs that passed."""
        return self.passed / self.total

    @property
    def regressed(self) -> bool:
        """Whether something is worse than the baseline; without one, whether a case failed."""
        return bool(self.comparison.worse) if self.comparison else self.failed > 0

    @property
    def questions(self) -> int:
        """Different questions; cases of one question count as one."""
        return len({result.question.strip() for result in self.results})

    @property
    def detectable(self) -> float | None:
        """The drop of the pass rate that so many cases show with 80 % probability; None if they can show none."""
        if self.comparison:
            return self.comparison.primary.detectable
        return detectable_drop(self.questions, ASSUMED_DISCORDANCE, ALPHA_PRIMARY)

    @property
    def sentence(self) -> str:
        """The finding in words."""
        low, high = share_interval(self.pass_rate, self.questions)
        told = (
            f"{self.passed} of {self.total} runs passed ({self.pass_rate:.1%}, 95 % interval {low:.1%} to {high:.1%})."
        )
        if self.comparison is None:
            return f"{told} {self._power()}"
        worse = self.comparison.worse
        if not worse:
            but = "" if self.comparison.latency_judged else ", latencies not judged"
            shown = f"No regression shown{but}: pass rate {describe(self.comparison.primary)}."
            return f"{shown} {self._power()}"
        return f"Worse than the baseline: {'; '.join(f'{metric.name} {describe(metric)}' for metric in worse)}. {told}"

    def _power(self) -> str:
        if self.detectable is None:
            return f"Compared with a baseline, {self.questions} questions show no drop of the pass rate, however large."
        points = f"{100 * self.detectable:.1f} points"
        assumed = "as many differing as here" if self.comparison else "20 % of them differing"
        told = f"Compared with a baseline, {self.questions} questions, {assumed}, show a drop of {points}"
        return f"{told} with 80 % probability."

    def to_frame(self) -> pd.DataFrame:
        """Return the comparison, one row a metric; without a baseline the results, one row a run."""
        import pandas as pd

        if self.comparison is None:
            rows = [{**asdict(result), **result.signals} for result in self.results]
            return pd.DataFrame(rows).drop(columns=["signals", "steps", "fingerprint"])
        return pd.DataFrame([asdict(metric) for metric in (self.comparison.primary, *self.comparison.secondary)])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how far each metric is from the baseline; without one, the latency of each case."""
        from causalkit.plots.regression import plot_regression

        return plot_regression(self, ax=ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        counts = {name: getattr(self, name) for name in ("total", "passed", "failed", "pass_rate", "regressed")}
        told = {"schema": SCHEMA, **counts, "sentence": self.sentence, **asdict(self)}
        written = Path(path).with_name(f"{Path(path).name}.part")
        written.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
        written.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RegressionReport:
        """Read a report that was saved.

        Raises
        ------
        TraceFormatError
            If it is none, or one of another schema (``.path``).
        """
        text = Path(path).read_bytes()
        try:
            told = msgspec.json.decode(text)
            schema = told.get("schema") if isinstance(told, dict) else None
            if schema == SCHEMA and not told.get("results"):
                raise TraceFormatError(f"the report {path} holds no result; run the cases anew", path=str(path))
            if schema == SCHEMA:
                return msgspec.convert(told, cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TraceFormatError(f"{path} is no regression report ({error})", path=str(path)) from error
        raise TraceFormatError(
            f"{path} is no regression report of schema {SCHEMA} (its schema is {schema}); run its cases anew",
            path=str(path),
            schema=schema,
        )

    def __repr__(self) -> str:
        return f"<RegressionReport {self.passed} of {self.total} passed{', regressed' * self.regressed}>"

    def _repr_html_(self) -> str:
        from causalkit.workflows.regression_text import rows_to_tell

        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows_to_tell(self))
        caveats = "".join(f"<li>{escape(caveat)}</li>" for caveat in self.caveats)
        rows = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<p>{escape(self.sentence)}</p><table>{rows}</table><ul>{caveats}</ul>"


def describe(metric: Difference) -> str:
    """Return a difference in words, in its unit.

    Examples
    --------
    >>> told = {"cases": 9, "baseline": 0.9, "now": 0.8, "difference": -0.1, "low": -0.2, "high": 0.0}
    >>> describe(Difference(name="passed", unit="share", **told))
    '90.0 % -> 80.0 % (-10.0 points, -20.0 to +0.0)'
    """
    by, low, high = metric.difference, metric.low, metric.high
    if metric.unit == "share":
        change = f"{100 * by:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
        return f"{100 * metric.baseline:.1f} % -> {100 * metric.now:.1f} % ({change})"
    if metric.unit == "relative":
        change = f"{100 * by:+.1f} %, {100 * low:+.1f} to {100 * high:+.1f}"
        return f"{metric.baseline:.1f} -> {metric.now:.1f} ms ({change})"
    unit = " ms" * (metric.unit == "ms")
    return f"{metric.baseline:.4g} -> {metric.now:.4g}{unit} ({by:+.3g}, {low:+.3g} to {high:+.3g})"
