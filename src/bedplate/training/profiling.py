"""Where a training step's time goes, and how much of the machine's measured peak it uses.

Times are self times (what an operation took without the operations that it called), gathered in groups by what they
compute. Floating-point operations are counted by PyTorch's own counter: matrix products and convolutions, forward and
backward, two for each multiply-add. The peak is measured at once, in the same precision, on the same threads.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from bedplate.models import Network
from bedplate.objectives import Objective
from bedplate.recipe.schema import TrainingSpec
from bedplate.training.augment import AppliedAugment
from bedplate.training.batches import Batches
from bedplate.training.dry_run import dry_run, take_step
from bedplate.training.execution import Execution, rows_a_step
from bedplate.training.loop import TrainingData
from bedplate.training.run import Run
from bedplate.training.updates import Machinery

STEP, BATCH, AUGMENT = "bedplate: step", "bedplate: batch", "bedplate: augmentation"
WAITING = "waiting and Python"
WARM_UP = 3

_GROUPS: tuple[tuple[str, str], ...] = (
    ("batch and augmentation", rf"{BATCH}|{AUGMENT}"),
    ("optimiser", r"Optimizer\.(step|zero_grad)"),
    ("compiled code", r"CompiledF|Torch-Compiled|triton_|cpp_fused"),
    ("convolution, backward", r"convolution\w*_backward|ConvolutionBackward|dgrad|wgrad"),
    ("convolution, forward", r"conv|winograd|implicit_gemm|fprop"),
    ("matrix products", r"mm$|matmul|linear$|MmBackward|LinearBackward|gemm|cutlass|cublas|einsum|nvjet"),
    ("pooling", r"pool"),
    ("normalisation", r"norm(?!al_)"),
    ("dropout", r"dropout|bernoulli"),
    ("loss", r"softmax|nll|cross_entropy|mse_loss|huber|smooth_l1|SoftmaxBackward"),
    ("activations", r"relu|threshold|clamp_min|gelu|silu|sigmoid|tanh|elu\b|hardtanh|SiluBackward"),
    ("embedding", r"embedding"),
    ("copies and casts", r"copy|clone|contiguous|::to$|memcpy|memset|fill_|zero_|::cat$|ToCopyBackward|CatBackward"),
)
"""A group's name, and the operations that belong to it. The first that fits decides."""
_OWNERS = {"batch and augmentation", "optimiser"}
"""Groups that own whatever runs below them."""
_ARITHMETIC = ("convolution, forward", "convolution, backward", "matrix products")


@dataclass(frozen=True)
class Peak:
    """The largest throughput that this machine showed: `gflops` by the work called `of`."""

    gflops: float
    of: str
    tried: dict[str, float]


@dataclass(frozen=True)
class StepProfile:
    """What was measured of a training step.

    Attributes:
        seconds: one step, without the profiler (lower quartile: other work on the machine only ever adds time).
        profiled_seconds: one step under the profiler (mean of the faster half).
        groups: group → seconds a step under the profiler, the largest first; they add up to `profiled_seconds`.
        rows: of a step.
        flops: floating-point operations of a step's forward and backward passes.
        peak: what the machine can do.
        memory_bytes: the largest memory of the process so far (CPU), or what the GPU held at most.
        steps: how many were profiled.
        execution: the settled choices.
        threads: on which the step ran.
    """

    seconds: float
    profiled_seconds: float
    groups: dict[str, float]
    rows: int
    flops: int
    peak: Peak
    memory_bytes: int
    steps: int
    execution: Execution
    threads: int

    @property
    def rows_per_second(self) -> float:
        """Rows trained in a second, without the profiler."""
        return self.rows / self.seconds

    @property
    def gflops(self) -> float:
        """Floating-point operations a second, in thousand millions."""
        return self.flops / self.seconds / 1e9

    def share(self, *names: str) -> float:
        """Return the share of the step that groups took together."""
        return sum(self.groups.get(name, 0.0) for name in names) / self.profiled_seconds

    @property
    def verdict(self) -> str:
        """What binds the step, in a sentence."""
        arithmetic, waiting = self.share(*_ARITHMETIC), self.share(WAITING)
        others = [name for name in self.groups if name not in _ARITHMETIC and name != WAITING]
        moving = sum(self.share(name) for name in others)
        if arithmetic >= max(moving, waiting):
            return (
                f"compute-bound: {arithmetic:.0%} of the time in convolutions and matrix products; the whole step "
                f"reaches {self.gflops / self.peak.gflops:.0%} of the measured peak"
            )
        if waiting >= moving:
            return (
                f"overhead-bound: {waiting:.0%} of the time goes by between the operations; a larger batch_size has "
                "fewer of them for the same rows"
            )
        two = sorted(others, key=self.share, reverse=True)[:2]
        return (
            f"memory-bound: {moving:.0%} of the time in what moves data rather than computes, most of it in "
            f"{' and '.join(f'{name} ({self.share(name):.0%})' for name in two)}; "
            f"convolutions and matrix products take {arithmetic:.0%}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON."""
        return {
            "seconds_per_step": self.seconds,
            "profiled_seconds_per_step": self.profiled_seconds,
            "groups": {
                name: {"seconds": seconds, "share": seconds / self.profiled_seconds}
                for name, seconds in self.groups.items()
            },
            "rows_per_step": self.rows,
            "rows_per_second": self.rows_per_second,
            "flops_per_step": self.flops,
            "gflops": self.gflops,
            "peak_gflops": self.peak.gflops,
            "peak_of": self.peak.of,
            "peaks": self.peak.tried,
            "share_of_peak": self.gflops / self.peak.gflops,
            "memory_bytes": self.memory_bytes,
            "steps": self.steps,
            "execution": self.execution.to_json(),
            "threads": self.threads,
            "verdict": self.verdict,
        }


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Keep what the profiler's C++ parts write to standard error off the console; an exception is told as ever."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class _LabelledBatches:
    """Batches whose operations the profiler finds under one name."""

    def __init__(self, batches: Batches) -> None:
        self._batches, self.rows = batches, batches.rows

    def batch(self, epoch: int, start: int, stop: int) -> tuple[list[Tensor], Tensor]:
        """Return the rows at [start, stop) of the epoch's order."""
        with record_function(BATCH):
            return self._batches.batch(epoch, start, stop)


def _labelled(augment: AppliedAugment) -> AppliedAugment:
    def applied(features: list[Tensor], targets: Tensor, source: torch.Generator) -> tuple[list[Tensor], Tensor]:
        with record_function(AUGMENT):
            return augment(features, targets, source)

    return applied


def group_of(chain: Sequence[str]) -> str:
    """Return the group of an operation, given its name and those of the operations above it, innermost first."""
    found = [_own_group(name) for name in chain]
    owner = next((group for group in found if group in _OWNERS), None)
    if owner is not None:
        return owner
    if chain[0] == STEP:
        return WAITING
    return next((group for group in found if group is not None), "other")


_COMPILED = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _GROUPS)


def _own_group(name: str) -> str | None:
    return next((group for group, pattern in _COMPILED if pattern.search(name)), None)


def _quiet_half(events: Sequence[Any], walls: Sequence[float]) -> tuple[list[Any], float]:
    """Return the events of the faster half of the steps, and these steps' seconds: other work only ever adds time."""
    order = sorted(range(len(walls)), key=lambda k: walls[k])[: max(len(walls) // 2, 1)]
    roots = [event for event in events if event.name == STEP and "CUDA" not in str(event.device_type)]
    steps = sorted((event.time_range.start, event.time_range.end) for event in roots)
    kept = [steps[k] for k in order if k < len(steps)]
    inside = [e for e in events if any(start <= e.time_range.start <= end for start, end in kept)]
    return inside, sum(walls[k] for k in order) / len(order)


def _grouped(events: Sequence[Any], cuda: bool, wall: float) -> dict[str, float]:
    """Return group → seconds of all events; what no operation accounts for is waiting."""
    totals: dict[str, float] = {}
    for event in events:
        on_device = "CUDA" in str(event.device_type)
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        if spent <= 0 or (cuda and on_device):
            continue  # a kernel's time also stands with the operation that launched it
        chain, above = [event.name], event.cpu_parent
        while above is not None:
            chain.append(above.name)
            above = above.cpu_parent
        group = group_of(chain)
        totals[group] = totals.get(group, 0.0) + spent / 1e6
    known = sum(seconds for group, seconds in totals.items() if group != WAITING)
    totals[WAITING] = max(wall - known, 0.0)
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def measure_peak(execution: Execution, *, seconds: float = 1.5) -> Peak:
    """Return the largest throughput of a few large matrix products and convolutions, in the precision and layout.

    Args:
        execution: device, precision and memory format.
        seconds: about how long to measure.
    """
    kind = torch.bfloat16 if execution.precision == "bf16" else torch.float32
    source = torch.Generator(execution.device).manual_seed(0)

    def filled(*shape: int) -> Tensor:
        return torch.randn(shape, generator=source, device=execution.device).to(kind)

    works: dict[str, tuple[Callable[[], Tensor], float]] = {}
    for size in (1024, 2048) if execution.device == "cpu" else (4096, 8192):
        left, right = filled(size, size), filled(size, size)
        works[f"matrix product {size}×{size}×{size}"] = (lambda a=left, b=right: a @ b, 2.0 * size**3)  # type: ignore[misc]
    layout = torch.channels_last if execution.memory_format == "channels_last" else torch.contiguous_format
    rows = 32 if execution.device == "cpu" else 256
    for channels in (64, 128):
        images = filled(rows, channels, 28, 28).contiguous(memory_format=layout)
        kernels = filled(channels, channels, 3, 3).contiguous(memory_format=layout)
        works[f"convolution 3×3, {channels} channels, {rows}×28×28"] = (
            lambda x=images, w=kernels: functional.conv2d(x, w, padding=1),  # type: ignore[misc]
            2.0 * rows * 28 * 28 * channels * channels * 9,
        )
    tried = {name: _throughput(work, flops, execution, seconds / len(works)) for name, (work, flops) in works.items()}
    best = max(tried, key=lambda name: tried[name])
    return Peak(tried[best], best, {name: round(value, 1) for name, value in tried.items()})


@torch.inference_mode()
def _throughput(work: Callable[[], Tensor], flops: float, execution: Execution, seconds: float) -> float:
    """Return the GFLOP/s of the fastest repetition: other work on the machine only ever adds time."""
    for _ in range(2):
        work()
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < seconds:
        _wait(execution)
        begun = time.perf_counter()
        work()
        _wait(execution)
        best = min(best, time.perf_counter() - begun)
    return flops / best / 1e9


def _wait(execution: Execution) -> None:
    if execution.device == "cuda":
        torch.cuda.synchronize()


def count_flops(machinery: Machinery, run: Run) -> int:
    """Return the floating-point operations of one step's forward and backward passes (the next step's batch)."""
    features, targets = machinery.batch(run.epoch, run.step_in_epoch, run.step)
    plainly = replace(machinery, network=run.network)  # the counter can't look into compiled code
    with FlopCounterMode(display=False) as counter:
        for part in machinery.objective.steps:
            plainly.gradient(part.loss, features, targets, len(targets))
    return int(counter.get_total_flops())


def _memory(execution: Execution) -> int:
    if execution.device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(used if sys.platform == "darwin" else used * 1024)


def profile_steps(
    network: Network,
    objective: Objective,
    data: TrainingData,
    spec: TrainingSpec,
    *,
    seed: int,
    steps: int = 20,
    trace: Path | None = None,
) -> StepProfile:
    """Take training steps on a copy of `network` and say where their time goes.

    Args:
        network: freshly built, or with its starting weights; it is left as it is.
        objective: what is minimised.
        data: training rows.
        spec: the recipe's `training`, settled.
        seed: the recipe's seed.
        steps: how many are timed without the profiler, and then as many under it.
        trace: where to write a Chrome trace (chrome://tracing, ui.perfetto.dev), or None.
    """
    machinery, run = dry_run(network, objective, data, spec, seed=seed)
    execution = machinery.execution
    for _ in range(WARM_UP):
        take_step(machinery, run)
    times = []
    for _ in range(steps):
        _wait(execution)
        begun = time.perf_counter()
        take_step(machinery, run)
        _wait(execution)
        times.append(time.perf_counter() - begun)
    memory = _memory(execution)
    labelled = replace(
        machinery, batches=_LabelledBatches(machinery.batches), augments=[_labelled(one) for one in machinery.augments]
    )
    cuda = execution.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    walls = []
    with _without_noise():
        with profile(activities=activities) as found:
            for _ in range(steps):
                begun = time.perf_counter()
                with record_function(STEP):
                    take_step(labelled, run)
                    _wait(execution)
                walls.append(time.perf_counter() - begun)
        if trace is not None:
            found.export_chrome_trace(str(trace))
        events, wall = _quiet_half(found.events() or [], walls)
        counted = max(steps // 2, 1)
        groups = _grouped(events, cuda, wall * counted)
    rows = min(rows_a_step(spec), machinery.batches.rows)
    return StepProfile(
        sorted(times)[len(times) // 4],
        wall,
        {name: seconds / counted for name, seconds in groups.items()},
        rows,
        count_flops(machinery, run),
        measure_peak(execution),
        memory,
        steps,
        execution,
        torch.get_num_threads(),
    )
