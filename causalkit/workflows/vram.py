"""The true peak of GPU memory over each step, in megabytes of 1,000,000 bytes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

# NVML knows no peak, so it has to be looked at often; one look takes about a tenth of this.
_POLL_S = 0.01


class Gauge:
    """The highest reading so far of one step that is open."""

    __slots__ = ("peak",)

    def __init__(self) -> None:
        self.peak = 0


class Meter:
    """Measures the peak over any number of steps, nested or at the same time.

    Parameters
    ----------
    peak_since_last : callable
        Gives the highest memory in bytes since it was called last.
    polled : bool, default False
        Whether it only sees the moment, and so has to be called all the time while a step is open.

    Examples
    --------
    >>> readings = iter([5_000_000, 90_000_000, 20_000_000, 7_000_000])
    >>> meter = Meter(lambda: next(readings))
    >>> outer, inner = meter.begin(), meter.begin()
    >>> meter.end(inner), meter.end(outer)
    (20.0, 90.0)
    """

    def __init__(self, peak_since_last: Callable[[], int], *, polled: bool = False) -> None:
        self._peak_since_last = peak_since_last
        self._polled = polled
        self._open: set[Gauge] = set()
        self._lock = threading.Lock()
        self._poller: threading.Thread | None = None

    def begin(self) -> Gauge:
        """Measure from here on."""
        gauge = Gauge()
        with self._lock:
            peak = self._fold()
            # Up to now the memory belongs to the steps before; a meter that polls has seen this very moment.
            gauge.peak = peak if self._polled else 0
            self._open.add(gauge)
            if self._polled and self._poller is None:
                self._poller = threading.Thread(target=self._poll, name="causalkit-vram", daemon=True)
                self._poller.start()
        return gauge

    def end(self, gauge: Gauge) -> float:
        """Return the peak since `begin`, in megabytes."""
        with self._lock:
            self._fold()
            self._open.discard(gauge)
        return gauge.peak / 1e6

    def _fold(self) -> int:
        peak = self._peak_since_last()
        for gauge in self._open:
            gauge.peak = max(gauge.peak, peak)
        return peak

    def _poll(self) -> None:
        wait = threading.Event().wait
        while True:
            wait(_POLL_S)
            with self._lock:
                if not self._open:
                    self._poller = None
                    return
                self._fold()


_torch_meter: Meter | None = None
_nvml_meter: Meter | None = None
_nvml_decided = False


def find_meter() -> Meter | None:
    """Return what measures GPU memory in this process, or None where there is no GPU.

    PyTorch is asked if it is loaded and uses CUDA: it counts what its allocator holds, exactly, summed over devices;
    its own peak counter is reset by every step. Else NVML is, if ``nvidia-ml-py`` is installed: it is looked at every
    10 ms, so that a shorter peak may be missed; it tells the memory of this process, or that of the whole device where
    the driver does not say whose it is.

    Examples
    --------
    >>> find_meter() is find_meter()
    True
    """
    global _torch_meter, _nvml_meter, _nvml_decided
    torch: Any = sys.modules.get("torch")
    # Half imported, it has no `cuda` yet.
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_available() and cuda.is_initialized():
        _torch_meter = _torch_meter or Meter(lambda: _torch_peak(cuda))
        return _torch_meter
    if not _nvml_decided:
        _nvml_meter = _from_nvml()
        _nvml_decided = True
    return _nvml_meter


def _torch_peak(cuda: Any) -> int:
    peak = 0
    for device in range(cuda.device_count()):
        peak += cuda.max_memory_allocated(device)
        cuda.reset_peak_memory_stats(device)
    return peak


def _from_nvml() -> Meter | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return None
    return Meter(lambda: sum(_nvml_memory(pynvml, handle) for handle in handles), polled=True) if handles else None


def _nvml_memory(nvml: Any, handle: Any) -> int:
    try:
        mine = [p.usedGpuMemory for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
        return int(sum(mine) if None not in mine else nvml.nvmlDeviceGetMemoryInfo(handle).used)
    except nvml.NVMLError:
        # A device that was lost in the middle of a step must not take the step with it.
        return 0


def _after_fork() -> None:
    # Neither the polling thread nor CUDA survives a fork.
    global _torch_meter, _nvml_meter, _nvml_decided
    _torch_meter = _nvml_meter = None
    _nvml_decided = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
