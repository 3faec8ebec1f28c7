/* want - a question about an image, and its answers, built and parsed */
#include "cast/want.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "mem/segment.h"
#include "model/image.h"

#define TIER_TEXT 32 /* of a word that later versions may have */

static const char *const tiers[LSC_HELD_TIERS] = {"gpu", "host", "disk"};

const char *lsc_held_tier_name(enum lsc_held_tier tier)
{
	return tiers[tier];
}

int lsc_want_pack(struct lsc_pack *pack, const struct lsc_want *want)
{
	lsc_pack_begin(pack, "want");
	lsc_pack_str(pack, "name", want->name);
	if (want->manifest)
		lsc_pack_bool(pack, "manifest", true);
	return lsc_pack_end(pack);
}

int lsc_want_parse(const struct lsc_record *record, struct lsc_want *ret, struct lsc_err *err)
{
	int r = lsc_record_text(record, "name", ret->name, sizeof(ret->name), err);

	if (r == 0)
		r = lsc_segment_check_name(ret->name, err);
	return r < 0 ? r : lsc_record_bool_or(record, "manifest", false, &ret->manifest, err);
}

int lsc_held_pack(struct lsc_pack *pack, const struct lsc_held *held, uint32_t manifest_len)
{
	int r = 0;

	lsc_pack_begin(pack, "held");
	lsc_pack_bin(pack, "id", held->id.bytes, LSC_HASH_BYTES);
	lsc_pack_uint(pack, "bytes", held->bytes);
	lsc_pack_uint(pack, "pieces", held->n_pieces);
	if (held->complete)
		lsc_pack_bool(pack, "complete", true);
	else
		r = lsc_message_pack_bits(pack, held->bits, held->n_pieces);
	if (held->tier != LSC_HELD_DISK)
		lsc_pack_str(pack, "tier", tiers[held->tier]);
	if (manifest_len)
		lsc_pack_uint(pack, "body", manifest_len);
	return r < 0 ? r : lsc_pack_end(pack);
}

static int parse_image(const struct lsc_record *record, struct lsc_held *ret, struct lsc_err *err)
{
	const void *id;
	uint64_t pieces;
	uint32_t len;
	int r = lsc_record_bin(record, "id", LSC_HASH_BYTES, &id, &len, err);

	if (r == 0 && len != LSC_HASH_BYTES)
		r = lsc_err_set(err, EBADMSG, "an image's id has %u bytes, not %u", len,
				LSC_HASH_BYTES);
	if (r < 0)
		return r;
	memcpy(ret->id.bytes, id, LSC_HASH_BYTES);
	r = lsc_record_uint(record, "bytes", INT64_MAX, &ret->bytes, err);
	if (r == 0)
		r = lsc_record_uint(record, "pieces", LSC_IMAGE_MAX_PIECES, &pieces, err);
	if (r == 0)
		ret->n_pieces = (uint32_t)pieces;
	return r;
}

static int parse_bits(const struct lsc_record *record, struct lsc_held *ret, struct lsc_err *err)
{
	ret->n_here = ret->complete ? ret->n_pieces : 0;
	if (ret->complete)
		return 0;
	ret->bits = lsc_bits_new(ret->n_pieces);
	if (!ret->bits)
		return lsc_err_set(err, ENOMEM, "cannot take an answer: %m");
	if (!lsc_record_get(record, "bits"))
		return 0;
	return lsc_message_parse_bits(record, ret->n_pieces, ret->bits, &ret->n_here, err);
}

int lsc_held_parse(const struct lsc_record *record, struct lsc_held *ret, struct lsc_err *err)
{
	struct lsc_held held = LSC_HELD_INIT;
	char tier[TIER_TEXT] = "disk";
	int r = parse_image(record, &held, err);

	if (r == 0)
		r = lsc_record_bool_or(record, "complete", false, &held.complete, err);
	if (r == 0 && lsc_record_get(record, "tier"))
		r = lsc_record_text(record, "tier", tier, sizeof(tier), err);
	if (r == 0)
		r = parse_bits(record, &held, err);
	if (r < 0) {
		lsc_held_release(&held);
		return r;
	}
	held.tier = LSC_HELD_GPU;
	while (held.tier < LSC_HELD_DISK && strcmp(tier, tiers[held.tier]) != 0)
		held.tier++;
	*ret = held;
	return 0;
}

void lsc_held_release(struct lsc_held *held)
{
	free(held->bits);
	*held = (struct lsc_held)LSC_HELD_INIT;
}

int lsc_absent_pack(struct lsc_pack *pack, const char *why)
{
	char words[LSC_CAST_WHY];

	snprintf(words, sizeof(words), "%.*s", LSC_CAST_WHY - 1, why);
	lsc_pack_begin(pack, "absent");
	lsc_pack_str(pack, "why", words);
	return lsc_pack_end(pack);
}

int lsc_absent_parse(const struct lsc_record *record, char ret_why[LSC_CAST_WHY],
		     struct lsc_err *err)
{
	char why[LSC_CAST_WHY];
	int r = lsc_record_text(record, "why", why, sizeof(why), err);

	if (r < 0)
		return r;
	lsc_message_plain(why);
	memcpy(ret_why, why, sizeof(why));
	return 0;
}
