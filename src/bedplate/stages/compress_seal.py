"""Seal a point of a front: a bundle with one graph, like any other to serve and predict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedplate.bundle import Bundle, Golden
from bedplate.bundle.write import write_bundle
from bedplate.codecs.codec import Codec
from bedplate.compression.front import MB, Point
from bedplate.compression.variants import FOUNDATION
from bedplate.core.arrays import Predict
from bedplate.core.machine import cpu_model
from bedplate.data.dataset import Rows
from bedplate.evaluation import evaluate
from bedplate.stages.compress_judge import Candidate


def seal(
    original: Bundle,
    path: Path,
    one: Candidate,
    point: Point,
    *,
    predict: Predict,
    codec: Codec,
    golden: Golden,
    reference: Mapping[str, Any],
    judged: Rows,
    seed: int,
    resamples: int,
    scale: float,
) -> Bundle:
    """Write a candidate as a bundle of its own.

    Args:
        original: whose name, task and lineage it takes.
        path: the new folder.
        one: what is sealed.
        point: what was measured of it.
        predict: its graph.
        codec: of the original.
        golden: rows with its answers.
        reference: for drift.
        judged: the rows of its report.
        seed: of the report's bootstrap.
        resamples: of the same.
        scale: of the answers: 1 for probabilities, a number's standard deviation.
    """
    report = evaluate(
        predict, judged.inputs, judged.targets, original.answers, ids=judged.ids, slices=judged.slices,
        resamples=resamples, seed=seed,
    )  # fmt: skip
    exact = one.variant == FOUNDATION
    info = {
        "reason": "; ".join(one.said) or "the original",
        "isa": dict(one.isa),
        "tolerance": {"atol": (1e-4 if exact else 5e-3) * scale, "rtol": 1e-3 if exact else 1e-2},
        "latency_ms": point.latency.to_json(),
        "drop": {"value": point.drop, "high": point.drop_high},
    }
    steps = [dict(step) for step in one.steps]
    return write_bundle(
        path,
        name=original.name,
        task=original.task,
        codec=codec,
        answers=original.answers,
        graphs={one.variant: one.graph},
        default=one.variant,
        variants_info={one.variant: info},
        weights=None,
        model=one.model,
        report=report.to_json(),
        golden=golden,
        reference=reference,
        lineage={
            **original.lineage, "parent": original.id,
            "compression": {"recipe": steps, **point.to_json(), "cpu": cpu_model()},
        },
        card=_card(original, one, point),
    )  # fmt: skip


def _card(original: Bundle, one: Candidate, point: Point) -> str:
    name, value = point.metric
    steps = "".join(f"- {step}\n" for step in one.said) or "- nothing: this is the original's graph\n"
    return (
        f"# {original.name}, compressed: {one.name}\n\nMade of the bundle `{original.id}`:\n\n{steps}\n"
        f"{name} {value:.4f} on the test rows; against the original {point.drop:+.2f} lost, at most "
        f"{point.drop_high:.2f} (95 %). {point.size_bytes / MB:.3f} MB, {point.latency.median:.3f} ms a row "
        f"({point.latency.ratio:.2f}× the original's).\n\n## The original's card\n\n{original.card}"
    )
