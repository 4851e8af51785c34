"""Seal a point of a front: a bundle with one graph, like any other to serve and predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bedplate.bundle import Bundle, Golden
from bedplate.bundle.write import write_bundle
from bedplate.codecs.codec import Codec, TensorSpec
from bedplate.compression.front import MB, Point
from bedplate.compression.variants import FOUNDATION
from bedplate.core.machine import cpu_model
from bedplate.evaluation import Report
from bedplate.stages.compress_judge import Candidate


def seal(
    original: Bundle,
    path: Path,
    one: Candidate,
    point: Point,
    *,
    codec: Codec,
    golden: Golden,
    reference: Mapping[str, Any],
    report: Report,
    scale: float,
    outputs: Sequence[TensorSpec] | None = None,
) -> Bundle:
    """Write a candidate as a bundle of its own.

    Args:
        original: whose name, task and lineage it takes.
        path: the new folder.
        one: what is sealed.
        point: what was measured of it.
        codec: of the original.
        golden: rows with its answers.
        reference: for drift.
        report: of its graph, on the test rows.
        scale: of the answers: 1 for probabilities, a number's standard deviation.
        outputs: of the graph, where callers are told less than all of them.
    """
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
        outputs=outputs,
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
