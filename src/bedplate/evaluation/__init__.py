"""Judge any `Predict`: metrics, confidence intervals, slices, calibration, comparison, the report."""

from bedplate.evaluation.bootstrap import Estimate
from bedplate.evaluation.comparison import Drop, Verdict, paired_drop
from bedplate.evaluation.judge import evaluate
from bedplate.evaluation.report import Report
from bedplate.evaluation.slices import Slice

__all__ = ["Drop", "Estimate", "Report", "Slice", "Verdict", "evaluate", "paired_drop"]
