"""There is no GPU where these tests run: small stand-ins for torch and pynvml take their places."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from causalkit.workflows import vram
from causalkit.workflows.vram import Meter, find_meter


class FakeCuda:
    """Counts memory as torch.cuda does: what is allocated, and the peak since the last reset."""

    def __init__(self, devices: int = 1, initialized: bool = True) -> None:
        self.now = [0] * devices
        self.peak = [0] * devices
        self.initialized = initialized

    def use(self, size: int, device: int = 0) -> None:
        self.now[device] = size
        self.peak[device] = max(self.peak[device], size)

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return self.initialized

    def device_count(self) -> int:
        return len(self.now)

    def max_memory_allocated(self, device: int) -> int:
        return self.peak[device]

    def reset_peak_memory_stats(self, device: int) -> None:
        self.peak[device] = self.now[device]


def fake_torch(cuda: FakeCuda) -> ModuleType:
    torch = ModuleType("torch")
    torch.cuda = cuda  # type: ignore[attr-defined]
    return torch


class FakeNvml(ModuleType):
    """One device of which this process, or the driver for all, tells how much is used."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, devices: int = 1) -> None:
        super().__init__("pynvml")
        self.devices = devices
        self.own: int | None = 0
        self.total = 0
        self.looks = 0
        self.lost = False

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return self.devices

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        self.looks += 1
        if self.lost:
            raise self.NVMLError
        return [
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=self.own),
            SimpleNamespace(pid=os.getpid() + 1, usedGpuMemory=10**12),
        ]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=self.total)


@pytest.fixture(autouse=True)
def _undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (("_torch_meter", None), ("_nvml_meter", None), ("_nvml_decided", False)):
        monkeypatch.setattr(vram, name, value)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    yield
    wait_for(lambda: threads_of_meters() == [])


def with_torch(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda) -> Meter | None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda))
    return find_meter()


def with_nvml(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml) -> Meter | None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return find_meter()


def threads_of_meters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "causalkit-vram"]


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 5
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


def test_without_torch_and_nvml_there_is_nothing_to_measure_with() -> None:
    assert find_meter() is None


def test_without_a_device_or_a_driver_there_is_nothing_to_measure_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_nvml(monkeypatch, FakeNvml(devices=0)) is None

    class NoDriver(FakeNvml):
        def nvmlInit(self) -> None:
            raise self.NVMLError

    monkeypatch.setattr(vram, "_nvml_decided", False)
    assert with_nvml(monkeypatch, NoDriver()) is None


def test_torch_that_does_not_use_cuda_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_torch(monkeypatch, FakeCuda(initialized=False)) is None


def test_stand_in_for_torch_a_peak_inside_a_step_counts_for_it_and_for_those_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda()
    meter = with_torch(monkeypatch, cuda)
    assert meter is not None
    cuda.use(9_000_000)
    cuda.use(1_000_000)
    outer = meter.begin()
    first = meter.begin()
    cuda.use(5_000_000)
    cuda.use(2_000_000)
    assert meter.end(first) == 5.0
    second, parallel = meter.begin(), meter.begin()
    cuda.use(3_000_000)
    assert meter.end(second) == 3.0
    cuda.use(4_000_000)
    assert (meter.end(parallel), meter.end(outer)) == (4.0, 5.0)


def test_stand_in_for_torch_the_peaks_of_several_devices_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(devices=2)
    meter = with_torch(monkeypatch, cuda)
    assert meter is not None
    gauge = meter.begin()
    cuda.use(1_000_000, 0)
    cuda.use(2_500_000, 1)
    assert meter.end(gauge) == 3.5


def test_stand_in_for_nvml_a_peak_between_two_ends_of_a_step_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    meter = with_nvml(monkeypatch, nvml)
    assert meter is not None
    gauge = meter.begin()
    nvml.own = 8_000_000
    looks = nvml.looks
    wait_for(lambda: nvml.looks > looks + 1)
    nvml.own = 1_000_000
    assert meter.end(gauge) == 8.0


def test_stand_in_for_nvml_the_watching_thread_lives_as_long_as_a_step_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = with_nvml(monkeypatch, FakeNvml())
    assert meter is not None
    assert threads_of_meters() == []
    for _ in range(2):
        outer, inner = meter.begin(), meter.begin()
        meter.end(outer)
        assert len(threads_of_meters()) == 1
        assert threads_of_meters()[0].daemon
        meter.end(inner)
        wait_for(lambda: threads_of_meters() == [])


def test_stand_in_for_nvml_what_the_driver_hides_is_taken_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    nvml.own, nvml.total = None, 6_000_000
    meter = with_nvml(monkeypatch, nvml)
    assert meter is not None
    assert meter.end(meter.begin()) == 6.0


def test_stand_in_for_nvml_a_device_that_is_lost_does_not_break_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    nvml.own = 3_000_000
    meter = with_nvml(monkeypatch, nvml)
    assert meter is not None
    gauge = meter.begin()
    nvml.lost = True
    assert meter.end(gauge) == 3.0


def test_it_is_decided_once_whether_nvml_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_meter() is None
    assert with_nvml(monkeypatch, FakeNvml()) is None
