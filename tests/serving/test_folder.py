from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bedplate.bundle import Bundle
from bedplate.bundle.archive import pack_archive
from bedplate.core.errors import InputError
from bedplate.serving.folder import ALL, Policy, labels_of, policy_of, scan, scan_name


def put(bundle: Bundle, *where: Path) -> None:
    for path in where:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle.path, path)


def test_names_and_versions_in_every_form_are_seen(image_box: Bundle, tmp_path: Path) -> None:
    put(image_box, tmp_path / "a" / "1", tmp_path / "a" / "10", tmp_path / "alone")
    pack_archive(image_box.path, tmp_path / "a" / "2.bundle")
    pack_archive(image_box.path, tmp_path / "packed.bundle")
    found = scan(tmp_path)
    assert {name: sorted(shelf.sources) for name, shelf in found.items()} == {
        "a": [1, 2, 10], "alone": [1], "packed": [1],
    }  # fmt: skip
    assert list(found["a"].wanted) == [10]
    assert list(scan(tmp_path, only="alone")) == ["alone"]


@pytest.mark.parametrize("name", [".1", "_1", "1.tmp", "01", "one", "-1", "1.0", "1~"])
def test_what_is_no_version_is_left_alone(name: str, image_box: Bundle, tmp_path: Path) -> None:
    put(image_box, tmp_path / "a" / name)
    assert scan(tmp_path) == {}


def test_a_folder_without_its_seal_is_no_version_yet(image_box: Bundle, tmp_path: Path) -> None:
    put(image_box, tmp_path / "a" / "1")
    (tmp_path / "a" / "1" / "BUNDLE_ID").unlink()
    assert scan(tmp_path) == {}


def test_a_replaced_bundle_has_another_stamp(image_box: Bundle, tmp_path: Path) -> None:
    put(image_box, tmp_path / "a" / "1")
    before = scan(tmp_path)["a"].sources[1].stamp
    assert scan(tmp_path)["a"].sources[1].stamp == before
    graph = next((tmp_path / "a" / "1" / "graphs").iterdir())
    graph.write_bytes(graph.read_bytes() + b"!")
    assert scan(tmp_path)["a"].sources[1].stamp != before


def test_policies_say_what_is_wanted() -> None:
    there = [3, 1, 10, 2]
    assert Policy().wanted(there) == [10]
    assert Policy(latest=2).wanted(there) == [3, 10]
    assert ALL.wanted(there) == [1, 2, 3, 10]
    assert Policy(specific=(2, 7, 1)).wanted(there) == [1, 2]


def test_settings_choose_versions_and_labels_keep_theirs(image_box: Bundle, tmp_path: Path) -> None:
    put(image_box, *(tmp_path / "a" / str(k) for k in range(1, 5)))
    settings = {"versions": {"latest": 1}, "labels": {"stable": 2}}
    (tmp_path / "a" / "serving.json").write_text(json.dumps(settings))
    shelf = scan_name(tmp_path / "a")
    assert list(shelf.wanted) == [2, 4]
    assert shelf.labels == {"stable": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "isn't JSON"), ("[]", "JSON object"), ('{"version": "all"}', "did you mean"), ('{"versions": 3}', "policy"),
        ('{"versions": {"latest": 0}}', "policy"), ('{"versions": {"specific": []}}', "policy"),
        ('{"versions": {"latest": true}}', "policy"), ('{"labels": []}', "not labels"), ('{"labels": {"a": "1"}}', "not labels"),
        ('{"labels": {"1a": 1}}', "not a label"), ('{"labels": {"a/b": 1}}', "not a label"), ("\udcff", "can't be read"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_a_problem_of_that_name(
    text: str, words: str, image_box: Bundle, tmp_path: Path
) -> None:
    put(image_box, tmp_path / "a" / "1", tmp_path / "b" / "1")
    (tmp_path / "a" / "serving.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = scan(tmp_path)
    assert words in found["a"].problem
    assert found["b"].problem == ""


def test_words_of_policies_and_labels() -> None:
    assert policy_of("all", "here") == ALL
    assert policy_of({"specific": [1, 2]}, "here") == Policy(specific=(1, 2))
    assert labels_of({"stable": 1, "canary-2": 3}, "here") == {"stable": 1, "canary-2": 3}
    bad: list[Any] = [None, {"latest": 1, "specific": [1]}, {"specific": ["1"]}]
    for value in bad:
        with pytest.raises(InputError, match="no version policy"):
            policy_of(value, "here")
