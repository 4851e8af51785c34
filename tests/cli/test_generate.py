"""`bedplate predict` of a model that writes text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bundle.boxes import image_bundle
from tests.bundle.texts import text_bundle

from bedplate.bundle import Bundle
from bedplate.cli.main import main
from bedplate.generation import Sampling


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return text_bundle(tmp_path_factory.mktemp("boxes") / "writer")


def test_a_text_appears_with_its_continuation(box: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--max-tokens", "20", "--temperature", "1.2", "--top-k", "5", "--top-p", "0.9", "--seed", "4"]
    assert main(["predict", str(box.path), "--text", "so it", *flags]) == 0
    sampling = Sampling(max_tokens=20, temperature=1.2, top_k=5, top_p=0.9, seed=4)
    assert capsys.readouterr().out == f"so it{box.generator().answer('so it', sampling)['answer']}\n"


def test_files_are_prompts_and_json_is_a_line_each(
    box: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("so it\n")
    (tmp_path / "b.txt").write_bytes(b"so\xff")
    code = main(["predict", str(box.path), str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "--json", "--beams", "2",
                 "--max-tokens", "6", "--stop", "zz"])  # fmt: skip
    assert code == 2
    out, err = capsys.readouterr()
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["answer"] == box.generator().answer("so it", Sampling(beams=2, max_tokens=6, stop=("zz",)))["answer"]
    assert "not UTF-8" in second["error"]
    assert "not UTF-8" in err


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (["--text", "so", "--max-tokens", "0"], "--max-tokens: .*1 to 100,000"),
        (["--text", "so", "--temperature", "nan"], "--temperature"), (["--text", "so", "--top-p", "0"], "--top-p"),
        (["--text", "so", "a.txt"], "either --text or files"), (["nowhere.txt"], "can't be read"),
    ],
)  # fmt: skip
def test_flags_at_fault_are_named(
    box: Bundle, flags: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert main(["predict", str(box.path), *flags]) == 2
    assert re.search(match, capsys.readouterr().err)


@pytest.mark.parametrize("text", ["", "so 猫", "so it goes. " * 9])
def test_a_prompt_at_fault_is_told(box: Bundle, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(box.path), "--text", text]) == 2
    assert "prompt" in capsys.readouterr().err


def test_another_model_takes_no_such_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = image_bundle(tmp_path / "image")
    assert main(["predict", str(box.path), "--temperature", "1"]) == 2
    assert "writes no text" in capsys.readouterr().err
