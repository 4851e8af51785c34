"""Hugging Face's `generate` in a process of its own: a line of JSON in, a line of JSON out.

    python transformers_.py FOLDER THREADS

In: `{"prompts": [[token …] …], "tokens": n, "cache": true}`. Out: `{"tokens": [[…] …], "seconds": s}`.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import GPT2LMHeadModel

torch.set_num_threads(int(sys.argv[2]))
model = GPT2LMHeadModel.from_pretrained(sys.argv[1]).eval()
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    prompts = torch.tensor(asked["prompts"])
    started = time.perf_counter()
    with torch.inference_mode():
        found = model.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=asked["tokens"], do_sample=False,
            use_cache=asked["cache"], pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
    seconds = time.perf_counter() - started
    print(json.dumps({"tokens": found[:, prompts.shape[1] :].tolist(), "seconds": seconds}), flush=True)
