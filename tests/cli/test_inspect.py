"""The verbs that look and tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bedplate.stages.resolve import shipped_recipes


def test_init_writes_a_recipe_that_runs_as_it_is(tmp_path: Path, bedplate: Any) -> None:
    rows = "\n".join(
        f"{k},{k % 7},{'red' if k % 3 else 'blue'},2024-01-{k % 28 + 1:02d},{'yes' if k % 7 > 3 else 'no'}"
        for k in range(200)
    )
    (tmp_path / "sales.csv").write_text(f"id,size,colour,day,bought\n{rows}\n")
    done = bedplate("init", "sales.csv", "--target", "bought", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["recipe"] == str(tmp_path / "sales.yaml")
    assert found["reasons"]
    assert found["schema"]
    assert (tmp_path / "sales.yaml").read_text().startswith("# A recipe for sales")
    ran = bedplate("run", "sales.yaml", "--json", "--set", "training.epochs=5", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["metrics"]["accuracy"]["value"] > 0.5
    again = bedplate("init", "sales.csv", "--target", "bought", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_plan_predicts_and_trains_nothing(tmp_path: Path, bedplate: Any) -> None:
    done = bedplate("plan", "digits", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["parameters"] == 72_842
    assert found["inputs"] == {"image": [64, 8, 8, 1]}
    assert found["output"] == [64, 10]
    assert found["seconds"] > 0
    assert found["memory_bytes"] > found["size_bytes"] > 4 * found["parameters"]
    assert list(tmp_path.iterdir()) == []


def test_recipes_lists_all(bedplate: Any) -> None:
    found = json.loads(bedplate("recipes", "--json").stdout)
    assert {recipe["name"] for recipe in found["recipes"]} == set(shipped_recipes())


def test_the_schema_accepts_every_shipped_recipe_and_refuses_misspellings(bedplate: Any) -> None:
    schema = json.loads(bedplate("schema").stdout)
    validator = jsonschema.Draft202012Validator(schema)
    for path in shipped_recipes().values():
        validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    bad = {
        "name": "a",
        "task": "image-classification",
        "data": {"source": "digits"},
        "model": {"name": "cnn", "witdhs": [1]},
    }
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(bad)


def test_compare_says_whether_a_difference_is_real(digits: dict[str, Any], tmp_path: Path, bedplate: Any) -> None:
    worse = bedplate(
        "run",
        "digits",
        "--out",
        str(tmp_path / "w"),
        "--json",
        "--set",
        "training.epochs=2",
        "gate={}",
        "model={name: perceptron}",
    )
    assert worse.returncode == 0, worse.stderr
    done = bedplate("compare", digits["run"], str(tmp_path / "w"), "--json")
    assert done.returncode == 0, done.stderr
    (verdict,) = json.loads(done.stdout)["verdicts"].values()
    assert verdict["paired"] is True
    assert verdict["real"] is True
    assert verdict["difference"] < 0
    alone = bedplate("compare", digits["run"])
    assert alone.returncode == 2


def test_doctor_describes_and_checks(bedplate: Any) -> None:
    done = bedplate("doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {check["check"] for check in found["checks"]} == {"numpy", "disk", "images", "torch", "onnx"}
    assert all(check["ok"] for check in found["checks"])


def test_check_plugin_passes_and_fails(tmp_path: Path, bedplate: Any) -> None:
    good = Path(__file__).parents[2] / "examples" / "research_prototype" / "focal_loss.py"
    assert bedplate("check-plugin", str(good)).returncode == 0
    bad = tmp_path / "bad.py"
    bad.write_text("import bedplate as bp\n@bp.register_model('bad')\ndef bad(inputs, outputs):\n    return None\n")
    done = bedplate("check-plugin", str(bad), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False


def test_help_fits_every_verb(bedplate: Any) -> None:
    from bedplate.cli.main import VERBS

    for verb in VERBS:
        done = bedplate(verb, "--help")
        assert done.returncode == 0
        assert "--json" in done.stdout
        assert "--quiet" in done.stdout


def test_runs_of_different_data_are_not_compared(digits: dict[str, Any], table: dict[str, Any], bedplate: Any) -> None:
    done = bedplate("compare", digits["run"], table["run"])
    assert done.returncode == 2
    assert "different data" in done.stderr
