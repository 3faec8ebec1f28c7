#!/bin/sh
# One round of tests/bench/exec.sh: exec-round.sh MODEL FORMAT THREADS
#
# Each measure is taken of ours and of each peer, one right after another: how fast memory is changes
# from minute to minute where others share it.  Prints the programs' own lines with "who", "model" and
# "format".  The environment: $models, $work (with the programs llama and first, where they could be built), $python,
# $prompt, $depth, $tokens, $batches.
: "${models:?}" "${work:?}" "${prompt:?}" "${depth:?}" "${tokens:?}" "${batches:?}"
model=$1 format=$2 threads=$3
dir=$models/$model
image=$dir/$format.lsc
gguf=$dir/$(echo "$format" | sed 's/^q8$/q8_0/').gguf
text='the other day there was'

as() { # as WHO: lines from standard input
	jq -c --arg who "$1" --arg model "$model" --arg format "$format" \
		'. + {name: ("run-" + (.name | ltrimstr("exec-"))), $who, $model, $format}'
}

both() { # both PROMPT TOKENS BATCH: a prompt or generation, by ours and by llama.cpp
	lsc-exec bench "$image" --json --runs 1 --threads "$threads" --prompt-tokens "$1" --depth "$depth" \
		-n "$2" --batch "$3" | as lsc
	for flash in 0 1; do
		[ ! -x "$work/llama" ] ||
			"$work/llama" bench "$gguf" "$threads" $flash "$1" "$depth" "$2" 1 "$3" | as llama.cpp
	done
}

speed() {
	both "$prompt" 0 1
	for batch in $batches; do both 0 "$tokens" "$batch"; done
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

start() { # a random image has no tokenizer to take a prompt with
	[ -n "$python" ] || return 0
	for _ in 1 2 3 4 5; do
		first lsc 0 lsc-exec run "$image" --threads "$threads" --ids -n 2 --prompt "$text"
		for flash in 0 1; do
			[ ! -x "$work/llama" ] || first llama.cpp $flash "$work/llama" run "$gguf" "$threads" $flash 2 "$text"
		done
	done
}

speed
start
