/* A small model's configuration, for images that are packed as dummies. */
#ifndef LSC_TESTS_SMALL_MODEL_H
#define LSC_TESTS_SMALL_MODEL_H

#include "model/config.h"

#define SMALL_MODEL(n_layers, n_vocab)                                                             \
	{                                                                                          \
		.arch = "llama", .hidden = 64, .ffn = 96, .layers = n_layers, .heads = 4,          \
		.kv_heads = 2, .head_dim = 16, .vocab = n_vocab, .context = 128,                   \
		.norm_eps = 1e-5f, .rope_theta = 1e4f, .bos = 1, .eos = {2}, .n_eos = 1,           \
	}

#endif
