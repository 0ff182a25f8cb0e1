"""``python -m causalkit record search_qa``: make the recordings of ``data/`` anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from causalkit.errors import CausalkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 with one sentence on stderr where the input is unusable."""
    from causalkit.examples.record import NUM_RUNS, record_search_qa
    from causalkit.examples.recordings import data_folder

    parser = argparse.ArgumentParser(prog="python -m causalkit", description="Causal models of recorded runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="run the example pipeline and record it")
    record.add_argument("recording", choices=["search_qa"])
    record.add_argument("--output", type=Path, default=data_folder() / "search_qa", help="folder for the journals")
    record.add_argument("--runs", type=int, default=NUM_RUNS, help="runs in all (default: %(default)s)")
    record.add_argument("--seed", type=int, default=0, help="decides questions, knobs and order")
    record.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    try:
        about = record_search_qa(given.output, num_runs=given.runs, random_seed=given.seed, progress=not given.quiet)
    except (CausalkitError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    counts = (f"{part['total']} {name} ({part['failed']} failed)" for name, part in about["runs"].items())
    sys.stdout.write(f"recorded {' and '.join(counts)} into {given.output}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
