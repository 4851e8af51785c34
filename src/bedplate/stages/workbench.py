"""What a recipe would train, made ready without a run's folder: for the verbs that only try and measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bedplate.core.console import Console
from bedplate.models import Network
from bedplate.objectives import Objective, objectives
from bedplate.stages.data import load_data
from bedplate.stages.folder import RunFolder
from bedplate.stages.resolve import resolve
from bedplate.stages.train import training_data
from bedplate.stages.work import Work
from bedplate.training import TrainingData, start_from


@dataclass(frozen=True)
class Workbench:
    """A recipe's data, its network with the starting weights, and its objective. Nothing is written."""

    work: Work
    network: Network
    objective: Objective
    data: TrainingData

    def release(self) -> None:
        """Let go of what a stream of rows holds."""
        if self.data.stream is not None:
            self.data.stream.release()


def workbench(recipe: str | Path, overrides: Sequence[str], console: Console) -> Workbench:
    """Return all that training steps need.

    Raises:
        RecipeError, DataError: whatever a run would meet before training.
    """
    resolved = resolve(str(recipe), overrides)
    dataset = load_data(resolved, console)
    work = Work(resolved, dataset, RunFolder(Path("runs") / resolved.recipe.name), console)
    network = work.build()
    start = work.recipe.training.start
    if start is not None:
        for line in start_from(network, start, resolved.base).lines():
            console.detail(line)
    if work.recipe.training.pretrain is not None:
        console.detail("note: these are steps without the recipe's pre-training, which a run does first")
    assert work.recipe.objective is not None
    objective = objectives.get(work.recipe.objective.name)(**work.recipe.objective.arguments)
    return Workbench(work, network, objective, training_data(work))
