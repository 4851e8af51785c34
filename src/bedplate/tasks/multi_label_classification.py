"""Multi-label classification: a text in, any number of labels out, none included."""

from bedplate.tasks.task import Task

TASK = Task("multi-label-classification", "text", "labels", "bag", "binary-cross-entropy", "f1", "f1")
