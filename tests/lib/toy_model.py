#!/usr/bin/env python3
"""toy_model.py DIR qwen2|qwen3|mistral|llama3|linear|yarn|mixtral|qwen3_moe [LAYERS [TUNED]...]:
a small random model as Hugging Face lays it out; the layers that are tuned have other weights.

Between them they have what models differ in: biases, norms of heads, tied or not, scaled RoPE, a
window, in all layers or in the last one.
"""
import array
import json
import os
import random
import struct
import sys

root, kind = sys.argv[1:3]
tuned = ["model.layers.%s." % layer for layer in sys.argv[4:]]
shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": int((sys.argv[3:] or [3])[0]),
         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 97,
         "head_dim": 16 if kind in ("qwen3", "qwen3_moe") else 8, "max_position_embeddings": 256,
         "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
         "tie_word_embeddings": kind == "qwen2", "eos_token_id": 96, "torch_dtype": "float32",
         "model_type": kind if kind.startswith(("qwen", "mi")) else "llama"}
if kind == "llama3":  # of the waves of 6, 63, 628 and 6283 one stays, one is blended, two slow down
    shape["rope_scaling"] = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
elif kind == "linear":
    shape["rope_scaling"] = {"rope_type": "linear", "factor": 4.0}
elif kind == "yarn":  # of the pairs 0 to 3 one stays, and one is slower by the factor
    shape["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 0.5,
                             "original_max_position_embeddings": 64}
elif kind == "mistral":
    shape["sliding_window"] = 7
elif kind == "qwen3":
    shape.update(use_sliding_window=True, sliding_window=9, max_window_layers=2)
elif kind == "mixtral":
    shape.update(num_local_experts=3, num_experts_per_tok=2)
elif kind == "qwen3_moe":
    shape.update(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=20)
experts = shape.get("num_experts") or shape.get("num_local_experts")
hidden, ffn, d = shape["hidden_size"], shape["intermediate_size"], shape["head_dim"]
q, kv = d * shape["num_attention_heads"], d * shape["num_key_value_heads"]

tensors = {"model.embed_tokens.weight": [97, hidden], "model.norm.weight": [hidden]}
if not shape["tie_word_embeddings"]:
    tensors["lm_head.weight"] = [97, hidden]
for i in range(shape["num_hidden_layers"]):
    at = "model.layers.%d." % i
    for name, rows in ("q", q), ("k", kv), ("v", kv):
        tensors[at + "self_attn.%s_proj.weight" % name] = [rows, hidden]
        if kind == "qwen2":
            tensors[at + "self_attn.%s_proj.bias" % name] = [rows]
        if kind in ("qwen3", "qwen3_moe") and name != "v":
            tensors[at + "self_attn.%s_norm.weight" % name] = [d]
    tensors[at + "self_attn.o_proj.weight"] = [hidden, q]
    mlp, names = at + "mlp.", ("gate_proj", "up_proj", "down_proj")
    if kind == "mixtral":
        mlp, names = at + "block_sparse_moe.", ("w1", "w3", "w2")
    if experts:
        tensors[mlp + "gate.weight"] = [experts, hidden]
    wide = shape.get("moe_intermediate_size", ffn)
    for to in ["%sexperts.%d." % (mlp, e) for e in range(experts)] if experts else [mlp]:
        gate, up, down = [to + name + ".weight" for name in names]
        tensors[gate] = tensors[up] = [wide, hidden]
        tensors[down] = [hidden, wide]
    for norm in "input_layernorm", "post_attention_layernorm":
        tensors[at + norm + ".weight"] = [hidden]

draw, header, data = random.Random(7), {}, b""
for name, dims in tensors.items():
    count = dims[0] * (dims[1] if len(dims) > 1 else 1)
    values = array.array("f", [draw.gauss(0, 0.4) for _ in range(count)])
    if name.startswith(tuple(tuned)):
        values = array.array("f", [value * 1.25 for value in values])
    header[name] = {"dtype": "F32", "shape": dims, "data_offsets": [len(data), len(data) + 4 * count]}
    data += values.tobytes()
os.mkdir(root)
with open(root + "/config.json", "w") as f:
    json.dump(shape, f)
with open(root + "/model.safetensors", "wb") as f:
    head = json.dumps(header).encode()
    f.write(struct.pack("<Q", len(head)) + head + data)
