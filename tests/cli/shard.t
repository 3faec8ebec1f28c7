#!/bin/sh
# lsc-shard pack, ls and verify.
. tests/lib/tap.sh

shape="--dummy stories260k"
expect_status 0 "a dummy" lsc-shard pack $shape "$SCRATCH/a"
expect_status 0 "again" lsc-shard pack $shape "$SCRATCH/b"
expect_same "the same manifest" "$SCRATCH/a/manifest" "$SCRATCH/b/manifest"
expect_same "the same image" "$SCRATCH/a/image" "$SCRATCH/b/image"
expect_status 0 "it verifies" lsc-shard verify "$SCRATCH/a"
expect_status 0 "it is listed" lsc-shard ls "$SCRATCH/a"
expect_equal "with its layers" "$(grep -c '5 layers' "$SCRATCH/out")" 1
if command -v jq >/dev/null; then
	expect_equal "as JSON too" "$(lsc-shard ls --json "$SCRATCH/a" |
		jq -r '[.model.layers, .units, (.blocks | length), .tokenizer, .chat, .id] | @tsv')" \
		"5	7	6	true	none	$(sed -n 's/^image //p' "$SCRATCH/out")"
else
	skip "no jq"
fi

printf 'h\303\251, 1\n' >"$SCRATCH/text"
expect_equal "its vocabulary begins with the bytes" \
	"$(lsc-shard tokenize "$SCRATCH/a" <"$SCRATCH/text")" "104 195 169 44 32 49 10"
lsc-shard tokenize "$SCRATCH/a" <"$SCRATCH/text" | lsc-shard detokenize "$SCRATCH/a" >"$SCRATCH/back"
expect_same "which come back" "$SCRATCH/text" "$SCRATCH/back"
expect_equal "and goes on with words" "$(echo 256 511 | lsc-shard detokenize "$SCRATCH/a")" " baba pabi"

expect_status 0 "another seed" lsc-shard pack $shape --seed 1 "$SCRATCH/c"
cmp -s "$SCRATCH/a/image" "$SCRATCH/c/image"
expect_equal "other weights" $? 1
for dtype in bf16 f16 f32 q8; do
	expect_status 0 "$dtype, two blocks" \
		lsc-shard pack $shape --dtype $dtype --blocks 2 "$SCRATCH/$dtype"
	expect_equal "$dtype has two" \
		"$(lsc-shard ls "$SCRATCH/$dtype" | grep -c '^ *[0-9]* *[0-9]*-')" 2
done

expect_status 74 "what exists is left alone" lsc-shard pack $shape "$SCRATCH/a"
expect_one_line "exists already"
expect_status 0 "one with a head and a vocabulary of its own" \
	lsc-shard pack $shape --layers 2 --vocab 300 --untied "$SCRATCH/shaped"
expect_equal "of that shape" "$(lsc-shard ls --json "$SCRATCH/shaped" | jq -c '.model | [.vocab, .tied, .layers]')" '[300,false,2]'
expect_status 0 "which runs" lsc-exec run "$SCRATCH/shaped" --ids --prompt 'Once upon' -n 3
expect_status 64 "a vocabulary without bytes" lsc-shard pack $shape --vocab 255 "$SCRATCH/d"
expect_status 64 "a vocabulary of a real model" lsc-shard pack --vocab 300 "$SCRATCH/a" "$SCRATCH/d"
expect_status 64 "no such shape" lsc-shard pack --dummy llama-9 "$SCRATCH/d"
expect_one_line "llama-3-8b"
expect_status 0 "q8 verifies" lsc-shard verify "$SCRATCH/q8"
expect_equal "and is listed as that" "$(lsc-shard ls "$SCRATCH/q8" | grep -c '^q8, ')" 1
expect_equal "in little more than half the bytes of f16" \
	"$(($(wc -c <"$SCRATCH/q8/image") * 100 / $(wc -c <"$SCRATCH/f16/image") < 60))" 1
expect_status 64 "no such type" lsc-shard pack $shape --dtype q4 "$SCRATCH/d"
expect_one_line "want bf16, f16, f32 or q8"
for wrong in "--blocks 0" "--blocks x" "--piece 5000" "--piece 2K" "--layers 0" "--seed -1" "more"; do
	expect_status 64 "pack $wrong" lsc-shard pack $wrong $shape "$SCRATCH/d"
done
expect_status 64 "--layers is for dummies" lsc-shard pack --layers 2 "$SCRATCH/a" "$SCRATCH/d"
expect_one_line "--layers"
expect_status 0 "pieces of a size" lsc-shard pack $shape --piece 4K "$SCRATCH/pieces"
expect_equal "as asked for" "$(lsc-shard ls "$SCRATCH/pieces" | grep -c 'pieces of 4096')" 1
lsc-shard verify "$SCRATCH/none" 2>"$SCRATCH/err"
expect_equal "an absent image is an error" "$(($? != 0))" 1
expect_one_line "none"
for other in "$SCRATCH" README.md; do
	expect_status 74 "$other is none" lsc-shard verify "$other"
	expect_one_line "'$other' is no image"
done

# One flipped byte, found and named.
printf '\377' | dd of="$SCRATCH/b/image" bs=1 seek=70000 conv=notrunc 2>/dev/null
expect_status 65 "a flipped byte" lsc-shard verify "$SCRATCH/b"
expect_one_line "piece 4"
truncate -s -1 "$SCRATCH/c/image"
expect_status 65 "a short image" lsc-shard verify "$SCRATCH/c"
head -c 200 "$SCRATCH/a/manifest" >"$SCRATCH/f16/manifest"
expect_status 65 "a short manifest" lsc-shard ls "$SCRATCH/f16"

# Of the manifest every byte counts as well.
size=$(wc -c <"$SCRATCH/bf16/manifest")
cp "$SCRATCH/bf16/manifest" "$SCRATCH/manifest"
wrong=0
for at in 0 7 60 200 $((size / 2)) $((size - 40)) $((size - 20)) $((size - 1)); do
	cp "$SCRATCH/manifest" "$SCRATCH/bf16/manifest"
	printf '\251' | dd of="$SCRATCH/bf16/manifest" bs=1 seek="$at" conv=notrunc 2>/dev/null
	lsc-shard verify "$SCRATCH/bf16" 2>"$SCRATCH/err"
	case $?:$(grep -c "bf16': manifest: " "$SCRATCH/err"):$(wc -l <"$SCRATCH/err") in
	65:1:1 | 76:1:1) ;; # 76: what was changed is the version
	*) wrong=$((wrong + 1)) && note <"$SCRATCH/err" ;;
	esac
done
expect_equal "a changed byte in the manifest is found" $wrong 0

# Killed at any moment, it leaves nothing under the name, or all of it; the next one takes over.
middle="--dummy smollm2-135m --layers 5"
wrong=0 killed=0
for moment in 0 1 2 3 4 5 6 7 8 9 10 12; do
	lsc-shard pack $middle "$SCRATCH/killed" 2>/dev/null &
	pid=$!
	sleep "$(printf '0.%02d' $((moment * 3)))"
	kill -KILL $pid 2>/dev/null && killed=$((killed + 1))
	wait $pid 2>/dev/null
	if [ -e "$SCRATCH/killed" ]; then
		lsc-shard verify "$SCRATCH/killed" || wrong=$((wrong + 1))
		rm -rf "$SCRATCH/killed"
	fi
done
expect_equal "killed, it leaves no image or a whole one" $wrong 0
[ -d "$SCRATCH/killed.tmp" ] || mkdir "$SCRATCH/killed.tmp"
echo half >"$SCRATCH/killed.tmp/manifest.tmp1"
expect_status 0 "after $killed kills the next takes over" lsc-shard pack $middle "$SCRATCH/killed"
expect_status 0 "and its image is whole" lsc-shard verify "$SCRATCH/killed"
expect_equal "with nothing beside it" "$(ls "$SCRATCH" | grep -c 'killed')$(ls "$SCRATCH/killed" | tr '\n' ' ')" \
	"1image manifest "
rm -rf "$SCRATCH/killed"

# Asked to stop, it cleans up.
lsc-shard pack --dummy smollm2-1.7b --layers 6 "$SCRATCH/stopped" 2>"$SCRATCH/err" &
pid=$!
while [ ! -s "$SCRATCH/stopped.tmp/image" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -TERM $pid
wait $pid 2>/dev/null
expect_equal "SIGTERM ends it" $? 143
expect_one_line "stopped"
expect_equal "and leaves nothing" "$(ls -d "$SCRATCH"/stopped* 2>/dev/null)" ""

# What cannot be written: one line, and nothing left.
mkdir "$SCRATCH/own.tmp"
: >"$SCRATCH/own.tmp/precious"
expect_status 74 "someone else's directory is left alone" lsc-shard pack $shape "$SCRATCH/own"
expect_one_line "precious"
[ -e "$SCRATCH/own.tmp/precious" ]
ok $? "it is still there"
expect_status 74 "no such place" lsc-shard pack $shape "$SCRATCH/none/x"
expect_one_line "none/x"
expect_status 64 "no name" lsc-shard pack $shape ""
expect_status 74 "a limit on files' size" sh -c "ulimit -f 1000; lsc-shard pack $middle '$SCRATCH/limit'"
expect_one_line "too large"
expect_equal "leaves nothing" "$(ls -d "$SCRATCH"/limit* 2>/dev/null)" ""
mkdir "$SCRATCH/small"
full="mount -t tmpfs -o size=2m none '$SCRATCH/small'"
if unshare -m sh -c "$full" 2>/dev/null; then
	expect_status 74 "a full disk" unshare -m sh -c "$full && cd '$SCRATCH/small' &&
		{ lsc-shard pack $middle x; status=\$?; echo * >'$SCRATCH/left'; exit \$status; }"
	expect_one_line "No space left"
	expect_equal "leaves nothing" "$(cat "$SCRATCH/left")" "*"
	expect_status 74 "a disk that cannot be written" unshare -m sh -c "$full &&
		mount -o remount,ro none '$SCRATCH/small' && lsc-shard pack $shape '$SCRATCH/small/x'"
	expect_one_line "Read-only"
else
	skip "mounting is not allowed here"
fi

# The same bytes wherever and from wherever it is packed.
mkdir "$SCRATCH/elsewhere"
(cd "$SCRATCH/elsewhere" && lsc-shard pack $shape ./relative/ 2>/dev/null)
expect_same "the same manifest elsewhere" "$SCRATCH/a/manifest" "$SCRATCH/elsewhere/relative/manifest"

# 270 MB of weights through far less memory than that.
case $LSC_BUILD in
*address* | *thread*) skip "a sanitizer takes more memory than the limit" ;;
*)
	expect_status 0 "memory is bounded" \
		sh -c "ulimit -v 100000; lsc-shard pack --dummy smollm2-135m '$SCRATCH/big'"
	rm -rf "$SCRATCH/big"
	expect_status 0 "that of q8 too" \
		sh -c "ulimit -v 100000; lsc-shard pack --dtype q8 --dummy smollm2-135m '$SCRATCH/big'"
	rm -rf "$SCRATCH/big"
	;;
esac

# Experts are units, in blocks of their own where there are enough of those.
if command -v python3 >/dev/null && command -v jq >/dev/null; then
	units() { lsc-shard ls --json "$SCRATCH/$1" | jq -c '[.units, (.blocks | map(.units))]'; }
	python3 tests/lib/toy_model.py "$SCRATCH/mixtral" mixtral
	for blocks in 4 17; do
		lsc-shard pack --blocks $blocks "$SCRATCH/mixtral" "$SCRATCH/mixtral.$blocks" 2>/dev/null
		expect_status 0 "a Mixtral in $blocks blocks" lsc-shard verify "$SCRATCH/mixtral.$blocks"
	done
	expect_equal "whole layers" "$(units mixtral.4)" "[14,[5,4,4,1]]"
	expect_equal "or an expert each" "$(units mixtral.17)" "[14,[1,1,1,1,1,1,1,1,1,1,1,1,1,1]]"
	expect_status 0 "its experts" lsc-shard ls "$SCRATCH/mixtral.4"
	expect_equal "are listed" "$(grep -c '3 experts (2 used) of ffn 48' "$SCRATCH/out")" 1
	expect_equal "as JSON too" "$(lsc-shard ls --json "$SCRATCH/mixtral" |
		jq -c '[.model.arch, .model.experts, .model.experts_used, .model.expert_ffn, .model.norm_topk]')" \
		'["mixtral",3,2,48,true]'
	refuse() { # refuse WORD JSON: merged into the configuration
		jq -c ". + $2" "$SCRATCH/mixtral/config.json" >"$SCRATCH/config"
		cp "$SCRATCH/config" "$SCRATCH/refused/config.json"
		expect_status 69 "$2" lsc-shard pack "$SCRATCH/refused" "$SCRATCH/d"
		expect_one_line "$1"
	}
	cp -r "$SCRATCH/mixtral" "$SCRATCH/refused"
	refuse mlp_only_layers '{"mlp_only_layers":[0]}'
	refuse decoder_sparse_step '{"decoder_sparse_step":2}'
	refuse "mixture of experts" '{"model_type":"llama"}'
else
	skip "no python3 or no jq"
fi

# Files of our own that are no model: one line and 65 each, whatever their bytes say.
refused() { # refused NAME WORDS BYTES, as printf has them
	printf "$3" >"$SCRATCH/$1"
	expect_status 65 "$1" lsc-shard ls "$SCRATCH/$1"
	expect_one_line "$2"
}
ones='\377\377\377\377\377\377\377\77' none='\0\0\0\0\0\0\0\0'
refused empty.safetensors "too few" ''
refused long.safetensors "past the end" '\377\0\0\0\0\0\0\0{}'
refused list.safetensors "no JSON object" '\2\0\0\0\0\0\0\0[]'
refused cut.safetensors "no sound JSON" '\3\0\0\0\0\0\0\0{"}'
refused name.safetensors "a??[2Jb" '\026\0\0\0\0\0\0\0{"a\\n\\u001b[2Jb":{}}  '
refused version.gguf "version 9" 'GGUF\11\0\0\0'
refused big.gguf "big-endian" 'GGUF\0\0\0\3'
refused short.gguf "ends inside" 'GGUF\3\0\0\0\1'
refused many.gguf "more than the file can hold" "GGUF\3\0\0\0$ones$none"
refused key.gguf "goes past the end" "GGUF\3\0\0\0$none\1\0\0\0\0\0\0\0${ones}abcdefgh"

# What a config.json asks for and we do not have, or what makes no sense: named, and nothing written.
cat >"$SCRATCH/change" <<'EOF'
import json, os, sys
source, to, changes = sys.argv[1:4]
os.makedirs(to, exist_ok=True)
if not os.path.exists(to + "/model.safetensors"):
    os.link(source + "/model.safetensors", to + "/model.safetensors")
with open(source + "/config.json") as f:
    config = json.load(f)
config.update(json.loads("{%s}" % changes))
with open(to + "/config.json", "w") as f:
    json.dump(config, f)
EOF
changed() { # changed JSON: the toy model, as $SCRATCH/changed
	python3 "$SCRATCH/change" "$SCRATCH/toy" "$SCRATCH/changed" "$1"
}
python3 tests/lib/toy_model.py "$SCRATCH/toy" linear
rm -rf "$SCRATCH"/refused*
while IFS='|' read -r status words changes; do
	changed "$changes"
	lsc-shard pack "$SCRATCH/changed" "$SCRATCH/refused" >"$SCRATCH/out" 2>"$SCRATCH/err"
	got=$?
	if [ "$got $(wc -l <"$SCRATCH/err") $(grep -cF "$words" "$SCRATCH/err")" = "$status 1 1" ] &&
		[ -z "$(ls -d "$SCRATCH"/refused* 2>/dev/null)" ]; then
		ok 0 "$status: $changes"
	else
		ok 1 "$status: $changes"
		note <"$SCRATCH/err"
		rm -rf "$SCRATCH"/refused*
	fi
done <<'EOF'
69|'PhiForCausalLM' is not supported|"architectures": ["PhiForCausalLM"]
69|'gemma2' is not supported|"model_type": "gemma2"
65|names no architecture|"model_type": null
69|activation 'gelu'|"hidden_act": "gelu"
65|'hidden_act'|"hidden_act": 7
69|attention_bias|"attention_bias": true
69|mlp_bias|"mlp_bias": true
69|mlp_bias|"mlp_bias": 1
69|quantization_config|"quantization_config": {"quant_method": "gptq"}
69|RoPE scaling 'dynamic'|"rope_scaling": {"type": "dynamic", "factor": 2.0}
69|RoPE scaling 'longrope'|"rope_scaling": {"rope_type": "longrope", "factor": 2.0}
65|RoPE scaling is no string|"rope_scaling": {"rope_type": 3}
65|'rope_scaling' is no object|"rope_scaling": "yarn"
65|RoPE factor 0|"rope_scaling": {"type": "linear"}
65|RoPE factor -1|"rope_scaling": {"type": "linear", "factor": -1}
65|frequency factors 0|"rope_scaling": {"type": "llama3", "factor": 8}
65|RoPE ramp|"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 0.5, "beta_slow": 64}
65|RoPE attention factor|"rope_scaling": {"type": "yarn", "factor": 4, "attention_factor": -1}
65|RoPE base|"rope_theta": 0
69|partial_rotary_factor|"partial_rotary_factor": 0.5
69|'full_attention' alone|"rope_scaling": null, "rope_parameters": {"full_attention": {"rope_theta": 1}}
69|layer_types|"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 9, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]
69|layer_types|"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 9, "layer_types": ["full_attention", "full_attention", "chunked_attention"]
65|type for each layer|"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 9, "layer_types": []
65|'use_sliding_window'|"model_type": "qwen2", "use_sliding_window": "yes"
65|'sliding_window' is 0|"model_type": "mistral", "sliding_window": 0
65|'sliding_window'|"model_type": "mistral", "sliding_window": "all"
65|'tie_word_embeddings'|"tie_word_embeddings": "no"
65|head dimension|"head_dim": 7
65|is missing|"model_type": "qwen3", "head_dim": 8
65|is not 32 x 32|"head_dim": 8, "num_key_value_heads": null
65|'hidden_size'|"hidden_size": null
EOF

# What is supported, and what is no option of the family, is taken as transformers takes it.
while IFS='|' read -r words changes; do
	changed "$changes"
	lsc-shard ls "$SCRATCH/changed" >"$SCRATCH/out" 2>"$SCRATCH/err"
	expect_equal "$changes" "$(sed -n '1s/.*context 256//p' "$SCRATCH/out")" "$words"
done <<'EOF'
|"hidden_act": "silu", "attention_bias": false, "mlp_bias": null, "quantization_config": null
|"sliding_window": 9
, window 9|"model_type": "mistral", "sliding_window": 9
|"model_type": "mistral", "sliding_window": 256
|"model_type": "mistral", "sliding_window": null
|"model_type": "mistral"
EOF
changed '"model_type": "mistral", "max_position_embeddings": 5000'
expect_equal "a window of 4096 where Mistral names none" \
	"$(lsc-shard ls "$SCRATCH/changed" | sed -n '1s/.*context //p')" "5000, window 4096"
changed '"model_type": "mistral", "max_position_embeddings": 5000, "sliding_window": null'
expect_equal "none, where it says null" \
	"$(lsc-shard ls "$SCRATCH/changed" | sed -n '1s/.*context //p')" "5000"
rm -r "$SCRATCH/toy" "$SCRATCH/changed"
python3 tests/lib/toy_model.py "$SCRATCH/toy" qwen2
while IFS='|' read -r words changes; do
	changed "$changes"
	lsc-shard ls "$SCRATCH/changed" >"$SCRATCH/out" 2>"$SCRATCH/err"
	expect_equal "qwen2, $changes" "$(sed -n '1s/.*context 256\(.*\), tied.*/\1/p' "$SCRATCH/out")" "$words"
done <<'EOF'
|"sliding_window": 9
|"use_sliding_window": false, "sliding_window": 9, "layer_types": ["full_attention", "sliding_attention", "full_attention"]
, window 9 from layer 1 on|"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 1
, window 9|"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 0
|"use_sliding_window": true, "sliding_window": 9
, window 9 from layer 2 on|"use_sliding_window": true, "sliding_window": 9, "layer_types": ["full_attention", "full_attention", "sliding_attention"]
EOF

if [ -e "$DATA/malformed/EXPECTED.tsv" ]; then
	wrong=0
	while IFS='	' read -r file verdict why; do
		case $verdict in
		accept) want=0 ;;
		reject) want=65 ;;
		*) continue ;;
		esac
		lsc-shard ls "$DATA/malformed/$file" >"$SCRATCH/out" 2>"$SCRATCH/err"
		got=$?
		lines=$(wc -l <"$SCRATCH/err")
		if [ $got -ne $want ] || [ "$lines" -ne $((want != 0)) ]; then
			wrong=$((wrong + 1))
			echo "$file: status $got, $lines lines" | note
		fi
	done <"$DATA/malformed/EXPECTED.tsv"
	expect_equal "malformed files get one line and 65" $wrong 0
else
	skip "no test data malformed/EXPECTED.tsv"
fi
if [ -e "$DATA/models/stories260K-bf16" ]; then
	lsc-shard pack "$DATA/models/stories260K-bf16" "$SCRATCH/one"
	cp -r "$DATA/models/stories260K-bf16" "$SCRATCH/copy" && chmod -R u+w "$SCRATCH/copy"
	(cd "$SCRATCH/copy" && lsc-shard pack . ../copied)
	rm "$SCRATCH/copy/tokenizer.json"
	expect_status 0 "a model without a tokenizer" lsc-shard pack "$SCRATCH/copy" "$SCRATCH/mute"
	expect_one_line "no tokenizer.json"
	expect_status 69 "and its image" lsc-shard tokenize "$SCRATCH/mute"
	expect_one_line "no tokenizer"
	expect_same "a copy makes the same manifest" "$SCRATCH/one/manifest" "$SCRATCH/copied/manifest"
	lsc-shard pack "$DATA/models/stories260K-bf16-3shards" "$SCRATCH/three"
	expect_same "shards make the same image" "$SCRATCH/one/image" "$SCRATCH/three/image"
else
	skip "no test data models/stories260K-bf16"
fi
done_testing
