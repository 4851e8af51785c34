"""What people see of a sweep: one page that holds together, with accessible pictures, and a CSV."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from bedplate.experiments.sweep_charts import axis_of, scale_of
from bedplate.experiments.sweep_report import render, standing, trials_csv

SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


def trial(number: int, *values: float, state: str = "complete", **more: Any) -> dict[str, Any]:
    params = {
        "training.lr": 10.0 ** -(1 + number % 4),
        "model.hidden": [[8], [16, 8]][number % 2],
        "model.<b>": number / 9,
    }
    figures = {"validation_accuracy": values[0], "validation_loss": 1 - values[0]} if values else {}
    return {
        "trial": number, "own": number == 0, "state": state, "reason": None, "params": params, "figures": figures,
        "values": list(values) or None, "epochs": 3, "curve": [0.3, 0.5, 0.6], "seconds": 1.5, "host": "here", **more,
    }  # fmt: skip


def found(names: tuple[str, ...] = ("validation_accuracy",)) -> dict[str, Any]:
    tail = [5.0] * (len(names) - 1)
    trials = [trial(k, 0.5 + k / 20, *tail) for k in range(7)]
    trials += [trial(7, state="pruned"), trial(8, state="failed", reason="diverged: <loss>", curve=[])]
    best = trials[6]
    return {
        "recipe": "a <script>", "study": "s", "storage": "here", "sampler": "tpe", "pruner": "median", "seconds": 12.0,
        "objectives": [{"name": n, "direction": "maximize" if n.endswith("accuracy") else "minimize"} for n in names],
        "space": {
            "training.lr": {"low": 1e-4, "high": 0.1, "log": True},
            "model.hidden": {"choices": [[8], [16, 8]]},
            "model.<b>": {"low": 0.0, "high": 1.0},
        },
        "counts": {"complete": 7, "pruned": 1, "failed": 1},
        "own": trials[0], "best": best, "front": [best, trials[2]] if len(names) > 1 else None,
        "importance": {name: {"training.lr": 0.7, "model.<b>": 0.2, "model.hidden": 0.1} for name in names},
        "trials": trials,
    }  # fmt: skip


@pytest.mark.parametrize("names", [("validation_accuracy",), ("validation_accuracy", "seconds")])
def test_the_page_holds_every_plot_and_each_says_what_it_is(names: tuple[str, ...]) -> None:
    page = render(found(names))
    pictures = [ElementTree.fromstring(text) for text in SVG.findall(page)]
    titles = [picture.find("title").text for picture in pictures]  # type: ignore[union-attr]
    several = len(names) > 1
    expected = {
        "Validation accuracy of every trial",
        "Settings and what came of them",
        "Validation accuracy by training.lr",
        "Validation accuracy by model.<b>",
        "Importance for validation accuracy",
        "Validation accuracy against seconds" if several else "Validation accuracy by epoch",
    }
    assert expected <= set(titles)
    for picture, title in zip(pictures, titles, strict=True):
        assert picture.get("role") == "img"
        assert picture.get("aria-label") == title
        assert str(title).startswith("Importance") or picture.find("desc") is not None
        for number in re.findall(r'"(-?[\d.]+)"', ElementTree.tostring(picture, "unicode")):
            assert abs(float(number)) < 2000


def test_the_page_loads_and_runs_nothing_and_escapes_what_it_is_told() -> None:
    page = render(found())
    assert not re.search(r"<script|<link|\bsrc=|https?://(?!www\.w3)", page)
    assert "a &lt;script&gt;" in page
    assert "model.&lt;b&gt;" in page
    assert "<loss>" not in page


def test_the_page_of_a_sweep_that_found_nothing_better() -> None:
    facts = found()
    assert standing(facts) == ("ahead", "The best trial reached validation accuracy 0.8; the recipe as it is, 0.5.")
    facts["best"] = facts["own"]
    assert standing(facts) == ("level", "No trial was better than the recipe as it is: validation accuracy 0.5.")
    assert "No trial was better" in render(facts)
    alone = {**facts, "trials": facts["trials"][:1], "importance": {"validation_accuracy": {}}}
    assert "Settings and what came" not in render(alone)


def test_the_csv_has_every_trial() -> None:
    facts = found()
    read = list(csv.DictReader(io.StringIO(trials_csv(facts))))
    assert [row["trial"] for row in read] == [str(k) for k in range(9)]
    assert read[1]["model.hidden"] == "[16, 8]"
    assert float(read[6]["validation_accuracy"]) == facts["trials"][6]["values"][0]
    assert (read[8]["state"], read[8]["reason"], read[8]["validation_accuracy"]) == ("failed", "diverged: <loss>", "")


def test_good_values_have_room_on_the_scale() -> None:
    accuracies = [0.1, 0.97, 0.975, 0.98, 0.985]
    scale = scale_of(accuracies, 100, 0, maximize=True)
    assert scale.low > 0.9
    assert scale.high > 0.985
    losses = scale_of([0.01, 0.02, 3.0], 100, 0, maximize=False)
    assert losses.log
    assert losses.low < 0.01 < 3.0 < losses.high


def test_an_axis_of_choices_has_a_place_for_each() -> None:
    scale, ticks = axis_of({"choices": ["a", "b", "c"]}, 0, 90)
    assert [label for _, label in ticks] == ["a", "b", "c"]
    assert [scale(value) for value, _ in ticks] == [15, 45, 75]
