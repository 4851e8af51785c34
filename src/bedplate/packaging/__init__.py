"""Gather everything and seal the Bundle."""

from bedplate.packaging.golden import choose_golden, spread, synthetic_inputs

__all__ = ["choose_golden", "spread", "synthetic_inputs"]
