#!/usr/bin/env python3
"""hf.py DIR DTYPE THREADS PROMPT DEPTH TOKENS RUNS: transformers on the CPU, doing what lsc-exec bench
does, and saying it in the same lines.  DTYPE is float32 or bfloat16."""
import json
import statistics
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, dtype = sys.argv[1:3]
threads, prompt, depth, tokens, runs = map(int, sys.argv[3:8])
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
vocab = model.config.vocab_size


def ids(start, n):
    return torch.tensor([[(i * 2654435761 + 12345) % vocab for i in range(start, start + n)]])


def read(n):
    return model(ids(0, n), use_cache=True, logits_to_keep=1).past_key_values


def put(what, n, at, rates):
    print(json.dumps({"name": "exec-" + what, "threads": threads, "batch": 1, "tokens": n, "depth": at,
                      "runs": runs, "tokens_s": statistics.mean(rates),
                      "deviation_tokens_s": statistics.stdev(rates) if runs > 1 else 0}))


with torch.inference_mode():
    rates = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        read(prompt)
        rates.append(prompt / (time.perf_counter() - start))
    put("prompt", prompt, 0, rates[1:])
    rates = []
    for _ in range(runs + 1):
        cache = read(depth)
        start = time.perf_counter()
        for i in range(tokens):
            cache = model(ids(depth + i, 1), past_key_values=cache, use_cache=True).past_key_values
        rates.append(tokens / (time.perf_counter() - start))
    put("generate", tokens, depth, rates[1:])
