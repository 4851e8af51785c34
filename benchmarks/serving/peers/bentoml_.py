"""BentoML: a service with a worker a core and adaptive batching up to 16, arrays as its pages type them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bentoml
import numpy as np
from PIL import Image as Pictures
from work import IMAGE, MODEL, PROCESSES, TEXT, Work, from_instances

BATCHES = {"batchable": True, "batch_dim": 0, "max_batch_size": 16, "max_latency_ms": 10_000}


@bentoml.service(
    workers=PROCESSES,
    traffic={"timeout": 60, "concurrency": 64},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Model:
    def __init__(self) -> None:
        self.work = Work()

    if IMAGE:

        @bentoml.api(**BATCHES)
        def pixels(self, image: np.ndarray) -> np.ndarray:
            return self.work.run({IMAGE["name"]: image.astype(np.uint8, copy=False)})

        if MODEL["heavy"]:

            @bentoml.api(**BATCHES)
            def files(self, images: list[Pictures.Image]) -> np.ndarray:
                stacked = np.stack([np.asarray(image.convert("RGB")) for image in images])
                return self.work.run({IMAGE["name"]: stacked})

    elif TEXT:

        @bentoml.api(**BATCHES)
        def texts(self, texts: list[str]) -> np.ndarray:
            return self.work.run(from_instances(texts))

    else:

        @bentoml.api(**BATCHES)
        def rows(self, rows: list[dict]) -> np.ndarray:
            return self.work.run(from_instances(rows))
