#!/usr/bin/env python3
"""shape.py DIR SHAPE [FORMAT]...: one model with random weights, for several programs to run.

SHAPE is smollm2-135m, tinyllama-1.1b or tiny.  DIR/bf16.gguf and DIR/q8_0.gguf (FORMAT: bf16, q8_0)
hold the same weights as DIR/hf, a folder that transformers loads; q8_0 is bf16 rounded further.  All
have a made-up tokenizer of as many tokens as the shape.  Needs numpy and gguf.
"""
import json
import os
import random
import struct
import sys

import gguf
import numpy as np

SHAPES = {  # hidden, ffn, layers, heads, kv heads, vocabulary, context, tied
    "tiny": (64, 160, 3, 4, 2, 600, 512, True),
    "smollm2-135m": (576, 1536, 30, 9, 3, 49152, 8192, True),
    "tinyllama-1.1b": (2048, 5632, 22, 32, 4, 32000, 2048, False),
}
root, shape = sys.argv[1], sys.argv[2]
formats = sys.argv[3:] or ["bf16", "q8_0"]
hidden, ffn, layers, heads, kv_heads, vocab, context, tied = SHAPES[shape]
head = hidden // heads
BOS, EOS, EPS, THETA = 1, 2, 1e-5, 10000.0


def matrix(name, rows, cols, scale):
    """bf16 bits: rounded to nearest even, as everybody does."""
    seed = int.from_bytes(name.encode()[-32:], "little")
    x = np.random.default_rng(seed).standard_normal((rows, cols), dtype=np.float32)
    bits = (x * np.float32(scale)).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def weights():
    """Hugging Face's names, GGUF's names, bf16 bits; a matrix at a time."""
    yield "model.embed_tokens.weight", "token_embd.weight", matrix("embed", vocab, hidden, 0.05)
    for i in range(layers):
        at, to = "model.layers.%d." % i, "blk.%d." % i
        for name, short, rows, cols in (
                ("self_attn.q_proj", "attn_q", heads * head, hidden),
                ("self_attn.k_proj", "attn_k", kv_heads * head, hidden),
                ("self_attn.v_proj", "attn_v", kv_heads * head, hidden),
                ("self_attn.o_proj", "attn_output", hidden, heads * head),
                ("mlp.gate_proj", "ffn_gate", ffn, hidden),
                ("mlp.up_proj", "ffn_up", ffn, hidden),
                ("mlp.down_proj", "ffn_down", hidden, ffn)):
            yield (at + name + ".weight", to + short + ".weight",
                   matrix(at + name, rows, cols, cols ** -0.5))
        for name, short in ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"):
            yield at + name + ".weight", to + short + ".weight", norm(at + name)
    yield "model.norm.weight", "output_norm.weight", norm("norm")
    if not tied:
        yield "lm_head.weight", "output.weight", matrix("head", vocab, hidden, 0.05)


def norm(name):
    """From 0.75 to 1.25: bf16 bits around those of 1."""
    near = random.Random(name)
    return np.array([near.choice((0x3F40, 0x3F60, 0x3F80, 0x3F90, 0x3FA0)) for _ in range(hidden)],
                    dtype=np.uint16)


def floats(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def turned(bits, n):
    """Rows of a head as GGUF wants them: pairs that turn together beside each other."""
    return bits.reshape(n, 2, head // 2, -1).swapaxes(1, 2).reshape(bits.shape)


def tokens():
    """Byte-level BPE: every byte, then pairs of what there is, until there are enough."""
    visible = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    found, merges = ["<unk>", "<s>", "</s>"] + letters, []
    known, draw = set(found), random.Random(1)
    common = ["Ġ" if c == " " else c for c in "  etaoinshrdlucmfwyp"]
    while len(found) < vocab:
        a = draw.choice(common) if len(merges) < 100 else draw.choice(found[3 + 256:])
        b = draw.choice(common)
        if a + b not in known:
            known.add(a + b)
            found.append(a + b)
            merges.append(a + " " + b)
    return found, merges


def write_hf(folder):
    os.makedirs(folder, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
              "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "head_dim": head, "vocab_size": vocab,
              "max_position_embeddings": context, "rms_norm_eps": EPS, "rope_theta": THETA,
              "hidden_act": "silu", "tie_word_embeddings": tied, "bos_token_id": BOS,
              "eos_token_id": EOS, "torch_dtype": "bfloat16"}
    with open(folder + "/config.json", "w") as f:
        json.dump(config, f)
    header, end = {}, 0
    for name, _, bits in weights():
        header[name] = {"dtype": "BF16", "shape": list(bits.shape),
                        "data_offsets": [end, end + bits.nbytes]}
        end += bits.nbytes
    text = json.dumps({**header, "__metadata__": {"format": "pt"}}).encode()
    with open(folder + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, bits in weights():
            f.write(bits.tobytes())


def write_gguf(path, format):
    out = gguf.GGUFWriter(path, "llama")
    out.add_name(shape)
    out.add_context_length(context)
    out.add_embedding_length(hidden)
    out.add_block_count(layers)
    out.add_feed_forward_length(ffn)
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_rope_dimension_count(head)
    out.add_rope_freq_base(THETA)
    out.add_layer_norm_rms_eps(EPS)
    out.add_vocab_size(vocab)
    found, merges = tokens()
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(found)
    out.add_token_types([2, 3, 3] + [1] * (vocab - 3))
    out.add_token_merges(merges)
    out.add_bos_token_id(BOS)
    out.add_eos_token_id(EOS)
    out.add_add_bos_token(True)
    kind = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}[format]
    out.add_file_type({"bf16": 32, "q8_0": 7}[format])
    for _, name, bits in weights():
        if "attn_q" in name or "attn_k" in name:
            bits = turned(bits, heads if "attn_q" in name else kv_heads)
        if bits.ndim == 1:
            out.add_tensor(name, floats(bits))
        elif format == "bf16":
            out.add_tensor(name, bits.view(np.uint8), raw_dtype=kind)
        else:
            out.add_tensor(name, gguf.quants.quantize(floats(bits), kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


os.makedirs(root, exist_ok=True)
write_hf(root + "/hf")
for format in formats:
    write_gguf(root + "/" + format + ".gguf", format)
