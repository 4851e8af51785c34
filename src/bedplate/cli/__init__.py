"""The command `bedplate`. Only the verb that is called is imported."""

from bedplate.cli.main import main

__all__ = ["main"]
