#!/bin/sh
# How soon a worker that was killed and started again answers, on an image that its node's tier has
# in memory.
#
#	tests/bench/run tier
#
# One worker with two threads, on random weights of SmolLM2-135M's shape.  A line a round: seconds
# from the worker's exec until it is ready (start), from there to the first token of its first
# request (first), the same of later requests (warm, the median), the ratio of start + first to
# start + warm, and what the worker read meanwhile, which is no weights.
set -eu
. tests/lib/arrivals.sh
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-bench.XXXXXX")}
mkdir -p "$work/images"
lsc-shard pack -q --dummy smollm2-135m "$work/images/model"
tier=unix:$work/tier.sock
mkfifo "$work/ready"
# shellcheck disable=SC2086
lsc-tier serve ${LSC_BENCH_OPTIONS:-} --dir "$work/images" --tier "$tier" --ready-fd 3 3>"$work/ready" &
daemon=$!
trap 'kill $daemon' EXIT
read -r _ <"$work/ready"
lsc-tier load --tier "$tier" model
python3 - "$tier" "$work/images/model" "$work" <<'END'
import json, os, signal, statistics, subprocess, sys, time
tier, image, work = sys.argv[1:]
address = "127.0.0.1:17311"
ids = [3 + i * i % 40000 for i in range(24)]
def read_bytes(pid):
    return int([l for l in open(f"/proc/{pid}/io") if l.startswith("rchar")][0].split()[1])
def ask(pipe, number):
    request = {"id": number, "prompt": ids, "max_tokens": 8, "temperature": 0, "stop_token_ids": []}
    began, first = time.time(), None
    pipe.stdin.write(json.dumps(request) + "\n")
    pipe.stdin.flush()
    for line in pipe.stdout:
        record = json.loads(line)
        if record["type"] == "token":
            first = first or time.time() - began
        elif record["type"] in ("done", "fail"):
            return first
for round_ in range(7):
    ready, said = os.pipe()
    began = time.time()
    worker = subprocess.Popen(["lsc-exec", "serve", "--dir", tier, "--listen", address, "--threads", "2",
                               "--ready-fd", str(said)], pass_fds=[said])
    os.close(said)
    os.read(ready, 100)
    start = time.time() - began
    os.close(ready)
    if round_ == 0:
        shell = f". tests/lib/arrivals.sh; arrivals {image} {address} all >{work}/arrivals"
        subprocess.run(["sh", "-c", shell], check=True)
    pipe = subprocess.Popen(["lsc-pipe", image, "--arrivals", f"{work}/arrivals", "--keep", "0"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    first = ask(pipe, 0)
    warm = statistics.median(ask(pipe, n) for n in range(1, 12))
    read = read_bytes(worker.pid)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    pipe.stdin.close()
    pipe.wait()
    print(json.dumps({"name": "tier-resident", "round": round_, "start_s": round(start, 4), "first_s": round(first, 4),
                      "warm_s": round(warm, 4), "ratio": round((start + first) / (start + warm), 3),
                      "read_bytes": read}), flush=True)
END
