"""The other floor: Granian's RSGI (its HTTP is Rust), orjson and a session, with nothing between them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import orjson
from granian import Granian
from work import PORT, PROCESSES, Work, from_bytes, from_instances_quickly, rare_collections

JSON = [("content-type", "application/json")]
RAW = [("content-type", "application/octet-stream")]
work = None


async def app(scope, protocol):
    global work
    if work is None:
        work = Work()
        rare_collections()
    body = await protocol()
    path = scope.path
    tensors = from_instances_quickly(orjson.loads(body)["instances"]) if path == "/json" else from_bytes(body)
    found = work.run(tensors)
    if path == "/binary":
        protocol.response_bytes(200, RAW, found.tobytes())
    else:
        reply = orjson.dumps({"predictions": found}, option=orjson.OPT_SERIALIZE_NUMPY)
        protocol.response_bytes(200, JSON, reply)


if __name__ == "__main__":
    Granian(
        "bare_granian:app", port=PORT, interface="rsgi", workers=PROCESSES, loop="uvloop", runtime_threads=1,
        log_enabled=False, working_dir=Path(__file__).parent,
    ).serve()  # fmt: skip
