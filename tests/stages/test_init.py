"""What `init` calls a recipe, and what it says of the time."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.names import as_conll

from bedplate.stages.init import init


@pytest.mark.parametrize("name", ["names.conll", "names.bio", "names.txt"])
def test_a_run_is_called_as_its_data_without_the_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    as_conll(tmp_path / name, 60)
    assert init(name).path == tmp_path / "names.yaml"
    assert "name: names\n" in (tmp_path / "names.yaml").read_text()


def test_the_time_of_a_language_model_says_what_it_rests_on(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text("So it goes, and so it went on.\n" * 400)
    (said,) = [
        why for why in init(str(tmp_path / "tale.txt"), output=str(tmp_path / "r.yaml")).reasons if "small tr" in why
    ]
    assert "`bedplate plan` measures this machine" in said
    assert "40 times over" in said
