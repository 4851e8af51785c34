"""sentence-transformers, asked by lines of JSON: {"texts": […], "size": N} → {"seconds": …}, with "vectors" if asked.

python sentence_transformers_.py FOLDER THREADS
"""

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

torch.set_num_threads(int(sys.argv[2]))
MODEL = SentenceTransformer(sys.argv[1], device="cpu")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    started = time.perf_counter()
    found = MODEL.encode(asked["texts"], batch_size=asked["size"])
    told = {"seconds": time.perf_counter() - started}
    if asked.get("vectors"):
        told["vectors"] = found.tolist()
    print(json.dumps(told), flush=True)
