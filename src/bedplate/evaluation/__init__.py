"""Judge any `Predict`: metrics, confidence intervals, slices, calibration, comparison, the report."""

from bedplate.evaluation.bootstrap import Estimate
from bedplate.evaluation.comparison import Drop, Verdict, metric_drop, paired_drop
from bedplate.evaluation.judge import evaluate
from bedplate.evaluation.report import Report
from bedplate.evaluation.slices import Slice, slice_drops

__all__ = ["Drop", "Estimate", "Report", "Slice", "Verdict", "evaluate", "metric_drop", "paired_drop", "slice_drops"]
