"""Has what a bundle sees drifted from what it was made on?"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from bedplate.bundle import Bundle
from bedplate.codecs.codec import Payload
from bedplate.core.arrays import Arrays, concatenate, count, take
from bedplate.core.errors import InputError
from bedplate.profile import DriftReport, Reference, compare
from bedplate.profile.drift import PARTS
from bedplate.serving.state import read_state

_BATCH = 256


def monitor(bundle: Bundle, *, state: Path | None = None, inputs: Iterable[Payload] | None = None) -> DriftReport:
    """Compare what a server saw, or some payloads, with the bundle's reference.

    Args:
        bundle: an opened bundle.
        state: a server's state folder; its last full window and the rows after it are compared.
        inputs: payloads instead, in the order in which they arose; they are one window.

    Raises:
        InputError: neither or both were given, there are too few rows (it says how many are needed), or the folder
            holds nothing of this bundle.
        PayloadError: a payload doesn't fit the contract.
        BundleError: the bundle holds no drift reference.
    """
    if (state is None) == (inputs is None):
        raise InputError("say what to look at", expected="either a state folder or payloads")
    reference = Reference.from_json(bundle.reference, bundle.name)
    if state is not None:
        return compare(reference, *read_state(state, bundle.id, reference).newest())
    watched, outputs = _predicted(bundle, inputs or ())
    rows = count(watched)
    if bundle.codec.kind == "series" and rows < reference.windows[0]:
        raise InputError(
            "too few pasts to speak of drift", expected=f"at least {reference.windows[0]}, a file each",
            received=str(rows), hint="name files of moments that lie apart: each is one past",
        )  # fmt: skip
    edges = [rows * k // PARTS for k in range(PARTS + 1)]
    pieces = [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]
    return compare(reference, [reference.sketch(take(watched, piece), take(outputs, piece)) for piece in pieces])


def _predicted(bundle: Bundle, payloads: Iterable[Payload]) -> tuple[Arrays, Arrays]:
    predict = bundle.predictor()
    stream = iter(payloads)
    inputs: list[Arrays] = []
    outputs: list[Arrays] = []
    while batch := list(itertools.islice(stream, _BATCH)):
        inputs.append(bundle.codec.decode(batch))
        outputs.append(predict(inputs[-1]))
    return concatenate(inputs), concatenate(outputs)
