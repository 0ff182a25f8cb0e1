from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType

import pytest

from causalkit.errors import CausalkitError
from causalkit.workflows import vram
from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.tracer import Tracer
from tests.workflows.test_vram import FakeCuda, fake_torch


def test_runs_and_steps_can_be_entered_with_async_with() -> None:
    tracer = Tracer()

    async def main() -> None:
        async with tracer.workflow("answer") as run, run.step("outer"):
            await asyncio.sleep(0)
            async with run.step("inner") as step:
                step.attributes["hits"] = 3

    asyncio.run(main())
    inner, outer = sorted(tracer.runs[0].steps, key=lambda step: step.step_name)
    assert (inner.parent_id, inner.attributes) == (outer.step_id, {"hits": 3})


def test_a_step_begun_after_its_run_has_ended_is_an_error_that_names_both() -> None:
    with Tracer().workflow("answer", request_id="r1") as run:
        pass
    with (
        pytest.raises(CausalkitError, match="step 'late' began after its run 'r1' had ended") as caught,
        run.step("late"),
    ):
        pass
    assert (caught.value.step, caught.value.request_id) == ("late", "r1")


def test_a_step_begun_before_its_run_is_an_error() -> None:
    run = Tracer().workflow("answer")
    with pytest.raises(CausalkitError, match="step 'early' began before its run"), run.step("early"):
        pass


@pytest.mark.parametrize("still_open", [True, False])
def test_a_step_entered_twice_is_an_error(still_open: bool) -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as run:
        step = run.step("search")
        with step:
            if still_open:
                with pytest.raises(CausalkitError, match="step 'search' was entered twice"), step:
                    pass
        with pytest.raises(CausalkitError, match="step 'search' was entered twice"), step:
            pass
    assert len(tracer.runs[0].steps) == 1


def test_a_run_entered_twice_is_an_error() -> None:
    tracer = Tracer()
    run = tracer.workflow("answer", request_id="r1")
    with run, pytest.raises(CausalkitError, match="run 'r1' was entered twice"), run:
        pass
    assert len(tracer.runs) == 1


def test_attributes_may_have_any_name() -> None:
    tracer = Tracer()
    with tracer.workflow("answer", workflow_name="x") as run, run.step("search", step_name="y", self="z"):
        pass
    assert tracer.runs[0].attributes["workflow_name"] == "x"
    assert tracer.runs[0].steps[0].attributes == {"step_name": "y", "self": "z"}


def test_a_step_that_ends_after_its_run_is_in_the_journal(tmp_path: Path) -> None:
    from causalkit.workflows.traces import load_traces

    with Tracer(tmp_path / "runs.jsonl") as tracer:
        with tracer.workflow("answer") as run:
            step = run.step("late")
            step.__enter__()
        step.__exit__(None, None, None)
    assert [step.step_name for step in load_traces(tmp_path / "runs.jsonl")[0].steps] == ["late"]


def test_steps_stand_in_the_order_in_which_they_began() -> None:
    tracer = Tracer()
    with tracer.workflow("answer") as run:
        for number in range(50):
            with run.step(f"outer{number}"), run.step(f"inner{number}"):
                pass
    assert [step.step_name for step in tracer.runs[0].steps] == [
        f"{n}{i}" for i in range(50) for n in ("outer", "inner")
    ]


def test_open_runs_and_steps_show_what_they_are() -> None:
    with Tracer().workflow("answer") as run, run.step("search") as step:
        assert (repr(run), repr(step)) == ("<OpenRun answer: 0 finished steps>", "<OpenStep search>")
        assert isinstance(run, OpenRun)


def test_each_step_records_the_peak_of_gpu_memory_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda))
    tracer = Tracer()
    with tracer.workflow("answer") as run, run.step("outer"):
        cuda.use(2_000_000)
        with run.step("inner"):
            cuda.use(7_500_000)
            cuda.use(1_000_000)
        with run.step("after"):
            pass
    assert {step.step_name: step.vram_peak_mb for step in tracer.runs[0].steps} == {
        "outer": 7.5,
        "inner": 7.5,
        "after": 1.0,
    }


def test_without_a_gpu_there_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vram, "_nvml_decided", True)
    monkeypatch.setattr(vram, "_nvml_meter", None)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    tracer = Tracer()
    with tracer.workflow("answer") as run, run.step("search"):
        pass
    assert tracer.runs[0].steps[0].vram_peak_mb is None
