#!/bin/sh
# How soon the turns of a chat begin to be answered, without and with what rests of the turn before
# (lsc-pipe --keep): a first prompt of 3,300 tokens, then what was answered and 60 more each time.
#
#	tests/bench/run chat
#
# One worker with two threads, on random weights of SmolLM2-135M's shape.
set -eu
. tests/lib/arrivals.sh
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-bench.XXXXXX")}
mkdir -p "$work/images"
lsc-shard pack -q --dummy smollm2-135m "$work/images/model"
mkfifo "$work/ready"
lsc-exec serve --dir "$work/images" --listen 127.0.0.1:0 --threads 2 --ready-fd 3 3>"$work/ready" &
worker=$!
trap 'kill $worker' EXIT
read -r address <"$work/ready"
arrivals "$work/images/model" "$address" all >"$work/arrivals"
for keep in 0 32; do
	python3 - lsc-pipe "$work/images/model" --arrivals "$work/arrivals" --keep $keep <<'END'
import json, subprocess, sys, time
pipe = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
ids = [3 + i * i % 40000 for i in range(3300)]
for turn in range(4):
    request = {"id": turn, "prompt": ids, "max_tokens": 32, "temperature": 0, "stop_token_ids": []}
    began, first, answer = time.time(), None, []
    pipe.stdin.write(json.dumps(request) + "\n")
    pipe.stdin.flush()
    for line in pipe.stdout:
        record = json.loads(line)
        if record["type"] == "token":
            first = first or time.time() - began
            answer.append(record["token"])
        elif record["type"] in ("done", "fail"):
            break
    print(json.dumps({"name": "chat", "keep": int(sys.argv[-1]), "turn": turn, "prompt_tokens": len(ids),
                      "cached_tokens": record.get("cached_tokens", 0), "first_token_s": round(first, 3)}),
          flush=True)
    ids += answer + [7 + turn * 61 + i for i in range(60)]
pipe.stdin.close()
pipe.wait()
END
done
