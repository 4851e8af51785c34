"""Run the learning-rate range test on a recipe, and say what to write into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.core.files import write_text
from bedplate.evaluation.svg import number
from bedplate.stages.rate_chart import as_html, as_svg, rounded, sparkline
from bedplate.stages.train import configured_torch
from bedplate.stages.workbench import workbench
from bedplate.training.find_rate import RateCurve, find_rate

MOST_STEPS = 100_000


def find_recipe_rate(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 200,
    out: Path | None = None,
    console: Console | None = None,
) -> RateCurve:
    """Return the range test of a recipe; see `bedplate.training.find_rate`.

    Args:
        recipe: a YAML file, or the name of a shipped recipe.
        overrides: `key.path=value` texts.
        low: the first step's rate.
        high: the last step's rate.
        steps: how many.
        out: an .svg or .html file to write, or None.
        console: where people read along; left out: silent.

    Raises:
        RecipeError, DataError: whatever a run would meet before training.
        InputError: bounds, steps or a file's name that can't be.
        GateError: no rate lowers the loss.
    """
    console = console or Console(quiet=True)
    if out is not None and out.suffix not in (".svg", ".html"):
        raise InputError("not a kind of chart", where=f"--out {out}", expected="a name ending in .svg or .html")
    if steps > MOST_STEPS:
        raise InputError("too many steps", where="--steps", expected=f"at most {MOST_STEPS:,}", received=str(steps))
    bench = workbench(recipe, overrides, console)
    recipe_ = bench.work.recipe
    console.stage("find-lr", f"{recipe_.training.optimizer.name}, {steps} steps from {number(low)} to {number(high)}")
    with configured_torch(bench.work.threads), console.progress("range test", steps) as advance:
        curve = find_rate(
            bench.network, bench.objective, bench.data, recipe_.training, seed=recipe_.seed,
            low=low, high=high, steps=steps, told=lambda step: advance(step, ""),
        )  # fmt: skip
    bench.release()
    if out is not None:
        write_text(out, as_svg(curve) if out.suffix == ".svg" else as_html(curve, recipe_.name, lines(curve)))
    return curve


def lines(curve: RateCurve) -> list[str]:
    """Return what was found for people, and what to write into the recipe."""
    rate = number(rounded(curve.suggestion)).replace("−", "-")
    end = (
        f"the loss exceeded four times its best at {number(rounded(curve.diverged))}"
        if curve.diverged is not None
        else f"the loss stayed bounded up to {number(rounded(curve.rates[-1]))}"
    )
    return [
        f"The loss falls fastest at a learning rate of {rate}; it is least at {number(rounded(curve.best))}, "
        f"and {end}.",
        f"These rates are for steps of {curve.batch_size:,} rows. A schedule's highest rate is the optimiser's lr: "
        f"write training.optimizer.lr: {rate} into the recipe, or add --set training.optimizer.lr={rate}.",
    ]


def tell(curve: RateCurve, console: Console) -> None:
    """Write a range test for people."""
    first, last = number(rounded(curve.rates[0])), number(rounded(curve.rates[-1]))
    console.detail(f"smoothed loss  {first} {sparkline(curve)} {last}")
    for line in lines(curve):
        console.say(line)
