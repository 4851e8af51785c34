"""Sketches, drift tests and thresholds: what data looked like, and whether it still does."""

from bedplate.profile.drift import DriftReport, Moved, compare
from bedplate.profile.features import watch
from bedplate.profile.reference import Reference, fit_reference
from bedplate.profile.sketch import Sketches, merge

__all__ = ["DriftReport", "Moved", "Reference", "Sketches", "compare", "fit_reference", "merge", "watch"]
