#!/bin/sh
# How fast images are executed, against reading their weights and nothing else, and against what else
# executes models on a CPU: llama.cpp and transformers, with the same weights and threads.
#
#	LSC_BENCH_PYTHON=/path/to/python tests/bench/run exec >lines
#	tests/bench/table <lines
#
#	LSC_BENCH_CASES		MODEL/FORMAT/THREADS: models are smollm2-135m and tinyllama-1.1b, formats bf16
#				and q8 (smollm2-135m in both and with 1 and 2 threads, tinyllama-1.1b with 2)
#	LSC_BENCH_PYTHON	a Python with numpy and gguf, which make the models; with llama_cpp or
#				transformers these are measured too.  None: random images, and no peers
#	LSC_BENCH_MODELS	where the models are kept for the next time (nowhere)
#	LSC_BENCH_ROUNDS	how often ours and the peers take turns (3); the best counts
#	LSC_BENCH_ALONE		a command that runs a round when nobody else measures (none)
#
# Each prompt has 512 tokens, and each request generates 32 after 64 positions, 16 of them at
# different ones.  llama.cpp is called by a program of a page, tests/bench/peers/llama.c, with the
# library that llama_cpp has; with flash attention and without, whichever is faster.  Beside the
# lines that were measured ("run-...") are those of ratios ("exec"), with their targets.
set -u
work=${LSC_SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/lsc-bench.XXXXXX")}
models=${LSC_BENCH_MODELS:-$work/models}
python=${LSC_BENCH_PYTHON:-}
rounds=${LSC_BENCH_ROUNDS:-3}
cases=${LSC_BENCH_CASES:-smollm2-135m/bf16/1 smollm2-135m/bf16/2 smollm2-135m/q8/1 smollm2-135m/q8/2 tinyllama-1.1b/bf16/2}
prompt=512 depth=64 tokens=32 batches='1 16'
export work models python prompt depth tokens batches

say() { echo "exec: $*" >&2; }

build_peer() {
	site=$("$python" -c 'import llama_cpp, os; print(os.path.dirname(os.path.dirname(llama_cpp.__file__)))' 2>/dev/null) || {
		say 'no llama_cpp: llama.cpp is not measured'
		return
	}
	cc -O2 -o "$work/llama" tests/bench/peers/llama.c -I"$site/include" -L"$site/llama_cpp/lib" \
		-Wl,-rpath,"$site/llama_cpp/lib" -lllama -lggml -lggml-base -lm || say 'llama.cpp is not measured'
}

# The image of a model in a format; of random weights where there is no Python to make others.
model() { # model NAME FORMAT
	image=$models/$1/$2.lsc
	gguf=$models/$1/$(echo "$2" | sed 's/^q8$/q8_0/').gguf
	mkdir -p "$models/$1"
	[ -z "$python" ] || [ -f "$gguf" ] || "$python" tests/bench/lib/shape.py "$models/$1" "$1" || return
	[ -d "$image" ] && return
	if [ -n "$python" ]; then
		lsc-shard pack -q --dtype "$2" "$gguf" "$image" 2>"$work/pack.err"
	else
		lsc-shard pack -q --dtype "$2" --dummy "$1" "$image" 2>"$work/pack.err"
	fi
}

cc -O2 -o "$work/first" tests/bench/peers/first.c || exit
if [ -n "$python" ]; then
	build_peer
	"$python" -c 'import torch, transformers' 2>/dev/null || say 'no transformers'
else
	say 'LSC_BENCH_PYTHON is not set: no peers'
fi
: >"$work/raw"
for case in $cases; do
	name=${case%%/*} format=${case#*/} threads=${case##*/}
	format=${format%/*}
	model "$name" "$format" || {
		jq -cn --arg case "$name $format" --arg why "$(cat "$work/pack.err")" '{name: "exec", $case, skipped: $why}'
		continue
	}
	cat "$models/$name/$format".* "$models/$name/$format.lsc"/* >/dev/null 2>&1 # into the page cache
	round=0
	while [ $round -lt "$rounds" ]; do
		# shellcheck disable=SC2086
		${LSC_BENCH_ALONE:-} tests/bench/lib/exec-round.sh "$name" "$format" "$threads" >>"$work/raw" || exit
		round=$((round + 1))
	done
done
cat "$work/raw"
jq -cs -f tests/bench/lib/exec.jq "$work/raw"
