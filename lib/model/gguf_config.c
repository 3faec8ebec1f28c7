/* gguf_config - what a GGUF file's metadata says of a decoder */
#include "model/gguf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define KEY_BYTES 96

struct source {
	const struct lsc_gguf *gguf;
	char arch[32];
};

static const char *key_of(const struct source *source, const char *name, char key[KEY_BYTES])
{
	snprintf(key, KEY_BYTES, "%s.%s", source->arch, name);
	return key;
}

/* absent NULL: the key must be there. */
static int get_uint(const struct source *source, const char *name, const uint32_t *absent,
		    uint32_t *ret_value, struct lsc_err *err)
{
	char key[KEY_BYTES];
	uint64_t value = 0;
	int r = lsc_gguf_uint(source->gguf, key_of(source, name, key), UINT32_MAX, &value, err);

	if (r == -ENOENT && absent)
		value = *absent;
	else if (r == -ENOENT)
		return lsc_err_set(err, EBADMSG, "key '%s' is missing", key);
	else if (r < 0)
		return r;
	*ret_value = (uint32_t)value;
	return 0;
}

static int get_real(const struct source *source, const char *name, float absent, float *ret_value,
		    struct lsc_err *err)
{
	char key[KEY_BYTES];
	double value = (double)absent;
	int r = lsc_gguf_real(source->gguf, key_of(source, name, key), &value, err);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret_value = (float)value;
	return 0;
}

static const struct lsc_tensor_source *tensor(const struct source *source, const char *name)
{
	for (size_t i = 0; i < source->gguf->n_tensors; i++)
		if (!strcmp(source->gguf->tensors[i].name, name))
			return &source->gguf->tensors[i];
	return NULL;
}

static int parse_architecture(struct source *source, struct lsc_model_config *config,
			      struct lsc_err *err)
{
	static const char *const known[] = {"llama", "qwen2", "qwen3", "qwen3moe"};
	const char *arch;
	size_t len, i = 0;
	int r = lsc_gguf_str(source->gguf, "general.architecture", &arch, &len, err);

	if (r == -ENOENT)
		return lsc_err_set(err, EBADMSG, "it names no architecture");
	if (r < 0)
		return r;
	while (i < LSC_ARRAY_SIZE(known) &&
	       (strlen(known[i]) != len || memcmp(known[i], arch, len)))
		i++;
	if (i == LSC_ARRAY_SIZE(known))
		return lsc_err_set(err, EOPNOTSUPP,
				   "architecture '%.*s' is not supported (llama, qwen2, qwen3 and "
				   "qwen3moe are)",
				   (int)LSC_MIN(len, 60), arch);
	snprintf(source->arch, sizeof(source->arch), "%s", known[i]);
	snprintf(config->arch, sizeof(config->arch), "%s", known[i]);
	config->qkv_bias = tensor(source, "blk.0.attn_q.bias") != NULL;
	config->qk_norm = tensor(source, "blk.0.attn_q_norm.weight") != NULL;
	config->tied = tensor(source, "output.weight") == NULL;
	if (tensor(source, "blk.0.attn_output.bias") || tensor(source, "blk.0.ffn_gate.bias"))
		return lsc_err_set(err, EOPNOTSUPP,
				   "biases other than of q, k and v are not "
				   "supported");
	return 0;
}

/* A llama file with experts is Mixtral's, whose experts have the size that other layers have.  The
 * weights of those that are used add up to 1 in both: files do not tell. */
static int parse_experts(const struct source *source, struct lsc_model_config *config,
			 struct lsc_err *err)
{
	const bool mixtral = !strcmp(source->arch, "llama");
	int r;

	if (!mixtral && strcmp(source->arch, "qwen3moe"))
		return lsc_err_set(err, EOPNOTSUPP, "a mixture of experts in %s is not supported",
				   source->arch);
	if (config->experts == 0)
		return lsc_err_set(err, EBADMSG, "%s without experts is no such model",
				   source->arch);
	snprintf(config->arch, sizeof(config->arch), "%s", mixtral ? "mixtral" : "qwen3_moe");
	config->norm_topk = true;
	r = get_uint(source, "expert_used_count", NULL, &config->experts_used, err);
	return r < 0 ? r
		     : get_uint(source, "expert_feed_forward_length", mixtral ? &config->ffn : NULL,
				&config->expert_ffn, err);
}

static int parse_dims(const struct source *source, struct lsc_model_config *config,
		      struct lsc_err *err)
{
	const struct lsc_tensor_source *embed = tensor(source, "token_embd.weight");
	const uint32_t none = 0;
	uint32_t head_dim, rope;
	int r;

	if (!embed || embed->n_dims != 2 || embed->dims[0] > LSC_MODEL_MAX_VOCAB)
		return lsc_err_set(err, EBADMSG,
				   "tensor 'token_embd.weight' is missing, or no "
				   "matrix");
	config->vocab = (uint32_t)embed->dims[0];
	if ((r = get_uint(source, "embedding_length", NULL, &config->hidden, err)) < 0 ||
	    (r = get_uint(source, "feed_forward_length", NULL, &config->ffn, err)) < 0 ||
	    (r = get_uint(source, "block_count", NULL, &config->layers, err)) < 0 ||
	    (r = get_uint(source, "attention.head_count", NULL, &config->heads, err)) < 0 ||
	    (r = get_uint(source, "attention.head_count_kv", &config->heads, &config->kv_heads,
			  err)) < 0 ||
	    (r = get_uint(source, "context_length", NULL, &config->context, err)) < 0 ||
	    (r = get_uint(source, "expert_count", &none, &config->experts, err)) < 0 ||
	    ((config->experts || !strcmp(source->arch, "qwen3moe")) &&
	     (r = parse_experts(source, config, err)) < 0))
		return r;
	head_dim = config->heads ? config->hidden / config->heads : 0;
	if ((r = get_uint(source, "attention.key_length", &head_dim, &config->head_dim, err)) < 0 ||
	    (r = get_uint(source, "rope.dimension_count", &config->head_dim, &rope, err)) < 0)
		return r;
	if (rope != config->head_dim)
		return lsc_err_set(err, EOPNOTSUPP,
				   "RoPE over %u of %u dimensions is not "
				   "supported",
				   rope, config->head_dim);
	return 0;
}

/* --- RoPE --- */

/* By what Llama 3's scaling divides the frequency of pair i. */
static float llama3_divisor(const struct lsc_model_config *config, uint32_t i)
{
	double frequency = pow((double)config->rope_theta, -2.0 * i / (double)config->head_dim);
	double turns = config->rope_original_context * frequency / (2 * M_PI);
	double low = (double)config->rope_low_freq_factor;
	double high = (double)config->rope_high_freq_factor, smooth;

	if (turns > high)
		return 1;
	if (turns < low)
		return config->rope_factor;
	smooth = (turns - low) / (high - low);
	return (float)(1 / ((1 - smooth) / (double)config->rope_factor + smooth));
}

/* A GGUF file has Llama 3's scaling not as constants but as a tensor of divisors.  The published
 * constants differ in the factor alone: it is taken up when it gives that tensor. */
static int recognise_llama3(const struct lsc_tensor_source *divisors,
			    struct lsc_model_config *config, struct lsc_err *err)
{
	static const float factors[] = {8, 32};
	uint32_t pairs = config->head_dim / 2;

	config->rope_scaling = LSC_ROPE_LLAMA3;
	config->rope_low_freq_factor = 1;
	config->rope_high_freq_factor = 4;
	config->rope_original_context = 8192;
	for (size_t f = 0; divisors->dtype == LSC_DTYPE_F32 && divisors->bytes == pairs * 4 &&
			   f < LSC_ARRAY_SIZE(factors);
	     f++) {
		uint32_t i = 0;

		config->rope_factor = factors[f];
		for (; i < pairs; i++) {
			float want = llama3_divisor(config, i), got;

			memcpy(&got, divisors->data + 4 * i, 4);
			if (!(fabsf(got - want) <= 1e-3f * want))
				break;
		}
		if (i == pairs)
			return 0;
	}
	return lsc_err_set(err, EOPNOTSUPP,
			   "the RoPE divisors in 'rope_freqs.weight' are not "
			   "Llama 3's");
}

/* A factor without a type is linear, and older files have it under another name; 1 changes nothing.
 */
static int parse_scaling(const struct source *source, struct lsc_model_config *config,
			 struct lsc_err *err)
{
	const char *type = "linear";
	size_t len = strlen(type);
	char key[KEY_BYTES];
	float factor = 0;
	int r = lsc_gguf_str(source->gguf, key_of(source, "rope.scaling.type", key), &type, &len,
			     err);

	if (r < 0 && r != -ENOENT)
		return r;
	if (len == 4 && !memcmp(type, "none", 4))
		return 0;
	if (len != 6 || memcmp(type, "linear", 6))
		return lsc_err_set(err, EOPNOTSUPP, "RoPE scaling '%.*s' is not supported",
				   (int)LSC_MIN(len, 40), type);
	if ((r = get_real(source, "rope.scale_linear", 1, &factor, err)) < 0 ||
	    (r = get_real(source, "rope.scaling.factor", factor, &factor, err)) < 0)
		return r;
	if (factor == 0 || factor == 1)
		return 0;
	config->rope_scaling = LSC_ROPE_LINEAR;
	config->rope_factor = factor;
	return 0;
}

static int parse_rope(const struct source *source, struct lsc_model_config *config,
		      struct lsc_err *err)
{
	const struct lsc_tensor_source *divisors = tensor(source, "rope_freqs.weight");
	int r = get_real(source, "rope.freq_base", 10000, &config->rope_theta, err);

	if (r < 0)
		return r;
	return divisors ? recognise_llama3(divisors, config, err)
			: parse_scaling(source, config, err);
}

/* --- tokens --- */

static int parse_tokens(const struct source *source, struct lsc_model_config *config,
			struct lsc_err *err)
{
	static const char *const ends[] = {"tokenizer.ggml.eos_token_id",
					   "tokenizer.ggml.eot_token_id",
					   "tokenizer.ggml.eom_token_id"};
	uint64_t id = LSC_MODEL_NO_TOKEN;
	int r = lsc_gguf_uint(source->gguf, "tokenizer.ggml.bos_token_id", UINT32_MAX, &id, err);

	if (r < 0 && r != -ENOENT)
		return r;
	config->bos = (uint32_t)id;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(ends); i++) {
		uint32_t seen = 0;

		r = lsc_gguf_uint(source->gguf, ends[i], UINT32_MAX - 1, &id, err);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		while (seen < config->n_eos && config->eos[seen] != id)
			seen++;
		if (seen == config->n_eos)
			config->eos[config->n_eos++] = (uint32_t)id;
	}
	return 0;
}

int lsc_gguf_config_parse(const struct lsc_gguf *gguf, struct lsc_model_config *ret_config,
			  struct lsc_err *err)
{
	struct lsc_model_config *config = ret_config;
	struct source source = {.gguf = gguf};
	uint32_t window = 0;
	int r;

	*config = (struct lsc_model_config){0};
	if ((r = parse_architecture(&source, config, err)) < 0 ||
	    (r = parse_dims(&source, config, err)) < 0 ||
	    (r = get_real(&source, "attention.layer_norm_rms_epsilon", 1e-6f, &config->norm_eps,
			  err)) < 0 ||
	    (r = get_uint(&source, "attention.sliding_window", &window, &window, err)) < 0 ||
	    (r = parse_rope(&source, config, err)) < 0 ||
	    (r = parse_tokens(&source, config, err)) < 0)
		return r;
	if (window < config->context) /* up to its length it sees everything */
		config->window = window;
	return lsc_model_config_check(config, err);
}
