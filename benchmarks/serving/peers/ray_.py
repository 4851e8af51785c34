"""Ray Serve: a replica a core, batches of up to 16 by `serve.batch`, its switch for throughput on."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# The documented switch for throughput, without the ingress that needs an HAProxy before it.
os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
os.environ["RAY_SERVE_ENABLE_DIRECT_INGRESS"] = "0"

import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response
from work import PORT, PROCESSES, Work, from_bytes, from_instances, joined


@serve.deployment(
    num_replicas=PROCESSES, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.5}, logging_config={
        "enable_access_log": False, "log_level": "WARNING",
    },
)  # fmt: skip
class Model:
    def __init__(self):
        self.work = Work()

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.001)
    async def run(self, requests):
        return list(self.work.run(joined(requests)))

    async def __call__(self, request: Request) -> Response:
        body, path = await request.body(), request.url.path
        tensors = from_instances(orjson.loads(body)["instances"]) if path == "/json" else from_bytes(body)
        found = await self.run(tensors)
        if path == "/binary":
            return Response(found.tobytes(), media_type="application/octet-stream")
        reply = orjson.dumps({"predictions": [found]}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(reply, media_type="application/json")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Model.bind(), route_prefix="/")
    while True:
        time.sleep(3600)
