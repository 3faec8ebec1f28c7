/* message - the records of a cast, built and parsed */
#include "cast/message.h"

#include <stdlib.h>
#include <string.h>

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
	return r < 0 ? r : lsc_record_bool_or(record, "source", false, &ret->source, err);
}

int lsc_ready_pack(struct lsc_pack *pack, const struct lsc_ready *ready)
{
	lsc_pack_begin(pack, "ready");
	lsc_pack_uint(pack, "pieces", ready->pieces);
	lsc_pack_bool(pack, "complete", ready->complete);
	if (*ready->exec)
		lsc_pack_str(pack, "exec", ready->exec);
	return lsc_pack_end(pack);
}

int lsc_ready_parse(const struct lsc_record *record, struct lsc_ready *ret, struct lsc_err *err)
{
	int r = parse_u32(record, "pieces", LSC_SCHEDULE_MAX_PIECES, &ret->pieces, err);

	if (r == 0)
		r = lsc_record_bool_or(record, "complete", false, &ret->complete, err);
	ret->exec[0] = 0;
	if (r == 0 && lsc_record_get(record, "exec"))
		r = lsc_record_text(record, "exec", ret->exec, sizeof(ret->exec), err);
	return r;
}

int lsc_start_pack(struct lsc_pack *pack, const struct lsc_start *start)
{
	lsc_pack_begin(pack, "start");
	lsc_pack_str(pack, "order", lsc_order_name(start->order));
	lsc_pack_uint(pack, "rank", start->rank);
	lsc_pack_uint(pack, "sources", start->sources);
	lsc_pack_real(pack, "rate", start->rate);
	lsc_pack_real(pack, "timeout", (double)start->timeout_ns / 1e9);
	lsc_pack_array(pack, "nodes", start->n_nodes);
	for (uint32_t i = 0; i < start->n_nodes; i++)
		lsc_pack_str(pack, NULL, start->addresses[i]);
	return lsc_pack_end(pack);
}

static int parse_addresses(const struct lsc_record *record, struct lsc_start *ret,
			   struct lsc_err *err)
{
	const msgpack_object *items;
	int r = lsc_record_array(record, "nodes", LSC_CAST_MAX_NODES, &items, &ret->n_nodes, err);

	if (r < 0)
		return r;
	ret->addresses = calloc(ret->n_nodes + (size_t)1, sizeof(ret->addresses[0]));
	if (!ret->addresses)
		return lsc_err_set(err, ENOMEM, "cannot start a cast: %m");
	for (uint32_t i = 0; i < ret->n_nodes; i++) {
		const msgpack_object_str *str = &items[i].via.str;

		if (items[i].type != MSGPACK_OBJECT_STR || str->size >= LSC_CAST_ADDRESS ||
		    memchr(str->ptr, 0, str->size))
			return lsc_err_set(err, EBADMSG, "record 'start': node %u has no address",
					   i);
		memcpy(ret->addresses[i], str->ptr, str->size);
	}
	return 0;
}

int lsc_start_parse(const struct lsc_record *record, struct lsc_start *ret, struct lsc_err *err)
{
	double timeout = 0;
	char order[32];
	int r;

	*ret = (struct lsc_start){0};
	r = lsc_record_text(record, "order", order, sizeof(order), err);
	if (r == 0)
		r = lsc_order_parse(order, &ret->order, err);
	if (r == 0)
		r = parse_u32(record, "rank", LSC_CAST_MAX_NODES, &ret->rank, err);
	if (r == 0)
		r = parse_u32(record, "sources", LSC_CAST_MAX_NODES, &ret->sources, err);
	if (r == 0)
		r = lsc_record_real_or(record, "rate", 0, &ret->rate, err);
	if (r == 0)
		r = lsc_record_real_or(record, "timeout", 10, &timeout, err);
	if (r == 0)
		r = parse_addresses(record, ret, err);
	if (r == 0 &&
	    (ret->rank >= ret->n_nodes || ret->rate < 0 || !(timeout >= 0.001) || timeout > 1e6))
		r = lsc_err_set(err, EBADMSG, "record 'start': rank, rate or timeout out of range");
	if (r < 0) {
		lsc_start_release(ret);
		return r;
	}
	ret->timeout_ns = (uint64_t)(timeout * 1e9);
	return 0;
}

void lsc_start_release(struct lsc_start *start)
{
	free(start->addresses);
	*start = (struct lsc_start){0};
}

int lsc_failed_pack(struct lsc_pack *pack, const struct lsc_failed *failed)
{
	lsc_pack_begin(pack, "failed");
	lsc_pack_uint(pack, "code", failed->code);
	if (failed->culprit != LSC_NOBODY)
		lsc_pack_uint(pack, "rank", failed->culprit);
	lsc_pack_str(pack, "why", failed->why);
	return lsc_pack_end(pack);
}

/* Text from a peer that people will read: one line, no terminal tricks. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
}

int lsc_failed_parse(const struct lsc_record *record, struct lsc_failed *ret, struct lsc_err *err)
{
	uint64_t code = 0, culprit;
	int r = lsc_record_uint(record, "code", MAX_ERRNO, &code, err);

	if (r == 0)
		r = lsc_record_uint_or(record, "rank", LSC_CAST_MAX_NODES, LSC_NOBODY, &culprit,
				       err);
	if (r == 0)
		r = lsc_record_text(record, "why", ret->why, sizeof(ret->why), err);
	if (r < 0)
		return r;
	ret->code = code ? (int)code : EPROTO;
	ret->culprit = (uint32_t)culprit;
	make_plain(ret->why);
	return 0;
}

int lsc_peer_pack(struct lsc_pack *pack, const struct lsc_cast_id *cast, uint32_t rank)
{
	lsc_pack_begin(pack, "peer");
	lsc_pack_bin(pack, "cast", cast->bytes, LSC_CAST_ID_BYTES);
	lsc_pack_uint(pack, "rank", rank);
	return lsc_pack_end(pack);
}

int lsc_peer_parse(const struct lsc_record *record, struct lsc_cast_id *ret_cast,
		   uint32_t *ret_rank, struct lsc_err *err)
{
	int r = parse_id(record, ret_cast, err);

	return r < 0 ? r : parse_u32(record, "rank", LSC_CAST_MAX_NODES, ret_rank, err);
}

/* On the wire the bits stand in bytes: piece p is bit p % 8 of byte p / 8. */
int lsc_have_pack(struct lsc_pack *pack, const uint64_t *bits, uint32_t n_pieces)
{
	uint32_t n = bits ? (uint32_t)lsc_div_up(n_pieces, 8) : 0;
	uint8_t *bytes = malloc(n + (size_t)1);

	if (!bytes)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(bits[i / 8] >> (i % 8 * 8));
	lsc_pack_begin(pack, "have");
	lsc_pack_bin(pack, "bits", bytes, n);
	free(bytes);
	return lsc_pack_end(pack);
}

int lsc_have_parse(const struct lsc_record *record, uint32_t n_pieces,
		   void (*fn)(void *data, uint32_t piece), void *data, struct lsc_err *err)
{
	const void *bits;
	uint32_t len;
	int r = lsc_record_bin(record, "bits", (uint32_t)lsc_div_up(n_pieces, 8), &bits, &len, err);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n_pieces && i / 8 < len; i++)
		if (((const uint8_t *)bits)[i / 8] >> (i % 8) & 1)
			fn(data, i);
	return 0;
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
		return lsc_err_set(err, EBADMSG, "record 'piece': the image has none");
	return parse_u32(record, "piece", n_pieces - 1, ret_piece, err);
}
