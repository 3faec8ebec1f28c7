/* fuzz query: any bytes as a stream of requests, whole and byte by byte, must give the same ones */
#include "route/intake.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void try_query(const char *json, size_t len)
{
	static const struct lsc_chat chats[] = {{LSC_CHAT_NONE, NULL}, {LSC_CHAT_CHATML, NULL}};

	for (int i = 0; i < 2; i++) {
		LSC_CLEANUP(lsc_query_release) struct lsc_query query = LSC_QUERY_INIT;
		struct lsc_err err = LSC_ERR_INIT;
		int r = lsc_query_parse(&query, json, len, &chats[i], &err);

		check(r <= 0 ||
		      (query.id && query.limit > 0 && query.sampling.temp >= 0 &&
		       query.sampling.top_p > 0 && query.sampling.top_p <= 1 &&
		       query.sampling.min_p >= 0 && query.sampling.min_p <= 1 &&
		       query.sampling.penalty > 0 && query.sampling.top <= LSC_SAMPLING_MAX_TOP &&
		       query.stops.n <= LSC_STOPS_MAX &&
		       query.stop_ids.n <= LSC_QUERY_MAX_STOP_IDS &&
		       (!query.encoded || (query.ids.n > 0 && !query.text.len))));
		check(r >= 0 || err.text[0]);
	}
}

/* Feeds step bytes at a time; how many requests there were, how long together, how it ended. */
static size_t take(const uint8_t *data, size_t len, size_t step, size_t *ret_n, int *ret_end)
{
	LSC_CLEANUP(lsc_intake_release) struct lsc_intake intake = LSC_INTAKE_INIT;
	size_t sum = 0, at = 0, n = 0;
	const char *json;
	int r = 0;

	while (r >= 0) {
		size_t more = len - at < step ? len - at : step;
		uint8_t *room = lsc_intake_room(&intake, more + 1);

		check(room != NULL);
		memcpy(room, data + at, more);
		lsc_intake_came(&intake, more);
		at += more;
		while ((r = lsc_intake_next(&intake, at == len, &json, ret_n, NULL)) > 0) {
			sum += *ret_n;
			n++;
			if (step == len)
				try_query(json, *ret_n);
		}
		if (at == len)
			break;
	}
	*ret_n = n;
	*ret_end = r;
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t n[2];
	int end[2];

	if (!len)
		return 0;
	check(take(data, len, len, &n[0], &end[0]) == take(data, len, 1, &n[1], &end[1]));
	check(n[0] == n[1] && end[0] == end[1]);
	return 0;
}
