/* hf_config - what config.json says of a decoder
 *
 * Absent keys take the defaults of transformers' configuration classes.  A feature that would
 * change the numbers and that we do not have is refused by name, never ignored.
 */
#include "model/hf_config.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

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

static void decref(json_t **json)
{
	json_decref(*json);
}

/* The value of a key that says something: null is as good as absent. */
static const json_t *get(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

static int get_uint(const json_t *object, const char *key, const uint32_t *absent,
		    uint32_t *ret_value, struct lsc_err *err)
{
	const json_t *value = get(object, key);

	if (!value && absent) {
		*ret_value = *absent;
		return 0;
	}
	if (!value)
		return lsc_err_set(err, EBADMSG, "key '%s' is missing", key);
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > UINT32_MAX)
		return lsc_err_set(err, EBADMSG, "key '%s' is no whole number in range", key);
	*ret_value = (uint32_t)json_integer_value(value);
	return 0;
}

static int get_real(const json_t *object, const char *key, float absent, float *ret_value,
		    struct lsc_err *err)
{
	const json_t *value = get(object, key);

	*ret_value = absent;
	if (!value)
		return 0;
	if (!json_is_number(value))
		return lsc_err_set(err, EBADMSG, "key '%s' is no number", key);
	*ret_value = (float)json_number_value(value);
	return 0;
}

static int refuse(const char *feature, struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "%s is not supported", feature);
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
	const uint32_t context = 2048;
	uint32_t head_dim;
	int r;

	if ((r = get_uint(root, "hidden_size", NULL, &config->hidden, err)) < 0 ||
	    (r = get_uint(root, "intermediate_size", NULL, &config->ffn, err)) < 0 ||
	    (r = get_uint(root, "num_hidden_layers", NULL, &config->layers, err)) < 0 ||
	    (r = get_uint(root, "num_attention_heads", NULL, &config->heads, err)) < 0 ||
	    (r = get_uint(root, "num_key_value_heads", &config->heads, &config->kv_heads, err)) <
		    0 ||
	    (r = get_uint(root, "vocab_size", NULL, &config->vocab, err)) < 0 ||
	    (r = get_uint(root, "max_position_embeddings", &context, &config->context, err)) < 0)
		return r;
	head_dim = config->heads ? config->hidden / config->heads : 0;
	return get_uint(root, "head_dim", &head_dim, &config->head_dim, err);
}

/* Mixtral's experts have the size that other layers have, and weights that add up to 1.  A model
 * some of whose layers have none is another: all our layers are alike. */
static int parse_experts(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const bool mixtral = !strcmp(config->arch, "mixtral");
	const json_t *step = get(root, "decoder_sparse_step");
	const char *count =
		mixtral || !get(root, "num_experts") ? "num_local_experts" : "num_experts";
	int r;

	if (step && (!json_is_integer(step) || json_integer_value(step) != 1))
		return refuse("a decoder_sparse_step other than 1", err);
	if (json_array_size(get(root, "mlp_only_layers")) > 0)
		return refuse("mlp_only_layers (layers without experts)", err);
	if ((r = get_uint(root, count, NULL, &config->experts, err)) < 0 ||
	    (r = get_uint(root, "num_experts_per_tok", NULL, &config->experts_used, err)) < 0 ||
	    (r = get_uint(root, "moe_intermediate_size", mixtral ? &config->ffn : NULL,
			  &config->expert_ffn, err)) < 0)
		return r;
	if (config->experts == 0)
		return lsc_err_set(err, EBADMSG, "key '%s' is 0", count);
	config->norm_topk = mixtral || json_is_true(get(root, "norm_topk_prob"));
	return 0;
}

static int parse_scaling(const json_t *scaling, struct lsc_model_config *config,
			 struct lsc_err *err)
{
	const json_t *named = get(scaling, "rope_type");
	const char *type = json_string_value(named ? named : get(scaling, "type"));
	int r;

	if (!type || !strcmp(type, "default"))
		return 0;
	if (!strcmp(type, "linear")) {
		config->rope_scaling = LSC_ROPE_LINEAR;
		return get_real(scaling, "factor", 0, &config->rope_factor, err);
	}
	if (strcmp(type, "llama3"))
		return lsc_err_set(err, EOPNOTSUPP, "RoPE scaling '%.40s' is not supported", type);
	config->rope_scaling = LSC_ROPE_LLAMA3;
	if ((r = get_real(scaling, "factor", 0, &config->rope_factor, err)) < 0 ||
	    (r = get_real(scaling, "low_freq_factor", 0, &config->rope_low_freq_factor, err)) < 0 ||
	    (r = get_real(scaling, "high_freq_factor", 0, &config->rope_high_freq_factor, err)) < 0)
		return r;
	return get_uint(scaling, "original_max_position_embeddings", NULL,
			&config->rope_original_context, err);
}

/* What rotates a part of each head, or is another for each kind of layer, is not ours. */
static int check_rope(const json_t *root, const json_t *parameters, struct lsc_err *err)
{
	const json_t *partial = get(parameters, "partial_rotary_factor");
	const char *key;
	json_t *value;

	if (!partial)
		partial = get(root, "partial_rotary_factor");
	if (partial && (!json_is_number(partial) || json_number_value(partial) != 1))
		return refuse("a partial_rotary_factor other than 1", err);
	json_object_foreach((json_t *)parameters, key, value)
	{
		if (json_is_object(value))
			return lsc_err_set(err, EOPNOTSUPP,
					   "rope_parameters for '%.40s' alone are not supported",
					   key);
	}
	return 0;
}

/* Newer files have all of it in "rope_parameters". */
static int parse_rope(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const json_t *parameters = get(root, "rope_parameters");
	int r = check_rope(root, parameters, err);

	if (r < 0)
		return r;
	r = get_real(get(parameters, "rope_theta") ? parameters : root, "rope_theta", 10000,
		     &config->rope_theta, err);

	if (r < 0)
		return r;
	return parse_scaling(parameters ? parameters : get(root, "rope_scaling"), config, err);
}

/* Up to its length a sliding window sees everything, so it is a limit to the context. */
static int parse_window(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	const json_t *use = get(root, "use_sliding_window");
	uint32_t window;
	int r;

	if (!get(root, "sliding_window") || json_is_false(use) ||
	    (!use && strncmp(config->arch, "qwen", 4) == 0))
		return 0;
	r = get_uint(root, "sliding_window", NULL, &window, err);
	if (r == 0 && window > 0 && window < config->context)
		config->context = window;
	return r;
}

static int check_features(const json_t *root, bool experts, struct lsc_err *err)
{
	const char *act = json_string_value(get(root, "hidden_act"));

	if (act && strcmp(act, "silu"))
		return lsc_err_set(err, EOPNOTSUPP, "activation '%.40s' is not supported", act);
	if (json_is_true(get(root, "attention_bias")))
		return refuse("attention_bias", err);
	if (json_is_true(get(root, "mlp_bias")))
		return refuse("mlp_bias", err);
	if (get(root, "quantization_config"))
		return refuse("quantization_config (quantised safetensors)", err);
	if (!experts && (get(root, "num_local_experts") || get(root, "num_experts")))
		return refuse("a mixture of experts in this architecture", err);
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
	const json_t *eos = get(root, "eos_token_id");
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
	int r = get_uint(root, "bos_token_id", &none, &config->bos, err);

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
	    (r = get_real(root, "rms_norm_eps", 1e-6f, &config->norm_eps, err)) < 0 ||
	    (r = parse_rope(root, config, err)) < 0 || (r = parse_window(root, config, err)) < 0 ||
	    (r = parse_tokens(root, config, err)) < 0)
		return lsc_err_prefix(err, "config.json: ");
	config->tied = json_is_true(get(root, "tie_word_embeddings"));
	return 0;
}

int lsc_hf_config_parse(const char *text, size_t len, const char *generation, size_t generation_len,
			struct lsc_model_config *ret_config, struct lsc_err *err)
{
	LSC_CLEANUP(decref) json_t *root = NULL;
	LSC_CLEANUP(decref) json_t *more = NULL;
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
