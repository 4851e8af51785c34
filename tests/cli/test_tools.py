"""`bedplate profile` and `bedplate find-lr`: what they say, print for machines and exit with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_profile_prints_a_table_or_json_and_no_noise(tmp_path: Path, bedplate: Any) -> None:
    trace = tmp_path / "trace.json"
    done = bedplate("profile", "wine", "--steps", "3", "--trace", str(trace), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["groups"]) >= {"optimiser", "matrix products"}
    assert sum(one["share"] for one in found["groups"].values()) > 0.97
    assert 0 < found["share_of_peak"] < 1
    assert found["peak_of"] in found["peaks"]
    assert json.loads(trace.read_text())["traceEvents"]
    assert "USDT" not in done.stderr
    assert "where the time goes" in done.stderr, "with --json, people's text goes to standard error"


def test_find_lr_suggests_and_draws(tmp_path: Path, bedplate: Any) -> None:
    chart = tmp_path / "c.svg"
    done = bedplate("find-lr", "wine", "--steps", "80", "--out", str(chart))
    assert done.returncode == 0, done.stderr
    assert "The loss falls fastest at a learning rate of" in done.stdout
    assert "--set training.optimizer.lr=" in done.stdout
    assert any(bar in done.stdout for bar in "▁▂▃▄▅▆▇█")
    assert chart.read_text().startswith("<svg ")
    machine = bedplate("find-lr", "wine", "--steps", "80", "--json")
    found = json.loads(machine.stdout)
    assert (
        f"{found['suggestion']:.1e}" == f"{float(bedplate('find-lr', 'wine', '--steps', '80', '--quiet').stdout):.1e}"
    )


def test_wrong_words_exit_with_2(bedplate: Any) -> None:
    for words, said in (
        (("profile", "wine", "--steps", "many"), "a whole number"),
        (("find-lr", "wine", "--low", "1", "--high", "0.1"), "not a range"),
        (("find-lr", "digitz"), "did you mean 'digits'"),
    ):
        done = bedplate(*words)
        assert done.returncode == 2
        assert said in done.stderr
