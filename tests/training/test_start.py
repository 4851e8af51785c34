"""Weights to begin with: from every kind of file, through a key map, with a report of what matched."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.training.samples import COLOUR, cnn
from torch import Tensor
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.models import ImageInput, Network, Outputs, build
from bedplate.recipe.schema import StartSpec
from bedplate.training import start_from
from bedplate.training.start import read_weights

FIRST = {r"^conv1\.": "features.0."}


def _equal(network: Network, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in network.body.state_dict().items())


@pytest.fixture
def trained() -> Network:
    torch.manual_seed(9)
    network = cnn()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    return network


def test_a_safetensors_file_and_a_state_dict_load_under_usual_prefixes(tmp_path: Path, trained: Network) -> None:
    save_file({f"body.{k}": v for k, v in trained.body.state_dict().items()}, tmp_path / "a.safetensors")
    wrapped = {"state_dict": {f"module.{k}": v for k, v in trained.body.state_dict().items()}, "epoch": 7}
    torch.save(wrapped, tmp_path / "b.pt")
    torch.save(trained.body.state_dict(), tmp_path / "c.th", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "b.pt", "c.th"):
        network = cnn()
        found = start_from(network, StartSpec(weights=name, strict=True), tmp_path)
        assert _equal(network, trained.body.state_dict())
        assert (found.missing, found.unused, found.reshaped) == ((), (), {})


def test_a_key_map_renames_and_the_report_says_what_did_not_match(tmp_path: Path, trained: Network) -> None:
    state = {k.replace("features.0.", "conv1."): v for k, v in trained.body.state_dict().items()}
    state["classifier.4.weight"] = torch.zeros(7, 16)
    del state["classifier.4.bias"]
    state["extra"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    network = cnn()
    found = start_from(network, StartSpec(weights="w.safetensors", keys=FIRST), tmp_path)
    assert torch.equal(network.body.features[0].weight, trained.body.features[0].weight)
    assert found.missing == ("classifier.4.bias",)
    assert found.unused == ("extra",)
    assert found.reshaped == {"classifier.4.weight": ([4, 16], [7, 16])}
    assert any("another shape: classifier.4.weight" in line for line in found.lines())
    with pytest.raises(InputError, match="not all weights match"):
        start_from(cnn(), StartSpec(weights="w.safetensors", keys=FIRST, strict=True), tmp_path)


def test_nothing_that_matches_is_an_error(tmp_path: Path) -> None:
    save_file({"encoder.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"no weight matches.*features\.0\.weight.*encoder\.weight"):
        start_from(cnn(), StartSpec(weights="w.safetensors"), tmp_path)


class Evil:
    """Executes when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path(__file__).parent / "executed",))  # type: ignore[return-value]


def test_objects_in_a_state_dict_are_refused_and_not_executed(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2), "evil": Evil()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="objects other than tensors are refused"):
        start_from(cnn(), StartSpec(weights="w.pt"), tmp_path)
    assert not (Path(__file__).parent / "executed").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", None, "no such weights"),
        ("text.pt", b"hello", "can't be read"),
        ("empty.pt", b"", "can't be read"),
        ("broken.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", "can't be read|holds no weights"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        start_from(cnn(), StartSpec(weights=name), tmp_path)


def test_a_folder_without_weights_and_a_bad_expression_are_told(tmp_path: Path, trained: Network) -> None:
    with pytest.raises(InputError, match="the folder holds no weights"):
        start_from(cnn(), StartSpec(weights="."), tmp_path)
    save_file(dict(trained.body.state_dict()), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="not a regular expression"):
        start_from(cnn(), StartSpec(weights="w.safetensors", keys={"(": ""}), tmp_path)
    with pytest.raises(InputError, match="two weights get one name"):
        start_from(cnn(), StartSpec(weights="w.safetensors", keys={".*": "x"}), tmp_path)


# The published ResNets for CIFAR-10, against a definition written out from their own tensors.

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
RESNET = {
    r"^conv1\.": "stem.0.",
    r"^bn1\.": "stem.1.",
    r"^layer1\.": "stages.0.",
    r"^layer2\.": "stages.1.",
    r"^layer3\.": "stages.2.",
    r"^linear\.": "head.",
}
FILES = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}


def plain_resnet(weights: dict[str, Tensor], images: Tensor, blocks: int) -> Tensor:
    """He et al. 2016, section 4.2 with option A, straight from the checkpoint's tensors."""

    def norm(x: Tensor, name: str) -> Tensor:
        w = {key: weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return functional.batch_norm(x, w["running_mean"], w["running_var"], w["weight"], w["bias"])

    x = (images - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
    x = functional.relu(norm(functional.conv2d(x, weights["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            inner = functional.conv2d(x, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = functional.relu(norm(inner, f"{name}.bn1"))
            inner = norm(functional.conv2d(inner, weights[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if stride == 2:
                extra = inner.shape[1] - x.shape[1]
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra // 2, extra // 2))
            x = functional.relu(inner + x)
    return functional.linear(x.mean((2, 3)), weights["linear.weight"], weights["linear.bias"])


def lossless(root: Path) -> tuple[np.ndarray, list[str]]:
    """The first 100 training images as PNG, and their labels."""
    folder = root / "cifar10-jpeg" / "lossless-first100"
    import csv
    import zipfile

    with zipfile.ZipFile(folder / "train_tiny.zip") as box:
        names = sorted((n for n in box.namelist() if n.endswith(".png")), key=lambda n: int(Path(n).stem))
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(box.read(n))).convert("RGB")) for n in names])
    with zipfile.ZipFile(folder / "trainLabels.csv.zip") as box:
        rows = list(csv.DictReader(io.TextIOWrapper(box.open(box.namelist()[0]))))
    labels = {int(row["id"]): row["label"] for row in rows}
    return pixels, [labels[int(Path(n).stem)] for n in names]


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.mark.data
@pytest.mark.parametrize("depth", [20, 56])
def test_the_published_resnets_load_through_the_key_map(data_root: Path, depth: int) -> None:
    pixels, labels = lossless(data_root)
    assert pixels.shape == (100, 32, 32, 3)
    path = data_root / "cifar10-resnet-weights" / FILES[depth]
    inputs = ImageInput(32, 32, 3, MEAN, STD)
    network = build("resnet", {"depth": depth, "shortcut": "pad"}, inputs, Outputs(10), 0)
    start_from(network, StartSpec(weights=str(path), keys=RESNET, strict=True), Path())
    network.eval()
    raw = {name.removeprefix("module."): tensor for name, tensor in read_weights(path).items()}
    images = torch.from_numpy(pixels)
    with torch.inference_mode():
        ours = network(images)
        plain = plain_resnet(raw, images.permute(0, 3, 1, 2).float(), (depth - 2) // 6)
    assert (ours - plain).abs().max() < 1e-4
    right = np.mean([CLASSES[k] == label for k, label in zip(ours.argmax(1).tolist(), labels, strict=True)])
    assert right >= 0.97  # they were trained on these images


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("depth", "accuracy"), [(20, 0.81), (56, 0.83)])
def test_their_accuracy_on_the_jpeg_test_set(data_root: Path, depth: int, accuracy: float) -> None:
    found, truth = [], []
    with tarfile.open(data_root / "cifar10-jpeg" / "test.tar.xz") as box:
        for member in box:
            if member.name.endswith(".jpg"):
                stream = box.extractfile(member)
                assert stream is not None
                found.append(np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB")))
                truth.append(CLASSES.index(Path(member.name).parent.name))
    network = build("resnet", {"depth": depth, "shortcut": "pad"}, ImageInput(32, 32, 3, MEAN, STD), Outputs(10), 0)
    path = data_root / "cifar10-resnet-weights" / FILES[depth]
    start_from(network, StartSpec(weights=str(path), keys=RESNET, strict=True), Path())
    network.eval()
    with torch.inference_mode():
        answers = torch.cat(
            [network(torch.from_numpy(np.stack(found[k : k + 500]))).argmax(1) for k in range(0, 10_000, 500)]
        )
    assert (answers == torch.tensor(truth)).double().mean().item() == pytest.approx(accuracy, abs=0.01)


def test_an_image_of_another_size_has_the_same_weights(tmp_path: Path) -> None:
    """Transfer: a residual network's weights don't depend on the image's size, its head on the classes."""
    small = build("resnet", {"depth": 8}, COLOUR, Outputs(4), 1)
    save_file(dict(small.body.state_dict()), tmp_path / "w.safetensors")
    other = build("resnet", {"depth": 8}, ImageInput(16, 16, 3, (0.0,) * 3, (1.0,) * 3), Outputs(6), 2)
    found = start_from(other, StartSpec(weights="w.safetensors"), tmp_path)
    assert set(found.reshaped) == {"head.weight", "head.bias"}
    assert torch.equal(other.body.stem[0].weight, small.body.stem[0].weight)
