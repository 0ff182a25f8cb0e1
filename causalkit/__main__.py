"""``python -m causalkit``: record ``data/`` anew, serve as a worker, check reference cases, find regressions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from causalkit.errors import CausalkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for a finding, or 2 with one sentence on stderr where the input is unusable."""
    # Each command imports what it runs: a worker starts without the packages that recording needs.
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except KeyboardInterrupt:
        return 130  # as shells count the end by an interrupt
    except (CausalkitError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m causalkit", description="Causal models of recorded runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("worker", help="fit and ask models for another process, JSON in and JSON out")
    worker.add_argument("--persistent", action="store_true", help="answer one request a line until the input ends")
    worker.add_argument("--verbose", action="store_true", help="tracebacks of unexpected errors on stderr")
    worker.set_defaults(run=_worker)
    check = commands.add_parser("check", help="check that models come out as they must")
    check.add_argument("--cases", action="store_true", required=True, help="the reference cases, through a worker")
    check.set_defaults(run=_check)
    record = commands.add_parser("record", help="run an example pipeline and record it")
    record.add_argument("recording", choices=list(_RECORDERS))
    output = ("--output", "--output-dir")
    record.add_argument(*output, type=Path, help="folder for the journals (default: its place in data/)")
    record.add_argument("--runs", type=int, help="runs or decisions in all, or of each release (default: as in data/)")
    record.add_argument("--seed", type=int, default=0, help="decides what is asked, knobs and order, and what changes")
    record.add_argument("--quiet", action="store_true", help="no progress bar")
    record.set_defaults(run=_record)
    _add_regress(commands.add_parser("regress", help="ask a workflow its cases and compare with an earlier run"))
    return parser


def _add_regress(regress: argparse.ArgumentParser) -> None:
    regress.add_argument("--dataset", required=True, help="the cases, one JSON object a line")
    regress.add_argument("--workflow", required=True, metavar="MODULE:FUNCTION", help="what is asked")
    regress.add_argument("--output-dir", type=Path, required=True, help="takes the journal of the runs")
    regress.add_argument("--report", type=Path, required=True, help="where the report is written, as JSON")
    regress.add_argument("--baseline", help="the report of an earlier run; without it every case has to pass")
    regress.add_argument("--repeat", type=int, default=1, help="how often each case is asked")
    regress.add_argument("--jobs", type=int, default=1, help="how many cases run at once")
    regress.add_argument("--time-limit", type=float, default=60.0, metavar="SECONDS", help="for each case")
    regress.add_argument("--seed", type=int, default=0, help="of the resampling and of each case")
    regress.add_argument("--junit", type=Path, help="JUnit XML (default: junit.xml in the output folder)")
    regress.add_argument("--quiet", action="store_true", help="no progress bar")
    regress.set_defaults(run=_regress)


def _worker(given: argparse.Namespace) -> int:
    from causalkit.scm.worker import serve

    return serve(persistent=given.persistent, verbose=given.verbose)


def _check(_: argparse.Namespace) -> int:
    from causalkit.examples.cases import check_case, reference_cases
    from causalkit.scm.client import DoWhyClient

    with DoWhyClient() as client:
        results = [check_case(case, client.ask) for case in reference_cases()]
    for result in results:
        sys.stdout.write(f"{'pass' if result.passed else 'FAIL'}  {result.name}: {result.what}\n")
    return 0 if all(result.passed for result in results) else 1


def _record(given: argparse.Namespace) -> int:
    from causalkit.examples.recordings import data_folder

    folder = given.output or data_folder() / given.recording
    sys.stdout.write(f"recorded {_RECORDERS[given.recording](given, folder)} into {folder}\n")
    return 0


def _record_search_qa(given: argparse.Namespace, folder: Path) -> str:
    from causalkit.examples.record import NUM_RUNS, record_search_qa

    num_runs = NUM_RUNS if given.runs is None else given.runs
    about = record_search_qa(folder, num_runs=num_runs, random_seed=given.seed, progress=not given.quiet)
    return " and ".join(f"{part['total']} {name} ({part['failed']} failed)" for name, part in about["runs"].items())


def _record_digits_panel(given: argparse.Namespace, folder: Path) -> str:
    from causalkit.examples.record_digits import NUM_DECISIONS, record_digits_panel

    number = NUM_DECISIONS if given.runs is None else given.runs
    about = record_digits_panel(folder, num_decisions=number, random_seed=given.seed, progress=not given.quiet)
    return f"{about['decisions']} decisions ({about['wrong_verdicts']} wrong verdicts)"


def _record_releases(given: argparse.Namespace, folder: Path) -> str:
    from causalkit.examples.record_releases import NUM_RUNS, record_releases

    num_runs = NUM_RUNS if given.runs is None else given.runs
    about = record_releases(folder, num_runs=num_runs, random_seed=given.seed, progress=not given.quiet)
    return f"{num_runs} runs each of {', '.join(about['runs'])}"


_RECORDERS = {"search_qa": _record_search_qa, "digits_panel": _record_digits_panel, "releases": _record_releases}


def _regress(given: argparse.Namespace) -> int:
    from causalkit.workflows.regression import run_regression
    from causalkit.workflows.regression_text import summary, write_junit
    from causalkit.workflows.regression_worker import load_workflow

    for path in (given.report, given.junit):
        if path is not None and path.is_dir():
            raise CausalkitError(f"{path} is a folder; name a file for the report", path=str(path))
    report = run_regression(
        given.dataset,
        load_workflow(given.workflow),
        baseline=given.baseline,
        repeat=given.repeat,
        jobs=given.jobs,
        time_limit_s=given.time_limit,
        random_seed=given.seed,
        output_dir=given.output_dir,
        progress=not given.quiet,
    )
    report.save(given.report)
    write_junit(report, given.junit or given.output_dir / "junit.xml")
    sys.stdout.write(f"{summary(report)}\n")
    return 1 if report.regressed else 0


if __name__ == "__main__":
    raise SystemExit(main())
