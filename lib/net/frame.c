/* frame - exec messages as records, and back, every field bounded
 *
 * What has a usual value is left out: a greedy run of one position through two stages is some 150
 * bytes.  A route is held to what any worker relies on: it starts with unit 0, and each stage goes
 * on where the one before it ended.
 */
#include "net/frame.h"

#include <string.h>

#include "base/macros.h"

#define MAX_UNIT     65535 /* more than any image has; the worker knows how many */
#define MAX_POSITION 0x7fffffff

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

static void put_route(struct lsc_pack *pack, const struct lsc_run_frame *run)
{
	lsc_pack_array(pack, "route", run->n_stages);
	for (uint32_t i = 0; i < run->n_stages; i++) {
		const struct lsc_frame_stage *stage = &run->route[i];

		lsc_pack_array(pack, NULL, 3);
		lsc_pack_str(pack, NULL, stage->endpoint);
		lsc_pack_uint(pack, NULL, stage->first);
		lsc_pack_uint(pack, NULL, stage->last);
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
	put_route(pack, run);
	if (run->sampling.temp > 0) {
		lsc_pack_real(pack, "temp", run->sampling.temp);
		lsc_pack_real(pack, "top_p", run->sampling.top_p);
		lsc_pack_uint(pack, "seed", run->sampling.seed);
	}
	lsc_pack_uint(pack, "body", body_len);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_token(struct lsc_pack *pack, const struct lsc_token_frame *token)
{
	lsc_pack_begin(pack, "token");
	lsc_pack_uint(pack, "request", token->request);
	lsc_pack_uint(pack, "pos", token->pos);
	lsc_pack_uint(pack, "token", token->token);
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

int lsc_frame_pack_drop(struct lsc_pack *pack, const struct lsc_client_id *client, uint64_t request)
{
	lsc_pack_begin(pack, "drop");
	lsc_pack_bin(pack, "client", client->bytes, sizeof(client->bytes));
	lsc_pack_uint(pack, "request", request);
	return lsc_pack_end(pack);
}

int lsc_frame_pack_ping(struct lsc_pack *pack)
{
	lsc_pack_begin(pack, "ping");
	return lsc_pack_end(pack);
}

int lsc_frame_pack_pong(struct lsc_pack *pack)
{
	lsc_pack_begin(pack, "pong");
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

static int get_client(const struct lsc_record *record, struct lsc_client_id *ret_client,
		      struct lsc_err *err)
{
	int r = get_bytes(record, "client", ret_client->bytes, sizeof(ret_client->bytes), err);

	if (r == 0 && all_zero(ret_client->bytes, sizeof(ret_client->bytes)))
		return lsc_err_set(err, EBADMSG, "record '%.*s': a client is never all zeros",
				   (int)record->type_len, record->type);
	return r;
}

static int get_uint32(const struct lsc_record *record, const char *key, uint32_t max,
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
	return get_client(record, ret_client, err);
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

static int get_route(const struct lsc_record *record, struct lsc_run_frame *run,
		     struct lsc_err *err)
{
	const msgpack_object *items;
	uint32_t next = 0;
	int r = lsc_record_array(record, "route", LSC_FRAME_MAX_STAGES, &items, &run->n_stages,
				 err);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < run->n_stages; i++) {
		struct lsc_frame_stage *stage = &run->route[i];

		if (get_stage(&items[i], stage) < 0)
			return lsc_err_set(err, EBADMSG,
					   "record 'run': stage %u is not [endpoint, first, last]",
					   i);
		if (stage->first != next || stage->last < stage->first)
			return lsc_err_set(
				err, EBADMSG,
				"record 'run': stage %u runs units %u to %u after unit %d", i,
				stage->first, stage->last, (int)next - 1);
		next = stage->last + 1;
	}
	if (run->stage >= run->n_stages)
		return lsc_err_set(err, EBADMSG, "record 'run': stage %u of a route of %u",
				   run->stage, run->n_stages);
	return 0;
}

static int get_sampling(const struct lsc_record *record, struct lsc_sampling *sampling,
			struct lsc_err *err)
{
	double temp, top_p;
	int r = lsc_record_real_or(record, "temp", 0, &temp, err);

	if (r == 0)
		r = lsc_record_real_or(record, "top_p", 1, &top_p, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "seed", UINT64_MAX, 0, &sampling->seed, err);
	if (r < 0)
		return r;
	sampling->temp = temp;
	sampling->top_p = top_p; /* a double may be too small for it */
	if (temp < 0 || temp > 1000 || sampling->top_p <= 0 || top_p > 1)
		return lsc_err_set(err, EBADMSG, "record 'run': temp or top_p is out of range");
	return 0;
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
	int r = get_bytes(record, "image", ret_run->image.bytes, sizeof(ret_run->image.bytes), err);

	if (r == 0)
		r = get_client(record, &ret_run->client, err);
	if (r == 0)
		r = lsc_record_uint(record, "request", UINT64_MAX, &ret_run->request, err);
	if (r == 0)
		r = get_uint32(record, "pos", MAX_POSITION - LSC_FRAME_MAX_TOKENS, &ret_run->pos,
			       err);
	if (r == 0)
		r = get_uint32(record, "n", LSC_FRAME_MAX_TOKENS, &ret_run->n, err);
	if (r == 0 && ret_run->n == 0)
		r = lsc_err_set(err, EBADMSG, "record 'run': no positions");
	if (r == 0)
		r = lsc_record_uint_or(record, "stage", LSC_FRAME_MAX_STAGES - 1, 0, &stage, err);
	if (r < 0)
		return r;
	ret_run->stage = stage;
	r = get_route(record, ret_run, err);
	if (r == 0)
		r = get_sampling(record, &ret_run->sampling, err);
	return r ? r : check_body(record, ret_run, err);
}

int lsc_frame_parse_token(const struct lsc_record *record, struct lsc_token_frame *ret_token,
			  struct lsc_err *err)
{
	int r = lsc_record_uint(record, "request", UINT64_MAX, &ret_token->request, err);

	if (r == 0)
		r = get_uint32(record, "pos", MAX_POSITION, &ret_token->pos, err);
	return r ? r : get_uint32(record, "token", UINT32_MAX, &ret_token->token, err);
}

int lsc_frame_parse_fail(const struct lsc_record *record, struct lsc_fail_frame *ret_fail,
			 struct lsc_err *err)
{
	const char *why;
	uint32_t code = 0, len;
	int r = lsc_record_uint(record, "request", UINT64_MAX, &ret_fail->request, err);

	if (r == 0)
		r = get_uint32(record, "pos", MAX_POSITION, &ret_fail->pos, err);
	if (r == 0)
		r = get_uint32(record, "code", 4095, &code, err);
	if (r == 0)
		r = lsc_record_str(record, "why", 4096, &why, &len, err);
	if (r < 0)
		return r;
	ret_fail->code = code ? (int)code : EIO;
	/* It ends up on somebody's terminal. */
	len = LSC_MIN(len, (uint32_t)sizeof(ret_fail->why) - 1);
	for (uint32_t i = 0; i < len; i++)
		ret_fail->why[i] = (unsigned char)why[i] < ' ' || why[i] == 127 ? '?' : why[i];
	ret_fail->why[len] = 0;
	return 0;
}

int lsc_frame_parse_drop(const struct lsc_record *record, struct lsc_client_id *ret_client,
			 uint64_t *ret_request, struct lsc_err *err)
{
	int r = get_client(record, ret_client, err);

	return r ? r : lsc_record_uint(record, "request", UINT64_MAX, ret_request, err);
}
