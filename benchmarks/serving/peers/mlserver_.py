"""MLServer: a runtime of our own (the way its pages show), batches of up to 16, the protocol's JSON or base64."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse
from work import IMAGE, INPUTS, MODEL, PORT, PROCESSES, TEXT, Work, from_bytes, from_instances, joined


class Runtime(MLModel):
    async def load(self):
        self.work = Work()
        return True

    async def predict(self, payload):
        found = self.work.run(joined(self._read(payload)))
        output = NumpyCodec.encode_output("probabilities", found)
        return InferenceResponse(model_name=self.name, outputs=[output])

    def _read(self, payload):
        first = payload.inputs[0]
        if TEXT:
            return [from_instances(StringCodec.decode_input(first))]
        if IMAGE and first.datatype == "BYTES":
            return [from_bytes(body) for body in self.decode(first)]
        if IMAGE:
            return [{IMAGE["name"]: NumpyCodec.decode_input(first)}]
        return [{one.name: self._column(one) for one in payload.inputs}]

    def _column(self, one):
        import numpy as np

        if INPUTS[one.name]["dtype"] == "string":
            return np.array(StringCodec.decode_input(one), object).reshape(-1)
        return NumpyCodec.decode_input(one).reshape(-1)


if __name__ == "__main__":
    folder = Path(os.environ["PEER_FOLDER"])
    settings = {
        "host": "127.0.0.1", "http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2, "debug": False,
        "parallel_workers": 0 if PROCESSES == 1 else PROCESSES,
    }  # fmt: skip
    batches = {"max_batch_size": 16, "max_batch_time": 0.001}
    model = {"name": MODEL["name"], "implementation": "mlserver_.Runtime", **batches}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    os.execv(Path(sys.executable).with_name("mlserver"), ["mlserver", "start", str(folder)])
