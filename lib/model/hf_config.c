/* hf_config - what config.json says of a decoder
 *
 * Absent keys take the defaults of transformers' configuration classes.  A feature that would
 * change the numbers and that we do not have is refused by name, never ignored.
 */
#include "model/hf_config.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/hf_value.h"

static const struct {
	const char *class, *arch;
	bool qkv_bias, qk_norm, experts;
} architectures[] = {
	{"LlamaForCausalLM", "llama", false, false, false},
	{"MistralForCausalLM", "mistral", false, false, false},
	{"MixtralForCausalLM", "mixtral", false, false, true},
	{"Qwen2ForCausalLM", "qwen2", true, false, false},
	{"Qwen3ForCausalLM", "qwen3", false, true, false},
	{"Qwen3MoeForCausalLM", "qwen3_moe", false, true, true},
};

/* What transformers takes where a key is absent (null is another matter); 0: worked out.  The first
 * is for the others too. */
static const struct defaults {
	const char *arch;
	uint32_t context, kv_heads, head_dim, window;
} defaults[] = {
	{"llama", 2048, 0, 0, 0},        {"mistral", 131072, 8, 0, 4096},
	{"mixtral", 131072, 8, 0, 0},    {"qwen2", 32768, 32, 0, 4096},
	{"qwen3", 32768, 32, 128, 4096}, {"qwen3_moe", 32768, 4, 0, 4096},
};

static const struct defaults *defaults_of(const struct lsc_model_config *config)
{
	size_t i = LSC_ARRAY_SIZE(defaults);

	while (--i > 0 && strcmp(defaults[i].arch, config->arch))
		;
	return &defaults[i];
}

/* --- parts --- */

static int parse_architecture(const json_t *root, struct lsc_model_config *config,
			      bool *ret_experts, struct lsc_err *err)
{
	const char *class =
		json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
	const char *type = json_string_value(json_object_get(root, "model_type"));

	if (!class && !type)
		return lsc_err_set(err, EBADMSG, "it names no architecture");
	for (size_t i = 0; i < LSC_ARRAY_SIZE(architectures); i++) {
		if (class ? strcmp(class, architectures[i].class)
			  : strcmp(type, architectures[i].arch))
			continue;
		snprintf(config->arch, sizeof(config->arch), "%s", architectures[i].arch);
		config->qkv_bias = architectures[i].qkv_bias;
		config->qk_norm = architectures[i].qk_norm;
		*ret_experts = architectures[i].experts;
		return 0;
	}
	return lsc_err_set(err, EOPNOTSUPP,
			   "architecture '%.60s' is not supported (Llama, Mistral, Mixtral, Qwen2, "
			   "Qwen3 and Qwen3Moe are)",
			   class ? class : type);
}

static int parse_dims(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const struct defaults *absent = defaults_of(config);
	uint32_t kv_heads, head_dim;
	int r;

	if ((r = lsc_hf_uint(root, "hidden_size", NULL, &config->hidden, err)) < 0 ||
	    (r = lsc_hf_uint(root, "intermediate_size", NULL, &config->ffn, err)) < 0 ||
	    (r = lsc_hf_uint(root, "num_hidden_layers", NULL, &config->layers, err)) < 0 ||
	    (r = lsc_hf_uint(root, "num_attention_heads", NULL, &config->heads, err)) < 0 ||
	    (r = lsc_hf_uint(root, "vocab_size", NULL, &config->vocab, err)) < 0 ||
	    (r = lsc_hf_uint(root, "max_position_embeddings", &absent->context, &config->context,
			     err)) < 0)
		return r;
	kv_heads = lsc_hf_is_absent(root, "num_key_value_heads") && absent->kv_heads
			   ? absent->kv_heads
			   : config->heads;
	if (lsc_hf_is_absent(root, "head_dim") && absent->head_dim)
		head_dim = absent->head_dim;
	else
		head_dim = config->heads ? config->hidden / config->heads : 0;
	r = lsc_hf_uint(root, "num_key_value_heads", &kv_heads, &config->kv_heads, err);
	return r < 0 ? r : lsc_hf_uint(root, "head_dim", &head_dim, &config->head_dim, err);
}

/* Mixtral's experts have the size that other layers have, and weights that add up to 1.  A model
 * some of whose layers have none is another: all our layers are alike. */
static int parse_experts(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const bool mixtral = !strcmp(config->arch, "mixtral");
	const json_t *step = lsc_hf_get(root, "decoder_sparse_step");
	const char *count =
		mixtral || !lsc_hf_get(root, "num_experts") ? "num_local_experts" : "num_experts";
	int r;

	if (step && (!json_is_integer(step) || json_integer_value(step) != 1))
		return lsc_hf_refuse("a decoder_sparse_step other than 1", err);
	if (json_array_size(lsc_hf_get(root, "mlp_only_layers")) > 0)
		return lsc_hf_refuse("mlp_only_layers (layers without experts)", err);
	if ((r = lsc_hf_uint(root, count, NULL, &config->experts, err)) < 0 ||
	    (r = lsc_hf_uint(root, "num_experts_per_tok", NULL, &config->experts_used, err)) < 0 ||
	    (r = lsc_hf_uint(root, "moe_intermediate_size", mixtral ? &config->ffn : NULL,
			     &config->expert_ffn, err)) < 0)
		return r;
	if (config->experts == 0)
		return lsc_err_set(err, EBADMSG, "key '%s' is 0", count);
	if (!mixtral)
		return lsc_hf_bool(root, "norm_topk_prob", false, &config->norm_topk, err);
	config->norm_topk = true;
	return 0;
}

/* Which layers have the window: those from *ret_first on.  Others are told by a list of the kinds
 * of all layers, and have it nowhere else. */
static int first_of_window(const json_t *root, const struct lsc_model_config *config,
			   uint32_t *ret_first, struct lsc_err *err)
{
	const json_t *types = lsc_hf_get(root, "layer_types");
	const uint32_t absent = 28;
	uint32_t first = 0;

	if (!types)
		return lsc_hf_uint(root, "max_window_layers", &absent, ret_first, err);
	if (json_array_size(types) != config->layers)
		return lsc_err_set(err, EBADMSG, "key 'layer_types' has no type for each layer");
	for (uint32_t i = 0; i < config->layers; i++) {
		const char *type = json_string_value(json_array_get(types, i));

		if (type && !strcmp(type, "full_attention") && first == i)
			first++;
		else if (!type || strcmp(type, "sliding_attention"))
			return lsc_hf_refuse("attention that changes more than once (layer_types)",
					     err);
	}
	*ret_first = first;
	return 0;
}

/* Of Qwen only some layers have it, where it is asked for, of Mistral and Mixtral all, and the
 * others do not know the key. */
static int parse_window(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const bool qwen = !strncmp(config->arch, "qwen", 4),
		   moe = !strcmp(config->arch, "qwen3_moe");
	const struct defaults *absent = defaults_of(config);
	uint32_t window = 0, first = 0;
	bool use = true;
	int r;

	if (!qwen && strncmp(config->arch, "mi", 2))
		return 0;
	if (lsc_hf_is_absent(root, "sliding_window"))
		window = absent->window;
	if ((r = lsc_hf_uint(root, "sliding_window", &window, &window, err)) < 0 ||
	    (qwen && (r = lsc_hf_bool(root, "use_sliding_window", false, &use, err)) < 0))
		return r;
	if (lsc_hf_get(root, "sliding_window") && window == 0)
		return lsc_err_set(err, EBADMSG, "key 'sliding_window' is 0");
	if (qwen && !moe && use && window) {
		r = first_of_window(root, config, &first, err);
		if (r < 0)
			return r;
	}
	/* Up to its length a window sees everything. */
	if (!use || first >= config->layers || window >= config->context)
		return 0;
	config->window = window;
	config->window_first = window ? first : 0;
	return 0;
}

static int check_features(const json_t *root, bool experts, struct lsc_err *err)
{
	static const struct {
		const char *key, *words;
	} refused[] = {
		{"attention_bias", "attention_bias"},
		{"mlp_bias", "mlp_bias"},
		{"quantization_config", "quantization_config (quantised safetensors)"},
		{"compression_config", "compression_config (quantised safetensors)"},
	};
	const json_t *act = lsc_hf_get(root, "hidden_act");
	const char *name = json_string_value(act);

	if (act && !name)
		return lsc_err_set(err, EBADMSG, "key 'hidden_act' is no string");
	if (name && strcmp(name, "silu") && strcmp(name, "swish"))
		return lsc_err_set(err, EOPNOTSUPP, "activation '%.40s' is not supported", name);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(refused); i++) {
		const json_t *value = lsc_hf_get(root, refused[i].key);

		if (value && !json_is_false(value))
			return lsc_hf_refuse(refused[i].words, err);
	}
	if (!experts && (lsc_hf_get(root, "num_local_experts") || lsc_hf_get(root, "num_experts")))
		return lsc_hf_refuse("a mixture of experts in this architecture", err);
	return 0;
}

/* --- tokens --- */

static int add_eos(struct lsc_model_config *config, const json_t *value, struct lsc_err *err)
{
	json_int_t id = json_integer_value(value);

	if (!json_is_integer(value) || id < 0 || id >= UINT32_MAX)
		return lsc_err_set(err, EBADMSG, "key 'eos_token_id' is no token id");
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos[i] == (uint32_t)id)
			return 0;
	if (config->n_eos == LSC_MODEL_MAX_EOS)
		return lsc_err_set(err, EOPNOTSUPP, "more than %d end-of-text tokens",
				   LSC_MODEL_MAX_EOS);
	config->eos[config->n_eos++] = (uint32_t)id;
	return 0;
}

static int parse_eos(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const json_t *eos = lsc_hf_get(root, "eos_token_id");
	int r = 0;

	if (!eos)
		return 0;
	if (!json_is_array(eos))
		return add_eos(config, eos, err);
	for (size_t i = 0; r == 0 && i < json_array_size(eos); i++)
		r = add_eos(config, json_array_get(eos, i), err);
	return r;
}

static int parse_tokens(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const uint32_t none = LSC_MODEL_NO_TOKEN;
	int r = lsc_hf_uint(root, "bos_token_id", &none, &config->bos, err);

	return r < 0 ? r : parse_eos(root, config, err);
}

static int load(const char *name, const char *text, size_t len, json_t **ret_root,
		struct lsc_err *err)
{
	json_error_t error;

	*ret_root = json_loadb(len ? text : "", len, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(*ret_root))
		return 0;
	if (*ret_root)
		return lsc_err_set(err, EBADMSG, "%s is no JSON object", name);
	return lsc_err_set(err, EBADMSG, "%s, line %d: %s", name, error.line, error.text);
}

static int parse_all(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	bool experts = false;
	int r;

	if ((r = parse_architecture(root, config, &experts, err)) < 0 ||
	    (r = check_features(root, experts, err)) < 0 ||
	    (r = parse_dims(root, config, err)) < 0 ||
	    (experts && (r = parse_experts(root, config, err)) < 0) ||
	    (r = lsc_hf_real(root, "rms_norm_eps", 1e-6f, &config->norm_eps, err)) < 0 ||
	    (r = lsc_hf_rope_parse(root, config, err)) < 0 ||
	    (r = parse_window(root, config, err)) < 0 ||
	    (r = lsc_hf_bool(root, "tie_word_embeddings", false, &config->tied, err)) < 0 ||
	    (r = parse_tokens(root, config, err)) < 0)
		return lsc_err_prefix(err, "config.json: ");
	return 0;
}

int lsc_hf_config_parse(const char *text, size_t len, const char *generation, size_t generation_len,
			struct lsc_model_config *ret_config, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_json_put) json_t *root = NULL;
	LSC_CLEANUP(lsc_json_put) json_t *more = NULL;
	struct lsc_model_config *config = ret_config;
	int r;

	*config = (struct lsc_model_config){0};
	if ((r = load("config.json", text, len, &root, err)) < 0 ||
	    (r = parse_all(root, config, err)) < 0)
		return r;
	if (generation) {
		r = load("generation_config.json", generation, generation_len, &more, err);
		if (r == 0 && (r = parse_eos(more, config, err)) < 0)
			lsc_err_prefix(err, "generation_config.json: ");
		if (r < 0)
			return r;
	}
	r = lsc_model_config_check(config, err);
	return r < 0 ? lsc_err_prefix(err, "config.json: ") : 0;
}
