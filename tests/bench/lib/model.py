#!/usr/bin/env python3
"""model.py DIR LAYERS [CHANGED]: a random Llama model of about LAYERS x 16 MiB, as Hugging Face
lays it out, to be cast and not to be asked.

The same arguments give the same bytes; the last CHANGED layers are others than those of a model
without that argument, as in one that was fine-tuned there.
"""
import json
import os
import random
import struct
import sys

root, layers = sys.argv[1], int(sys.argv[2])
changed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
hidden, ffn, vocab = 1024, 1344, 256  # a layer fills 16 MiB, less than 1% of it
shape = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": ffn,
         "num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16,
         "vocab_size": vocab, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
         "eos_token_id": 2, "torch_dtype": "bfloat16"}

tensors = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden]}
for i in range(layers):
    at = "model.layers.%d." % i
    for name in "q", "k", "v", "o":
        tensors[at + "self_attn.%s_proj.weight" % name] = [hidden, hidden]
    tensors[at + "mlp.gate_proj.weight"] = tensors[at + "mlp.up_proj.weight"] = [ffn, hidden]
    tensors[at + "mlp.down_proj.weight"] = [hidden, ffn]
    for norm in "input_layernorm", "post_attention_layernorm":
        tensors[at + norm + ".weight"] = [hidden]

header, end = {}, 0
for name, dims in tensors.items():
    size = 2 * dims[0] * (dims[1] if len(dims) > 1 else 1)
    header[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [end, end + size]}
    end += size
os.mkdir(root)
with open(root + "/config.json", "w") as f:
    json.dump(shape, f)
with open(root + "/model.safetensors", "wb") as f:
    head = json.dumps(header).encode()
    f.write(struct.pack("<Q", len(head)) + head)
    for name, about in header.items():
        layer = int(name.split(".")[2]) if name.startswith("model.layers.") else -1
        seed = name + (" changed" if layer >= layers - changed else "")
        size = about["data_offsets"][1] - about["data_offsets"][0]
        # Bit 6 of the second byte is the exponent's highest: without it all of them are finite.
        f.write(random.Random(seed).randbytes(size).translate(bytes(i & 0xBF for i in range(256))))
