"""The documentation says what the code does: generated parts are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tools import build_docs, build_reliability

import bedplate
from bedplate.cli.main import VERBS, build_parser
from bedplate.core.errors import InputError
from bedplate.recipe.load import parse

ROOT = Path(__file__).parents[2]
PAGES = build_docs.markdown_files()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(path.read_text(encoding="utf-8")) if language in languages]


def commands(path: Path) -> list[str]:
    """Return the lines of a page's shell blocks, without prompts and comments."""
    lines = [
        line.strip().removeprefix("$ ") for body in blocks(path, "sh", "bash", "console") for line in body.splitlines()
    ]
    return [line for line in lines if line and not line.startswith("#")]


def verb_parsers() -> dict[str, argparse.ArgumentParser]:
    (verbs,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(verbs.choices)


def test_generated_parts_are_fresh_and_links_lead_somewhere() -> None:
    # In a process of its own: here, other tests have registered parts that are no part of Bedplate.
    command = [sys.executable, str(Path(build_docs.__file__)), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_check_sees_a_stale_section_and_a_broken_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = "<!-- generated: rooms -->\nstale\n<!-- end of rooms -->"
    assert "stale" not in build_docs.rebuilt(old, {"rooms": lambda: "new"}, "page")
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n[a](#page) [b](#nowhere) [c](missing.md) `[d](code.md)`\n", encoding="utf-8")
    monkeypatch.setattr(build_docs, "ROOT", tmp_path)
    assert [line.split()[-3] for line in build_docs.broken_links([page])] == ["#nowhere", "missing.md"]


def test_every_fault_names_a_test_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_reliability.main(["--check"]) == 0, capsys.readouterr().err
    gone = {"Requests": [("a fault", "an answer", "serving/test_server.py::test_that_never_was")]}
    assert build_reliability.missing(gone) == ["serving/test_server.py::test_that_never_was"]
    assert build_reliability.missing({"Requests": [("a fault", "", "serving/test_none.py::test_x")]})


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_in_pages_exist(path: Path) -> None:
    parsers, makefile = verb_parsers(), (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands(path):
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:]), line
        if words[:1] == ["bedplate"]:
            assert words[1] in VERBS, line
            try:
                parsers[words[1]].parse_args(words[2:])
            except (SystemExit, InputError):
                pytest.fail(f"the command line refuses: {line}")


# The page of bad inputs shows misspelt commands on purpose.
@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "bad-inputs.md"], ids=name_of)
def test_verbs_named_in_texts_exist(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    named = re.findall(r"`bedplate ([a-z][\w-]*)", text.replace("\n", " "))
    assert not [verb for verb in named if verb not in VERBS]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_recipes_and_python_in_pages_are_right(path: Path) -> None:
    for body in blocks(path, "yaml"):
        if body.startswith("name:"):
            parse(body, name=name_of(path))
    for body in blocks(path, "python"):
        tree = ast.parse(body)
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "bp"}
        assert used <= set(bedplate.__all__)


def test_both_readmes_show_the_same() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh.md"
    shown = [[line.partition("  #")[0].rstrip() for line in commands(page)] for page in (english, chinese)]
    assert shown[0] == shown[1]
    for language in ("yaml", "python"):
        assert blocks(english, language) == blocks(chinese, language)


def test_the_readme_names_the_two_commands_and_the_platforms() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for words in ("make demo", "make test", 'pip install "bedplate[train]"', "bedplate demo", "WSL", "macOS", "CPU"):
        assert words in text
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 300_000


def test_contributing_stays_under_a_page_and_ends_with_the_check() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert re.search(r"^4\. .*bedplate check-plugin", text, re.MULTILINE)


def test_the_glossary_has_both_languages() -> None:
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    terms = [row for row in rows if row[0] != "English"]
    assert len(terms) >= 120
    assert len({row[0] for row in terms}) == len(terms)
    for term in terms:
        assert len(term) == 3
        assert all(term)
        assert re.search(r"[\u4e00-\u9fff]", term[1]), term[0]


def test_decisions_are_numbered_and_dated() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        first, _, second = page.read_text(encoding="utf-8").splitlines()[:3]
        assert first.startswith(f"# {int(page.name[:4])}. ")
        assert re.match(r"20\d\d-\d\d · (accepted|superseded by \d+)", second)
