"""Text embedding: a text in, a vector out that lies near those of texts with its meaning.

It is judged, and trained where it is trained, by labels: texts of one label belong together.
"""

from bedplate.tasks.task import Task

TASK = Task("text-embedding", "text", "vector", "bag", "supervised-contrastive", "accuracy", "recall_at_1")
