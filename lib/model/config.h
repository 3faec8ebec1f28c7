/* The shape and the constants of a Llama-family decoder.
 *
 * Also where a model's units are (lsc-image(5)): unit 0 is the embedding, then come those of the
 * layers, and the last is the final norm and head.  A layer is one unit; with experts it is one for
 * attention and router, and one for each expert behind it.
 */
#ifndef LSC_MODEL_CONFIG_H
#define LSC_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_MODEL_MAX_EOS 8

/* Limits that readers hold a configuration to. */
#define LSC_MODEL_MAX_LAYERS  1024
#define LSC_MODEL_MAX_DIM     (1u << 20) /* hidden, ffn, heads x head_dim */
#define LSC_MODEL_MAX_VOCAB   (1u << 22)
#define LSC_MODEL_MAX_EXPERTS 512
#define LSC_MODEL_MAX_UNITS   (1u << 16) /* of lsc-wire(5) too */

enum lsc_rope_scaling {
	LSC_ROPE_NONE,
	LSC_ROPE_LINEAR, /* positions divided by rope_factor */
	LSC_ROPE_LLAMA3, /* frequencies scaled by wavelength, as Llama 3.1 does */
	LSC_ROPE_YARN,   /* and heads stretched (arXiv 2309.00071) */
};

struct lsc_model_config {
	char arch[32]; /* "llama", "mixtral", "qwen3_moe": Hugging Face's model_type */
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
	bool qk_norm;          /* RMSNorm of each head of q and k before RoPE */
	bool tied;             /* the head's matrix is the embedding's */
	uint32_t experts;      /* of each layer; 0: there are none, nor the next three */
	uint32_t experts_used; /* for one position */
	uint32_t expert_ffn;
	bool norm_topk; /* the weights of those that are used add up to 1 */
	uint32_t bos;   /* UINT32_MAX where the model has none */
	uint32_t eos[LSC_MODEL_MAX_EOS];
	uint32_t n_eos;
};

#define LSC_MODEL_NO_TOKEN UINT32_MAX

/* Whether a token ends a text. */
static inline bool lsc_model_is_end(const struct lsc_model_config *config, uint32_t token)
{
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos[i] == token)
			return true;
	return false;
}

/* The first position that one sees in a layer. */
static inline uint32_t lsc_model_sees_from(const struct lsc_model_config *config, uint32_t layer,
					   uint32_t pos)
{
	const bool windowed = config->window && layer >= config->window_first;

	return windowed && pos >= config->window ? pos - config->window + 1 : 0;
}

/* Whether the numbers make sense together: -EBADMSG with words where they do not. */
int lsc_model_config_check(const struct lsc_model_config *config, struct lsc_err *err);

/* --- units --- */

/* How many units a layer is. */
static inline uint32_t lsc_model_layer_units(const struct lsc_model_config *config)
{
	return config->experts + 1;
}

/* The first unit of a layer (from 0 on): its attention.  Of layer `layers`: the head. */
static inline uint32_t lsc_model_layer_unit(const struct lsc_model_config *config, uint32_t layer)
{
	return 1 + layer * lsc_model_layer_units(config);
}

/* The last unit: final norm and head. */
static inline uint32_t lsc_model_head_unit(const struct lsc_model_config *config)
{
	return lsc_model_layer_unit(config, config->layers);
}

/* The layers, counted from 0, whose attention is among units first .. last: *ret_first .. *ret_end
 * - 1. */
static inline void lsc_model_layers(const struct lsc_model_config *config, uint32_t first,
				    uint32_t last, uint32_t *ret_first, uint32_t *ret_end)
{
	uint32_t each = lsc_model_layer_units(config), end = last / each;

	*ret_first = first ? (first - 1) / each : 0;
	*ret_end = end < config->layers ? end : config->layers;
	if (*ret_end < *ret_first)
		*ret_end = *ret_first;
}

/* Whether units that run as one may begin with this one, or end with it: only whole layers run, as
 * a position may want any of their experts. */
static inline bool lsc_model_may_begin(const struct lsc_model_config *config, uint32_t unit)
{
	return unit == 0 || (unit - 1) % lsc_model_layer_units(config) == 0;
}

static inline bool lsc_model_may_end(const struct lsc_model_config *config, uint32_t unit)
{
	return unit % lsc_model_layer_units(config) == 0 || unit == lsc_model_head_unit(config);
}

/* The well-known shapes that --dummy takes, by name ("llama-3-8b"); NULL when unknown.  A NULL
 * name ends the enumeration by index. */
const struct lsc_model_config *lsc_model_shape(const char *name);
const char *lsc_model_shape_name(unsigned index);

#endif
