"""Steps on a copy are the steps of a real training."""

from __future__ import annotations

import torch
from tests.training.samples import cnn, go, images, spec

from bedplate.objectives import objectives
from bedplate.recipe.schema import Part
from bedplate.training import plain, weights_digest
from bedplate.training.dry_run import dry_run, take_step


def test_its_steps_are_those_of_a_real_training_and_the_network_stays() -> None:
    settings = plain(spec(epochs=2, schedule=Part(name="constant"), augment=Part(name="shift-flip"), l2=0.01))
    network, data = cnn(), images()
    before = weights_digest(network.state_dict())
    machinery, run = dry_run(network, objectives.get("cross-entropy")(), data, settings, seed=5)
    for _ in range(2 * run.steps_per_epoch):
        take_step(machinery, run)
    assert weights_digest(network.state_dict()) == before
    last: dict[str, torch.Tensor] = {}

    def note(event: str, real: object) -> None:
        if event == "step":
            last.update({name: value.clone() for name, value in real.network.state_dict().items()})  # type: ignore[attr-defined]

    go(network, data, settings, hooks=[note])
    assert weights_digest(last) == weights_digest(run.network.state_dict())
