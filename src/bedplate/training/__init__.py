"""Move the weights: the loop, optimisers, schedules, hooks and checkpoints."""

from bedplate.training.augment import augments
from bedplate.training.checkpoint import load_checkpoint, save_checkpoint, weights_digest
from bedplate.training.loop import TrainingData, train, validate
from bedplate.training.optimizers import optimizers
from bedplate.training.run import Hook, Run
from bedplate.training.schedules import schedules

__all__ = [
    "Hook",
    "Run",
    "TrainingData",
    "augments",
    "load_checkpoint",
    "optimizers",
    "save_checkpoint",
    "schedules",
    "train",
    "validate",
    "weights_digest",
]
