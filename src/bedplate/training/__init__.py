"""Move the weights: the loop, optimisers, schedules, hooks and checkpoints."""

from bedplate.training import augment_images, augment_mixing, augment_tables
from bedplate.training.augment import Augment, augments, parts_of
from bedplate.training.batches import standardised
from bedplate.training.checkpoint import load_checkpoint, save_checkpoint, weights_digest
from bedplate.training.choices import Choices, choose, settle
from bedplate.training.execution import Execution, plain, rows_a_step
from bedplate.training.loop import TrainingData, train, validate
from bedplate.training.memory import keep_freed_memory
from bedplate.training.optimizers import optimizers
from bedplate.training.run import Hook, Run
from bedplate.training.schedules import schedules
from bedplate.training.start import start_from
from bedplate.training.updates import steps_per_epoch

__all__ = [
    "Augment",
    "Choices",
    "Execution",
    "Hook",
    "Run",
    "TrainingData",
    "augment_images",
    "augment_mixing",
    "augment_tables",
    "augments",
    "choose",
    "keep_freed_memory",
    "load_checkpoint",
    "optimizers",
    "parts_of",
    "plain",
    "rows_a_step",
    "save_checkpoint",
    "schedules",
    "settle",
    "standardised",
    "start_from",
    "steps_per_epoch",
    "train",
    "validate",
    "weights_digest",
]
