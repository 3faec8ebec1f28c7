#!/bin/sh
# Models with random weights compute what the transformers library has them compute.
#
# An answer of 64 greedy tokens is the same, token for token, and so are the logits of all positions
# of prompt and answer: in f32, of every position, no logit is off by more than 1e-4 of the largest.
# Images of f16, bf16 and q8 have other weights.  The library gets the same, rounded in Python, and
# the logits of the prompt are held against these as strictly.  How far rounding takes them from
# f32, of weights and of activations on the way, is bounded too: the root of the mean square of a
# position's differences, by that of its logits.
#
# LSC_TEST_PYTHON names a Python that has the library (with torch); few machines do.
. tests/lib/tap.sh
python=${LSC_TEST_PYTHON:-python3}
"$python" -c 'import torch, transformers' 2>/dev/null ||
	skip_all "no transformers library for $python" transformers
N=64

cat >"$SCRATCH/make.py" <<'EOF'
"""make.py DIR N PROMPT: models, each with its answer and its logits; prints their names."""
import json, os, sys, torch, transformers as t

root, n, prompt = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
t.logging.set_verbosity_error()
llama3 = dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=64)
yarn = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=64)
odd_yarn = dict(rope_type="yarn", rope_theta=1e6, factor=3.0, beta_fast=20.0, beta_slow=0.5,
                mscale=1.0, mscale_all_dim=0.6, truncate=False,
                original_max_position_embeddings=40)
linear = dict(rope_type="linear", rope_theta=1e4, factor=4.0)
Llama, Mistral = (t.LlamaConfig, t.LlamaForCausalLM), (t.MistralConfig, t.MistralForCausalLM)
Qwen2, Qwen3 = (t.Qwen2Config, t.Qwen2ForCausalLM), (t.Qwen3Config, t.Qwen3ForCausalLM)
Mixtral = t.MixtralConfig, t.MixtralForCausalLM
Qwen3Moe = t.Qwen3MoeConfig, t.Qwen3MoeForCausalLM
last = dict(use_sliding_window=True, sliding_window=24, max_window_layers=1)
models = {
    "llama": (Llama, dict(num_key_value_heads=8)),
    "llama-grouped": (Llama, {}),
    "llama-tied": (Llama, dict(tie_word_embeddings=True, head_dim=16)),
    "llama-linear": (Llama, dict(rope_parameters=linear)),
    "llama-3.1": (Llama, dict(rope_parameters=llama3)),
    "llama-yarn": (Llama, dict(rope_parameters=yarn, head_dim=32)),
    "mistral": (Mistral, dict(sliding_window=None)),
    "mistral-window": (Mistral, dict(sliding_window=24)),
    "mistral-pages": (Mistral, dict(sliding_window=64, head_dim=12)),
    "qwen2": (Qwen2, {}),
    "qwen2-window": (Qwen2, dict(last, tie_word_embeddings=True)),
    "qwen2-yarn": (Qwen2, dict(rope_parameters=odd_yarn)),
    "qwen3": (Qwen3, dict(head_dim=8)),
    "qwen3-tied": (Qwen3, dict(tie_word_embeddings=True, head_dim=16)),
    "qwen3-window": (Qwen3, dict(last, head_dim=16)),
    "mixtral": (Mixtral, dict(num_local_experts=5, num_experts_per_tok=2, sliding_window=None)),
    "mixtral-window": (Mixtral, dict(num_local_experts=4, num_experts_per_tok=1,
                                     sliding_window=24)),
    "qwen3_moe": (Qwen3Moe, dict(num_experts=12, num_experts_per_tok=3, moe_intermediate_size=44,
                                 norm_topk_prob=True, head_dim=16)),
    "qwen3_moe-shares": (Qwen3Moe, dict(num_experts=6, num_experts_per_tok=4, head_dim=16,
                                        moe_intermediate_size=36, norm_topk_prob=False)),
}
# The same as files of before version 5 say it.
old = {"llama-3.1-old": "llama-3.1", "llama-linear-old": "llama-linear",
       "qwen2-yarn-old": "qwen2-yarn"}


def make(name):
    (config, model), more = models[old.get(name, name)]
    more = {"num_key_value_heads": 2, **more}
    torch.manual_seed(1)
    model = model(config(vocab_size=256, hidden_size=64, intermediate_size=172,
                         num_hidden_layers=3, num_attention_heads=8, max_position_embeddings=512,
                         bos_token_id=None, eos_token_id=None, pad_token_id=None, **more))
    model.float().eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(1 + 0.3 * torch.randn_like(p) if "norm" in key else
                    0.5 * torch.randn_like(p) if "bias" in key else
                    1.5 * torch.randn_like(p) / p.shape[-1] ** 0.5)
    model.save_pretrained(os.path.join(root, name), max_shard_size="200KB")
    return model


def rewrite(path):
    with open(path) as f:
        config = json.load(f)
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    scaling["type"] = scaling.pop("rope_type")
    config["rope_scaling"] = scaling
    with open(path, "w") as f:
        json.dump(config, f)


def answer(model, path):
    ids = torch.tensor([list(prompt)])
    with torch.no_grad():
        all = model.generate(ids, max_new_tokens=n, do_sample=False)
        logits = model(all[:, :-1]).logits[0]
    with open(path + "/answer", "w") as f:
        print(*all[0].tolist()[len(prompt):], file=f)
    with open(path + "/logits", "wb") as f:
        f.write(logits.contiguous().numpy().tobytes())


def tokenizer(path):
    """A token is a byte, in GPT-2's alphabet."""
    plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    other = [b for b in range(256) if b not in plain]
    vocab = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(other)}
    with open(path + "/tokenizer.json", "w") as f:
        json.dump({"model": {"type": "BPE", "vocab": vocab, "merges": []},
                   "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
                   "decoder": {"type": "ByteLevel"}}, f)


def rounded(w, kind):
    if kind != "q8":
        return w.to(torch.float16 if kind == "f16" else torch.bfloat16).float()
    cols = w.shape[-1]
    blocks = torch.nn.functional.pad(w, (0, -cols % 32)).unflatten(-1, (-1, 32))
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).half().float()
    q = (blocks / scale.where(scale > 0, 1)).round().clamp(-127, 127)
    return (q * scale).flatten(-2)[..., :cols]


def prompt_logits(model, path, kind):
    was = {key: p.clone() for key, p in model.named_parameters()}
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() > 1 and not key.endswith("gate.weight"):  # routers are f32
                p.copy_(rounded(p, kind))
        logits = model(torch.tensor([list(prompt)])).logits[0]
        for key, p in model.named_parameters():
            p.copy_(was[key])
    with open("%s/logits.%s" % (path, kind), "wb") as f:
        f.write(logits.contiguous().numpy().tobytes())


for name in [*models, *old]:
    path = os.path.join(root, name)
    model = make(name)
    if name in old:
        rewrite(path + "/config.json")
        model = type(model).from_pretrained(path).float().eval()
    answer(model, path)
    for kind in "f16", "bf16", "q8":
        prompt_logits(model, path, kind)
    tokenizer(path)
    print(name)
EOF

cat >"$SCRATCH/compare.py" <<'EOF'
"""compare.py GOT WANT VOCAB max|mean: how far logits are apart at the worst position."""
import array, math, sys

got, want = (array.array("f", open(path, "rb").read()) for path in sys.argv[1:3])
vocab, worst = int(sys.argv[3]), 0.0


def largest(values):
    return max(map(abs, values))


def root_of_mean(values):
    return math.sqrt(sum(v * v for v in values) / len(values))


size = largest if sys.argv[4] == "max" else root_of_mean
assert got and len(got) % vocab == 0 and len(got) <= len(want), (len(got), len(want))
for at in range(0, len(got), vocab):
    a, b = got[at:at + vocab], want[at:at + vocab]
    off = size([x - y for x, y in zip(a, b)]) / size(b)
    worst = off if not off <= worst else worst  # what is no number is the worst
print("%.2e" % worst)
EOF

near() { # near NAME WANT max|mean TOLERANCE: $SCRATCH/logits
	off=$(python3 "$SCRATCH/compare.py" "$SCRATCH/logits" "$2" 256 $3)
	awk "BEGIN { exit !(\"$off\" != \"\" && $off + 0 < $4) }"
	ok $? "$1: logits are off by $off, of $4 at most"
}

prompt="The quick brown fox jumps over the lazy dog, and then it stops to think: why is it always me? "
mkdir "$SCRATCH/models"
"$python" "$SCRATCH/make.py" "$SCRATCH/models" $N "$prompt" >"$SCRATCH/names" 2>"$SCRATCH/err" || {
	ok 1 "models are made"
	note <"$SCRATCH/err"
}
for model in $(cat "$SCRATCH/names"); do
	lsc-shard pack --dtype f32 "$SCRATCH/models/$model" "$SCRATCH/image"
	got=$(lsc-exec run "$SCRATCH/image" --ids -n $N --prompt "$prompt" --logits "$SCRATCH/logits")
	expect_equal "$model: $N tokens" "$got" "$(cat "$SCRATCH/models/$model/answer")"
	expect_equal "$model: as many positions" "$(wc -c <"$SCRATCH/logits")" \
		"$(wc -c <"$SCRATCH/models/$model/logits")"
	near "$model" "$SCRATCH/models/$model/logits" max 1e-4
	rm -rf "$SCRATCH/image"
	for type in f16:1e-2 bf16:6e-2 q8:2e-1; do
		lsc-shard pack --dtype ${type%:*} "$SCRATCH/models/$model" "$SCRATCH/image"
		ask="lsc-exec run $SCRATCH/image -n 1 --logits $SCRATCH/logits --prompt"
		$ask "$prompt" --exact >"$SCRATCH/out"
		near "$model, ${type%:*}" "$SCRATCH/models/$model/logits.${type%:*}" max 1e-4
		$ask "$prompt" >"$SCRATCH/out"
		case $model in
		mixtral* | qwen3_moe*) ;; # another expert at one position is another answer
		*) near "$model, ${type%:*} for f32" "$SCRATCH/models/$model/logits" mean ${type#*:} ;;
		esac
		rm -rf "$SCRATCH/image"
	done
done
[ "$(wc -l <"$SCRATCH/names")" -ge 22 ]
ok $? "$(wc -l <"$SCRATCH/names") models"
done_testing
