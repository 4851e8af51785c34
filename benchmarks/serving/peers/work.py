"""What every peer does alike: the same graph with the same threads, the same readings of a body.

The environment says which model (`PEER_MODEL`, a JSON file), on which port, with how many processes and threads. A peer
adds only what is its own: its way of taking a request, of batching, and of replying.
"""

import base64
import gc
import io
import json
import os
from itertools import chain
from pathlib import Path

import numpy as np
import onnxruntime

PORT = int(os.environ.get("PEER_PORT", "0"))
PROCESSES = int(os.environ.get("PEER_PROCESSES", "1"))
THREADS = int(os.environ.get("PEER_THREADS", "1"))
MODEL = json.loads(Path(os.environ["PEER_MODEL"]).read_text())
INPUTS = {one["name"]: one for one in MODEL["inputs"]}
IMAGE = MODEL["inputs"][0] if MODEL["kind"] == "image" else None
TEXT = MODEL["kind"] == "text"
DTYPES = {"string": object, "float64": np.float64, "uint8": np.uint8}


if TEXT:
    from tokenizers import Tokenizer

    TOKENIZER = Tokenizer.from_str(json.dumps(MODEL["tokenizer"]))
    TOKENIZER.enable_truncation(MODEL["length"])
    TOKENIZER.no_padding()


class Work:
    """A session on the model's graph; make it in the process that runs it."""

    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        # The load generator lives on the same processors: a thread that spins takes them from it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(MODEL["graph"], options, providers=["CPUExecutionProvider"])

    def run(self, tensors):
        """Return the probabilities, (rows, classes) float32, for tensors by name."""
        return self.session.run([MODEL["output"]], tensors)[0]


def from_instances(instances):
    """Return tensors for a list of rows: nested lists of pixels, or objects by column, or texts."""
    if IMAGE:
        return {IMAGE["name"]: np.array(instances, np.uint8)}
    if TEXT:
        return {"tokens": filled_up([one.ids for one in TOKENIZER.encode_batch_fast(instances)])}
    return {
        name: np.array([row[name] for row in instances], DTYPES[one["dtype"]]) for name, one in INPUTS.items()
    }  # fmt: skip


def from_instances_quickly(instances):
    """Return what `from_instances` does, sooner: one byte a pixel is laid flat without NumPy's search for a type."""
    if not IMAGE:
        return from_instances(instances)
    flat = bytearray(chain.from_iterable(chain.from_iterable(chain.from_iterable(instances))))
    return {IMAGE["name"]: np.frombuffer(flat, np.uint8).reshape(len(instances), *IMAGE["shape"])}


def from_bytes(body):
    """Return tensors for one image's raw pixels, or for its JPEG file."""
    if body[:2] == b"\xff\xd8":
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))[None]
    else:
        pixels = np.frombuffer(body, np.uint8).reshape(1, *IMAGE["shape"])
    return {IMAGE["name"]: pixels}


def from_base64(text):
    """Return tensors for what `from_bytes` takes, as base64."""
    return from_bytes(base64.b64decode(text))


def joined(requests):
    """Return several requests' tensors as those of one batch."""
    if len(requests) == 1:
        return requests[0]
    if TEXT:
        return {"tokens": filled_up([row for one in requests for row in one["tokens"]])}
    return {name: np.concatenate([one[name] for one in requests]) for name in requests[0]}


def filled_up(rows):
    """Return rows of token numbers as int32 [rows, longest], 0 behind the shorter ones."""
    tokens = np.zeros((len(rows), max(1, max(map(len, rows)))), np.int32)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
    return tokens


def rare_collections():
    """Look for cycles rarely, as a careful hand would: a JSON image is a thousand lists without one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
