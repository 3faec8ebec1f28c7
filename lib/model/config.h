/* The shape and the constants of a Llama-family decoder. */
#ifndef LSC_MODEL_CONFIG_H
#define LSC_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_MODEL_MAX_EOS 8

/* Limits that readers hold a configuration to. */
#define LSC_MODEL_MAX_LAYERS 1024
#define LSC_MODEL_MAX_DIM    (1u << 20) /* hidden, ffn, heads x head_dim */
#define LSC_MODEL_MAX_VOCAB  (1u << 22)

enum lsc_rope_scaling {
	LSC_ROPE_NONE,
	LSC_ROPE_LINEAR, /* positions divided by rope_factor */
	LSC_ROPE_LLAMA3, /* frequencies scaled by wavelength, as Llama 3.1 does */
	LSC_ROPE_YARN,   /* and heads stretched (arXiv 2309.00071) */
};

struct lsc_model_config {
	char arch[32]; /* "llama", "mistral", "qwen2", "qwen3": Hugging Face's model_type */
	uint32_t hidden;
	uint32_t ffn;
	uint32_t layers;
	uint32_t heads;
	uint32_t kv_heads;
	uint32_t head_dim;
	uint32_t vocab;        /* rows of the embedding */
	uint32_t context;      /* positions the model was trained for */
	uint32_t window;       /* positions that one sees, its own the last; 0: all before it */
	uint32_t window_first; /* of layers from this one on; those before see all */
	float norm_eps;
	float rope_theta;
	enum lsc_rope_scaling rope_scaling;
	float rope_factor;
	float rope_attention;                /* yarn: cosines and sines times this */
	float rope_ramp_low, rope_ramp_high; /* yarn: pairs up to low keep their frequency, those
					      * from high on are slower by the factor */
	float rope_low_freq_factor, rope_high_freq_factor; /* llama3 */
	uint32_t rope_original_context;                    /* llama3 */
	bool qkv_bias;                                     /* q, k and v have biases */
	bool qk_norm; /* RMSNorm of each head of q and k before RoPE */
	bool tied;    /* the head's matrix is the embedding's */
	uint32_t bos; /* UINT32_MAX where the model has none */
	uint32_t eos[LSC_MODEL_MAX_EOS];
	uint32_t n_eos;
};

#define LSC_MODEL_NO_TOKEN UINT32_MAX

/* The first position that one sees in a layer. */
static inline uint32_t lsc_model_sees_from(const struct lsc_model_config *config, uint32_t layer,
					   uint32_t pos)
{
	const bool windowed = config->window && layer >= config->window_first;

	return windowed && pos >= config->window ? pos - config->window + 1 : 0;
}

/* Whether the numbers make sense together: -EBADMSG with words where they do not. */
int lsc_model_config_check(const struct lsc_model_config *config, struct lsc_err *err);

/* The well-known shapes that --dummy takes, by name ("llama-3-8b"); NULL when unknown.  A NULL
 * name ends the enumeration by index. */
const struct lsc_model_config *lsc_model_shape(const char *name);
const char *lsc_model_shape_name(unsigned index);

#endif
