"""predict, serve and monitor, as a person or a program calls them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bedplate.bundle import Bundle


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """All digits as PNG files, named by their row, and their labels."""
    from bedplate.data.embedded import digits

    folder = tmp_path_factory.mktemp("png")
    pixels, labels, _ = digits()
    for row, image in enumerate(pixels):
        (folder / f"{row}.png").write_bytes(png(image.reshape(8, 8)))
    return folder, labels


def test_predict_repeats_evaluation_row_by_row(
    digits: dict[str, Any], images: tuple[Path, list[str]], bedplate: Any
) -> None:
    folder, _ = images
    lines = (Path(digits["run"]) / "pack" / "predictions.jsonl").read_text().splitlines()
    expected = [json.loads(line) for line in lines]
    assert len(expected) == digits["rows"]["test"]
    rows = [entry["input"].rpartition(":")[2].rpartition("/")[2].removeprefix("digits") for entry in expected]
    files = [str(folder / f"{int(''.join(filter(str.isdigit, row)))}.png") for row in rows]
    done = bedplate("predict", digits["bundle"], *files, "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["answer"] for entry in found] == [entry["answer"] for entry in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_a_table_is_predicted_from_csv_jsonl_and_stdin_alike(
    table: dict[str, Any], tmp_path: Path, bedplate: Any
) -> None:
    golden = Bundle.open(table["bundle"]).golden
    names = list(golden.inputs)
    rows = [{name: float(golden.inputs[name][k]) for name in names} for k in range(5)]
    csv = "\n".join([",".join(names), *(",".join(repr(row[name]) for name in names) for row in rows)]) + "\n"
    jsonl = "\n".join(json.dumps(row) for row in rows) + "\n"
    (tmp_path / "rows.csv").write_text(csv)
    (tmp_path / "rows.jsonl").write_text(jsonl)
    answers = []
    for words, stdin in ((["rows.csv"], None), (["rows.jsonl"], None), (["-"], jsonl.encode()), ([], csv.encode())):
        done = bedplate("predict", table["bundle"], *words, "--json", cwd=tmp_path, stdin=stdin)
        assert done.returncode == 0, done.stderr
        answers.append([json.loads(line)["probabilities"] for line in done.stdout.splitlines()])
    assert len(answers[0]) == 5
    assert answers[0] == answers[1] == answers[2] == answers[3]
    (tmp_path / "more" / "deep").mkdir(parents=True)
    for name in ("a.jsonl", "deep/b.csv", ".hidden"):
        (tmp_path / "more" / name).write_text(csv if name.endswith(".csv") else jsonl)
    done = bedplate("predict", table["bundle"], "more", "--json", cwd=tmp_path)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["input"] for one in found[4:6]] == ["more/a.jsonl:5", "more/deep/b.csv:2"]
    assert [one["probabilities"] for one in found] == answers[0] * 2


def test_a_bad_file_is_reported_and_the_others_answered(
    digits: dict[str, Any], images: tuple[Path, list[str]], tmp_path: Path, bedplate: Any
) -> None:
    (tmp_path / "bad.png").write_bytes(b"not an image")
    done = bedplate(
        "predict",
        digits["bundle"],
        str(images[0] / "0.png"),
        str(tmp_path / "bad.png"),
        str(images[0] / "1.png"),
        "--json",
    )
    assert done.returncode == 2
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["error" in entry for entry in found] == [False, True, False]
    assert "bad.png" in done.stderr


def test_an_image_on_standard_input(digits: dict[str, Any], images: tuple[Path, list[str]], bedplate: Any) -> None:
    done = bedplate("predict", digits["bundle"], "-", stdin=(images[0] / "0.png").read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[1] == images[1][0]


def test_every_variant_can_be_asked_for(digits: dict[str, Any], images: tuple[Path, list[str]], bedplate: Any) -> None:
    for variant in digits["variants"]:
        done = bedplate("predict", digits["bundle"], str(images[0] / "0.png"), "--variant", variant["name"])
        assert done.returncode == (0 if variant["kept"] else 2), done.stderr


def test_a_damaged_bundle_is_refused(digits: dict[str, Any], tmp_path: Path, bedplate: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(digits["bundle"], copy)
    path = copy / "graphs" / "f32.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    done = bedplate("predict", str(copy), "x.png")
    assert done.returncode == 2
    assert "isn't the file that was sealed" in done.stderr


def test_serve_then_monitor(
    digits: dict[str, Any], images: tuple[Path, list[str]], tmp_path: Path, bedplate: Any
) -> None:
    state = tmp_path / "state"
    words = [
        sys.executable,
        "-m",
        "bedplate",
        "serve",
        digits["bundle"],
        "--port",
        "0",
        "--json",
        "--state",
        str(state),
        "--name",
        f"again={digits['bundle']}",
    ]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        for name in ("digits", "again"):
            for row in range(120):
                request = urllib.request.Request(
                    f"{url}/predict/{name}", (images[0] / f"{row}.png").read_bytes(), {"Content-Type": "image/png"}
                )
                with urllib.request.urlopen(request, timeout=30) as response:
                    assert response.status == 200
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0
    done = bedplate("monitor", digits["bundle"], "--state", str(state), "--json")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert set(found) >= {"drift", "features", "false_alarm_rate"}
    assert found["drift"] is (done.returncode == 1)


def test_monitor_tells_inverted_images_from_honest_ones(
    digits: dict[str, Any], images: tuple[Path, list[str]], tmp_path: Path, bedplate: Any
) -> None:
    honest = bedplate(
        "monitor", digits["bundle"], "--input", *(str(images[0] / f"{row}.png") for row in range(300, 600))
    )
    assert honest.returncode == 0, honest.stdout + honest.stderr
    for row in range(300):
        pixels = np.asarray(Image.open(images[0] / f"{row}.png"))
        (tmp_path / f"{row}.png").write_bytes(png(255 - pixels))
    inverted = bedplate("monitor", digits["bundle"], "--input", str(tmp_path), "--json")
    assert inverted.returncode == 1, inverted.stdout + inverted.stderr
    assert json.loads(inverted.stdout)["drift"] is True
