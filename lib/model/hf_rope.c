/* hf_rope - what config.json says of rotary embeddings and their scaling */
#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "model/hf_value.h"

/* The context that the model was first trained for; newer than the rest of the keys, and then it is
 * outside of them, or absent. */
static int get_original_context(const json_t *root, const json_t *scaling,
				const struct lsc_model_config *config, uint32_t *ret_context,
				struct lsc_err *err)
{
	const char *key = "original_max_position_embeddings";

	return lsc_hf_uint(lsc_hf_get(root, key) ? root : scaling, key, &config->context,
			   ret_context, err);
}

static int parse_llama3(const json_t *root, const json_t *scaling, struct lsc_model_config *config,
			struct lsc_err *err)
{
	int r;

	config->rope_scaling = LSC_ROPE_LLAMA3;
	if ((r = lsc_hf_real(scaling, "low_freq_factor", 0, &config->rope_low_freq_factor, err)) <
		    0 ||
	    (r = lsc_hf_real(scaling, "high_freq_factor", 0, &config->rope_high_freq_factor, err)) <
		    0)
		return r;
	return get_original_context(root, scaling, config, &config->rope_original_context, err);
}

/* The pair that turns so often in the original context. */
static double yarn_pair(const struct lsc_model_config *config, double context, double turns)
{
	return config->head_dim * log(context / (turns * 2 * M_PI)) /
	       (2 * log((double)config->rope_theta));
}

/* By how much heads are stretched for a factor. */
static double yarn_stretch(double factor, double weight)
{
	return factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1;
}

static int yarn_attention(const json_t *scaling, double factor, float *ret_attention,
			  struct lsc_err *err)
{
	float one, all;
	int r;

	if ((r = lsc_hf_real(scaling, "mscale", 0, &one, err)) < 0 ||
	    (r = lsc_hf_real(scaling, "mscale_all_dim", 0, &all, err)) < 0)
		return r;
	if (one != 0 && all != 0)
		return lsc_hf_real(scaling, "attention_factor",
				   (float)(yarn_stretch(factor, (double)one) /
					   yarn_stretch(factor, (double)all)),
				   ret_attention, err);
	return lsc_hf_real(scaling, "attention_factor", (float)yarn_stretch(factor, 1),
			   ret_attention, err);
}

/* The ends of the ramp are whole pairs, unless they are not to be. */
static int parse_yarn(const json_t *root, const json_t *scaling, struct lsc_model_config *config,
		      struct lsc_err *err)
{
	float fast, slow;
	double low, high;
	uint32_t context;
	bool whole = true;
	int r;

	config->rope_scaling = LSC_ROPE_YARN;
	if ((r = get_original_context(root, scaling, config, &context, err)) < 0 ||
	    (r = lsc_hf_real(scaling, "beta_fast", 32, &fast, err)) < 0 ||
	    (r = lsc_hf_real(scaling, "beta_slow", 1, &slow, err)) < 0 ||
	    (r = lsc_hf_bool(scaling, "truncate", true, &whole, err)) < 0 ||
	    (r = yarn_attention(scaling, (double)config->rope_factor, &config->rope_attention,
				err)) < 0)
		return r;
	low = yarn_pair(config, context, fast != 0 ? (double)fast : 32);
	high = yarn_pair(config, context, slow != 0 ? (double)slow : 1);
	low = LSC_MAX(whole ? floor(low) : low, 0.0);
	high = LSC_MIN(whole ? ceil(high) : high, (double)config->head_dim - 1);
	config->rope_ramp_low = (float)low;
	config->rope_ramp_high = (float)(low == high ? high + 0.001 : high);
	return 0;
}

static int parse_scaling(const json_t *root, const json_t *scaling, struct lsc_model_config *config,
			 struct lsc_err *err)
{
	const json_t *named = lsc_hf_get(scaling, "rope_type");
	const char *type;
	int r;

	if (!named)
		named = lsc_hf_get(scaling, "type");
	if (!named)
		return 0;
	type = json_string_value(named);
	if (!type)
		return lsc_err_set(err, EBADMSG, "the type of RoPE scaling is no string");
	if (!strcmp(type, "default"))
		return 0;
	if (strcmp(type, "linear") && strcmp(type, "llama3") && strcmp(type, "yarn"))
		return lsc_err_set(err, EOPNOTSUPP, "RoPE scaling '%.40s' is not supported", type);
	r = lsc_hf_real(scaling, "factor", 0, &config->rope_factor, err);
	if (r < 0)
		return r;
	if (!strcmp(type, "llama3"))
		return parse_llama3(root, scaling, config, err);
	if (!strcmp(type, "yarn"))
		return parse_yarn(root, scaling, config, err);
	config->rope_scaling = LSC_ROPE_LINEAR;
	return 0;
}

/* What rotates a part of each head, or is another for each kind of layer, is not ours. */
static int check_rope(const json_t *root, const json_t *parameters, struct lsc_err *err)
{
	const json_t *partial = lsc_hf_get(parameters, "partial_rotary_factor");
	const char *key;
	json_t *value;

	if (!partial)
		partial = lsc_hf_get(root, "partial_rotary_factor");
	if (partial && (!json_is_number(partial) || json_number_value(partial) != 1))
		return lsc_hf_refuse("a partial_rotary_factor other than 1", err);
	json_object_foreach((json_t *)parameters, key, value)
	{
		if (json_is_object(value))
			return lsc_err_set(err, EOPNOTSUPP,
					   "rope_parameters for '%.40s' alone are not supported",
					   key);
	}
	return 0;
}

/* Newer files have all of it in "rope_parameters", older ones "rope_scaling", which goes first. */
int lsc_hf_rope_parse(const json_t *root, struct lsc_model_config *config, struct lsc_err *err)
{
	static const char *const keys[] = {"rope_scaling", "rope_parameters"};
	const json_t *parameters = NULL;
	int r;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(keys) && !json_object_size(parameters); i++) {
		parameters = lsc_hf_get(root, keys[i]);
		if (parameters && !json_is_object(parameters))
			return lsc_err_set(err, EBADMSG, "key '%s' is no object", keys[i]);
	}
	r = check_rope(root, parameters, err);
	if (r == 0)
		r = lsc_hf_real(lsc_hf_get(parameters, "rope_theta") ? parameters : root,
				"rope_theta", 10000, &config->rope_theta, err);
	return r < 0 ? r : parse_scaling(root, parameters, config, err);
}
