"""Facts about what is imported: the command's help and the package stay light, and the server never sees torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "sklearn",
    "pyarrow",
    "pydantic",
    "PIL",
    "httptools",
    "grpc",
    "rich",
    "jinja2",
}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after `code`."""
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_after("import bedplate") & HEAVY


def test_the_help_loads_nothing_heavy() -> None:
    code = "from bedplate.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert not modules_after(code) & HEAVY


def test_the_serve_side_loads_no_workshop() -> None:
    code = (
        "import bedplate.cli.bundles, bedplate.serving, bedplate.operations, bedplate.bundle, bedplate.evaluation,"
        " bedplate.profile, bedplate.codecs, bedplate.recipe"
    )
    absent = {"torch", "onnx", "sklearn", "pyarrow", "scipy", "pandas", "matplotlib", "tokenizers"}
    assert not modules_after(code) & absent


def test_public_names_exist_and_are_loaded_when_asked_for() -> None:
    import bedplate

    for name in bedplate.__all__:
        assert getattr(bedplate, name) is not None
    assert set(bedplate.__all__) <= set(dir(bedplate))


def test_onnxruntime_keeps_no_store_of_its_use(tmp_path: Path) -> None:
    """It would report to its maker: a device's id and a database of events, and sockets to send them."""
    code = (
        "import bedplate.bundle.session as s, numpy as np\n"
        "from tests.bundle.boxes import image_graph, images\n"
        "predict = s.OnnxPredict(image_graph(), variant='f32')\n"
        "predict({'image': images(2)})\n"
    )
    free = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment = {**free, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
