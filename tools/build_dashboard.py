"""Write `deploy/grafana/bedplate.json` from the list of panels below.

    python tools/build_dashboard.py

Grafana's own export is a thousand lines in which nobody finds a query; here each panel is a line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "deploy" / "grafana" / "bedplate.json"

WHO = '{model=~"$model"}'
PANELS: list[tuple[str, str, int, list[tuple[str, str]]]] = [
    ("Requests a second", "reqps", 12, [
        (f"sum by (model, status) (rate(bedplate_requests_total{WHO}[$__rate_interval]))", "{{model}} {{status}}"),
    ]),
    ("Rows a second", "short", 12, [
        (f"sum by (model, version) (rate(bedplate_rows_total{WHO}[$__rate_interval]))", "{{model}} v{{version}}"),
    ]),
    ("Time of a request", "s", 12, [
        (f"histogram_quantile({share}, sum by (le, model) (rate(bedplate_request_seconds_bucket{WHO}[$__rate_interval])))",
         f"{{{{model}}}} p{name}")
        for share, name in ((0.5, "50"), (0.99, "99"), (0.999, "99.9"))
    ]),
    ("Where the time goes (mean)", "s", 12, [
        (f"sum by (model) (rate(bedplate_{part}_seconds_sum{WHO}[$__rate_interval])) / "
         f"sum by (model) (rate(bedplate_{part}_seconds_count{WHO}[$__rate_interval]))", f"{{{{model}}}} {part}")
        for part in ("queue", "run", "request")
    ]),
    ("Share of requests refused or failed", "percentunit", 8, [
        (f"sum by (model) (rate(bedplate_requests_total{{model=~\"$model\",status!=\"200\"}}[$__rate_interval])) / "
         f"sum by (model) (rate(bedplate_requests_total{WHO}[$__rate_interval]))", "{{model}}"),
    ]),
    ("Rows that wait", "short", 8, [(f"nv_inference_pending_request_count{WHO}", "{{model}} v{{version}}")]),
    ("Drift (1: the last full window drifted)", "short", 8, [(f"bedplate_drift{WHO}", "{{model}}")]),
    ("Distance of the ten figures that moved most", "short", 16, [
        (f"topk(10, bedplate_drift_distance{WHO})", "{{model}} {{feature}}"),
    ]),
    ("Rows that weren't watched", "short", 8, [
        (f"sum by (model) (rate(bedplate_unwatched_rows_total{WHO}[$__rate_interval]))", "{{model}}"),
    ]),
]  # fmt: skip
"""Title, unit, width of 24, and (query, legend) of each panel."""


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    source = {"type": "prometheus", "uid": "${datasource}"}
    for number, (title, unit, width, queries) in enumerate(PANELS, 1):
        if x + width > 24:
            x, y = 0, y + 8
        panels.append(
            {
                "id": number, "type": "timeseries", "title": title, "datasource": source,
                "gridPos": {"h": 8, "w": width, "x": x, "y": y},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
                "targets": [
                    {"refId": chr(65 + k), "expr": query, "legendFormat": legend, "datasource": source}
                    for k, (query, legend) in enumerate(queries)
                ],
            }
        )  # fmt: skip
        x += width
    query = "label_values(bedplate_model_info, model)"
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "model", "type": "query", "label": "Model", "datasource": source, "query": {"query": query, "refId": "m"},
            "definition": query, "multi": True, "includeAll": True, "allValue": ".*", "refresh": 2,
            "current": {"text": "All", "value": "$__all"},
        },
    ]  # fmt: skip
    return {
        "title": "Bedplate", "uid": "bedplate", "schemaVersion": 39, "version": 1, "editable": True, "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"}, "tags": ["bedplate"], "templating": {"list": variables}, "panels": panels,
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
    print(FILE)
