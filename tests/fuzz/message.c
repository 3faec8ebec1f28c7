/* fuzz message: any record as each message of a cast; what is understood keeps within its bounds,
 * and survives the way back */
#include "cast/message.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/endpoint.h"
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
	      again.source == offer.source && again.cleartext == offer.cleartext &&
	      (!offer.cleartext || !memcmp(&again.proof, &offer.proof, sizeof(offer.proof))) &&
	      !memcmp(&again.cast, &offer.cast, sizeof(offer.cast)));
}

static void try_ready(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_ready ready, again;

	if (lsc_ready_parse(record, &ready, NULL) < 0)
		return;
	check(lsc_ready_pack(&pack, &ready) == 0);
	reparse(&copy, &pack);
	check(lsc_ready_parse(&copy, &again, NULL) == 0 && again.pieces == ready.pieces &&
	      again.complete == ready.complete && !strcmp(again.exec, ready.exec));
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

static void try_start(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_start start, again;

	if (lsc_start_parse(record, &start, NULL) < 0)
		return;
	check(start.rank < start.n_nodes && start.n_nodes <= LSC_CAST_MAX_NODES);
	check(start.rate >= 0 && start.timeout_ns > 0);
	for (uint32_t i = 0; i < start.n_nodes; i++)
		try_address(start.addresses[i]);
	check(lsc_start_pack(&pack, &start) == 0);
	if (pack.buf.len <= LSC_RECORD_MAX_BYTES) {
		reparse(&copy, &pack);
		check(lsc_start_parse(&copy, &again, NULL) == 0 && again.rank == start.rank &&
		      again.n_nodes == start.n_nodes && again.order == start.order);
		lsc_start_release(&again);
	}
	lsc_start_release(&start);
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

struct seen {
	uint32_t n_pieces, n;
	int64_t last;
};

static void see(void *data, uint32_t piece)
{
	struct seen *seen = data;

	check(piece < seen->n_pieces && piece > seen->last);
	seen->last = piece;
	seen->n++;
}

static void try_pieces(const struct lsc_record *record, uint32_t n_pieces)
{
	struct seen seen = {n_pieces, 0, -1};
	uint32_t piece;

	lsc_have_parse(record, n_pieces, see, &seen, NULL);
	check(seen.n <= n_pieces);
	if (lsc_piece_parse(record, n_pieces, &piece, NULL) == 0)
		check(piece < n_pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	struct lsc_cast_id cast;
	uint32_t rank;

	if (lsc_record_parse(&record, data, len, NULL) <= 0)
		return 0;
	try_offer(&record);
	try_ready(&record);
	try_start(&record);
	try_failed(&record);
	if (lsc_peer_parse(&record, &cast, &rank, NULL) == 0)
		check(rank <= LSC_CAST_MAX_NODES);
	try_pieces(&record, 0);
	try_pieces(&record, 13);
	try_pieces(&record, 64);
	return 0;
}
