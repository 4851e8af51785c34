"""MLflow: the graph saved with its ONNX flavour, or for files and base64 a Python model; `mlflow models serve`."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from work import IMAGE, INPUTS, MODEL, PORT, PROCESSES, THREADS

SPINNING = {"session.intra_op.allow_spinning": "0"}


class Pictures(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        sys.path.insert(0, str(Path(os.environ["PEER_SOURCE"])))
        from work import Work

        self.work = Work()

    def predict(self, context, model_input, params=None):
        from work import from_bytes, joined

        return self.work.run(joined([from_bytes(body) for body in model_input["image"]]))


def save(folder):
    output = Schema([TensorSpec(np.dtype(np.float32), (-1, MODEL["classes"]), "probabilities")])
    if MODEL["heavy"]:
        signature = ModelSignature(Schema([ColSpec(DataType.binary, "image")]))
        mlflow.pyfunc.save_model(folder, python_model=Pictures(), signature=signature, pip_requirements=[])
        return
    import onnx

    if IMAGE:
        inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, *IMAGE["shape"]), IMAGE["name"])])
    else:
        kinds = {"string": object, "float64": np.float64}
        inputs = Schema([TensorSpec(np.dtype(kinds[one["dtype"]]), (-1,), name) for name, one in INPUTS.items()])
    mlflow.onnx.save_model(
        onnx.load(MODEL["graph"]), folder, signature=ModelSignature(inputs, output), pip_requirements=[],
        onnx_session_options={
            "intra_op_num_threads": THREADS, "inter_op_num_threads": 1, "extra_session_config": SPINNING,
        },
        onnx_execution_providers=["CPUExecutionProvider"],
    )  # fmt: skip


if __name__ == "__main__":
    folder = Path(os.environ["PEER_FOLDER"]) / "model"
    if sys.argv[1:] == ["prepare"]:
        shutil.rmtree(folder, ignore_errors=True)
        save(folder)
    else:
        os.environ["PEER_SOURCE"] = str(Path(__file__).parent)
        os.environ["UVICORN_ACCESS_LOG"] = "false"
        words = ["models", "serve", "-m", str(folder), "--env-manager", "local", "-h", "127.0.0.1"]
        words += ["-p", str(PORT), "--workers", str(PROCESSES)]
        os.execv(Path(sys.executable).with_name("mlflow"), ["mlflow", *words])
