/* frame - exec messages as records, and back, every field bounded
 *
 * What has a usual value is left out: a greedy run of one position through two stages is some 170
 * bytes.  A route is held to what any worker relies on: it starts with unit 0, and each stage goes
 * on where the one before it ended.
 */
#include "net/frame.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/macros.h"

#define MAX_UNIT     65535 /* more than any image has; the worker knows how many */
#define MAX_POSITION LSC_FRAME_MAX_POSITION
#define MAX_SECONDS  1e6

/* What can be put into a record: the logarithm of a probability of 0 cannot. */
static float in_range(float logprob)
{
	return isfinite(logprob) ? logprob : -FLT_MAX;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

/* --- building --- */

int lsc_frame_pack_client(struct lsc_pack *pack, const struct lsc_client_id *client)
{
	lsc_pack_begin(pack, "client");
	lsc_pack_bin(pack, "client", client->bytes, sizeof(client->bytes));
	return lsc_pack_end(pack);
}

void lsc_frame_put_route(struct lsc_pack *pack, const struct lsc_frame_stage *stages, uint32_t n)
{
	lsc_pack_array(pack, "route", n);
	for (uint32_t i = 0; i < n; i++) {
		lsc_pack_array(pack, NULL, 3);
		lsc_pack_str(pack, NULL, stages[i].endpoint);
		lsc_pack_uint(pack, NULL, stages[i].first);
		lsc_pack_uint(pack, NULL, stages[i].last);
	}
}

static void put_sampling(struct lsc_pack *pack, const struct lsc_run_frame *run)
{
	const struct lsc_sampling *sampling = &run->sampling;

	if (sampling->temp > 0) {
		lsc_pack_real(pack, "temp", sampling->temp);
		lsc_pack_real(pack, "top_p", sampling->top_p);
		lsc_pack_uint(pack, "seed", sampling->seed);
	}
	if (sampling->temp > 0 && sampling->min_p > 0)
		lsc_pack_real(pack, "min_p", sampling->min_p);
	if (sampling->temp > 0 && sampling->top_k)
		lsc_pack_uint(pack, "top_k", sampling->top_k);
	if (sampling->logprobs)
		lsc_pack_uint(pack, "logprobs", sampling->top);
	if (lsc_sampling_penalises(sampling) && run->ids) {
		lsc_pack_real(pack, "penalty", sampling->penalty);
		lsc_pack_bin(pack, "ids", run->ids, 4 * run->n);
	}
}

int lsc_frame_pack_run(struct lsc_pack *pack, const struct lsc_run_frame *run, uint32_t body_len)
{
	lsc_pack_begin(pack, "run");
	lsc_pack_bin(pack, "image", run->image.bytes, sizeof(run->image.bytes));
	lsc_pack_bin(pack, "client", run->client.bytes, sizeof(run->client.bytes));
	lsc_pack_uint(pack, "request", run->request);
	lsc_pack_uint(pack, "pos", run->pos);
	lsc_pack_uint(pack, "n", run->n);
	if (run->stage)
		lsc_pack_uint(pack, "stage", run->stage);
	lsc_frame_put_route(pack, run->route, run->n_stages);
	put_sampling(pack, run);
	if (run->since)
		lsc_pack_uint(pack, "since", run->since);
	if (run->reach)
		lsc_pack_uint(pack, "reach", run->reach);
	lsc_pack_uint(pack, "body", body_len);
	return lsc_pack_end(pack);
}

static void put_logprobs(struct lsc_pack *pack, const struct lsc_drawn *drawn)
{
	lsc_pack_real(pack, "logprob", in_range(drawn->logprob));
	if (!drawn->n_top)
		return;
	lsc_pack_array(pack, "top", drawn->n_top);
	for (uint32_t i = 0; i < drawn->n_top; i++) {
		lsc_pack_array(pack, NULL, 2);
		lsc_pack_uint(pack, NULL, drawn->top[i].token);
		lsc_pack_real(pack, NULL, in_range(drawn->top[i].logprob));
	}
}

int lsc_frame_pack_token(struct lsc_pack *pack, const struct lsc_token_frame *token)
{
	lsc_pack_begin(pack, "token");
	lsc_pack_uint(pack, "request", token->request);
	lsc_pack_uint(pack, "pos", token->pos);
	lsc_pack_uint(pack, "token", token->drawn.token);
	if (token->logprobs)
		put_logprobs(pack, &token->drawn);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_fail(struct lsc_pack *pack, const struct lsc_fail_frame *fail)
{
	lsc_pack_begin(pack, "fail");
	lsc_pack_uint(pack, "request", fail->request);
	lsc_pack_uint(pack, "pos", fail->pos);
	lsc_pack_uint(pack, "code", fail->code > 0 ? (uint64_t)fail->code : EIO);
	lsc_pack_strn(pack, "why", fail->why, strnlen(fail->why, sizeof(fail->why) - 1));
	return lsc_pack_end(pack);
}

static int pack_request(struct lsc_pack *pack, const char *type, const struct lsc_client_id *client,
			uint64_t request)
{
	lsc_pack_begin(pack, type);
	lsc_pack_bin(pack, "client", client->bytes, sizeof(client->bytes));
	lsc_pack_uint(pack, "request", request);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_drop(struct lsc_pack *pack, const struct lsc_client_id *client, uint64_t request)
{
	return pack_request(pack, "drop", client, request);
}

int lsc_frame_pack_rest(struct lsc_pack *pack, const struct lsc_client_id *client, uint64_t request)
{
	return pack_request(pack, "rest", client, request);
}

int lsc_frame_pack_ping(struct lsc_pack *pack)
{
	lsc_pack_begin(pack, "ping");
	return lsc_pack_end(pack);
}

int lsc_frame_pack_pong(struct lsc_pack *pack, const struct lsc_pong_frame *pong)
{
	lsc_pack_begin(pack, "pong");
	lsc_pack_uint(pack, "runs", pong->runs);
	lsc_pack_uint(pack, "done", pong->done);
	if (pong->works)
		lsc_pack_bool(pack, "works", true);
	if (pong->step_s > 0)
		lsc_pack_real(pack, "step", pong->step_s);
	if (pong->unit_s > 0)
		lsc_pack_real(pack, "unit", pong->unit_s);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_leave(struct lsc_pack *pack, double within_s)
{
	lsc_pack_begin(pack, "leave");
	lsc_pack_real(pack, "within", within_s);
	return lsc_pack_end(pack);
}

/* --- parsing --- */

static int get_bytes(const struct lsc_record *record, const char *key, uint8_t *ret_bytes,
		     uint32_t size, struct lsc_err *err)
{
	const void *data;
	uint32_t len;
	int r = lsc_record_bin(record, key, size, &data, &len, err);

	if (r < 0)
		return r;
	if (len != size)
		return lsc_err_set(err, EBADMSG, "record '%.*s': key '%s' has %u bytes, not %u",
				   (int)record->type_len, record->type, key, len, size);
	memcpy(ret_bytes, data, size);
	return 0;
}

int lsc_frame_get_image(const struct lsc_record *record, struct lsc_hash *ret_image,
			struct lsc_err *err)
{
	return get_bytes(record, "image", ret_image->bytes, sizeof(ret_image->bytes), err);
}

int lsc_frame_get_client(const struct lsc_record *record, struct lsc_client_id *ret_client,
			 struct lsc_err *err)
{
	int r = get_bytes(record, "client", ret_client->bytes, sizeof(ret_client->bytes), err);

	if (r == 0 && all_zero(ret_client->bytes, sizeof(ret_client->bytes)))
		return lsc_err_set(err, EBADMSG, "record '%.*s': a client is never all zeros",
				   (int)record->type_len, record->type);
	return r;
}

int lsc_frame_get_uint32(const struct lsc_record *record, const char *key, uint32_t max,
			 uint32_t *ret_value, struct lsc_err *err)
{
	uint64_t value;
	int r = lsc_record_uint(record, key, max, &value, err);

	if (r == 0)
		*ret_value = value;
	return r;
}

int lsc_frame_parse_client(const struct lsc_record *record, struct lsc_client_id *ret_client,
			   struct lsc_err *err)
{
	return lsc_frame_get_client(record, ret_client, err);
}

static bool is_uint(const msgpack_object *object, uint64_t max)
{
	return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= max;
}

/* [endpoint, first, last] */
static int get_stage(const msgpack_object *item, struct lsc_frame_stage *stage)
{
	const msgpack_object *field;

	if (item->type != MSGPACK_OBJECT_ARRAY || item->via.array.size < 3)
		return -EBADMSG;
	field = item->via.array.ptr;
	if (field[0].type != MSGPACK_OBJECT_STR || !is_uint(&field[1], MAX_UNIT) ||
	    !is_uint(&field[2], MAX_UNIT))
		return -EBADMSG;
	if (field[0].via.str.size == 0 || field[0].via.str.size >= sizeof(stage->endpoint) ||
	    memchr(field[0].via.str.ptr, 0, field[0].via.str.size))
		return -EBADMSG;
	memcpy(stage->endpoint, field[0].via.str.ptr, field[0].via.str.size);
	stage->endpoint[field[0].via.str.size] = 0;
	stage->first = field[1].via.u64;
	stage->last = field[2].via.u64;
	return 0;
}

int lsc_frame_get_route(const struct lsc_record *record, struct lsc_frame_stage *ret_stages,
			uint32_t *ret_n, struct lsc_err *err)
{
	const int type_len = (int)record->type_len;
	const msgpack_object *items;
	uint32_t next = 0;
	int r = lsc_record_array(record, "route", LSC_FRAME_MAX_STAGES, &items, ret_n, err);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < *ret_n; i++) {
		struct lsc_frame_stage *stage = &ret_stages[i];

		if (get_stage(&items[i], stage) < 0)
			return lsc_err_set(err, EBADMSG,
					   "record '%.*s': stage %u is not [endpoint, first, last]",
					   type_len, record->type, i);
		if (stage->first != next || stage->last < stage->first)
			return lsc_err_set(
				err, EBADMSG,
				"record '%.*s': stage %u runs units %u to %u after unit %d",
				type_len, record->type, i, stage->first, stage->last,
				(int)next - 1);
		next = stage->last + 1;
	}
	return 0;
}

static int get_route(const struct lsc_record *record, struct lsc_run_frame *run,
		     struct lsc_err *err)
{
	int r = lsc_frame_get_route(record, run->route, &run->n_stages, err);

	if (r == 0 && run->stage >= run->n_stages)
		return lsc_err_set(err, EBADMSG, "record 'run': stage %u of a route of %u",
				   run->stage, run->n_stages);
	return r;
}

/* A number that as a float is from min to max: a double may be too small for one. */
static int get_float(const struct lsc_record *record, const char *key, double absent, double min,
		     double max, float *ret_value, struct lsc_err *err)
{
	double value;
	int r = lsc_record_real_or(record, key, absent, &value, err);

	if (r < 0)
		return r;
	*ret_value = (float)value;
	if (!(*ret_value >= (float)min && value <= max))
		return lsc_err_set(err, EBADMSG, "record 'run': %s is out of range", key);
	return 0;
}

/* The ids of all n positions, which the penalty needs to know. */
static int get_penalty(const struct lsc_record *record, struct lsc_run_frame *run,
		       struct lsc_err *err)
{
	uint32_t len;
	int r = get_float(record, "penalty", 1, LSC_SAMPLING_MIN_PENALTY, LSC_SAMPLING_MAX_PENALTY,
			  &run->sampling.penalty, err);

	run->ids = NULL;
	if (r < 0 || !lsc_sampling_penalises(&run->sampling))
		return r;
	r = lsc_record_bin(record, "ids", 4 * LSC_FRAME_MAX_TOKENS, &run->ids, &len, err);
	if (r == 0 && len != 4 * run->n)
		return lsc_err_set(err, EBADMSG, "record 'run': %u bytes of ids for %u positions",
				   len, run->n);
	return r;
}

static int get_sampling(const struct lsc_record *record, struct lsc_run_frame *run,
			struct lsc_err *err)
{
	struct lsc_sampling *sampling = &run->sampling;
	uint64_t top_k = 0, top = 0;
	int r = get_float(record, "temp", 0, 0, LSC_SAMPLING_MAX_TEMP, &sampling->temp, err);

	if (r == 0)
		r = get_float(record, "top_p", 1, FLT_TRUE_MIN, 1, &sampling->top_p, err);
	if (r == 0)
		r = get_float(record, "min_p", 0, 0, 1, &sampling->min_p, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "top_k", LSC_SAMPLING_MAX_TOP_K, 0, &top_k, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "seed", UINT64_MAX, 0, &sampling->seed, err);
	sampling->logprobs = lsc_record_get(record, "logprobs") != NULL;
	if (r == 0)
		r = lsc_record_uint_or(record, "logprobs", LSC_SAMPLING_MAX_TOP, 0, &top, err);
	sampling->top_k = (uint32_t)top_k;
	sampling->top = (uint32_t)top;
	return r ? r : get_penalty(record, run, err);
}

static int get_order(const struct lsc_record *record, struct lsc_run_frame *run,
		     struct lsc_err *err)
{
	uint64_t reach = 0;
	int r = lsc_record_uint_or(record, "since", UINT64_MAX, 0, &run->since, err);

	if (r == 0)
		r = lsc_record_uint_or(record, "reach", MAX_POSITION, 0, &reach, err);
	run->reach = (uint32_t)reach;
	return r;
}

/* The first stage gets ids, the others whole rows of f32. */
static int check_body(const struct lsc_record *record, const struct lsc_run_frame *run,
		      struct lsc_err *err)
{
	uint64_t len, row = 4 * (uint64_t)run->n;
	int r = lsc_record_uint(record, "body", LSC_BODY_MAX_BYTES, &len, err);

	if (r < 0)
		return r;
	if (run->stage == 0 ? len != row : len == 0 || len % row)
		return lsc_err_set(err, EBADMSG,
				   "record 'run': a body of %llu bytes for %u positions",
				   (unsigned long long)len, run->n);
	return 0;
}

int lsc_frame_parse_run(const struct lsc_record *record, struct lsc_run_frame *ret_run,
			struct lsc_err *err)
{
	uint64_t stage;
	int r = lsc_frame_get_image(record, &ret_run->image, err);

	if (r == 0)
		r = lsc_frame_get_client(record, &ret_run->client, err);
	if (r == 0)
		r = lsc_record_uint(record, "request", UINT64_MAX, &ret_run->request, err);
	if (r == 0)
		r = lsc_frame_get_uint32(record, "pos", MAX_POSITION - LSC_FRAME_MAX_TOKENS,
					 &ret_run->pos, err);
	if (r == 0)
		r = lsc_frame_get_uint32(record, "n", LSC_FRAME_MAX_TOKENS, &ret_run->n, err);
	if (r == 0 && ret_run->n == 0)
		r = lsc_err_set(err, EBADMSG, "record 'run': no positions");
	if (r == 0)
		r = lsc_record_uint_or(record, "stage", LSC_FRAME_MAX_STAGES - 1, 0, &stage, err);
	if (r < 0)
		return r;
	ret_run->stage = stage;
	r = get_route(record, ret_run, err);
	if (r == 0)
		r = get_sampling(record, ret_run, err);
	if (r == 0)
		r = get_order(record, ret_run, err);
	return r ? r : check_body(record, ret_run, err);
}

static bool get_top(const msgpack_object *item, struct lsc_logprob *ret_top)
{
	const msgpack_object *pair;
	double logprob;

	if (item->type != MSGPACK_OBJECT_ARRAY || item->via.array.size < 2)
		return false;
	pair = item->via.array.ptr;
	switch (pair[1].type) {
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		logprob = pair[1].via.f64;
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		logprob = (double)pair[1].via.i64;
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		logprob = (double)pair[1].via.u64;
		break;
	default:
		return false;
	}
	if (!is_uint(&pair[0], UINT32_MAX) || !isfinite(logprob))
		return false;
	*ret_top = (struct lsc_logprob){(uint32_t)pair[0].via.u64, in_range((float)logprob)};
	return true;
}

static int get_logprobs(const struct lsc_record *record, struct lsc_token_frame *token,
			struct lsc_err *err)
{
	struct lsc_drawn *drawn = &token->drawn;
	const msgpack_object *items;
	double logprob;
	int r;

	drawn->n_top = 0;
	drawn->logprob = 0;
	token->logprobs = lsc_record_get(record, "logprob") != NULL;
	if (!token->logprobs)
		return 0;
	r = lsc_record_real(record, "logprob", &logprob, err);
	if (r == 0 && lsc_record_get(record, "top"))
		r = lsc_record_array(record, "top", LSC_SAMPLING_MAX_TOP, &items, &drawn->n_top,
				     err);
	if (r < 0)
		return r;
	drawn->logprob = in_range((float)logprob);
	for (uint32_t i = 0; i < drawn->n_top; i++) {
		if (!get_top(&items[i], &drawn->top[i]))
			return lsc_err_set(err, EBADMSG,
					   "record 'token': top %u is not [token, logprob]", i);
	}
	return 0;
}

int lsc_frame_parse_token(const struct lsc_record *record, struct lsc_token_frame *ret_token,
			  struct lsc_err *err)
{
	int r = lsc_record_uint(record, "request", UINT64_MAX, &ret_token->request, err);

	if (r == 0)
		r = lsc_frame_get_uint32(record, "pos", MAX_POSITION, &ret_token->pos, err);
	if (r == 0)
		r = lsc_frame_get_uint32(record, "token", UINT32_MAX, &ret_token->drawn.token, err);
	return r ? r : get_logprobs(record, ret_token, err);
}

/* It ends up on somebody's terminal. */
int lsc_frame_get_why(const struct lsc_record *record, char *ret_why, uint32_t size,
		      struct lsc_err *err)
{
	const char *why;
	uint32_t len;
	int r = lsc_record_str(record, "why", 4096, &why, &len, err);

	if (r < 0)
		return r;
	len = LSC_MIN(len, size - 1);
	for (uint32_t i = 0; i < len; i++)
		ret_why[i] = (unsigned char)why[i] < ' ' || why[i] == 127 ? '?' : why[i];
	ret_why[len] = 0;
	return 0;
}

int lsc_frame_parse_fail(const struct lsc_record *record, struct lsc_fail_frame *ret_fail,
			 struct lsc_err *err)
{
	uint32_t code = 0;
	int r = lsc_record_uint(record, "request", UINT64_MAX, &ret_fail->request, err);

	if (r == 0)
		r = lsc_frame_get_uint32(record, "pos", MAX_POSITION, &ret_fail->pos, err);
	if (r == 0)
		r = lsc_frame_get_uint32(record, "code", 4095, &code, err);
	if (r == 0)
		r = lsc_frame_get_why(record, ret_fail->why, sizeof(ret_fail->why), err);
	if (r == 0)
		ret_fail->code = code ? (int)code : EIO;
	return r;
}

int lsc_frame_parse_drop(const struct lsc_record *record, struct lsc_client_id *ret_client,
			 uint64_t *ret_request, struct lsc_err *err)
{
	int r = lsc_frame_get_client(record, ret_client, err);

	return r ? r : lsc_record_uint(record, "request", UINT64_MAX, ret_request, err);
}

/* Seconds that somebody measured: absent 0. */
static int get_seconds(const struct lsc_record *record, const char *key, double *ret_value,
		       struct lsc_err *err)
{
	int r = lsc_record_real_or(record, key, 0, ret_value, err);

	if (r == 0 && !(*ret_value >= 0 && *ret_value <= MAX_SECONDS))
		return lsc_err_set(err, EBADMSG, "record '%.*s': %s %g: want 0 to %g seconds",
				   (int)record->type_len, record->type, key, *ret_value,
				   MAX_SECONDS);
	return r;
}

int lsc_frame_parse_pong(const struct lsc_record *record, struct lsc_pong_frame *ret_pong,
			 struct lsc_err *err)
{
	struct lsc_pong_frame pong = {.told = lsc_record_get(record, "runs") != NULL};
	int r = lsc_record_uint_or(record, "runs", UINT64_MAX, 0, &pong.runs, err);

	if (r == 0)
		r = lsc_record_uint_or(record, "done", UINT64_MAX, 0, &pong.done, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "works", false, &pong.works, err);
	if (r == 0)
		r = get_seconds(record, "step", &pong.step_s, err);
	if (r == 0)
		r = get_seconds(record, "unit", &pong.unit_s, err);
	if (r == 0)
		*ret_pong = pong;
	return r;
}

int lsc_frame_parse_leave(const struct lsc_record *record, double *ret_within_s,
			  struct lsc_err *err)
{
	return get_seconds(record, "within", ret_within_s, err);
}
