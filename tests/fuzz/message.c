/* fuzz message: any record as each message of a cast; what is understood keeps within its bounds,
 * and survives the way back */
#include "cast/message.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/endpoint.h"
#include "cast/want.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void try_offer(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_offer offer, again;

	if (lsc_offer_parse(record, &offer, NULL) < 0)
		return;
	check(*offer.name && *offer.name != '.' && !strchr(offer.name, '/'));
	check(lsc_offer_pack(&pack, &offer, 1) == 0);
	reparse(&copy, &pack);
	check(lsc_offer_parse(&copy, &again, NULL) == 0 && !strcmp(again.name, offer.name) &&
	      again.source == offer.source && again.part == offer.part &&
	      again.cleartext == offer.cleartext &&
	      (!offer.cleartext || !memcmp(&again.proof, &offer.proof, sizeof(offer.proof))) &&
	      !memcmp(&again.cast, &offer.cast, sizeof(offer.cast)));
}

static void try_ready(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	uint64_t bits[2] = {0}, bits_again[2] = {0};
	struct lsc_ready ready, again;
	uint32_t n, n_again;

	if (lsc_ready_parse(record, 77, &ready, bits, &n, NULL) < 0)
		return;
	check(n == lsc_bits_count(bits, 77) && n <= 77 && bits[1] >> 13 == 0);
	check(lsc_ready_pack(&pack, &ready, bits, 77) == 0);
	reparse(&copy, &pack);
	check(lsc_ready_parse(&copy, 77, &again, bits_again, &n_again, NULL) == 0 && n_again == n &&
	      !memcmp(bits, bits_again, sizeof(bits)) && again.complete == ready.complete &&
	      !strcmp(again.exec, ready.exec));
}

/* An address is parsed by whoever gets it, and means the same when it is written again. */
static void try_address(const char *text)
{
	char written[LSC_ENDPOINT_TEXT + 16], rewritten[LSC_ENDPOINT_TEXT + 16];
	struct lsc_endpoint endpoint, again;

	if (lsc_endpoint_parse(&endpoint, text, NULL) < 0)
		return;
	lsc_endpoint_text(&endpoint, written);
	check(lsc_endpoint_parse(&again, written, NULL) == 0 && again.kind == endpoint.kind);
	check(!strcmp(lsc_endpoint_text(&again, rewritten), written));
}

static void try_plan(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_plan plan, again;

	if (lsc_plan_parse(record, &plan, NULL) < 0)
		return;
	check(plan.n_to <= LSC_CAST_MAX_NODES && plan.n_gone <= LSC_CAST_MAX_NODES);
	check(plan.rate >= 0 && plan.timeout_ns > 0 && (!plan.scheduled || plan.rank < plan.ranks));
	for (uint32_t i = 0; i < plan.n_to; i++) {
		check((plan.to[i].duty == LSC_DUTY_PART) == plan.scheduled);
		try_address(plan.to[i].address);
	}
	check(lsc_plan_pack(&pack, &plan) == 0);
	if (pack.buf.len <= LSC_RECORD_MAX_BYTES) {
		reparse(&copy, &pack);
		check(lsc_plan_parse(&copy, &again, NULL) == 0 && again.node == plan.node &&
		      again.n_to == plan.n_to && again.n_gone == plan.n_gone);
		lsc_plan_release(&again);
	}
	lsc_plan_release(&plan);
}

static void try_progress(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_node_progress progress, again;

	if (lsc_node_progress_parse(record, &progress, NULL) < 0)
		return;
	check(progress.n_sent <= LSC_CAST_MAX_SENT);
	check(lsc_node_progress_pack(&pack, &progress) == 0);
	reparse(&copy, &pack);
	check(lsc_node_progress_parse(&copy, &again, NULL) == 0 && again.bytes == progress.bytes &&
	      again.n_sent == progress.n_sent);
}

static void try_failed(const struct lsc_record *record)
{
	struct lsc_failed failed;

	if (lsc_failed_parse(record, &failed, NULL) < 0)
		return;
	check(failed.code > 0 && memchr(failed.why, 0, sizeof(failed.why)));
	for (const char *c = failed.why; *c; c++)
		check((unsigned char)*c >= ' ' && *c != 127);
}

static void try_want(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_want want, again;

	if (lsc_want_parse(record, &want, NULL) < 0)
		return;
	check(*want.name && *want.name != '.' && !strchr(want.name, '/'));
	check(lsc_want_pack(&pack, &want) == 0);
	reparse(&copy, &pack);
	check(lsc_want_parse(&copy, &again, NULL) == 0 && !strcmp(again.name, want.name) &&
	      again.manifest == want.manifest);
}

static void try_held(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_held held, again;

	if (lsc_held_parse(record, &held, NULL) < 0)
		return;
	check(held.tier <= LSC_HELD_DISK && held.n_here <= held.n_pieces &&
	      !held.bits == held.complete);
	check(held.complete ? held.n_here == held.n_pieces
			    : held.n_here == lsc_bits_count(held.bits, held.n_pieces));
	check(lsc_held_pack(&pack, &held, 0) == 0);
	reparse(&copy, &pack);
	check(lsc_held_parse(&copy, &again, NULL) == 0 && again.n_here == held.n_here &&
	      again.bytes == held.bytes && again.tier == held.tier &&
	      again.complete == held.complete && lsc_hash_equal(&again.id, &held.id));
	lsc_held_release(&again);
	lsc_held_release(&held);
}

static void try_absent(const struct lsc_record *record)
{
	char why[LSC_CAST_WHY];

	if (lsc_absent_parse(record, why, NULL) < 0)
		return;
	for (const char *c = why; *c; c++)
		check((unsigned char)*c >= ' ' && *c != 127);
}

static void try_pieces(const struct lsc_record *record, uint32_t n_pieces)
{
	uint64_t bits[2] = {0};
	uint32_t piece;

	lsc_have_parse(record, n_pieces, bits, NULL);
	for (uint32_t i = n_pieces; i < 128; i++)
		check(!lsc_bits_has(bits, i));
	if (lsc_piece_parse(record, n_pieces, &piece, NULL) == 0)
		check(piece < n_pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	struct lsc_cast_id cast;
	struct lsc_check_result checked;
	struct lsc_stats stats;
	uint32_t node;

	if (lsc_record_parse(&record, data, len, NULL) <= 0)
		return 0;
	try_offer(&record);
	try_ready(&record);
	try_plan(&record);
	try_progress(&record);
	try_failed(&record);
	try_want(&record);
	try_held(&record);
	try_absent(&record);
	lsc_stats_parse(&record, &stats, NULL);
	if (lsc_checked_parse(&record, &checked, NULL) == 0)
		check(checked.state <= LSC_CHECK_ABSENT);
	if (lsc_peer_parse(&record, &cast, &node, NULL) == 0)
		check(node <= LSC_CAST_MAX_NODES);
	try_pieces(&record, 0);
	try_pieces(&record, 13);
	try_pieces(&record, 64);
	return 0;
}
