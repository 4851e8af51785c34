"""How many gRPC calls a second a server answers: Python clients in processes of their own, each with calls under way.

    python -m benchmarks.serving.grpc_load --port 8001 --request FILE --processes 2 --calls 16 --seconds 5

A Python client costs about as much as the server does, on the same processors: the figure is a lower bound.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def _client(port: int, request: bytes, calls: int, begin: float, seconds: float, results: Any) -> None:
    import grpc

    latencies: list[float] = []
    faults: list[str] = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        # Bytes in, bytes out: the client spends nothing on messages.
        infer = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        infer(request, timeout=30)
        time.sleep(max(0.0, begin - time.time()))
        until = time.perf_counter() + seconds

        def loop() -> None:
            while (started := time.perf_counter()) < until:
                try:
                    infer(request, timeout=30)
                except grpc.RpcError as error:
                    faults.append(str(error.code()))
                    continue
                latencies.append(time.perf_counter() - started)

        threads = [threading.Thread(target=loop) for _ in range(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    results.put((latencies, faults))


def grpc_load(port: int, request: bytes, *, processes: int, calls: int, seconds: float) -> dict[str, float]:
    """Send the same request over and over; return calls a second, p50 and p99 in ms, and failed calls."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    begin = time.time() + 2.0
    clients = [
        context.Process(target=_client, args=(port, request, calls, begin, seconds, results)) for _ in range(processes)
    ]
    for client in clients:
        client.start()
    found = [results.get(timeout=seconds + 60) for _ in clients]
    for client in clients:
        client.join()
    latencies = sorted(value for one, _ in found for value in one)
    if not latencies:
        raise RuntimeError(f"no call was answered: {found[0][1][:1]}")
    return {
        "rate": len(latencies) / seconds, "p50": 1e3 * latencies[len(latencies) // 2],
        "p99": 1e3 * latencies[int(0.99 * (len(latencies) - 1))], "bad": sum(len(faults) for _, faults in found),
    }  # fmt: skip


def main() -> None:
    """Measure once and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--request", type=Path, required=True, help="a ModelInferRequest as bytes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--calls", type=int, default=8, help="calls under way in each process")
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    found = grpc_load(
        given.port, given.request.read_bytes(), processes=given.processes, calls=given.calls, seconds=given.seconds
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
