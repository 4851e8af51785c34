"""Plan: check all that can be checked, run one batch for the shapes, predict time, memory and size. Trains nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bedplate.core.arrays import take
from bedplate.core.console import Console, human_bytes, human_seconds
from bedplate.core.errors import InputError
from bedplate.core.machine import memory_limit
from bedplate.models import Network, to_tensors
from bedplate.objectives import Objective, objectives
from bedplate.recipe.load import to_yaml
from bedplate.recipe.schema import TrainingSpec
from bedplate.stages.data import answers_of, load_data
from bedplate.stages.folder import RunFolder
from bedplate.stages.masked_language import corpus_of, most_memory, trial_seconds
from bedplate.stages.resolve import resolve
from bedplate.stages.train import configured_torch, prepared, training_data
from bedplate.stages.work import Work
from bedplate.training import TrainingData, plain, rows_a_step, steps_per_epoch
from bedplate.training.dry_run import dry_run, take_step

TRIAL_SECONDS = 2.0
TRIAL_STEPS = 20


@dataclass(frozen=True)
class Plan:
    """What a run would do and cost. Times are for this machine as busy as it is now."""

    recipe: str
    resolved: str
    rows: dict[str, int]
    answers: str
    inputs: dict[str, list[int]]
    output: list[int]
    parameters: int
    size_bytes: int
    memory_bytes: int
    seconds_per_step: float
    steps: int
    seconds: float
    pretraining_seconds: float
    """Of a pre-training, which comes before; 0 without one."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the plan for people."""
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.inputs.items())
        return [
            "rows        " + ", ".join(f"{count:,} {split}" for split, count in self.rows.items()),
            f"answers     {self.answers}",
            f"one batch   {shapes} → {self.output}",
            f"model       {self.parameters:,} parameters, about {human_bytes(self.size_bytes)} on disk",
            f"memory      about {human_bytes(self.memory_bytes)} while training",
            f"time        about {human_seconds(self.seconds)} of training at most: "
            f"{self.steps:,} steps of {self.seconds_per_step * 1000:.1f} ms",
            *([f"            and about {human_seconds(self.pretraining_seconds)} of pre-training before it"]
              if self.pretraining_seconds else []),
        ]  # fmt: skip


def plan(recipe: str | Path, *, overrides: Sequence[str] = (), console: Console | None = None) -> Plan:
    """Return the plan of a recipe.

    Raises:
        RecipeError, DataError: whatever a run would meet before training.
        InputError: the model doesn't fit the data, or the memory.
    """
    console = console or Console(quiet=True)
    resolved = resolve(str(recipe), overrides)
    dataset = load_data(resolved, console)
    work = Work(resolved, dataset, RunFolder(Path("runs") / resolved.recipe.name), console)
    network = work.build()
    assert work.recipe.objective is not None
    objective = objectives.get(work.recipe.objective.name)(**work.recipe.objective.arguments)
    rows_to_train = training_data(work)
    prepared(work, network, objective, rows_to_train)
    corpus = corpus_of(work, network)
    spec = plain(work.recipe.training)
    rows = rows_a_step(spec)
    features = work.features(dataset.train)
    batch = to_tensors(network, take(features, slice(0, rows)))
    shape = list(network(*batch).shape)
    with configured_torch(work.threads):
        seconds = _trial(network, objective, rows_to_train, spec, work.recipe.seed)
        before = trial_seconds(work, network, corpus, spec) if corpus is not None else 0.0
    parameters = sum(p.numel() for p in network.parameters())
    steps = spec.epochs * steps_per_epoch(dataset.training_rows, rows)
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    data = sum(
        a.nbytes
        for rows in (dataset.train, dataset.validation, dataset.test)
        for a in rows.inputs.values()
        if a.dtype.kind != "O"
    )
    data += sum(a.nbytes for rows in (dataset.train, dataset.validation) for a in work.features(rows).values())
    data += dataset.stream.memory_bytes if dataset.stream is not None else 0
    data += most_memory(network, corpus) if corpus is not None else 0
    memory = int(data + 4 * weights + 64 * sum(t.numel() * 4 for t in batch) + 350e6)
    limit = memory_limit()
    if limit and memory > 0.9 * limit:
        raise InputError(
            "this run needs more memory than the machine grants",
            expected=f"below {human_bytes(limit)}",
            received=f"about {human_bytes(memory)}",
            hint="lower data.limit, data.image or training.batch_size",
        )
    return Plan(
        str(recipe),
        to_yaml(resolved.recipe),
        {"train": dataset.training_rows, "validation": len(dataset.validation), "test": len(dataset.test)},
        answers_of(dataset),
        {name: list(tensor.shape) for name, tensor in zip(network.inputs.names, batch, strict=True)},
        shape,
        parameters,
        int(weights + 8000),
        memory,
        seconds,
        steps,
        seconds * steps * 1.15,
        before,
    )


def _trial(network: Network, objective: Objective, data: TrainingData, spec: TrainingSpec, seed: int) -> float:
    """Return the seconds of one step, by a few steps on a copy that is thrown away."""
    machinery, run = dry_run(network, objective, replace(data, stream=None), spec, seed=seed)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < TRIAL_STEPS and (len(times) < 3 or time.perf_counter() - started < TRIAL_SECONDS):
        begin = time.perf_counter()
        take_step(machinery, run)
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 4]  # other work on the machine only ever adds time
