/* config - a decoder's numbers: whether they make sense, and the shapes everyone knows */
#include "model/config.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/macros.h"

static int check_range(const char *what, uint32_t value, uint32_t max, struct lsc_err *err)
{
	if (value == 0 || value > max)
		return lsc_err_set(err, EBADMSG, "%s is %u: want 1 to %u", what, value, max);
	return 0;
}

static int check_dims(const struct lsc_model_config *config, struct lsc_err *err)
{
	const struct {
		const char *what;
		uint32_t value, max;
	} ranges[] = {
		{"hidden size", config->hidden, LSC_MODEL_MAX_DIM},
		{"feed-forward size", config->ffn, LSC_MODEL_MAX_DIM},
		{"number of layers", config->layers, LSC_MODEL_MAX_LAYERS},
		{"number of heads", config->heads, LSC_MODEL_MAX_DIM},
		{"number of key-value heads", config->kv_heads, LSC_MODEL_MAX_DIM},
		{"head dimension", config->head_dim, 4096},
		{"vocabulary size", config->vocab, LSC_MODEL_MAX_VOCAB},
		{"context length", config->context, 1u << 30},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(ranges); i++) {
		int r = check_range(ranges[i].what, ranges[i].value, ranges[i].max, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_heads(const struct lsc_model_config *config, struct lsc_err *err)
{
	if (config->heads % config->kv_heads != 0)
		return lsc_err_set(err, EBADMSG, "%u heads do not divide among %u key-value heads",
				   config->heads, config->kv_heads);
	if (config->head_dim % 2 != 0)
		return lsc_err_set(err, EBADMSG, "the head dimension %u is odd", config->head_dim);
	if ((uint64_t)config->heads * config->head_dim > LSC_MODEL_MAX_DIM)
		return lsc_err_set(err, EBADMSG, "%u heads of %u are more than %u values",
				   config->heads, config->head_dim, LSC_MODEL_MAX_DIM);
	return 0;
}

static int check_yarn(const struct lsc_model_config *config, struct lsc_err *err)
{
	float low = config->rope_ramp_low, high = config->rope_ramp_high;

	if (!(config->rope_attention > 0) || !isfinite(config->rope_attention))
		return lsc_err_set(err, EBADMSG, "the RoPE attention factor %g is not positive",
				   (double)config->rope_attention);
	if (!(low >= 0) || !(high > low) || !isfinite(high))
		return lsc_err_set(err, EBADMSG,
				   "a RoPE ramp from pair %g to pair %g makes no sense",
				   (double)low, (double)high);
	return 0;
}

static int check_window(const struct lsc_model_config *config, struct lsc_err *err)
{
	if (config->window_first && (!config->window || config->window_first >= config->layers))
		return lsc_err_set(err, EBADMSG,
				   "a window of %u positions from layer %u of %u on makes no sense",
				   config->window, config->window_first, config->layers);
	return 0;
}

/* Without experts, what else is said of them is left alone. */
static int check_experts(const struct lsc_model_config *config, struct lsc_err *err)
{
	int r;

	if (config->experts == 0)
		return 0;
	if ((r = check_range("number of experts", config->experts, LSC_MODEL_MAX_EXPERTS, err)) <
		    0 ||
	    (r = check_range("number of experts used", config->experts_used, config->experts,
			     err)) < 0 ||
	    (r = check_range("experts' feed-forward size", config->expert_ffn, LSC_MODEL_MAX_DIM,
			     err)) < 0)
		return r;
	if (lsc_model_head_unit(config) >= LSC_MODEL_MAX_UNITS)
		return lsc_err_set(err, EBADMSG, "%u layers of %u experts are more than %u units",
				   config->layers, config->experts, LSC_MODEL_MAX_UNITS);
	return 0;
}

static int check_rope(const struct lsc_model_config *config, struct lsc_err *err)
{
	if (!(config->rope_theta > 0) || !isfinite(config->rope_theta))
		return lsc_err_set(err, EBADMSG, "the RoPE base %g is not positive",
				   (double)config->rope_theta);
	if (config->rope_scaling == LSC_ROPE_NONE)
		return 0;
	if (!(config->rope_factor > 0) || !isfinite(config->rope_factor))
		return lsc_err_set(err, EBADMSG, "the RoPE factor %g is not positive",
				   (double)config->rope_factor);
	if (config->rope_scaling == LSC_ROPE_LINEAR)
		return 0;
	if (config->rope_scaling == LSC_ROPE_YARN)
		return check_yarn(config, err);
	if (config->rope_scaling != LSC_ROPE_LLAMA3)
		return lsc_err_set(err, EBADMSG, "RoPE scaling %d is not known",
				   (int)config->rope_scaling);
	if (!(config->rope_low_freq_factor > 0) || !isfinite(config->rope_high_freq_factor) ||
	    !(config->rope_high_freq_factor > config->rope_low_freq_factor) ||
	    config->rope_original_context == 0)
		return lsc_err_set(err, EBADMSG,
				   "RoPE frequency factors %g and %g over a context of %u make no "
				   "sense",
				   (double)config->rope_low_freq_factor,
				   (double)config->rope_high_freq_factor,
				   config->rope_original_context);
	return 0;
}

static int check_tokens(const struct lsc_model_config *config, struct lsc_err *err)
{
	if (config->n_eos > LSC_MODEL_MAX_EOS)
		return lsc_err_set(err, EBADMSG, "%u end-of-text tokens: want at most %d",
				   config->n_eos, LSC_MODEL_MAX_EOS);
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos[i] >= config->vocab)
			return lsc_err_set(err, EBADMSG,
					   "end-of-text token %u is outside the vocabulary of %u",
					   config->eos[i], config->vocab);
	if (config->bos != LSC_MODEL_NO_TOKEN && config->bos >= config->vocab)
		return lsc_err_set(err, EBADMSG,
				   "begin-of-text token %u is outside the vocabulary of %u",
				   config->bos, config->vocab);
	return 0;
}

int lsc_model_config_check(const struct lsc_model_config *config, struct lsc_err *err)
{
	int r;

	if (!memchr(config->arch, '\0', sizeof(config->arch)) || !config->arch[0])
		return lsc_err_set(err, EBADMSG, "the architecture has no name");
	if ((r = check_dims(config, err)) < 0 || (r = check_heads(config, err)) < 0 ||
	    (r = check_experts(config, err)) < 0 || (r = check_rope(config, err)) < 0 ||
	    (r = check_window(config, err)) < 0 || (r = check_tokens(config, err)) < 0)
		return r;
	if (!(config->norm_eps >= 0) || !(config->norm_eps < 1))
		return lsc_err_set(err, EBADMSG, "the norm's epsilon %g is not in 0 .. 1",
				   (double)config->norm_eps);
	return 0;
}

/* --- shapes, from the models' published config.json --- */

#define MODEL(a, h, f, l, nh, nkv, hd, v, ctx, eps, theta)                                         \
	.arch = a, .hidden = h, .ffn = f, .layers = l, .heads = nh, .kv_heads = nkv,               \
	.head_dim = hd, .vocab = v, .context = ctx, .norm_eps = eps, .rope_theta = theta

#define LLAMA3_SCALING(factor)                                                                     \
	.rope_scaling = LSC_ROPE_LLAMA3, .rope_factor = factor, .rope_low_freq_factor = 1,         \
	.rope_high_freq_factor = 4, .rope_original_context = 8192

#define EXPERTS(n, used, size)                                                                     \
	.experts = n, .experts_used = used, .expert_ffn = size, .norm_topk = true

#define TOKENS(b, e) .bos = b, .eos = {e}, .n_eos = 1

static const struct {
	const char *name;
	struct lsc_model_config config;
} shapes[] = {
	{"stories260k",
	 {MODEL("llama", 64, 172, 5, 8, 4, 8, 512, 512, 1e-5f, 1e4f), .tied = true, TOKENS(1, 2)}},
	{"smollm2-135m",
	 {MODEL("llama", 576, 1536, 30, 9, 3, 64, 49152, 8192, 1e-5f, 1e5f), .tied = true,
	  TOKENS(1, 2)}},
	{"smollm2-360m",
	 {MODEL("llama", 960, 2560, 32, 15, 5, 64, 49152, 8192, 1e-5f, 1e5f), .tied = true,
	  TOKENS(1, 2)}},
	{"smollm2-1.7b",
	 {MODEL("llama", 2048, 8192, 24, 32, 32, 64, 49152, 8192, 1e-5f, 1.3e5f), .tied = true,
	  TOKENS(1, 2)}},
	{"tinyllama-1.1b",
	 {MODEL("llama", 2048, 5632, 22, 32, 4, 64, 32000, 2048, 1e-5f, 1e4f), TOKENS(1, 2)}},
	{"llama-2-7b",
	 {MODEL("llama", 4096, 11008, 32, 32, 32, 128, 32000, 4096, 1e-5f, 1e4f), TOKENS(1, 2)}},
	{"llama-2-13b",
	 {MODEL("llama", 5120, 13824, 40, 40, 40, 128, 32000, 4096, 1e-5f, 1e4f), TOKENS(1, 2)}},
	{"llama-2-70b",
	 {MODEL("llama", 8192, 28672, 80, 64, 8, 128, 32000, 4096, 1e-5f, 1e4f), TOKENS(1, 2)}},
	{"llama-3-8b",
	 {MODEL("llama", 4096, 14336, 32, 32, 8, 128, 128256, 8192, 1e-5f, 5e5f),
	  TOKENS(128000, 128001)}},
	{"llama-3-70b",
	 {MODEL("llama", 8192, 28672, 80, 64, 8, 128, 128256, 8192, 1e-5f, 5e5f),
	  TOKENS(128000, 128001)}},
	{"llama-3.1-8b",
	 {MODEL("llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, 1e-5f, 5e5f),
	  LLAMA3_SCALING(8), TOKENS(128000, 128001)}},
	{"llama-3.1-405b",
	 {MODEL("llama", 16384, 53248, 126, 128, 8, 128, 128256, 131072, 1e-5f, 5e5f),
	  LLAMA3_SCALING(8), TOKENS(128000, 128001)}},
	{"llama-3.2-1b",
	 {MODEL("llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, 1e-5f, 5e5f),
	  LLAMA3_SCALING(32), .tied = true, TOKENS(128000, 128001)}},
	{"llama-3.2-3b",
	 {MODEL("llama", 3072, 8192, 28, 24, 8, 128, 128256, 131072, 1e-5f, 5e5f),
	  LLAMA3_SCALING(32), .tied = true, TOKENS(128000, 128001)}},
	{"mistral-7b",
	 {MODEL("mistral", 4096, 14336, 32, 32, 8, 128, 32768, 32768, 1e-5f, 1e6f), TOKENS(1, 2)}},
	{"qwen2-0.5b",
	 {MODEL("qwen2", 896, 4864, 24, 14, 2, 64, 151936, 131072, 1e-6f, 1e6f), .qkv_bias = true,
	  .tied = true, TOKENS(LSC_MODEL_NO_TOKEN, 151643)}},
	{"qwen2-7b",
	 {MODEL("qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 131072, 1e-6f, 1e6f),
	  .qkv_bias = true, TOKENS(LSC_MODEL_NO_TOKEN, 151643)}},
	{"qwen2.5-32b",
	 {MODEL("qwen2", 5120, 27648, 64, 40, 8, 128, 152064, 131072, 1e-6f, 1e6f),
	  .qkv_bias = true, TOKENS(LSC_MODEL_NO_TOKEN, 151643)}},
	{"qwen3-0.6b",
	 {MODEL("qwen3", 1024, 3072, 28, 16, 8, 128, 151936, 40960, 1e-6f, 1e6f), .qk_norm = true,
	  .tied = true, TOKENS(LSC_MODEL_NO_TOKEN, 151645)}},
	{"qwen3-8b",
	 {MODEL("qwen3", 4096, 12288, 36, 32, 8, 128, 151936, 40960, 1e-6f, 1e6f), .qk_norm = true,
	  TOKENS(LSC_MODEL_NO_TOKEN, 151645)}},
	{"mixtral-8x7b",
	 {MODEL("mixtral", 4096, 14336, 32, 32, 8, 128, 32000, 32768, 1e-5f, 1e6f),
	  EXPERTS(8, 2, 14336), TOKENS(1, 2)}},
	{"qwen3-30b-a3b",
	 {MODEL("qwen3_moe", 2048, 6144, 48, 32, 4, 128, 151936, 40960, 1e-6f, 1e6f),
	  .qk_norm = true, EXPERTS(128, 8, 768), TOKENS(LSC_MODEL_NO_TOKEN, 151645)}},
};

const struct lsc_model_config *lsc_model_shape(const char *name)
{
	for (size_t i = 0; i < LSC_ARRAY_SIZE(shapes); i++)
		if (!strcmp(name, shapes[i].name))
			return &shapes[i].config;
	return NULL;
}

const char *lsc_model_shape_name(unsigned index)
{
	return index < LSC_ARRAY_SIZE(shapes) ? shapes[index].name : NULL;
}
