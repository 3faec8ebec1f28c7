/* sampling - how tokens are drawn, as run is told */
#include "sampling.h"

#include <string.h>

#include "base/parse.h"
#include "cli/tool.h"

static int parse_float(const char *arg, double min, double max, float *ret_value,
		       struct lsc_err *err)
{
	double value = 0;
	int r = lsc_parse_real(arg, min, max, &value, err);

	*ret_value = (float)value;
	return r;
}

static int add_stop_id(struct lsc_tokens *ids, const char *arg, struct lsc_err *err)
{
	uint64_t id;
	int r = lsc_parse_uint(arg, 0, UINT32_MAX, &id, err);

	if (r == 0 && lsc_tokens_add(ids, (uint32_t)id) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for an id");
	return r;
}

bool exec_sampling_option(struct exec_sampling *sampling, int key, const char *arg,
			  struct argp_state *state)
{
	struct lsc_sampling *how = &sampling->how;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t value = 0;
	int r;

	switch (key) {
	case EXEC_KEY_TEMP:
		r = parse_float(arg, 0, LSC_SAMPLING_MAX_TEMP, &how->temp, &err);
		break;
	case EXEC_KEY_TOP_K:
		r = lsc_parse_uint(arg, 0, LSC_SAMPLING_MAX_TOP_K, &value, &err);
		how->top_k = (uint32_t)value;
		break;
	case EXEC_KEY_TOP_P:
		r = parse_float(arg, LSC_SAMPLING_MIN_TOP_P, 1, &how->top_p, &err);
		break;
	case EXEC_KEY_MIN_P:
		r = parse_float(arg, 0, 1, &how->min_p, &err);
		break;
	case EXEC_KEY_PENALTY:
		r = parse_float(arg, LSC_SAMPLING_MIN_PENALTY, LSC_SAMPLING_MAX_PENALTY,
				&how->penalty, &err);
		break;
	case EXEC_KEY_SEED:
		r = lsc_parse_uint(arg, 0, UINT64_MAX, &how->seed, &err);
		break;
	case EXEC_KEY_STOP:
		r = lsc_stops_add(&sampling->stops, arg, strlen(arg), &err);
		break;
	case EXEC_KEY_STOP_ID:
		r = add_stop_id(&sampling->stop_ids, arg, &err);
		break;
	case EXEC_KEY_LOGPROBS:
		r = lsc_parse_uint(arg, 0, LSC_SAMPLING_MAX_TOP, &value, &err);
		how->logprobs = true;
		how->top = (uint32_t)value;
		break;
	default:
		return false;
	}
	lsc_tool_check(state, r, &err);
	return true;
}

void exec_sampling_release(struct exec_sampling *sampling)
{
	lsc_stops_release(&sampling->stops);
	lsc_tokens_release(&sampling->stop_ids);
}
