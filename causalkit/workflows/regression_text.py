"""A regression report for a terminal, and as JUnit XML for continuous integration."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET  # writes only

from causalkit.workflows.regression_cases import CaseResult
from causalkit.workflows.regression_compare import STEP
from causalkit.workflows.regression_report import RegressionReport, describe

_LINES, _COLUMNS = 24, 100
_SENTENCE_LINES = 4
# What XML 1.0 cannot hold, escaped or not.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def summary(report: RegressionReport) -> str:
    """Return what fits a screen: the finding, what differs or failed, and the caveats."""
    sentence = textwrap.wrap(report.sentence, _COLUMNS, max_lines=_SENTENCE_LINES, placeholder=" ...")
    caveats = [_cut(f"! {caveat}") for caveat in report.caveats][:4]
    rows = [_cut("  ".join(cell.ljust(width) for cell, width in zip(row, (6, 18), strict=False)) + "  " + row[2])
            for row in rows_to_tell(report)]  # fmt: skip
    room = _LINES - 1 - len(sentence) - len(caveats)
    if len(rows) > room:
        rows = [*rows[: room - 1], f"... and {len(rows) - room + 1} more in the report"]
    return "\n".join([*sentence, *rows, *caveats])


def rows_to_tell(report: RegressionReport) -> Iterator[tuple[str, str, str]]:
    """Yield verdict, name and words of each metric, of steps that moved if something is worse, and of failed cases."""
    comparison = report.comparison
    if comparison:
        metrics = (comparison.primary, *comparison.secondary)
        for metric in sorted(metrics, key=lambda metric: metric.verdict, reverse=True):
            if metric.verdict or not metric.name.startswith(STEP):
                yield metric.verdict or "-", metric.name, describe(metric)
        for step in comparison.steps if comparison.worse else ():
            if step.low > 0 or step.high < 0:
                yield "moved", step.name, describe(step)
    reasons = _reasons(report)
    told = [id_ for id_ in reasons if not comparison or id_ in comparison.newly_failing]
    for id_ in told:
        yield "failed", id_, "; ".join(reasons[id_])


def write_junit(report: RegressionReport, path: str | os.PathLike[str]) -> None:
    """Write one test case for each case, and one for the comparison with the baseline."""
    reasons = _reasons(report)
    by_case: dict[str, list[CaseResult]] = {}
    for result in report.results:
        by_case.setdefault(result.id, []).append(result)
    suite = ET.Element("testsuite", name="causalkit regress", timestamp=report.timestamp)
    for id_, results in by_case.items():
        seconds = sum(result.latency_ms or 0.0 for result in results) / 1e3
        _add(suite, "cases", id_, seconds, reasons.get(id_, []))
    if report.comparison:
        worse = [f"{metric.name} {describe(metric)}" for metric in report.comparison.worse]
        _add(suite, "comparison", "not worse than the baseline", 0.0, worse)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _reasons(report: RegressionReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for result in report.results:
        if not result.passed:
            found[result.id] = list(dict.fromkeys([*found.get(result.id, []), *result.reasons]))
    return found


def _add(suite: ET.Element, group: str, name: str, seconds: float, failures: list[str]) -> None:
    case = ET.SubElement(suite, "testcase", classname=group, name=_xml(name), time=f"{seconds:.4f}")
    if failures:
        told = _xml("; ".join(failures))
        ET.SubElement(case, "failure", message=told).text = told


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _cut(line: str) -> str:
    line = "".join(letter if letter.isprintable() else " " for letter in line)
    return line if len(line) <= _COLUMNS else f"{line[: _COLUMNS - 4]} ..."
