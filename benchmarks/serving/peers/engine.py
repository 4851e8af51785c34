"""The engine alone: what Bedplate chose for a bundle, driven in a loop with the same threads and no server."""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from bedplate.bundle import Bundle
from bedplate.core.arrays import take
from bedplate.core.machine import threads_granted
from bedplate.serving.engines import choose_engine


def rate(run, inputs, rows, runners, seconds):
    """Return the rows a second of so many threads that each run batches of `rows`."""
    batch = take(inputs, np.zeros(rows, int))
    done = [0] * runners
    until = time.perf_counter() + seconds

    def loop(number):
        while time.perf_counter() < until:
            run(batch)
            done[number] += rows

    threads = [threading.Thread(target=loop, args=(k,)) for k in range(runners)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - begun)


if __name__ == "__main__":
    bundle = Bundle.open(Path(sys.argv[1]), replay=False)
    chosen = choose_engine(bundle, threads=threads_granted(), wanted=sys.argv[2])
    sizes = sorted({1, chosen.plan.most_rows})
    for size in sizes:
        rate(chosen.run, bundle.golden.inputs, size, chosen.plan.runners, 0.5)
    found = {
        size: rate(chosen.run, bundle.golden.inputs, size, chosen.plan.runners, float(sys.argv[3])) for size in sizes
    }
    print(json.dumps({"words": chosen.words, "rows_per_second": max(found.values()), "by_batch": found}))
