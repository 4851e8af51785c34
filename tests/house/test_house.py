"""The house's own rules: sizes, names, mirrors and texts."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "bedplate"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def tracked() -> list[Path]:
    """Return the files of the repository, without what is generated or ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_stay_small_and_are_well_named(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, "look again: is this one thing?"
    assert not re.search(r"util|helper|manager|misc|common", path.stem)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module opens with its sentence"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_page_and_tests(room: str) -> None:
    page = ROOT / "docs" / f"{room}.md"
    assert page.is_file(), f"docs/{room}.md is missing"
    assert list((ROOT / "tests" / room).glob("test_*.py")), f"tests/{room} has no tests"


def test_tests_mirror_the_source() -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / "tests" / room).glob("test_*.py")
        for name in [path.stem.removeprefix("test_").removeprefix(f"{room}_")]
        # A page that a server shows is tested as a module is.
        if not [*(SOURCE / room).glob(f"{name}*"), *(SOURCE / room / "static").glob(f"{name}.html")]
        and path.stem != f"test_{room}"
    ]
    assert not strangers, "a test file is named after the module that it tests"


def test_nothing_names_a_machine_or_how_it_was_made() -> None:
    # Spelt in pieces, so that this file doesn't find itself.
    forbidden = re.compile(
        "|".join(["/" + "work/", "/" + "root/", "co-" + "authored-by", "pypi" + r"\.org", "registry" + r"\.npmjs"]),
        re.IGNORECASE,
    )
    found = []
    for path in tracked():
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".ipynb", ".sh", ""} and path.name != "LICENSE":
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if forbidden.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found


def test_no_pickle_in_the_source() -> None:
    # A foreign state dict may be read with weights_only=True, which takes tensors and nothing else.
    pattern = re.compile(
        r"\b(import (pickle|joblib|dill|marshal)|torch\.save\(|torch\.load\((?!.*weights_only=True)|allow_pickle=True)"
    )
    found = [
        f"{path.name}:{n}"
        for path in FILES
        for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found
