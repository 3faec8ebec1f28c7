#!/bin/sh
# Models with random weights answer as the transformers library has them answer, token for token, in
# f32.  LSC_TEST_PYTHON names a Python that has the library (with torch); few machines do.
. tests/lib/tap.sh
python=${LSC_TEST_PYTHON:-python3}
"$python" -c 'import torch, transformers' 2>/dev/null ||
	skip_all "no transformers library for $python" transformers

cat >"$SCRATCH/make.py" <<'EOF'
import json, os, sys, torch, transformers as t

scaled = dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=64)
models = {
    "llama": (t.LlamaConfig, t.LlamaForCausalLM, {}),
    "llama-tied": (t.LlamaConfig, t.LlamaForCausalLM, dict(tie_word_embeddings=True, head_dim=16)),
    "llama-3.1": (t.LlamaConfig, t.LlamaForCausalLM, dict(rope_parameters=scaled)),
    "mistral": (t.MistralConfig, t.MistralForCausalLM, dict(sliding_window=None)),
    "qwen2": (t.Qwen2Config, t.Qwen2ForCausalLM, {}),
    "qwen3": (t.Qwen3Config, t.Qwen3ForCausalLM, dict(tie_word_embeddings=True, head_dim=16)),
    "mixtral": (t.MixtralConfig, t.MixtralForCausalLM,
                dict(num_local_experts=5, num_experts_per_tok=2, sliding_window=None)),
    "qwen3_moe": (t.Qwen3MoeConfig, t.Qwen3MoeForCausalLM,
                  dict(num_experts=12, num_experts_per_tok=3, moe_intermediate_size=44,
                       norm_topk_prob=True, head_dim=16)),
    "qwen3_moe-shares": (t.Qwen3MoeConfig, t.Qwen3MoeForCausalLM,
                         dict(num_experts=6, num_experts_per_tok=4, moe_intermediate_size=36,
                              norm_topk_prob=False, head_dim=16)),
}
config, model, more = models[sys.argv[2]]
torch.manual_seed(1)
model = model(config(vocab_size=256, hidden_size=64, intermediate_size=172, num_hidden_layers=3,
                     num_attention_heads=8, num_key_value_heads=2, max_position_embeddings=512,
                     bos_token_id=None, eos_token_id=None, pad_token_id=None, **more)).float().eval()
with torch.no_grad():
    for name, p in model.named_parameters():
        p.copy_(1 + 0.3 * torch.randn_like(p) if "norm" in name else
                0.5 * torch.randn_like(p) if "bias" in name else
                1.5 * torch.randn_like(p) / p.shape[-1] ** 0.5)
    model.save_pretrained(sys.argv[1], max_shard_size="200KB")
    ids = torch.tensor([list(sys.argv[3].encode())])
    all = model.generate(ids, max_new_tokens=100, do_sample=False)[0].tolist()
print(*all[ids.shape[1]:])

# A token is a byte, in GPT-2's alphabet.
plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
other = [b for b in range(256) if b not in plain]
vocab = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(other)}
with open(os.path.join(sys.argv[1], "tokenizer.json"), "w") as f:
    json.dump({"model": {"type": "BPE", "vocab": vocab, "merges": []},
               "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
               "decoder": {"type": "ByteLevel"}}, f)
EOF

prompt="The quick brown fox"
for model in llama llama-tied llama-3.1 mistral qwen2 qwen3 mixtral qwen3_moe qwen3_moe-shares; do
	want=$("$python" "$SCRATCH/make.py" "$SCRATCH/$model" $model "$prompt" 2>"$SCRATCH/err") ||
		note <"$SCRATCH/err"
	lsc-shard pack --dtype f32 "$SCRATCH/$model" "$SCRATCH/$model.lsc"
	expect_equal "$model" "$(lsc-exec run "$SCRATCH/$model.lsc" --ids -n 100 --prompt "$prompt")" "$want"
done
done_testing
