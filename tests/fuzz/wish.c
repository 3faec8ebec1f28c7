/* fuzz wish: any bytes as the body of a request to either end of the API: what is taken makes
 * records that a router takes, and what is refused has a reason that can be said */
#include "gate/wish.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "gate/reply.h"
#include "route/query.h"
#include "stream/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static bool is_json(const struct lsc_buf *buf)
{
	json_t *json = json_loadb((const char *)buf->data, buf->len, JSON_ALLOW_NUL, NULL);

	json_decref(json);
	return json != NULL;
}

static void try_record(const struct lsc_wish *wish, uint32_t choice)
{
	static const struct lsc_chat chat = {LSC_CHAT_CHATML, NULL};
	LSC_CLEANUP(lsc_query_release) struct lsc_query query = LSC_QUERY_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf json = LSC_BUF_INIT;

	check(lsc_wish_pack(wish, choice, 1, 2, &pack) == 0);
	check(lsc_record_parse(&record, pack.buf.data, pack.buf.len, NULL) ==
	      (ssize_t)pack.buf.len);
	check(lsc_json_write(pack.buf.data, pack.buf.len, &json, NULL) == 0);
	check(lsc_query_parse(&query, (const char *)json.data, json.len, &chat, NULL) == 1);
}

static void try_reply(const struct lsc_wish *wish)
{
	const struct lsc_news_done done = {"stop", {"\xff\"", 2}, 1, 1, 1};
	LSC_CLEANUP(lsc_reply_release) struct lsc_reply reply = LSC_REPLY_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;

	check(lsc_reply_init(&reply, wish, "x", "m", 1) == 0);
	for (uint32_t i = 0; i < wish->n_choices; i++)
		check(lsc_reply_done(&reply, i, &done, &out) == (i + 1 == wish->n_choices));
	check(wish->stream || is_json(&out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	for (int chat = 0; chat < 2; chat++) {
		LSC_CLEANUP(lsc_wish_release) struct lsc_wish wish = LSC_WISH_INIT;
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
		struct lsc_fault fault = LSC_FAULT_INIT;

		if (lsc_wish_parse(&wish, chat, (const char *)data, len, &fault) == 0) {
			check(wish.n_choices > 0 && wish.n_choices <= LSC_WISH_MAX_CHOICES);
			try_record(&wish, 0);
			try_record(&wish, wish.n_choices - 1);
			try_reply(&wish);
		} else {
			check(fault.status >= 400 && fault.message[0]);
			check(lsc_fault_write(&fault, &out) == 0 && is_json(&out));
		}
	}
	return 0;
}
