"""The battery passes what ships and fails what is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.checks import check_file, check_model, check_objective
from bedplate.checks.battery import check_augment, check_method
from bedplate.compression import methods
from bedplate.core.errors import InputError
from bedplate.models import models
from bedplate.objectives import objectives
from bedplate.training import augments

EXAMPLES = Path(__file__).parents[2] / "examples" / "research_prototype"


@pytest.mark.parametrize("name", ["linear", "mlp", "perceptron", "cnn"])
def test_shipped_models_pass(name: str) -> None:
    results = list(check_model(name))
    assert len(results) >= 10
    assert [result for result in results if not result.ok] == []


@pytest.mark.slow
def test_every_registered_model_passes() -> None:
    for name in (name for name in models.names() if not name.startswith("test-")):  # other tests register their own
        assert [result for result in check_model(name) if not result.ok] == []


def test_every_objective_passes() -> None:
    for name in objectives.names():
        results = list(check_objective(name))
        assert results
        assert [result for result in results if not result.ok] == []


def test_every_method_and_augmentation_passes() -> None:
    results = [r for name in methods.names() for r in check_method(name)] + [
        r for name in augments.names() for r in check_augment(name)
    ]
    assert len(results) == 2 * len(methods.names()) + len(augments.names())
    assert [result for result in results if not result.ok] == []


@pytest.mark.parametrize("name", ["gated_mlp.py", "focal_loss.py"])
def test_the_example_plug_ins_pass(name: str) -> None:
    report = check_file(EXAMPLES / name)
    assert report.ok, [result for result in report.results if not result.ok]


HEAD = "import torch\nfrom torch import nn\nimport bedplate as bp\n"


@pytest.mark.parametrize(
    ("name", "body", "word"),
    [
        ("wrong-shape", "class M(nn.Module):\n    def forward(self, numeric=None, categories=None, image=None):\n        x = numeric if numeric is not None else categories if categories is not None else image.flatten(1)\n        return x.float().sum(1)\n@bp.register_model('wrong-shape')\ndef make(inputs, outputs):\n    return M()\n", "wrong shape"),
        ("mixes-rows", "class M(nn.Module):\n    def __init__(self, n, w):\n        super().__init__()\n        self.l = nn.Linear(n, w)\n    def forward(self, numeric):\n        return self.l(numeric - numeric.mean(0))\n@bp.register_model('mixes-rows')\ndef make(inputs, outputs):\n    if getattr(inputs, 'categories', (1,)):\n        raise bp.InputError('numbers only')\n    return M(inputs.numeric, outputs.width)\n", "rows beside it"),
        ("unseeded", "import random\nclass M(nn.Module):\n    def __init__(self, n, w):\n        super().__init__()\n        self.l = nn.Linear(n, w)\n        self.l.weight.data.fill_(random.random())\n    def forward(self, numeric):\n        return self.l(numeric)\n@bp.register_model('unseeded')\ndef make(inputs, outputs):\n    if getattr(inputs, 'categories', (1,)):\n        raise bp.InputError('numbers only')\n    return M(inputs.numeric, outputs.width)\n", "same seed"),
        ("dead-weights", "class M(nn.Module):\n    def __init__(self, n, w):\n        super().__init__()\n        self.l = nn.Linear(n, w)\n        self.unused = nn.Linear(3, 3)\n    def forward(self, numeric):\n        return self.l(numeric)\n@bp.register_model('dead-weights')\ndef make(inputs, outputs):\n    if getattr(inputs, 'categories', (1,)):\n        raise bp.InputError('numbers only')\n    return M(inputs.numeric, outputs.width)\n", "no gradient reaches"),
        ("rising", "@bp.register_objective('rising')\ndef make():\n    def loss(network, features, targets):\n        return {'loss': -network(*features).square().mean()  * 0 + torch.randn(()).abs() * 0 + network(*features).sum() * 0 + 1}\n    return bp.Objective((bp.Step(loss),), 'classes')\n", "30 steps moved it"),
    ],
)  # fmt: skip
def test_broken_plug_ins_fail_and_say_why(tmp_path: Path, name: str, body: str, word: str) -> None:
    path = tmp_path / f"{name.replace('-', '_')}.py"
    path.write_text(HEAD + body)
    report = check_file(path)
    assert not report.ok
    assert any(word in result.message for result in report.results if not result.ok), [
        r.message for r in report.results
    ]


def test_a_careless_compression_method_and_augmentation_fail(tmp_path: Path) -> None:
    path = tmp_path / "careless.py"
    path.write_text(
        HEAD
        + "@bp.register_compression('zeroes')\ndef zeroes(model, features, cpu):\n    for t in model.graph.initializer:\n"
        "        t.raw_data = bytes(len(t.raw_data))\n    return model\n"
        "@bp.register_augment('noisy')\ndef noisy():\n    return lambda images, generator: images + torch.rand(images.shape)\n"
    )
    messages = [result.message for result in check_file(path).results if not result.ok]
    assert any("changed the graph that it was given" in message for message in messages)
    assert any("torch.float32" in message for message in messages)


def test_a_file_that_fails_to_import_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(InputError, match=r"bad\.py:2.*ZeroDivisionError"):
        check_file(path)


def test_a_file_that_registers_nothing_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n")
    with pytest.raises(InputError, match="registers nothing"):
        check_file(path)
