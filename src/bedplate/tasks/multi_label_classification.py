"""Multi-label classification: a text in, any number of labels out, none included."""

from bedplate.tasks.task import Task

# The loss chooses, not F1: before anything is learnt every probability is near one half, and F1 is high by chance.
TASK = Task("multi-label-classification", "text", "labels", "bag", "binary-cross-entropy", "loss", "f1")
