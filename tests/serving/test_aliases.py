from __future__ import annotations

import re

import httpx


def figures(text: str, name: str) -> dict[str, float]:
    found = re.findall(rf"^{re.escape(name)}(\{{[^}}]*\}})? ([\d.e+-]+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_other_servers_dashboards_find_their_names(client: httpx.Client, png: bytes) -> None:
    text = client.get("/metrics").text
    key = '{model="small",version="1"}'
    before = {
        name: figures(text, name).get(key, 0.0)
        for name in ("nv_inference_request_success", "nv_inference_count", "nv_inference_request_failure")
    }
    body = {"instances": [[[[0]] * 8] * 8] * 3}
    assert client.post("/v1/models/small:predict", json=body).status_code == 200
    assert client.post("/v1/models/small:predict", json={"instances": []}).status_code == 400
    text = client.get("/monitoring/prometheus/metrics").text
    assert figures(text, "nv_inference_request_success")[key] == before["nv_inference_request_success"] + 1
    assert figures(text, "nv_inference_request_failure")[key] == before["nv_inference_request_failure"] + 1
    assert figures(text, "nv_inference_count")[key] == before["nv_inference_count"] + 3
    assert figures(text, "nv_inference_pending_request_count")[key] == 0
    for part in ("request", "queue", "compute_input", "compute_infer", "compute_output"):
        assert key in figures(text, f"nv_inference_{part}_duration_us")
    counts = figures(text, ":tensorflow:serving:request_count")
    assert counts['{model_name="small",status="OK"}'] >= 1
    assert counts['{model_name="small",status="INVALID_ARGUMENT"}'] >= 1
    buckets = figures(text, ":tensorflow:serving:request_latency_bucket")
    mine = [value for labels, value in buckets.items() if 'model_name="small"' in labels]
    assert len(mine) == 34
    assert mine == sorted(mine)
    runs = figures(text, ":tensorflow:serving:runtime_latency_count")
    assert any('model_name="small"' in labels and value >= 1 for labels, value in runs.items())
