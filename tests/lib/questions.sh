# What lsc-exec says alone, for lib/witness.py to ask a gate.  Sourced behind tap.sh.

# question IMAGE PROMPT TOKENS [SEED]: a line for the greedy answer, or the one that SEED draws
question() {
	question_how= question_keys='"temperature":0'
	if [ -n "${4:-}" ]; then
		question_how="--temp 0.9 --top-p 0.95 --seed $4"
		question_keys="\"temperature\":0.9,\"top_p\":0.95,\"seed\":$4"
	fi
	# shellcheck disable=SC2086
	question_n=$(lsc-exec run "$1" --prompt "$2" -n "$3" --threads 1 $question_how --ids | wc -w)
	# shellcheck disable=SC2086
	lsc-exec run "$1" --prompt "$2" -n "$3" --threads 1 $question_how |
		jq -Rsc --arg prompt "$2" --argjson most "$3" --argjson n "$question_n" \
			"{path: \"/v1/completions\", text: rtrimstr(\"\\n\"), tokens: \$n,
				reason: (if \$n < \$most then \"stop\" else \"length\" end),
				body: {prompt: \$prompt, max_tokens: \$most, $question_keys}}"
}

# questions IMAGE TOKENS: greedy and drawn ones
questions() {
	question "$1" 'Once upon' "$2"
	question "$1" 'Once upon a time there was a' "$2" 7
	question "$1" 'The' "$2" 3
	question "$1" 'In the end' $(($2 / 2))
}
