#!/bin/sh
# One round of tests/bench/exec.sh: ours and each peer once, one after another, so that they find the
# machine alike: exec-round.sh KIND MODEL FORMAT THREADS
#
# Prints the programs' own lines with "who", "model" and "format"; KIND is speed or start.  The
# environment: $models, $work (with the programs llama and first, where they could be built), $python,
# $prompt, $depth, $tokens, $batches.
: "${models:?}" "${work:?}" "${prompt:?}" "${depth:?}" "${tokens:?}" "${batches:?}"
kind=$1 model=$2 format=$3 threads=$4
dir=$models/$model
image=$dir/$format.lsc
gguf=$dir/$(echo "$format" | sed 's/^q8$/q8_0/').gguf
text='the other day there was'

as() { # as WHO: lines from standard input
	jq -c --arg who "$1" --arg model "$model" --arg format "$format" \
		'. + {name: ("run-" + (.name | ltrimstr("exec-"))), $who, $model, $format}'
}

speed() {
	lsc-exec bench "$image" --json --runs 1 --threads "$threads" --prompt-tokens "$prompt" \
		--depth "$depth" -n "$tokens" --batch "$(echo "$batches" | tr ' ' ,)" | as lsc
	for flash in 0 1; do
		[ -x "$work/llama" ] || break
		# shellcheck disable=SC2086
		"$work/llama" bench "$gguf" "$threads" $flash "$prompt" "$depth" "$tokens" 1 $batches | as llama.cpp
	done
	# Its bf16 is slower than its f32 here.
	if [ -n "$python" ] && [ "$format" = bf16 ] && [ "$model" = smollm2-135m ]; then
		"$python" tests/bench/peers/hf.py "$dir/hf" float32 "$threads" "$prompt" "$depth" 8 1 2>/dev/null | as transformers
	fi
}

first() { # first WHO FLASH COMMAND...
	who=$1 flash=$2
	shift 2
	"$work/first" "$@" 2>/dev/null | while read -r ms kb; do
		printf '{"name":"exec-start","threads":%d,"flash":%d,"ms":%s,"anonymous_kb":%s}\n' \
			"$threads" "$flash" "$ms" "$kb"
	done | as "$who"
}

start() {
	for _ in 1 2 3 4 5; do
		first lsc 0 lsc-exec run "$image" --threads "$threads" --ids -n 2 --prompt "$text"
		for flash in 0 1; do
			[ ! -x "$work/llama" ] || first llama.cpp $flash "$work/llama" run "$gguf" "$threads" $flash 2 "$text"
		done
	done
}

"$kind"
