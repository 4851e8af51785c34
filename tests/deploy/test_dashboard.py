"""What operators get: a dashboard and alert rules that speak of metrics which really exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from tests.bundle.boxes import images, watched_image_bundle
from tests.serving.running import running
from tools.build_dashboard import FILE, dashboard

RULES = FILE.parents[1] / "prometheus" / "alerts.yaml"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all samples of a server that has seen a full window."""
    bundle = watched_image_bundle(tmp_path_factory.mktemp("box") / "b")
    with running([("", bundle.path)]) as server:
        for _ in range(3):
            body = {"instances": images(500).tolist()}
            assert httpx.post(f"{server.url}/v1/models/small:predict", json=body).status_code == 200
        found: set[str] = set()
        for _ in range(100):
            text = httpx.get(f"{server.url}/metrics").text
            found = set(re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE)) - {"HELP", "TYPE"}
            if "bedplate_drift_distance" in found:
                break
        return found


def asked(text: str) -> set[str]:
    return set(re.findall(r"\b((?:bedplate|nv)_\w+)", text))


def test_the_dashboard_is_the_one_that_is_built() -> None:
    assert json.loads(FILE.read_text()) == dashboard()


def test_every_query_asks_for_what_is_there(names: set[str]) -> None:
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    wanted = set().union(*map(asked, queries)) | asked(RULES.read_text())
    assert len(wanted) > 10
    assert wanted <= names, wanted - names


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_rules_have_all_that_prometheus_needs() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) == 6
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}


def test_prometheus_own_checker_takes_the_rules(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool (Debian's package prometheus) isn't installed")
    done = subprocess.run([tool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 rules found" in done.stdout
