from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.bundle.session import OnnxPredict
from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.compression.calibration import BINS, entropy_threshold, measure_ranges, percentile_range
from bedplate.compression.int8_static import _prepared, _tensors, calibrate
from bedplate.export import export_network
from bedplate.models import ImageInput, Outputs, build


def test_ranges_are_the_tensors_own() -> None:
    features = sample_features(SAMPLES["grey images"], rows=45)  # no multiple of a batch
    model = _prepared(export_network(build("cnn", {}, SAMPLES["grey images"], Outputs(3), 0), features))
    tensors = _tensors(model)
    assert len(tensors) > 8
    found = measure_ranges(model, tensors, features, "minmax")
    assert set(found) == set(tensors)
    last = model.graph.node[-2].output[0]  # the scores before the softmax
    scores = np.log(OnnxPredict(model.SerializeToString(), variant="f32")(features)["probabilities"])
    spread = found[last][1] - found[last][0]
    assert spread >= np.ptp(scores, axis=1).max() * 0.999
    for method in ("entropy", "percentile"):
        narrower = measure_ranges(model, tensors, features, method)  # type: ignore[arg-type]
        for name, (low, high) in found.items():
            assert low <= narrower[name][0] <= narrower[name][1] <= high
    with pytest.raises(ValueError, match="percentile"):
        measure_ranges(model, tensors, features, "percentile", percentile=50)


@given(st.integers(0, 2**32 - 1), st.floats(90, 100))
@settings(deadline=None)
def test_a_percentile_leaves_out_no_more_than_it_may(seed: int, percentile: float) -> None:
    x = np.random.default_rng(seed).normal(size=2000)
    counts, _ = np.histogram(x, BINS, (x.min(), x.max()))
    low, high = percentile_range(counts, x.min(), x.max(), percentile)
    assert x.min() <= low < high <= x.max() + 1e-9
    for outside in ((x < low).sum(), (x > high).sum()):
        assert outside <= len(x) * (100 - percentile) / 200 + 1  # one may lie on the edge of a bin
    if percentile == 100:
        assert (low, high) == (x.min(), x.max())


def test_entropy_leaves_out_what_is_alone_far_away() -> None:
    draw = np.random.default_rng(0)
    body = np.abs(draw.normal(size=20_000))
    counts, _ = np.histogram(np.append(body, 40.0), BINS, (0, 40.0))
    assert entropy_threshold(counts, 40.0) < 10
    even, _ = np.histogram(draw.uniform(0, 1, 20_000), BINS, (0, 1.0))
    assert entropy_threshold(even, 1.0) > 0.9
    assert entropy_threshold(np.zeros(BINS), 3.0) == 3.0


def test_entropy_of_a_tensor_takes_no_second() -> None:
    counts, _ = np.histogram(np.abs(np.random.default_rng(0).normal(size=10_000)), BINS, (0, 5.0))
    started = time.process_time()
    entropy_threshold(counts, 5.0)
    assert time.process_time() - started < 1


def test_bright_pixels_on_a_dark_ground_are_never_cut_off() -> None:
    """Nearly all numbers of such an image are one number, which entropy takes for all there is."""
    draw = np.random.default_rng(0)
    images = np.zeros((64, 16, 16, 1), np.uint8)
    images[:, 5:11, 5:11] = draw.integers(100, 256, (64, 6, 6, 1))
    network = build("cnn", {"widths": [8, 8], "dense": [16]}, ImageInput(16, 16, 1, (30.0,), (70.0,)), Outputs(4), 0)
    rows = {"image": images}
    graph = export_network(network, rows)
    found = {method: calibrate(graph, rows, method) for method in ("minmax", "entropy", "percentile")}
    first = next(node for node in found["minmax"].model.graph.node if node.op_type == "Conv").input[0]
    wanted = (-30 / 70, (float(images.max()) - 30) / 70)
    for calibrated in found.values():
        assert calibrated.ranges[first] == pytest.approx(wanted, rel=1e-5)
