"""Image classification: image bytes in, one of the labels out."""

from bedplate.tasks.task import Task

TASK = Task("image-classification", "image", "classes", "cnn", "cross-entropy", "accuracy", "accuracy")
