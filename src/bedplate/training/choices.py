"""Measured choices: how to compute a step on this machine, found by timing the alternatives on the recipe itself.

Each alternative takes the same few steps from the same weights on the same batches, in turns, so that other work on the
machine meets all alike. One is taken only if its losses agree with float32's and it saves more time than noise could.
What would cost more to try than it can save is not tried, and the reason says so.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bedplate.core.machine import cpu_features
from bedplate.models import PADDED, Network
from bedplate.objectives import Objective
from bedplate.recipe.schema import TrainingSpec
from bedplate.training.dry_run import dry_run, take_step
from bedplate.training.execution import DEFAULT_BATCH_SIZE, Execution, plain, rows_a_step
from bedplate.training.loop import TrainingData
from bedplate.training.run import Run
from bedplate.training.updates import Machinery

MEASURED = ("device", "precision", "memory_format", "compile", "batch_size", "threads")
WORTH_A_TRIAL = 15.0
"""Seconds of predicted training below which nothing is tried."""
TRIAL_SHARE = 0.04
"""How much of the predicted training one trial may take."""
GAIN = 1.05
"""How much faster than the simpler choice an alternative must be."""
COMPILE_SECONDS = 30.0
"""What compiling takes at the least; it is tried where the training is longer than ten times that."""
BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
_ROUNDS, _STEPS = 3, (4, 16)


@dataclass(frozen=True)
class Choices:
    """What was chosen, why, and the figures behind it.

    Attributes:
        spec: the recipe's `training` with nothing left `auto`.
        threads: the number of threads.
        reasons: choice → a sentence.
        trials: one entry an alternative: its settings, rows a second, and how far its losses lay from float32's.
        seconds: what measuring took.
    """

    spec: TrainingSpec
    threads: int
    reasons: dict[str, str]
    trials: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def settled(self) -> dict[str, Any]:
        """The choices by name, as the recipe writes them."""
        return {**{key: getattr(self.spec, key) for key in MEASURED}, "threads": self.threads}

    def to_json(self) -> dict[str, Any]:
        """Return the choices with reasons and figures."""
        return {
            "settled": self.settled,
            "learning_rate": self.spec.optimizer.arguments.get("lr"),
            "reasons": self.reasons,
            "trials": self.trials,
            "seconds": round(self.seconds, 3),
        }


def settle(spec: TrainingSpec, stored: dict[str, Any]) -> TrainingSpec:
    """Return the spec with the choices that an earlier `Choices.to_json` holds."""
    changes: dict[str, Any] = dict(stored["settled"])
    if stored.get("learning_rate") is not None:
        changes["optimizer"] = spec.optimizer.model_copy(update={"lr": stored["learning_rate"]})
    return spec.model_copy(update=changes)


@dataclass
class _Candidate:
    """One alternative under trial, with a copy of the network that is thrown away."""

    spec: TrainingSpec
    threads: int
    machinery: Machinery
    run: Run
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def steps(self, count: int, *, timed: bool = True) -> None:
        """Take some steps, and note losses and the seconds of one step."""
        torch.set_num_threads(self.threads)
        for _ in range(count):
            before = self.run.loss_sum.clone()
            started = time.perf_counter()
            take_step(self.machinery, self.run)
            if self.execution.device == "cuda":
                torch.cuda.synchronize()
            if timed:
                self.times.append(time.perf_counter() - started)
            rows = min(rows_a_step(self.spec), self.machinery.batches.rows)
            self.losses.append((self.run.loss_sum - before).item() / rows)

    @property
    def execution(self) -> Execution:
        """How its steps are computed."""
        return self.machinery.execution

    @property
    def seconds_a_step(self) -> float:
        """The lower quartile: other work on the machine only ever adds time."""
        return sorted(self.times)[len(self.times) // 4]

    @property
    def rows_per_second(self) -> float:
        """Rows trained in a second."""
        return min(rows_a_step(self.spec), self.machinery.batches.rows) / self.seconds_a_step


class _Trial:
    """All that the alternatives share."""

    def __init__(
        self, network: Network, objective: Objective, data: TrainingData, spec: TrainingSpec, seed: int, threads: int
    ) -> None:
        self.network, self.objective, self.data, self.seed = network, objective, data, seed
        self.asked, self.threads = spec, threads
        self.entries: list[dict[str, Any]] = []

    def candidate(self, threads: int | None = None, **changes: Any) -> _Candidate:
        """Return an alternative to the plain spec, ready to step."""
        spec = plain(self.asked).model_copy(update=changes)
        machinery, run = dry_run(self.network, self.objective, self.data, spec, seed=self.seed)
        return _Candidate(spec, threads or self.threads, machinery, run)

    def note(self, candidate: _Candidate, deviation: float | None) -> None:
        """Keep an alternative's figures."""
        self.entries.append(
            {
                **candidate.execution.to_json(),
                "batch_size": candidate.spec.batch_size,
                "threads": candidate.threads,
                "rows_per_second": round(candidate.rows_per_second, 1),
                "steps": len(candidate.times),
                "loss_deviation": None if deviation is None else round(deviation, 4),
            }
        )


def deviation(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Return how far a loss curve lies from float32's: the mean gap of its second half, over that half's mean loss."""
    half = len(reference) // 2
    gaps = [abs(one - other) for one, other in zip(losses[half:], reference[half:], strict=True)]
    return statistics.fmean(gaps) / max(statistics.fmean(reference[half:]), 1e-3)


AGREEMENT = 0.05
"""The largest deviation of the losses with which an alternative is taken."""


def choose(
    network: Network,
    objective: Objective,
    data: TrainingData,
    spec: TrainingSpec,
    *,
    seed: int,
    threads: int,
    announce: Callable[[str], None] = lambda text: None,
) -> Choices:
    """Settle every `auto` of the spec by measuring, and return the choices.

    Args:
        network: freshly built, or with its starting weights; it is left as it was.
        objective: what is minimised.
        data: training rows; the trial takes some of the first epoch's batches.
        spec: the recipe's `training`.
        seed: the recipe's seed.
        threads: how many threads the machine grants; fewer are tried where `spec.threads` doesn't say.
        announce: told each choice with its reason.
    """
    started = time.perf_counter()
    asked = [key for key in MEASURED[:-1] if getattr(spec, key) == "auto"]
    if not asked:
        return Choices(spec, threads, dict.fromkeys(MEASURED, "the recipe says so"))
    reasons = {key: "the recipe says so" for key in MEASURED if key not in asked}
    if spec.epochs == 0:
        return Choices(plain(spec), threads, reasons | dict.fromkeys(asked, "nothing is trained"))
    state = torch.get_rng_state()
    try:
        settled, used, trials = _measure(network, objective, data, spec, seed, threads, asked, reasons)
    finally:
        torch.set_rng_state(state)
        torch.set_num_threads(threads)
    for key in asked:
        announce(f"{key}: {getattr(settled, key)} ({reasons[key]})")
    if used != threads:
        announce(f"threads: {used} ({reasons['threads']})")
    return Choices(settled, used, reasons, trials, time.perf_counter() - started)


def _measure(
    network: Network,
    objective: Objective,
    data: TrainingData,
    spec: TrainingSpec,
    seed: int,
    threads: int,
    asked: Sequence[str],
    reasons: dict[str, str],
) -> tuple[TrainingSpec, int, list[dict[str, Any]]]:
    """Return the settled spec, the threads and the trials; fill in the reasons."""
    if "device" in asked:
        found = torch.cuda.is_available()
        spec = spec.model_copy(update={"device": "cuda" if found else "cpu"})
        reasons["device"] = "a GPU was found" if found else "no GPU was found"
    trial = _Trial(network, objective, data, spec, seed, threads)
    base = trial.candidate()
    base.steps(2, timed=False)  # the first steps pay for allocation and kernel selection
    base.steps(3)
    total = base.seconds_a_step * base.run.steps_per_epoch * spec.epochs
    reasons["threads"] = "as many as the machine grants" if spec.threads is None else "the recipe says so"
    if total < WORTH_A_TRIAL:
        why = f"not tried: training is predicted at {total:.1f} s"
        reasons.update({key: why for key in asked if key != "device"})
        return plain(spec), threads, []
    alternatives = _alternatives(network, spec, asked, threads, reasons)
    best = _fastest(trial, alternatives, total, base.seconds_a_step, asked, reasons)
    spec = spec.model_copy(update={k: getattr(best.spec, k) for k in ("precision", "memory_format")})
    total *= base.rows_per_second / best.rows_per_second
    if "batch_size" in asked:
        spec, total = _batch_size(trial, spec, best, total, reasons)
    if "compile" in asked and isinstance(network.inputs, PADDED):
        spec = spec.model_copy(update={"compile": False})
        reasons["compile"] = "not tried: batches have many lengths"
    elif "compile" in asked:
        spec = _compile(trial, spec, best, total, reasons)
    return plain(spec), best.threads, trial.entries


def _alternatives(
    network: Network, spec: TrainingSpec, asked: Sequence[str], threads: int, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the combinations worth a trial, the plain one first."""
    precisions, layouts = [plain(spec).precision], [plain(spec).memory_format]
    if "precision" in asked:
        if spec.device == "cuda" or cpu_features() & {"avx512_bf16", "amx_bf16", "bf16"}:
            precisions.append("bf16")
        else:
            reasons["precision"] = "not tried: this processor computes no bfloat16"
    if "memory_format" in asked:
        if any(isinstance(module, nn.Conv2d) for module in network.modules()):
            layouts.append("channels_last")
        else:
            reasons["memory_format"] = "there are no convolutions"
    found = [{"precision": p, "memory_format": m, "threads": threads} for p in precisions for m in layouts]
    if spec.threads is None and threads > 1:
        found += [{"precision": p, "memory_format": layouts[-1], "threads": threads - 1} for p in precisions]
    return found


def _fastest(
    trial: _Trial,
    alternatives: Sequence[dict[str, Any]],
    total: float,
    seconds_a_step: float,
    asked: Sequence[str],
    reasons: dict[str, str],
) -> _Candidate:
    """Time the alternatives in turns and return the fastest whose losses agree with the first one's.

    Args:
        trial: what they share.
        alternatives: the settings of each, the plain one first.
        total: seconds that training takes as the plain one does it.
        seconds_a_step: its seconds of one step.
        asked: what the recipe leaves open.
        reasons: filled in for precision, layout and threads.
    """
    candidates = [trial.candidate(**settings) for settings in alternatives]
    for candidate in candidates:
        candidate.steps(2, timed=False)
    budget = TRIAL_SHARE * total / (len(candidates) * _ROUNDS * max(seconds_a_step, 1e-4))
    count = int(min(max(budget, _STEPS[0]), _STEPS[1]))
    for _ in range(_ROUNDS):
        for candidate in candidates:
            candidate.steps(count)
    first = candidates[0]
    best = first
    for candidate in candidates:
        gap = deviation(candidate.losses, first.losses)
        trial.note(candidate, None if candidate is first else gap)
        faster = candidate.rows_per_second > best.rows_per_second * (GAIN if best is first else 1.0)
        if candidate is not first and gap <= AGREEMENT and faster:
            best = candidate
    for key in ("precision", "memory_format"):
        if key in asked and key not in reasons:
            reasons[key] = _reason(key, best, candidates)
    if best.threads != first.threads:
        other = max(c.rows_per_second for c in candidates if c.threads == first.threads)
        reasons["threads"] = (
            f"{best.rows_per_second:,.0f} rows/s against {other:,.0f} with {first.threads}, which wait for each other"
        )
    return best


def _reason(key: str, best: _Candidate, candidates: Sequence[_Candidate]) -> str:
    """Say how the chosen value of `key` compares with the other, all else as chosen."""
    chosen = getattr(best.execution, key)
    others = [c for c in candidates if getattr(c.execution, key) != chosen and c.threads == best.threads] or [
        c for c in candidates if getattr(c.execution, key) != chosen
    ]
    other = max(others, key=lambda candidate: candidate.rows_per_second)
    gap = deviation(other.losses, candidates[0].losses)
    text = (
        f"{best.rows_per_second:,.0f} rows/s against {other.rows_per_second:,.0f} with {getattr(other.execution, key)}"
    )
    if other.rows_per_second > best.rows_per_second and gap > AGREEMENT:
        return f"{text}, whose losses lie {gap:.1%} off"
    if best is not candidates[0] and key == "precision":
        text += f"; losses within {deviation(best.losses, candidates[0].losses):.1%}"
    return text


def _batch_size(
    trial: _Trial, spec: TrainingSpec, best: _Candidate, total: float, reasons: dict[str, str]
) -> tuple[TrainingSpec, float]:
    """Take the smallest batch that keeps nine tenths of the best throughput, and scale the rate to it."""
    rows = len(trial.data)
    sizes = [size for size in BATCH_SIZES if size <= max(DEFAULT_BATCH_SIZE, rows // 50)]
    found: dict[int, _Candidate] = {}
    for size in sizes:
        try:
            candidate = trial.candidate(
                threads=best.threads,
                precision=best.spec.precision,
                memory_format=best.spec.memory_format,
                batch_size=size,
            )
            candidate.steps(2, timed=False)
            candidate.steps(5)
        except torch.OutOfMemoryError:
            break
        found[size] = candidate
        trial.note(candidate, None)
    fastest = max(candidate.rows_per_second for candidate in found.values())
    size = next(size for size, candidate in found.items() if candidate.rows_per_second >= 0.9 * fastest)
    factor = size / DEFAULT_BATCH_SIZE
    linear = spec.optimizer.name in ("sgd", "momentum")
    rate = float(spec.optimizer.arguments["lr"]) * (factor if linear else math.sqrt(factor))
    reasons["batch_size"] = f"the smallest with nine tenths of the best {fastest:,.0f} rows/s" + (
        f"; learning rate scaled {'linearly' if linear else 'by the root'} from {DEFAULT_BATCH_SIZE} rows to {rate:.3g}"
        if size != DEFAULT_BATCH_SIZE
        else ""
    )
    optimizer = spec.optimizer.model_copy(update={"lr": rate})
    total *= best.rows_per_second / found[size].rows_per_second
    return spec.model_copy(update={"batch_size": size, "optimizer": optimizer}), total


def _compile(
    trial: _Trial, spec: TrainingSpec, best: _Candidate, total: float, reasons: dict[str, str]
) -> TrainingSpec:
    """Try torch.compile where the training is long enough to pay for trying."""
    if total < 10 * COMPILE_SECONDS:
        reasons["compile"] = f"not tried: training takes about {total:.0f} s, and compiling alone about 30 s or more"
        return spec.model_copy(update={"compile": False})
    settings = {key: getattr(plain(spec), key) for key in ("precision", "memory_format", "batch_size", "optimizer")}
    plainly, compiled = (trial.candidate(threads=best.threads, **settings, compile=c) for c in (False, True))
    started = time.perf_counter()
    try:
        compiled.steps(2, timed=False)
    except Exception as error:  # noqa: BLE001 - whatever the compiler says, the model runs without it
        reasons["compile"] = f"it can't be compiled here: {str(error).splitlines()[0][:100]}"
        return spec.model_copy(update={"compile": False})
    cost = time.perf_counter() - started
    plainly.steps(2, timed=False)
    for _ in range(_ROUNDS):
        plainly.steps(8)
        compiled.steps(8)
    gap = deviation(compiled.losses, plainly.losses)
    trial.note(compiled, gap)
    gain = compiled.rows_per_second / plainly.rows_per_second
    pays = gap <= AGREEMENT and total / gain + cost < total / GAIN
    reasons["compile"] = (
        f"{compiled.rows_per_second:,.0f} rows/s against {plainly.rows_per_second:,.0f}, {cost:.0f} s to compile"
    )
    return spec.model_copy(update={"compile": pays})
