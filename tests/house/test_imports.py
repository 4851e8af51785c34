"""Facts about what is imported: the command's help and the package stay light, and the server never sees torch."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "sklearn",
    "pyarrow",
    "pydantic",
    "PIL",
    "uvicorn",
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
    assert not modules_after(code) & {"torch", "onnx", "sklearn", "pyarrow", "scipy", "pandas", "matplotlib"}


def test_public_names_exist_and_are_loaded_when_asked_for() -> None:
    import bedplate

    for name in bedplate.__all__:
        assert getattr(bedplate, name) is not None
    assert set(bedplate.__all__) <= set(dir(bedplate))
