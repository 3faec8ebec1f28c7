/* fuzz frame: any record as each exec message; what is understood must survive the way back */
#include "net/kv_frame.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"

static void try_pong(const struct lsc_record *record)
{
	struct lsc_pong_frame pong;
	double within_s;

	if (lsc_frame_parse_pong(record, &pong, NULL) == 0)
		check(pong.step_s >= 0 && pong.unit_s >= 0 && (pong.told || !pong.runs));
	if (lsc_frame_parse_leave(record, &within_s, NULL) == 0)
		check(within_s >= 0 && within_s < 1e7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void try_run(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT, again = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	static struct lsc_run_frame run, run2;
	uint64_t body;

	if (lsc_frame_parse_run(record, &run, NULL) < 0)
		return;
	check(run.stage < run.n_stages && run.n_stages <= LSC_FRAME_MAX_STAGES);
	check(run.n > 0 && run.n <= LSC_FRAME_MAX_TOKENS && run.pos + run.n > run.pos);
	check(lsc_record_uint(record, "body", UINT64_MAX, &body, NULL) == 0);
	check(lsc_frame_pack_run(&pack, &run, body) == 0);
	reparse(&copy, &pack);
	check(lsc_frame_parse_run(&copy, &run2, NULL) == 0);
	check(lsc_frame_pack_run(&again, &run2, body) == 0);
	check(again.buf.len == pack.buf.len &&
	      !memcmp(again.buf.data, pack.buf.data, pack.buf.len));
}

static void try_fail(const struct lsc_record *record)
{
	struct lsc_fail_frame fail;

	if (lsc_frame_parse_fail(record, &fail, NULL) == 0)
		check(fail.code > 0 && memchr(fail.why, 0, sizeof(fail.why)));
}

static void try_adopt(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	static struct lsc_adopt_frame adopt, adopt2;
	uint64_t body = 0;

	if (lsc_frame_parse_adopt(record, &adopt, NULL) < 0)
		return;
	check(adopt.n > 0 && adopt.n_stages > 0 && adopt.n_stages <= LSC_FRAME_MAX_STAGES);
	check(lsc_record_uint_or(record, "body", UINT64_MAX, 0, &body, NULL) == 0);
	check(body == 0 || body == 4 * (uint64_t)adopt.n);
	check(lsc_frame_pack_adopt(&pack, &adopt, (uint32_t)body) == 0);
	reparse(&copy, &pack);
	check(lsc_frame_parse_adopt(&copy, &adopt2, NULL) == 0);
	check(adopt.request == adopt2.request && adopt.from == adopt2.from && adopt.n == adopt2.n &&
	      adopt.reach == adopt2.reach && adopt.since == adopt2.since &&
	      adopt.n_stages == adopt2.n_stages);
}

static void try_pages(const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record copy = LSC_RECORD_INIT;
	struct lsc_pages_frame pages, pages2;
	uint64_t body = 0;

	if (lsc_frame_parse_pages(record, &pages, NULL) < 0)
		return;
	check(pages.of.n > 0 && pages.of.n <= LSC_FRAME_MAX_TOKENS);
	check(pages.of.pos + pages.of.n > pages.of.pos);
	check(memchr(pages.why, 0, sizeof(pages.why)));
	check(lsc_record_uint_or(record, "body", UINT64_MAX, 0, &body, NULL) == 0);
	check(pages.code ? pages.code > 0 : body > 0 && body <= LSC_KV_MAX_BYTES);
	check(lsc_frame_pack_pages(&pack, &pages, (uint32_t)body) == 0);
	reparse(&copy, &pack);
	check(lsc_frame_parse_pages(&copy, &pages2, NULL) == 0);
	check(pages.code == pages2.code && lsc_fetch_is_same(&pages.of, &pages2.of));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	struct lsc_token_frame token;
	struct lsc_client_id client;
	struct lsc_moved_frame moved;
	struct lsc_fetch_frame fetch;
	uint64_t request;

	if (lsc_record_parse(&record, data, len, NULL) <= 0)
		return 0;
	try_run(&record);
	try_fail(&record);
	try_adopt(&record);
	try_pages(&record);
	lsc_frame_parse_moved(&record, &moved, NULL);
	if (lsc_frame_parse_fetch(&record, &fetch, NULL) == 0)
		check(fetch.n > 0 && fetch.n <= LSC_FRAME_MAX_TOKENS);
	if (lsc_frame_parse_token(&record, &token, NULL) == 0)
		check(token.drawn.n_top <= LSC_SAMPLING_MAX_TOP);
	lsc_frame_parse_client(&record, &client, NULL);
	lsc_frame_parse_drop(&record, &client, &request, NULL);
	try_pong(&record);
	return 0;
}
