"""The sealed box, opened: everything is verified before anything of it is used."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load

from bedplate import codecs
from bedplate.bundle import layout
from bedplate.bundle.archive import unpack
from bedplate.bundle.golden import Golden
from bedplate.bundle.manifest import Manifest, read_manifest
from bedplate.bundle.onnxscan import scan_graph
from bedplate.bundle.session import OnnxPredict, check_boundary
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import Codec, Payload, TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, PayloadError, did_you_mean, json_kind
from bedplate.core.hashing import sha256_bytes, sha256_file
from bedplate.core.machine import cpu_features
from bedplate.generation.generator import Generator

if TYPE_CHECKING:
    from bedplate.codecs.language import LanguageCodec
    from bedplate.codecs.series import SeriesCodec

log = logging.getLogger("bedplate.bundle")


def generator_of(codec: Codec, predict: OnnxPredict) -> Generator:
    """Return what continues texts by a language model's session."""
    return Generator(cast("LanguageCodec", codec), predict.step, predict.past, predict.variant)


class Bundle:
    """A verified bundle. Use `Bundle.open`; nothing is ever written into it.

    Attributes: `path` (the folder read), `id` (SHA-256 of the manifest), `manifest`, `codec`, `answers`.
    Every file is hashed again when it is read later, so that what is used is what was sealed.
    """

    def __init__(self, path: Path, manifest: Manifest, identity: str, source: Path) -> None:
        self.path, self.manifest, self.id, self.source = path, manifest, identity, source
        self.codec: Codec = codecs.from_contract(manifest.contract.codec)
        self.answers = Answers.from_contract(manifest.contract.answers)
        self._predictors: dict[tuple[str, int | None], OnnxPredict] = {}
        self._warned = False

    @classmethod
    def open(cls, path: str | Path, verify: bool = True, replay: bool = True) -> Bundle:
        """Open a bundle's folder or archive.

        Args:
            path: the folder, or the `.bundle` archive (unpacked to a temporary folder for as long as the object lives).
            verify: hash every file and refuse missing, extra and linked ones, and graphs that reach outside themselves.
            replay: predict the golden rows again on this machine and compare.

        Raises:
            BundleError: anything isn't as it was sealed, the format is newer, or this machine answers otherwise.
        """
        source = Path(path)
        if not source.is_file():
            return cls._open_folder(source, source, verify, replay)
        holder = Path(tempfile.mkdtemp(prefix="bedplate-"))
        try:
            bundle = cls._open_folder(unpack(source, holder / "bundle"), source, verify, replay)
        except BaseException:
            shutil.rmtree(holder, ignore_errors=True)
            raise
        weakref.finalize(bundle, shutil.rmtree, holder, ignore_errors=True)
        return bundle

    @classmethod
    def _open_folder(cls, folder: Path, source: Path, verify: bool, replay: bool) -> Bundle:
        manifest, identity = read_manifest(folder, str(source))
        if verify:
            _verify_files(folder, manifest, str(source))
        _check_requirements(manifest, str(source))
        bundle = cls(folder, manifest, identity, source)
        _check_contract(bundle)
        if verify:
            for variant in manifest.variants:
                bundle.graph(variant)
        if replay:
            bundle.replay()
        return bundle

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, id={self.id[:12]}, task={self.task!r}, path={str(self.source)!r})"

    @property
    def name(self) -> str:
        """The bundle's own name."""
        return self.manifest.name

    @property
    def task(self) -> str:
        """The task's registered name."""
        return self.manifest.task

    @property
    def default(self) -> str:
        """The variant that is used where none is named."""
        return self.manifest.default

    @property
    def variants(self) -> list[str]:
        """The names of the variants, the default first."""
        return [self.default, *sorted(name for name in self.manifest.variants if name != self.default)]

    @property
    def inputs(self) -> list[TensorSpec]:
        """The tensors that the graph takes."""
        return [TensorSpec(spec.name, spec.dtype, tuple(spec.shape)) for spec in self.manifest.contract.inputs]

    @property
    def output(self) -> str:
        """The name of the graph's output; the first one where there are several."""
        return self.manifest.contract.output

    @property
    def outputs(self) -> list[TensorSpec]:
        """The tensors that the graph gives to callers."""
        written = self.manifest.contract.outputs
        if written is not None:
            return [TensorSpec(spec.name, spec.dtype, tuple(spec.shape)) for spec in written]
        answers = self.answers
        if answers.tags is not None:
            return [TensorSpec(self.output, "float32", (-1, len(answers.tags)))]
        if answers.many is not None:
            return [TensorSpec(self.output, "float32", (len(answers.many),))]
        if answers.columns is not None:
            shape = (answers.horizon, len(answers.columns), *([len(answers.levels)] if answers.levels else []))
            return [TensorSpec(self.output, "float32", shape)]
        if answers.dimensions:
            return [TensorSpec(self.output, "float32", (answers.dimensions,))]
        return [TensorSpec(self.output, "float32", () if answers.labels is None else (len(answers.labels),))]

    def read(self, name: str) -> bytes:
        """Return a sealed file's bytes, checked against its digest as they are read."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError("no such file in the bundle", where=str(self.source), received=name)
        file = self.path / name
        if file.is_symlink() or not file.is_file():
            raise BundleError("a file of the bundle is missing", where=str(self.source), expected=name)
        data = file.read_bytes()
        if sha256_bytes(data) != entry.sha256:
            raise _changed(str(self.source), name, entry.sha256, sha256_bytes(data))
        return data

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise BundleError("not JSON", where=f"{self.source}/{name}", received=str(error)) from error

    @cached_property
    def report(self) -> dict[str, Any]:
        """The evaluation report."""
        return self._object(layout.REPORT)

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """Where the bundle comes from: data, recipe, seed, versions."""
        return self._object(layout.LINEAGE)

    @cached_property
    def reference(self) -> dict[str, Any]:
        """What the data looked like when the bundle was sealed, for drift."""
        return self._object(layout.REFERENCE)

    @cached_property
    def model(self) -> dict[str, Any]:
        """The registered name and arguments of the model, so that it can be trained on."""
        return self._object(layout.MODEL)

    @cached_property
    def card(self) -> str:
        """The model card, as Markdown."""
        return self.read(layout.CARD).decode()

    @cached_property
    def golden(self) -> Golden:
        """The golden rows with their sealed answers."""
        where = f"{self.source}/{layout.GOLDEN}"
        return Golden.from_files(self._object(layout.GOLDEN), self.read(layout.GOLDEN_TENSORS), where)

    def weights(self) -> dict[str, np.ndarray]:
        """Return the model's weights by name; raises BundleError where the bundle was sealed without them."""
        try:
            return load(self.read(layout.WEIGHTS))
        except SafetensorError as error:
            raise BundleError("the weights can't be read", where=str(self.source), received=str(error)) from error

    def graph(self, variant: str) -> bytes:
        """Return a variant's graph as ONNX bytes, checked to be self-contained."""
        entry = self._entry(variant)
        data = self.read(entry.graph)
        scan_graph(data, f"{self.source}/{entry.graph}")
        return data

    def runnable(self, variant: str | None = None) -> str:
        """Return the variant to run here: the one asked for, or `f32` where this processor lacks what it needs.

        A variant named by the caller is never replaced; only the default is. Where there is no `f32` (a bundle of
        `bedplate compress` holds one graph), the default runs all the same. Both are warned about, once.
        """
        if variant is not None:
            self._entry(variant)
            return variant
        needs = self._entry(self.default).isa.any_of
        if not needs or cpu_features() & set(needs):
            return self.default
        falls_back = layout.FOUNDATION in self.manifest.variants
        if not self._warned:
            self._warned = True
            log.warning(
                "%s: the variant '%s' was made for processors with %s, which this one lacks; %s",
                self.name, self.default, " or ".join(needs),
                f"using '{layout.FOUNDATION}'" if falls_back else
                "its 8-bit sums may saturate here, so that answers are wrong, and the bundle holds no other graph: "
                "trust it only as far as its golden rows were answered as sealed",
            )  # fmt: skip
        return layout.FOUNDATION if falls_back else self.default

    def predictor(self, variant: str | None = None, threads: int | None = None) -> OnnxPredict:
        """Return a `Predict` (arrays at the graph's boundary → outputs by name) of a variant.

        `threads` None means all that this machine grants. Predictors are kept and shared; calls may run in parallel.
        """
        chosen = self.runnable(variant)
        key = (chosen, threads)
        if key not in self._predictors:
            self._predictors[key] = self.session(chosen, self.graph(chosen), threads)
        return self._predictors[key]

    def session(self, variant: str, graph: bytes, threads: int | None = None) -> OnnxPredict:
        """Return a `Predict` of a variant's graph (`self.graph(variant)`) that isn't kept by the bundle."""
        where = f"{self.source}/{self._entry(variant).graph}"
        predict = OnnxPredict(graph, variant=variant, threads=threads, where=where, prepare=self.codec.prepare)
        check_boundary(predict, self.codec.prepared, self.outputs, where)
        return predict

    def replay(self, variant: str | None = None) -> None:
        """Predict the golden rows again with a variant (the runnable default) and raise where the answers differ."""
        predict = self.predictor(variant)
        self.golden.replay(predict, predict.variant, self._entry(predict.variant).tolerance, str(self.source))
        self.golden.replay_continuation(predict, str(self.source), self.codec.feature_spec().get("separator"))

    def generator(self, variant: str | None = None, threads: int | None = None) -> Generator:
        """Return what continues texts by a variant. Raises BundleError where the bundle's model writes none."""
        if self.codec.kind != "language":
            raise BundleError(
                "this model writes no text", where=str(self.source),
                expected="a bundle of language-modelling or text-to-text",
                received=self.task,
            )  # fmt: skip
        predict = self.predictor(variant, threads)
        return generator_of(self.codec, predict)

    def predict(self, payloads: Sequence[Payload], batch_size: int = 256) -> list[dict[str, Any]]:
        """Return one answer a payload, as `Answers.encode` says.

        A language model answers with the continuation of a text, `{answer, finish_reason, tokens}`, as `Sampling` has
        it where nothing is said.

        A payload is image bytes, a mapping of column to value, or of tensor name to one row's array, as the codec says;
        `{"messages": […]}` is a talk, for a model that was trained on such.
        Raises PayloadError.
        """
        if isinstance(payloads, str | bytes | Mapping):
            raise PayloadError(
                "predict takes a list of payloads", expected="[payload, …]", received=f"one {type(payloads).__name__}",
                hint="put it into a list",
            )  # fmt: skip
        if self.codec.kind == "language":
            write = self.generator()
            return [write.answer(payload) for payload in payloads]
        predict = self.predictor()
        answers: list[dict[str, Any]] = []
        for start in range(0, len(payloads), batch_size):
            some = payloads[start : start + batch_size]
            inputs = self.codec.decode(some)
            answers += self.answered(predict(inputs), inputs, some)
        return answers

    def answered(self, outputs: Arrays, inputs: Arrays, payloads: Sequence[Payload]) -> list[dict[str, Any]]:
        """Return what is told of each payload: what `Answers.encode` says, and of a forecast the times that it is for.

        Args:
            outputs: the graph's, a row a payload.
            inputs: the codec's tensors of the payloads.
            payloads: what was asked.
        """
        found = self.answers.encode(outputs, inputs)
        if self.codec.kind == "series":
            codec = cast("SeriesCodec", self.codec)
            for answer, payload in zip(found, payloads, strict=True):
                times = codec.times_after(payload, self.answers.horizon)
                if times is not None:
                    answer["times"] = times
        return found

    def _entry(self, variant: str) -> Any:
        try:
            return self.manifest.variants[variant]
        except KeyError:
            raise BundleError(
                f"no variant '{variant}'", where=str(self.source), expected=f"one of {self.variants}",
                hint=did_you_mean(variant, self.variants),
            ) from None  # fmt: skip

    def _object(self, name: str) -> dict[str, Any]:
        value = self._json(name)
        if not isinstance(value, dict):
            raise BundleError("not a JSON object", where=f"{self.source}/{name}", received=json_kind(value))
        return value


def _changed(where: str, name: str, expected: str, received: str) -> BundleError:
    return BundleError(
        f"'{name}' isn't the file that was sealed", where=where, expected=f"SHA-256 {expected}", received=received,
        hint="the bundle is damaged or was changed; take a fresh copy",
    )  # fmt: skip


def _verify_files(folder: Path, manifest: Manifest, where: str) -> None:
    lying = layout.list_files(folder)
    expected: Mapping[str, Any] = manifest.files
    missing = sorted(set(expected) - set(lying))
    extra = sorted(set(lying) - set(expected) - {layout.MANIFEST, layout.BUNDLE_ID})
    if missing:
        raise BundleError("files of the bundle are missing", where=where, expected=", ".join(missing[:5]))
    if extra:
        raise BundleError(
            "the bundle holds files that were never sealed", where=where, received=", ".join(extra[:5]),
            hint="nothing is ever written into a bundle; remove them or take a fresh copy",
        )  # fmt: skip
    for name, entry in manifest.files.items():
        if lying[name] != entry.size:
            raise BundleError(
                f"'{name}' isn't the file that was sealed", where=where, expected=f"{entry.size} bytes",
                received=f"{lying[name]} bytes", hint="the bundle is damaged or was changed; take a fresh copy",
            )  # fmt: skip
        digest = sha256_file(folder / name)
        if digest != entry.sha256:
            raise _changed(where, name, entry.sha256, digest)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _check_requirements(manifest: Manifest, where: str) -> None:
    least = manifest.requires.get("onnxruntime", "0")
    if _numbers(onnxruntime.__version__) < _numbers(least):
        raise BundleError(
            "onnxruntime is too old for this bundle", where=where, expected=f"onnxruntime {least} or newer",
            received=onnxruntime.__version__, hint=f'pip install "onnxruntime>={least}"',
        )  # fmt: skip


def _check_contract(bundle: Bundle) -> None:
    promised = {(spec.name, spec.dtype, spec.shape) for spec in bundle.codec.tensors}
    written = {(spec.name, spec.dtype, spec.shape) for spec in bundle.inputs}
    named = bundle.outputs[0].name == bundle.output == bundle.answers.output
    if promised != written or not named:
        raise BundleError(
            "the contract contradicts itself", where=str(bundle.source), expected=str(sorted(promised)),
            received=str(sorted(written)),
        )  # fmt: skip
