#!/bin/sh
# lsc-shard tokenize and detokenize: the published vectors of each vocabulary, both ways.
. tests/lib/tap.sh
requires_data vectors models

# Splits FILE.inp at its separator lines into $SCRATCH/text/N, without the line end before them.
split_texts() {
	rm -rf "$SCRATCH/text"
	mkdir "$SCRATCH/text"
	awk -v dir="$SCRATCH/text" '
		function out(text) { printf "%s", text >(dir "/" n); close(dir "/" n); n++ }
		BEGIN { n = 0; lines = 0 }
		$0 == "__ggml_vocab_test__" { out(text); text = ""; lines = 0; next }
		{ text = lines++ ? text "\n" $0 : $0 }
		END { out(text) }' "$1"
}

vectors() { # vectors NAME SOURCE
	split_texts "$DATA/vectors/ggml-vocab-$1.gguf.inp"
	wrong=0 undone=0 n=0
	while [ -f "$SCRATCH/text/$n" ]; do
		text=$SCRATCH/text/$n
		n=$((n + 1))
		want=$(sed -n "${n}p" "$DATA/vectors/ggml-vocab-$1.gguf.out" | tr -s ' ' | sed 's/^ //; s/ $//')
		got=$(lsc-shard tokenize "$2" <"$text")
		if [ "$got" != "$want" ]; then
			wrong=$((wrong + 1))
			echo "text $n: got '$got', want '$want'" | note
		fi
		echo "$want" | lsc-shard detokenize "$2" | cmp -s - "$text" || undone=$((undone + 1))
	done
	expect_equal "$1: $n texts give their ids and come back" "$n $wrong $undone" "47 0 0"
}

# The large vocabularies take a while to compile: tests/unit/tokenizer.c does that once for each.
vectors gpt-2 "$DATA/vectors/ggml-vocab-gpt-2.gguf"

# The SentencePiece tokenizer of a model, from its directory and from the image, with a BOS.
lsc-shard pack "$DATA/models/stories260K-bf16" "$SCRATCH/image"
for source in "$DATA/models/stories260K-bf16" "$SCRATCH/image"; do
	expect_equal "ids with a BOS, ${source##*/}" \
		"$(printf 'Once upon a time' | lsc-shard tokenize --bos "$source" | cut -d' ' -f1)" 1
	expect_equal "text comes back, ${source##*/}" \
		"$(printf 'Once upon é 🙂' | lsc-shard tokenize "$source" |
			lsc-shard detokenize "$source")" 'Once upon é 🙂'
done

expect_status 65 "an id outside the vocabulary" \
	sh -c "echo 512 | lsc-shard detokenize '$SCRATCH/image'"
expect_one_line 512
expect_status 65 "no number" sh -c "echo 1 x | lsc-shard detokenize '$SCRATCH/image'"
expect_one_line "no token id"
done_testing
