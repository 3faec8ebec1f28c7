#!/bin/sh
# lsc-shard tokenize and detokenize: the published vectors of each vocabulary, both ways.
. tests/lib/tap.sh

# A vocabulary of our own: bytes a and b, a space, and a merge.
cat >"$SCRATCH/tokenizer.json" <<'EOF'
{"added_tokens":[{"id":4,"content":"<e>","special":true}],
 "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},
 "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"\u0120":3,"\u00c3":5,"\u00a9":6},
 "merges":["a b"]}}
EOF
small=$SCRATCH/tokenizer.json
expect_equal "text to ids" "$(printf 'abba a' | lsc-shard tokenize "$small")" "2 1 0 3 0"
expect_equal "no text, no ids" "$(printf '' | lsc-shard tokenize "$small")" ""
expect_equal "ids to text" "$(echo 2 1 5 6 | lsc-shard detokenize "$small")" "abbé"
expect_equal "special tokens are text unless asked for" \
	"$(printf 'a<e>' | lsc-shard tokenize "$small") $(printf 'a<e>' | lsc-shard tokenize --special "$small")" \
	"0 0 4"
expect_equal "and are not printed unless asked for" \
	"$(echo 0 4 | lsc-shard detokenize "$small") $(echo 0 4 | lsc-shard detokenize --special "$small")" \
	"a a<e>"
printf 'ab\nab' >"$SCRATCH/lines"
expect_equal "what others read of standard input is gone" \
	"$({ read -r line; lsc-shard tokenize "$small"; } <"$SCRATCH/lines")" 2
expect_status 65 "an id outside the vocabulary" sh -c "echo 7 | lsc-shard detokenize '$small'"
expect_one_line "token 7"
expect_status 65 "no id" sh -c "echo 1,2 | lsc-shard detokenize '$small'"
expect_one_line "byte 1"
echo '{}' >"$SCRATCH/empty.json"
expect_status 65 "no vocabulary" lsc-shard tokenize "$SCRATCH/empty.json" </dev/null
expect_one_line "vocabulary"
expect_status 74 "no file" lsc-shard tokenize "$SCRATCH/none" </dev/null
expect_one_line "none"
expect_status 64 "no source" lsc-shard tokenize </dev/null

if [ ! -e "$DATA/vectors" ] || [ ! -e "$DATA/models" ]; then
	skip "no test data vectors, models"
	done_testing
fi

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
