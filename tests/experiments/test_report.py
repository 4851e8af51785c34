"""The page and the tables: complete, escaped, and of the same figures."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

from bedplate.experiments.experiment import ExperimentOutcome
from bedplate.experiments.report import csv_table, headline, markdown_table, render_experiment, summary_lines


class Page(HTMLParser):
    """Counts what is loaded from elsewhere, and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.charts += tag == "svg"
        if tag in ("script", "link", "iframe", "object"):
            self.foreign.append(tag)
        self.foreign += [
            str(value) for key, value in attrs if key in ("src", "href") and not str(value).startswith("#")
        ]


def test_the_page_is_one_file_with_its_charts(wine: ExperimentOutcome) -> None:
    text = (wine.path / "experiment.html").read_text()
    page = Page()
    page.feed(text)
    assert page.foreign == []
    assert page.charts == 3, "runs, differences, and one arm's learning curve beside the reference's"
    for words in ("full (reference)", "tiny", "p (Holm)", "Hedges", "Ensemble", "chose nothing"):
        assert words in text


def test_names_are_escaped(wine: ExperimentOutcome) -> None:
    arms = [{**arm, "name": "<b>x</b>"} if arm["name"] == "tiny" else arm for arm in wine.figures["arms"]]
    text = render_experiment({**wine.figures, "arms": arms, "name": "<script>"})
    assert "<b>x</b>" not in text
    assert "<script>" not in text


def test_the_tables_hold_the_runs(wine: ExperimentOutcome) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(wine.figures))))
    assert len(rows) == 6
    assert {(row["arm"], row["seed"]) for row in rows} == {(arm, str(s)) for arm in ("full", "tiny") for s in range(3)}
    first = next(arm for arm in wine.figures["arms"] if arm["name"] == "full")["runs"][0]
    assert float(rows[0]["validation_accuracy"]) == first["validation"]
    table = markdown_table(wine.figures)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert table == (wine.path / "table.md").read_text()


def test_lines_and_headline_say_the_verdict(wine: ExperimentOutcome) -> None:
    verdict = next(arm for arm in wine.figures["arms"] if arm["name"] == "tiny")["comparison"]["verdict"]
    assert any(verdict in line for line in summary_lines(wine.figures))
    assert "full" in headline(wine.figures)
    empty = {**wine.figures, "arms": [{**arm, "n": 0} for arm in wine.figures["arms"]]}
    assert headline(empty) == "No run was finished."
