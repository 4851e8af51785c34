"""LitServe: batches of up to 16, one worker a core, ZeroMQ instead of the queue (`fast_queue`), two API servers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import litserve
from work import PORT, PROCESSES, Work, from_base64, from_instances, joined


class Api(litserve.LitAPI):
    def setup(self, device):
        self.work = Work()

    def decode_request(self, request):
        return from_instances(request["instances"]) if "instances" in request else from_base64(request["image"])

    def batch(self, inputs):
        return joined(inputs)

    def predict(self, tensors):
        return self.work.run(tensors)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"predictions": [output.tolist()]}


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=PROCESSES, fast_queue=True)
    server.run(
        host="127.0.0.1", port=PORT, num_api_servers=2, generate_client_file=False, log_level="warning",
        access_log=False,
    )  # fmt: skip
