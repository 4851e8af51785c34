"""Profile a recipe's training step, in the choices that a run would settle on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from bedplate.core.console import Console, human_bytes
from bedplate.core.errors import InputError
from bedplate.core.files import explain_write_errors
from bedplate.core.machine import cpu_model
from bedplate.stages.train import configured_torch
from bedplate.stages.workbench import workbench
from bedplate.training import choose, settle
from bedplate.training.profiling import StepProfile, profile_steps

MOST_STEPS = 1000


def profile_recipe(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    steps: int = 20,
    trace: Path | None = None,
    console: Console | None = None,
) -> StepProfile:
    """Return where the time of a recipe's training steps goes. Trains nothing that is kept.

    Args:
        recipe: a YAML file, or the name of a shipped recipe.
        overrides: `key.path=value` texts.
        steps: how many are measured.
        trace: where to write a Chrome trace, or None.
        console: where people read along; left out: silent.

    Raises:
        RecipeError, DataError: whatever a run would meet before training.
        InputError: too few or too many steps, or the trace can't be written.
    """
    console = console or Console(quiet=True)
    if not 1 <= steps <= MOST_STEPS:
        raise InputError("not a number of steps", where="--steps", expected=f"1 to {MOST_STEPS:,}", received=str(steps))
    if trace is not None:
        _check_trace(trace)
    bench = workbench(recipe, overrides, console)
    work = bench.work
    with configured_torch(work.threads):
        choices = choose(
            bench.network, bench.objective, bench.data, work.recipe.training, seed=work.recipe.seed,
            threads=work.threads, announce=lambda text: console.detail(f"choice: {text}"),
        )  # fmt: skip
        spec = settle(work.recipe.training, choices.to_json())
        torch.set_num_threads(spec.threads or work.threads)
        console.stage("profile", f"{steps} steps, and as many under the profiler; then the machine's peak")
        found = profile_steps(
            bench.network, bench.objective, bench.data, spec, seed=work.recipe.seed, steps=steps, trace=trace
        )
    bench.release()
    return found


def _check_trace(trace: Path) -> None:
    """Refuse a trace that can't be written, before anything is measured."""
    if trace.is_dir():
        raise InputError("a folder, not a file", where=f"--trace {trace}")
    if trace.suffix != ".json" and trace.suffixes[-2:] != [".json", ".gz"]:
        raise InputError("a trace is JSON", where=f"--trace {trace}", expected="a name ending in .json or .json.gz")
    if not trace.parent.is_dir():
        raise InputError("no such folder", where=f"--trace {trace}", expected="an existing folder")
    with explain_write_errors(trace):
        trace.touch()


def tell(found: StepProfile, console: Console) -> None:
    """Write a profile for people."""
    rows = [
        [name, f"{1000 * seconds:.2f}", f"{100 * found.share(name):.1f} %"] for name, seconds in found.groups.items()
    ]
    total = f"{1000 * found.profiled_seconds:.2f}"
    console.table(["where the time goes", "ms a step", "share"], [*rows, ["a step under the profiler", total, ""]])
    execution = found.execution
    console.say()
    on = cpu_model() if execution.device == "cpu" else torch.cuda.get_device_name()
    console.detail(
        f"step         {1000 * found.seconds:.2f} ms without the profiler, {found.rows:,} rows, "
        f"{found.rows_per_second:,.0f} rows/s"
    )
    console.detail(
        f"settings     {on}, {found.threads} thread{'' if found.threads == 1 else 's'}, {execution.precision}, "
        f"{execution.memory_format}{', compiled' if execution.compile else ''}"
    )
    console.detail(
        f"arithmetic   {found.flops / 1e9:.3g} GFLOP a step (forward and backward), {found.gflops:,.1f} GFLOP/s"
    )
    console.detail(
        f"peak         {found.peak.gflops:,.1f} GFLOP/s, measured now: {found.peak.of} in {execution.precision}; "
        f"the step reaches {found.gflops / found.peak.gflops:.1%} of it"
    )
    held = "the process so far" if execution.device == "cpu" else "the GPU at most"
    console.detail(f"memory       {human_bytes(found.memory_bytes)} ({held})")
    console.say()
    console.say(found.verdict)
