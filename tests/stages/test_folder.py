"""The run's folder: never overwritten by accident, continued only where it fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import RunError
from bedplate.stages.folder import check_free, open_run


def test_a_new_run_takes_an_empty_place_and_refuses_a_taken_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with open_run(path, "new") as folder:
        folder.begin("train")
        folder.finish("train", "f", {"x": 1})
    with pytest.raises(RunError, match="--resume continues it, --fresh starts it again"):
        check_free(path, "new")
    with open_run(path, "resume") as folder:
        assert folder.manifest("train", "f") == {"stage": "train", "fingerprint": "f", "x": 1}
        assert folder.manifest("train", "other") is None
    with open_run(path, "fresh") as folder:
        folder.begin("train")
        assert folder.manifest("train") is None


def test_fresh_keeps_the_old_run_until_the_new_one_begins(tmp_path: Path) -> None:
    """Settings that turn out not to work must not cost a finished run."""
    path = tmp_path / "run"
    with open_run(path, "new") as folder:
        folder.begin("train")
        folder.finish("train", "f", {"x": 1})
    with pytest.raises(ZeroDivisionError), open_run(path, "fresh"):
        raise ZeroDivisionError
    with open_run(path, "resume") as folder:
        assert folder.manifest("train", "f") is not None


def test_something_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    for mode in ("new", "resume", "fresh"):
        with pytest.raises(RunError, match="no run"), open_run(tmp_path, mode):  # type: ignore[arg-type]
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="not a folder"):
        check_free(tmp_path / "run", "new")


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run", "new"),
        pytest.raises(RunError, match="another process"),
        open_run(tmp_path / "run", "resume"),
    ):
        pass


def test_an_earlier_stage_begun_again_undoes_the_later_ones(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", "new") as folder:
        for stage in ("train", "evaluate", "compress"):
            folder.begin(stage)
            folder.finish(stage, "f", {})
        folder.begin("evaluate")
        assert folder.manifest("train")
        assert not folder.manifest("evaluate")
        assert not folder.manifest("compress")


def test_what_was_pre_trained_is_kept_where_what_comes_after_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def fail(name: str) -> None:
        with open_run(path, "new") as folder:
            (folder.begin("train") / name).touch()
            raise ZeroDivisionError

    for name, stays in (("settings.json", False), ("pretrain.json", True)):
        with pytest.raises(ZeroDivisionError):
            fail(name)
        assert path.exists() == stays
    with open_run(path, "resume") as folder:
        assert (folder.stage("train") / "pretrain.json").exists()
