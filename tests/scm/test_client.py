from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

import causalkit as ck
from causalkit.errors import (
    CausalkitError,
    FitError,
    GraphError,
    InsufficientDataError,
    ValidationError,
    WorkerError,
)
from causalkit.scm import child
from causalkit.scm.answers import RemoteSCM
from causalkit.scm.client import DoWhyClient
from causalkit.scm.interventions import Scale, Shift
from tests.truth import complex_dag, linear_chain, two_columns

ROOT = Path(__file__).parents[2]
CHAIN = nx.DiGraph([("X", "Y"), ("Y", "Z")])
PAIR = nx.DiGraph([("X", "Y")])
# A hostile child must be noticed well before this.
PATIENCE_S = 30.0

Hostile = Callable[..., DoWhyClient]


@pytest.fixture(scope="module")
def warm() -> Iterator[DoWhyClient]:
    with DoWhyClient() as client:
        yield client


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    """Make a client whose interpreter is a program of the test."""
    made: list[DoWhyClient] = []

    def make(program: str, timeout_s: float = 2.0) -> DoWhyClient:
        (tmp_path / "child.py").write_text("import json, os, sys, time\n" + program)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path / "child.py"}" "$@"\n')
        python.chmod(0o755)
        made.append(DoWhyClient(python, timeout_s))
        return made[-1]

    yield make
    for client in made:
        client.close()


def pid_of(client: DoWhyClient) -> int:
    return client._child._process.pid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def fit(client: DoWhyClient, **config: Any) -> RemoteSCM:
    return client.fit_scm(CHAIN, linear_chain(300), **{"random_seed": 1, **config})


def test_a_model_is_fitted_sampled_and_asked_in_the_child(warm: DoWhyClient) -> None:
    scm = fit(warm)
    assert (scm.status, scm.validation["passed"], scm.metadata["num_samples"]) == ("success", True, 300)
    assert scm.scm["mechanisms"]["Z"]["coefficients"]["Y"] == pytest.approx(3, abs=0.05)
    assert warm.sample(scm, 5, random_seed=1).shape == (5, 3)
    result = warm.intervene(scm, {"X": 1}, num_samples=50, random_seed=1)
    assert result.samples.shape == (50, 3)
    assert result.statistics.loc["Z", "mean"] == pytest.approx(6, abs=0.2)
    assert "do(X = 1)" in result.sentence
    assert result.to_frame().equals(result.statistics)


def test_the_child_answers_as_this_process_does(warm: DoWhyClient) -> None:
    here = ck.SCMFitter(random_seed=1, quality="GOOD").fit(CHAIN, linear_chain(300))
    there = fit(warm)
    pd.testing.assert_frame_equal(warm.sample(there, 20, 3), here.sample(20, random_seed=3))
    for done in ({"Y": Shift(2)}, {"Y": Scale(0.5)}, {"Y": 4.0}, "do(Y=max(Y, 1), X=X*2)"):
        told = warm.intervene(there, done, 20, 3)
        known = here.intervene(done, 20, random_seed=3)
        pd.testing.assert_frame_equal(told.statistics, known.statistics)
        assert told.sentence == known.sentence


def test_a_counterfactual_keeps_the_noise_of_the_row(warm: DoWhyClient) -> None:
    row = {"X": [1.0], "Y": [2.5], "Z": [7.5]}
    answer = warm.counterfactual(fit(warm), row, {"X": 2})
    assert answer.samples["Y"].iloc[0] == pytest.approx(4.5, abs=0.1)


def test_columns_can_be_a_plain_dict_with_numpy_in_it(warm: DoWhyClient) -> None:
    table = linear_chain(300)
    columns = {"X": table["X"].to_numpy(), "Y": list(table["Y"]), "Z": table["Z"]}
    assert warm.fit_scm(CHAIN, columns, random_seed=np.int64(1)).scm == fit(warm).scm


def test_what_is_known_of_the_table_goes_along(warm: DoWhyClient) -> None:
    table = linear_chain(300)
    table.attrs["knobs"] = ["X"]
    knob = warm.intervene(warm.fit_scm(CHAIN, table, random_seed=1), {"X": 1})
    plain = warm.intervene(fit(warm), {"X": 1})
    assert knob.caveats != plain.caveats


def test_a_failed_validation_is_the_error_of_this_process_with_the_model(warm: DoWhyClient) -> None:
    with pytest.raises(ValidationError) as caught:
        warm.fit_scm(PAIR, two_columns(5), random_seed=1)
    error = caught.value
    assert error.failed_nodes == ("Y",)
    assert error.r2_scores["Y"] == pytest.approx(4 / 29, abs=0.1)
    assert (error.threshold, error.mean_r2) == (0.7, error.r2_scores["Y"])
    assert warm.sample(error.scm, 2).shape == (2, 2)


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        (lambda by: by.fit_scm(PAIR, two_columns(0.1, 50)), InsufficientDataError, "50 rows"),
        (lambda by: by.fit_scm(PAIR, two_columns(0.1), quality="FAST"), FitError, "'FAST'"),
        (lambda by: by.fit_scm(PAIR, two_columns(0.1), qualty=1), WorkerError, "qualty"),
        (lambda by: by.fit_scm(PAIR, {"X": [1.0]}), FitError, "no column 'Y'"),
        (lambda by: by.fit_scm(PAIR, {"X": [1.0], "Y": [1.0, 2.0]}), FitError, "one length"),
        (lambda by: by.fit_scm(PAIR, {"X": [1.0], "Y": [np.inf]}), FitError, "'Y' is infinite"),
        (lambda by: by.fit_scm(PAIR, {"X": [1.0], "Y": [object()]}), FitError, "cannot be sent"),
        (lambda by: by.fit_scm(nx.DiGraph([("X", "X")]), two_columns(1)), GraphError, "cycle"),
        (lambda by: by.intervene(fit(by), {"Q": 1}), GraphError, "'Q'"),
        (lambda by: by.intervene(fit(by), {"X": np.nan}), GraphError, "finite"),
        (lambda by: by.intervene(fit(by), {"X": np.abs}), WorkerError, "function"),
        (lambda by: by.sample("m1"), WorkerError, "fit it again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_come_over_as_the_types_of_this_package(
    warm: DoWhyClient, asked: Callable[[DoWhyClient], Any], kind: type, words: str
) -> None:
    before = pid_of(warm) if warm._child else None
    with pytest.raises(CausalkitError) as caught:
        asked(warm)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert warm.check_availability()["available"]
    assert before in (None, pid_of(warm)), "an error of a request must not cost the warm child"


def test_the_child_is_kept_warm_and_the_second_fit_is_fast(warm: DoWhyClient) -> None:
    fit(warm)
    pid, times = pid_of(warm), []
    for _ in range(5):
        start = time.perf_counter()
        warm.fit_scm(CHAIN, linear_chain(1000), random_seed=1)
        times.append(time.perf_counter() - start)
    assert pid_of(warm) == pid
    assert min(times) < 0.05


def test_a_closed_client_reaps_its_child_and_starts_another_when_needed() -> None:
    client = DoWhyClient()
    scm = fit(client)
    pid = pid_of(client)
    client.close()
    client.close()
    assert not is_alive(pid)
    with pytest.raises(WorkerError, match="fit it again"):
        client.sample(scm)
    assert client.sample(fit(client), 1).shape == (1, 3)
    client.close()


def test_a_client_that_is_forgotten_leaves_no_process() -> None:
    client = DoWhyClient()
    client.check_availability()
    pid = pid_of(client)
    del client
    gc.collect()
    assert not is_alive(pid)


def test_a_program_that_ends_leaves_no_process() -> None:
    program = (
        "import causalkit as ck\nfrom causalkit.scm.client import DoWhyClient\n"
        "client = DoWhyClient()\nclient.check_availability()\nprint(client._child._process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not is_alive(int(done.stdout))


def test_a_fork_neither_kills_nor_uses_the_child_of_its_parent(warm: DoWhyClient) -> None:
    scm = fit(warm)
    # In a program of one thread, because a fork of several is itself a fault.
    program = (
        "import os, sys\nfrom causalkit.scm.client import DoWhyClient\n"
        "client = DoWhyClient(); client.check_availability(); first = client._child._process.pid\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    ok = client.check_availability()['available'] and client._child._process.pid != first\n"
        "    client.close(); os._exit(0 if ok else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert client.check_availability()['available'] and client._child._process.pid == first"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    assert warm.sample(scm, 1).shape == (1, 3)


def test_a_child_killed_while_idle_is_replaced_and_its_models_are_said_to_be_gone() -> None:
    with DoWhyClient() as client:
        scm = fit(client)
        os.kill(pid_of(client), signal.SIGKILL)
        time.sleep(0.2)
        with pytest.raises(WorkerError, match="fit it again"):
            client.sample(scm)
        assert client.sample(fit(client), 1).shape == (1, 3)


def test_threads_share_a_client(warm: DoWhyClient) -> None:
    scm, seen = fit(warm), []

    def sample(number: int) -> None:
        seen.append((number, len(warm.sample(scm, number))))

    threads = [threading.Thread(target=sample, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(seen) == [(number, number) for number in range(1, 21)]


def test_requests_and_answers_of_many_megabytes_do_not_block(hostile: Hostile) -> None:
    # Answers before it has read the request, so that both pipes are full at once.
    client = hostile(
        "sys.stderr.write('e' * 1_000_000)\n"
        "sys.stdout.write(('x' * 1_000_000 + '\\n') * 50); sys.stdout.flush()\n"
        "asked = json.loads(sys.stdin.buffer.readline())\n"
        "print(json.dumps({'id': asked['id'], 'status': 'success', 'error': str(len(asked['pad']))}), flush=True)\n"
        "time.sleep(60)",
        timeout_s=PATIENCE_S,
    )
    assert client.ask({"op": "ping", "pad": "p" * 100_000_000})["error"] == "100000000"


def test_a_large_table_goes_to_a_real_worker(warm: DoWhyClient) -> None:
    scm = warm.fit_scm(CHAIN, linear_chain(100_000), random_seed=1)
    assert scm.metadata["num_samples"] == 100_000


HOSTILE = {
    "dead": ("sys.stderr.write('no such luck\\n'); sys.exit(3)", "no such luck"),
    "dead after the question": ("sys.stdin.readline(); sys.exit(3)", "ended or closed its output"),
    "silent": ("time.sleep(60)", "no answer within 2 s"),
    "silent and not reading": ("sys.stdin.close(); time.sleep(60)", "no answer within 2 s"),
    "closing its output": ("os.close(1); time.sleep(60)", "ended or closed its output"),
    "half a line": ("sys.stdout.write('{\"id\": '); sys.stdout.flush(); time.sleep(60)", "no answer within 2 s"),
    "babbling": ("while True: print('hello', flush=True)", "no answer within 2 s"),
    "babbling objects": ('while True: print(\'{"id": 1, "status": "success"}\', flush=True)', "no answer"),
    "babbling on stderr": ("while True: sys.stderr.write('hello\\n')", "no answer within 2 s"),
    "a line without end": ("while True: os.write(1, b'x' * 65536)", "without an end of line"),
    "bytes that are no text": ("while True: os.write(1, b'\\xff\\n[[[[\\n')", "no answer within 2 s"),
    "an answer of another shape": (
        "asked = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'id': asked['id'], 'status': 'fine'}), flush=True)\n"
        "time.sleep(60)",
        "something else than the protocol",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_child_is_an_error_in_time_and_leaves_no_process(
    hostile: Hostile, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "MAX_ANSWER_BYTES", 10_000_000)
    program, words = HOSTILE[kind]
    client = hostile(f"open(__file__ + '.pid', 'w').write(str(os.getpid()))\n{program}")
    start = time.monotonic()
    with pytest.raises(WorkerError, match=words):
        client.ask({"op": "ping"})
    assert time.monotonic() - start < PATIENCE_S
    pid = int(Path(client._command[0]).with_name("child.py.pid").read_text())
    assert not is_alive(pid)


def test_a_child_that_dies_is_told_as_not_available_with_its_last_words(hostile: Hostile) -> None:
    told = hostile(HOSTILE["dead"][0]).check_availability()
    assert (told["available"], told["dowhy_version"]) == (False, None)
    assert "no such luck" in told["error"]


def test_grandchildren_are_killed_too(hostile: Hostile) -> None:
    client = hostile(
        "import subprocess\nsleeper = subprocess.Popen(['sleep', '60'])\n"
        "open(__file__ + '.pid', 'w').write(str(sleeper.pid))\ntime.sleep(60)"
    )
    with pytest.raises(WorkerError):
        client.ask({"op": "ping"})
    pid = int(Path(client._command[0]).with_name("child.py.pid").read_text())
    until = time.monotonic() + PATIENCE_S
    # Whoever adopted it reaps it in its own time; a zombie runs nothing.
    while is_alive(pid) and _state(pid) != "Z" and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid) or _state(pid) == "Z"


def _state(pid: int) -> str:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return shown.stdout.strip()[:1]


def test_answers_to_other_requests_are_passed_over(hostile: Hostile) -> None:
    client = hostile(
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    for number in ('m-1', None, asked['id'][:-1], asked['id']):\n"
        "        print(json.dumps({'id': number, 'status': 'success', 'error': str(number)}), flush=True)",
        timeout_s=PATIENCE_S,
    )
    for _ in range(3):
        answer = client.ask({"op": "ping"})
        assert answer["error"] == answer["id"]


def test_an_error_type_from_elsewhere_is_a_worker_error(hostile: Hostile) -> None:
    client = hostile(
        "asked = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'id': asked['id'], 'status': 'error', 'type': 'Any', 'error': 'odd',"
        " 'details': {'message': 1, 'self': 2}}), flush=True)\ntime.sleep(60)"
    )
    with pytest.raises(WorkerError, match="odd"):
        client.sample(f"{_token(client)}:m1")


def _token(client: DoWhyClient) -> str:
    with client._lock:
        return client._running().token


def test_after_a_time_out_a_fresh_child_answers() -> None:
    with DoWhyClient() as client:
        scm = fit(client)
        first, client.timeout_s = pid_of(client), 0.001
        with pytest.raises(WorkerError, match="no answer within"):
            client.fit_scm(nx.DiGraph([("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")]), complex_dag())
        client.timeout_s = 60
        assert not is_alive(first)
        with pytest.raises(WorkerError, match="fit it again"):
            client.sample(scm)
        assert fit(client).status == "success"


def test_an_interrupt_while_waiting_kills_the_child_and_leaves_a_usable_client(hostile: Hostile) -> None:
    client = hostile("time.sleep(60)", timeout_s=PATIENCE_S)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.ask({"op": "ping"})
    assert time.monotonic() - start < PATIENCE_S / 2
    assert client._child is None
    client.timeout_s = 0.5
    with pytest.raises(WorkerError, match="no answer within"):
        client.ask({"op": "ping"})


def test_an_interpreter_that_is_none_is_named() -> None:
    told = DoWhyClient("/no/such/python").check_availability()
    assert told["available"] is False
    assert "/no/such/python" in told["error"]


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "60"])
def test_a_time_out_that_is_none_is_refused(timeout_s: Any) -> None:
    with pytest.raises(WorkerError, match="timeout_s"):
        DoWhyClient(timeout_s=timeout_s)


def test_a_kernel_without_dowhy_fits_through_another_environment(tmp_path: Path) -> None:
    other = tmp_path / "other"
    venv.create(other, with_pip=False)
    python = other / "bin" / "python"
    ask_purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = subprocess.run([python, "-c", ask_purelib], capture_output=True, text=True, check=True).stdout.strip()
    here = str(Path(np.__file__).parents[1])
    # Only what is installed there: what installs this package from its sources is left out.
    (Path(purelib) / "installed_elsewhere.pth").write_text(f"import sys; sys.path.append({here!r})\n")
    program = (
        "import sys; sys.modules['dowhy'] = None\n"
        "import json, networkx as nx\nfrom causalkit.scm.client import DoWhyClient\n"
        "from tests.truth import linear_chain\n"
        "with DoWhyClient(sys.argv[1]) as client:\n"
        "    there = client.check_availability()\n"
        "    scm = client.fit_scm(nx.DiGraph([('X', 'Y'), ('Y', 'Z')]), linear_chain(300), random_seed=1)\n"
        "    mean = client.intervene(scm, {'X': 1}).statistics.loc['Z', 'mean']\n"
        "print(json.dumps([there, scm.status, mean]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(python)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there, status, mean = json.loads(done.stdout)
    assert there["available"]
    assert there["causalkit_version"] == ck.__version__
    assert there["dowhy_version"]
    assert (status, mean) == ("success", pytest.approx(6, abs=0.2))


def test_an_environment_without_the_packages_is_said_to_lack_them(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    told = DoWhyClient(tmp_path / "bare" / "bin" / "python").check_availability()
    assert told["available"] is False
    assert "No module named" in told["error"]
