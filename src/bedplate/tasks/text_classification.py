"""Text classification: a text in, one of the labels out."""

from bedplate.tasks.task import Task

TASK = Task("text-classification", "text", "classes", "bag", "cross-entropy", "accuracy", "accuracy")
