"""Bedplate: its own loop on resident rows, with the choices measured as in a run (or those the environment names)."""

import os

import numpy as np
from protocol import BATCH, LEARNING_RATE, LENGTH, VOCABULARY, serve

from bedplate.core.machine import threads_granted
from bedplate.models import ImageInput, Outputs, TableInput, TextInput, build
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part, TrainingSpec
from bedplate.stages import process as stage
from bedplate.training import TrainingData, choose, train

LONG = {"cnn": 400, "mlp": 400, "lstm": 80, "transformer": 80}
"""Epochs that the choices are made for; a trial is not worth while for a single one."""

TEXTS = {
    "lstm": ("lstm", {"pooling": "mean"}),
    "transformer": ("transformer-encoder", {}),
}
"""The models of texts: Bedplate's own defaults, but for a mean that every library has."""


def make(model, features, targets):
    if model == "cnn":
        pixels = features.astype(np.float64)
        name, arguments = "cnn", {}
        inputs, rows = ImageInput(28, 28, 1, (pixels.mean(),), (pixels.std(),)), {"image": features}
    elif model == "mlp":
        width = features.shape[1]
        name, arguments = "mlp", {"bins": False}
        inputs, rows = TableInput(width, (), ((),) * width), {"numeric": features}
    else:
        name, arguments = TEXTS[model]
        inputs, rows = TextInput(VOCABULARY, LENGTH), {"tokens": features}
    network = build(name, arguments, inputs, Outputs(10 if model == "cnn" else 2), 0)
    few = {key: value[:2] for key, value in rows.items()}
    data = TrainingData(rows, targets, few, targets[:2])
    objective = objectives.get("cross-entropy")()
    spec = TrainingSpec(
        epochs=LONG[model], batch_size=BATCH[model], optimizer=Part(name="adam", lr=LEARNING_RATE),
        schedule=Part(name="constant"),
        precision=os.environ.get("PEER_PRECISION", "auto"), memory_format=os.environ.get("PEER_LAYOUT", "auto"),
        compile={"yes": True, "no": False}.get(os.environ.get("PEER_COMPILE", ""), "auto"),
    )  # fmt: skip
    settled = choose(network, objective, data, spec, seed=0, threads=threads_granted()).spec
    settled = settled.model_copy(update={"epochs": 1})

    def epoch():
        run = train(network, objective, data, settled, seed=0, select="loss", identity={})
        return len(targets), run.seconds

    return epoch


if os.environ.get("PEER_KEEP") == "no":
    stage.keep_freed_memory = lambda: False
with stage.configured_torch(threads_granted()):
    serve(make)
