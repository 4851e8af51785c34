"""Run what was released: monitor it, and say when it has drifted."""

from bedplate.operations.monitor import monitor

__all__ = ["monitor"]
