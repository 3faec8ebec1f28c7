/* message - the records of a cast, built and parsed */
#include "cast/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/macros.h"
#include "mem/segment.h"

#define MAX_ERRNO 4095

static int parse_id(const struct lsc_record *record, struct lsc_cast_id *ret, struct lsc_err *err)
{
	const void *data;
	uint32_t len;
	int r = lsc_record_bin(record, "cast", LSC_CAST_ID_BYTES, &data, &len, err);

	if (r < 0)
		return r;
	if (len != LSC_CAST_ID_BYTES)
		return lsc_err_set(err, EBADMSG, "a cast's id has %u bytes, not %u", len,
				   LSC_CAST_ID_BYTES);
	memcpy(ret->bytes, data, len);
	return 0;
}

static int parse_u32(const struct lsc_record *record, const char *key, uint32_t max, uint32_t *ret,
		     struct lsc_err *err)
{
	uint64_t value;
	int r = lsc_record_uint(record, key, max, &value, err);

	if (r == 0)
		*ret = (uint32_t)value;
	return r;
}

int lsc_offer_pack(struct lsc_pack *pack, const struct lsc_offer *offer, uint32_t manifest_len)
{
	lsc_pack_begin(pack, "offer");
	lsc_pack_bin(pack, "cast", offer->cast.bytes, LSC_CAST_ID_BYTES);
	lsc_pack_str(pack, "name", offer->name);
	lsc_pack_bool(pack, "source", offer->source);
	if (offer->part)
		lsc_pack_bool(pack, "part", true);
	if (offer->check)
		lsc_pack_bool(pack, "check", true);
	if (offer->cleartext)
		lsc_pack_bin(pack, "secret", offer->proof.secret, LSC_PASS_SECRET);
	lsc_pack_uint(pack, "body", manifest_len);
	return lsc_pack_end(pack);
}

static int parse_secret(const struct lsc_record *record, struct lsc_offer *ret, struct lsc_err *err)
{
	const void *data;
	uint32_t len;
	int r = lsc_record_bin(record, "secret", LSC_PASS_SECRET, &data, &len, err);

	if (r < 0)
		return r;
	if (len != LSC_PASS_SECRET)
		return lsc_err_set(err, EBADMSG, "a cast's secret has %u bytes, not %u", len,
				   LSC_PASS_SECRET);
	ret->cleartext = true;
	memcpy(ret->proof.secret, data, len);
	memcpy(ret->proof.id, ret->cast.bytes, LSC_PASS_ID);
	return 0;
}

int lsc_offer_parse(const struct lsc_record *record, struct lsc_offer *ret, struct lsc_err *err)
{
	int r = parse_id(record, &ret->cast, err);

	if (r == 0)
		r = lsc_record_text(record, "name", ret->name, sizeof(ret->name), err);
	if (r == 0)
		r = lsc_segment_check_name(ret->name, err);
	ret->cleartext = false;
	if (r == 0 && lsc_record_get(record, "secret"))
		r = parse_secret(record, ret, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "check", false, &ret->check, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "part", false, &ret->part, err);
	return r < 0 ? r : lsc_record_bool_or(record, "source", false, &ret->source, err);
}

/* On the wire bits stand in bytes: piece p is bit p % 8 of byte p / 8. */
int lsc_message_pack_bits(struct lsc_pack *pack, const uint64_t *bits, uint32_t n_pieces)
{
	uint32_t n = bits ? (uint32_t)lsc_div_up(n_pieces, 8) : 0;
	uint8_t *bytes = malloc(n + (size_t)1);

	if (!bytes)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(bits[i / 8] >> (i % 8 * 8));
	while (n && !bytes[n - 1])
		n--;
	lsc_pack_bin(pack, "bits", bytes, n);
	free(bytes);
	return 0;
}

int lsc_message_parse_bits(const struct lsc_record *record, uint32_t n_pieces, uint64_t *ret_bits,
			   uint32_t *ret_n, struct lsc_err *err)
{
	const uint8_t *bytes;
	const void *data;
	uint32_t len;
	int r = lsc_record_bin(record, "bits", (uint32_t)lsc_div_up(n_pieces, 8), &data, &len, err);

	if (r < 0)
		return r;
	bytes = data;
	*ret_n = 0;
	for (uint32_t i = 0; i < n_pieces && i / 8 < len; i++) {
		if (!(bytes[i / 8] >> (i % 8) & 1))
			continue;
		++*ret_n;
		if (ret_bits)
			lsc_bits_add(ret_bits, i);
	}
	return 0;
}

int lsc_ready_pack(struct lsc_pack *pack, const struct lsc_ready *ready, const uint64_t *bits,
		   uint32_t n_pieces)
{
	int r;

	lsc_pack_begin(pack, "ready");
	lsc_pack_bool(pack, "complete", ready->complete);
	if (*ready->exec)
		lsc_pack_str(pack, "exec", ready->exec);
	if (ready->rdma)
		lsc_pack_bool(pack, "rdma", true);
	r = lsc_message_pack_bits(pack, bits, n_pieces);
	return r < 0 ? r : lsc_pack_end(pack);
}

int lsc_ready_parse(const struct lsc_record *record, uint32_t n_pieces, struct lsc_ready *ret,
		    uint64_t *ret_bits, uint32_t *ret_n, struct lsc_err *err)
{
	int r = lsc_record_bool_or(record, "complete", false, &ret->complete, err);

	ret->exec[0] = 0;
	if (r == 0)
		r = lsc_record_bool_or(record, "rdma", false, &ret->rdma, err);
	if (r == 0 && lsc_record_get(record, "exec"))
		r = lsc_record_text(record, "exec", ret->exec, sizeof(ret->exec), err);
	return r < 0 ? r : lsc_message_parse_bits(record, n_pieces, ret_bits, ret_n, err);
}

static const char *const duties[LSC_DUTIES] = {"all", "inject", "part"};

int lsc_plan_pack(struct lsc_pack *pack, const struct lsc_plan *plan)
{
	lsc_pack_begin(pack, "plan");
	lsc_pack_uint(pack, "node", plan->node);
	lsc_pack_uint(pack, "first", plan->first);
	if (plan->rate > 0)
		lsc_pack_real(pack, "rate", plan->rate);
	lsc_pack_real(pack, "timeout", (double)plan->timeout_ns / 1e9);
	lsc_pack_real(pack, "report", (double)plan->report_ns / 1e9);
	if (plan->rdma)
		lsc_pack_bool(pack, "rdma", true);
	if (plan->scheduled) {
		lsc_pack_str(pack, "order", lsc_order_name(plan->order));
		lsc_pack_uint(pack, "rank", plan->rank);
		lsc_pack_uint(pack, "ranks", plan->ranks);
		lsc_pack_uint(pack, "sources", plan->sources);
	}
	lsc_pack_array(pack, "to", plan->n_to);
	for (uint32_t i = 0; i < plan->n_to; i++) {
		const struct lsc_plan_to *to = &plan->to[i];

		lsc_pack_array(pack, NULL, plan->scheduled ? 4 : 3);
		lsc_pack_uint(pack, NULL, to->node);
		lsc_pack_str(pack, NULL, to->address);
		lsc_pack_str(pack, NULL, duties[to->duty]);
		if (plan->scheduled)
			lsc_pack_uint(pack, NULL, to->rank);
	}
	lsc_pack_array(pack, "gone", plan->n_gone);
	for (uint32_t i = 0; i < plan->n_gone; i++)
		lsc_pack_uint(pack, NULL, plan->gone[i]);
	return lsc_pack_end(pack);
}

static bool is_number(const msgpack_object *object, uint64_t max)
{
	return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= max;
}

static bool is_text(const msgpack_object *object, size_t size)
{
	return object->type == MSGPACK_OBJECT_STR && object->via.str.size < size &&
	       !memchr(object->via.str.ptr, 0, object->via.str.size);
}

/* [node, address, duty, and a rank where there is a schedule]; more is skipped. */
static bool parse_to(const msgpack_object *object, bool scheduled, struct lsc_plan_to *to)
{
	uint32_t least = scheduled ? 4 : 3;
	const msgpack_object *items;
	unsigned duty;

	if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size < least)
		return false;
	items = object->via.array.ptr;
	if (!is_number(&items[0], LSC_CAST_MAX_NODES) || !is_text(&items[1], LSC_CAST_ADDRESS) ||
	    !is_text(&items[2], 16) || (scheduled && !is_number(&items[3], LSC_CAST_MAX_NODES)))
		return false;
	for (duty = 0; duty < LSC_DUTIES; duty++)
		if (items[2].via.str.size == strlen(duties[duty]) &&
		    !memcmp(items[2].via.str.ptr, duties[duty], strlen(duties[duty])))
			break;
	if (duty == LSC_DUTIES || (duty == LSC_DUTY_PART) != scheduled)
		return false;
	to->node = (uint32_t)items[0].via.u64;
	memcpy(to->address, items[1].via.str.ptr, items[1].via.str.size);
	to->duty = duty;
	to->rank = scheduled ? (uint32_t)items[3].via.u64 : 0;
	return true;
}

static int parse_lists(const struct lsc_record *record, struct lsc_plan *ret, struct lsc_err *err)
{
	const msgpack_object *to, *gone;
	int r = lsc_record_array(record, "to", LSC_CAST_MAX_NODES, &to, &ret->n_to, err);

	if (r == 0)
		r = lsc_record_array(record, "gone", LSC_CAST_MAX_NODES, &gone, &ret->n_gone, err);
	if (r < 0)
		return r;
	ret->to = calloc(ret->n_to + (size_t)1, sizeof(ret->to[0]));
	ret->gone = calloc(ret->n_gone + (size_t)1, sizeof(ret->gone[0]));
	if (!ret->to || !ret->gone)
		return lsc_err_set(err, ENOMEM, "cannot take a plan: %m");
	for (uint32_t i = 0; i < ret->n_to; i++)
		if (!parse_to(&to[i], ret->scheduled, &ret->to[i]))
			return lsc_err_set(err, EBADMSG, "record 'plan': to whom %u is wrong", i);
	for (uint32_t i = 0; i < ret->n_gone; i++) {
		if (!is_number(&gone[i], LSC_CAST_MAX_NODES))
			return lsc_err_set(err, EBADMSG, "record 'plan': who is gone %u is wrong",
					   i);
		ret->gone[i] = (uint32_t)gone[i].via.u64;
	}
	return 0;
}

static int parse_schedule(const struct lsc_record *record, struct lsc_plan *ret,
			  struct lsc_err *err)
{
	char name[32];
	int r = lsc_record_text(record, "order", name, sizeof(name), err);

	ret->scheduled = true;
	if (r == 0 && lsc_order_parse(name, &ret->order, err) < 0)
		r = lsc_err_set(err, EBADMSG, "record 'plan': order '%s' is not known", name);
	if (r == 0)
		r = parse_u32(record, "ranks", LSC_CAST_MAX_NODES, &ret->ranks, err);
	if (r == 0)
		r = parse_u32(record, "rank", LSC_CAST_MAX_NODES, &ret->rank, err);
	if (r == 0)
		r = parse_u32(record, "sources", LSC_CAST_MAX_NODES, &ret->sources, err);
	if (r == 0 && ret->rank >= ret->ranks)
		r = lsc_err_set(err, EBADMSG, "record 'plan': rank %u of %u", ret->rank,
				ret->ranks);
	return r;
}

int lsc_plan_parse(const struct lsc_record *record, struct lsc_plan *ret, struct lsc_err *err)
{
	double timeout = 0, report;
	int r;

	*ret = (struct lsc_plan)LSC_PLAN_INIT;
	r = parse_u32(record, "node", LSC_CAST_MAX_NODES, &ret->node, err);
	if (r == 0)
		r = parse_u32(record, "first", LSC_SCHEDULE_MAX_PIECES, &ret->first, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "rdma", false, &ret->rdma, err);
	if (r == 0)
		r = lsc_record_real_or(record, "rate", 0, &ret->rate, err);
	if (r == 0)
		r = lsc_record_real(record, "timeout", &timeout, err);
	if (r == 0)
		r = lsc_record_real_or(record, "report", LSC_CAST_PROGRESS_NS / 1e9, &report, err);
	if (r == 0 && lsc_record_get(record, "order"))
		r = parse_schedule(record, ret, err);
	if (r == 0)
		r = parse_lists(record, ret, err);
	if (r == 0 && (ret->rate < 0 || !(timeout >= 0.001) || timeout > 1e6 || !(report >= 0.01) ||
		       report > 60))
		r = lsc_err_set(err, EBADMSG, "record 'plan': rate or times out of range");
	if (r < 0) {
		lsc_plan_release(ret);
		return r;
	}
	ret->timeout_ns = (uint64_t)(timeout * 1e9);
	ret->report_ns = (uint64_t)(report * 1e9);
	return 0;
}

void lsc_plan_release(struct lsc_plan *plan)
{
	free(plan->to);
	free(plan->gone);
	*plan = (struct lsc_plan)LSC_PLAN_INIT;
}

int lsc_node_progress_pack(struct lsc_pack *pack, const struct lsc_node_progress *progress)
{
	lsc_pack_begin(pack, "progress");
	lsc_pack_uint(pack, "pieces", progress->pieces);
	lsc_pack_uint(pack, "bytes", progress->bytes);
	lsc_pack_array(pack, "sent", progress->n_sent);
	for (uint32_t i = 0; i < progress->n_sent; i++) {
		lsc_pack_array(pack, NULL, 3);
		lsc_pack_uint(pack, NULL, progress->sent[i].node);
		lsc_pack_uint(pack, NULL, progress->sent[i].sent);
		lsc_pack_uint(pack, NULL, progress->sent[i].ready);
	}
	return lsc_pack_end(pack);
}

int lsc_node_progress_parse(const struct lsc_record *record, struct lsc_node_progress *ret,
			    struct lsc_err *err)
{
	const msgpack_object *sent;
	int r = parse_u32(record, "pieces", LSC_SCHEDULE_MAX_PIECES, &ret->pieces, err);

	if (r == 0)
		r = lsc_record_uint(record, "bytes", INT64_MAX, &ret->bytes, err);
	if (r == 0)
		r = lsc_record_array(record, "sent", LSC_CAST_MAX_SENT, &sent, &ret->n_sent, err);
	for (uint32_t i = 0; r == 0 && i < ret->n_sent; i++) {
		const msgpack_object *items = sent[i].via.array.ptr;

		if (sent[i].type != MSGPACK_OBJECT_ARRAY || sent[i].via.array.size < 3 ||
		    !is_number(&items[0], LSC_CAST_MAX_NODES) || !is_number(&items[1], INT64_MAX) ||
		    !is_number(&items[2], INT64_MAX))
			r = lsc_err_set(err, EBADMSG, "record 'progress': what it sent is wrong");
		else
			ret->sent[i] = (struct lsc_sent){(uint32_t)items[0].via.u64,
							 items[1].via.u64, items[2].via.u64};
	}
	return r;
}

int lsc_failed_pack(struct lsc_pack *pack, const struct lsc_failed *failed)
{
	lsc_pack_begin(pack, failed->node == LSC_NOBODY ? "failed" : "fault");
	if (failed->node != LSC_NOBODY)
		lsc_pack_uint(pack, "node", failed->node);
	if (failed->node != LSC_NOBODY && failed->piece != LSC_NOBODY)
		lsc_pack_uint(pack, "piece", failed->piece);
	lsc_pack_uint(pack, "code", failed->code);
	lsc_pack_str(pack, "why", failed->why);
	return lsc_pack_end(pack);
}

void lsc_message_plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
}

int lsc_failed_parse(const struct lsc_record *record, struct lsc_failed *ret, struct lsc_err *err)
{
	uint64_t code = 0, piece = LSC_NOBODY;
	int r = lsc_record_uint(record, "code", MAX_ERRNO, &code, err);

	ret->node = LSC_NOBODY;
	if (r == 0)
		r = lsc_record_uint_or(record, "piece", LSC_SCHEDULE_MAX_PIECES, LSC_NOBODY, &piece,
				       err);
	ret->piece = (uint32_t)piece;
	if (r == 0 && lsc_record_is(record, "fault"))
		r = parse_u32(record, "node", LSC_CAST_MAX_NODES, &ret->node, err);
	if (r == 0)
		r = lsc_record_text(record, "why", ret->why, sizeof(ret->why), err);
	if (r < 0)
		return r;
	ret->code = code ? (int)code : EPROTO;
	lsc_message_plain(ret->why);
	return 0;
}

int lsc_stats_pack(struct lsc_pack *pack, const struct lsc_stats *stats)
{
	lsc_pack_begin(pack, "stats");
	lsc_pack_real(pack, "cpu", stats->cpu_s);
	lsc_pack_uint(pack, "received", stats->received);
	lsc_pack_uint(pack, "sent", stats->sent);
	lsc_pack_uint(pack, "memory", stats->memory);
	return lsc_pack_end(pack);
}

int lsc_stats_parse(const struct lsc_record *record, struct lsc_stats *ret, struct lsc_err *err)
{
	int r = lsc_record_real(record, "cpu", &ret->cpu_s, err);

	if (r == 0)
		r = lsc_record_uint(record, "received", INT64_MAX, &ret->received, err);
	if (r == 0)
		r = lsc_record_uint(record, "sent", INT64_MAX, &ret->sent, err);
	if (r == 0)
		r = lsc_record_uint(record, "memory", INT64_MAX, &ret->memory, err);
	return r;
}

int lsc_checked_pack(struct lsc_pack *pack, const struct lsc_check_result *result)
{
	lsc_pack_begin(pack, "checked");
	lsc_pack_str(pack, "state", lsc_check_state_name(result->state));
	lsc_pack_uint(pack, "bad", result->bad_pieces);
	if (result->bad_pieces)
		lsc_pack_uint(pack, "first", result->first_bad);
	lsc_pack_str(pack, "why", result->state == LSC_CHECK_GOOD ? "" : result->why);
	return lsc_pack_end(pack);
}

int lsc_checked_parse(const struct lsc_record *record, struct lsc_check_result *ret,
		      struct lsc_err *err)
{
	char state[16];
	uint64_t first;
	int r = lsc_record_text(record, "state", state, sizeof(state), err);

	if (r == 0)
		r = parse_u32(record, "bad", LSC_SCHEDULE_MAX_PIECES, &ret->bad_pieces, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "first", LSC_SCHEDULE_MAX_PIECES, 0, &first, err);
	if (r == 0)
		r = lsc_record_text(record, "why", ret->why, sizeof(ret->why), err);
	if (r < 0)
		return r;
	ret->first_bad = (uint32_t)first;
	lsc_message_plain(ret->why);
	for (ret->state = LSC_CHECK_GOOD; ret->state <= LSC_CHECK_ABSENT; ret->state++)
		if (!strcmp(state, lsc_check_state_name(ret->state)))
			return 0;
	return lsc_err_set(err, EBADMSG, "record 'checked': state '%s' is not known", state);
}

int lsc_peer_pack(struct lsc_pack *pack, const struct lsc_cast_id *cast, uint32_t node)
{
	lsc_pack_begin(pack, "peer");
	lsc_pack_bin(pack, "cast", cast->bytes, LSC_CAST_ID_BYTES);
	lsc_pack_uint(pack, "node", node);
	return lsc_pack_end(pack);
}

int lsc_peer_parse(const struct lsc_record *record, struct lsc_cast_id *ret_cast,
		   uint32_t *ret_node, struct lsc_err *err)
{
	int r = parse_id(record, ret_cast, err);

	return r < 0 ? r : parse_u32(record, "node", LSC_CAST_MAX_NODES, ret_node, err);
}

int lsc_have_pack(struct lsc_pack *pack, const uint64_t *bits, uint32_t n_pieces)
{
	int r;

	lsc_pack_begin(pack, "have");
	r = lsc_message_pack_bits(pack, bits, n_pieces);
	return r < 0 ? r : lsc_pack_end(pack);
}

int lsc_have_parse(const struct lsc_record *record, uint32_t n_pieces, uint64_t *ret_bits,
		   struct lsc_err *err)
{
	uint32_t n;

	return lsc_message_parse_bits(record, n_pieces, ret_bits, &n, err);
}

int lsc_piece_note_pack(struct lsc_pack *pack, const char *type, uint32_t piece)
{
	lsc_pack_begin(pack, type);
	lsc_pack_uint(pack, "piece", piece);
	return lsc_pack_end(pack);
}

int lsc_piece_pack(struct lsc_pack *pack, uint32_t piece, uint32_t piece_bytes)
{
	lsc_pack_begin(pack, "piece");
	lsc_pack_uint(pack, "piece", piece);
	lsc_pack_uint(pack, "body", piece_bytes);
	return lsc_pack_end(pack);
}

int lsc_piece_parse(const struct lsc_record *record, uint32_t n_pieces, uint32_t *ret_piece,
		    struct lsc_err *err)
{
	if (n_pieces == 0)
		return lsc_err_set(err, EBADMSG, "there is no piece");
	return parse_u32(record, "piece", n_pieces - 1, ret_piece, err);
}
