/* fuzz news: any bytes as what a router says: records of answers, its model and how it stands; what
 * is taken of them makes JSON */
#include "gate/news.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "gate/cluster.h"
#include "gate/meter.h"
#include "gate/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct lsc_wish wishes[2];

static void check(bool good)
{
	if (!good)
		abort();
}

static void prepare(void)
{
	static const char *const bodies[] = {
		"{\"prompt\":\"a\",\"logprobs\":1}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"logprobs\":true}"};
	struct lsc_fault fault;

	for (int i = 0; i < 2 && !wishes[i].root; i++)
		check(lsc_wish_parse(&wishes[i], i, bodies[i], strlen(bodies[i]), &fault) == 0);
}

static bool is_json(const struct lsc_buf *buf)
{
	json_t *json = json_loadb((const char *)buf->data, buf->len, JSON_ALLOW_NUL, NULL);

	json_decref(json);
	return json != NULL;
}

static void try_token(struct lsc_reply *reply, const struct lsc_record *record, struct lsc_buf *out)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_news_token token;
	struct lsc_news_done done;
	struct lsc_news_fail fail;
	uint64_t id;

	lsc_news_id(record, &id);
	if (lsc_news_parse_token(record, &token, &err) == 0)
		check(lsc_reply_token(reply, 0, &token, out) == 0);
	else
		check(err.text[0]);
	if (lsc_news_parse_done(record, &done, NULL) == 0 &&
	    lsc_reply_done(reply, 0, &done, out) == 1)
		check(is_json(out));
	if (lsc_news_parse_fail(record, &fail, NULL) == 0)
		check(strlen(fail.why) < sizeof(fail.why));
}

static void try_cluster(struct lsc_cluster *cluster, const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	static const struct lsc_meter meter;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_record_is(record, "model"))
		check(lsc_cluster_model(cluster, record, &err) == 0 || err.text[0]);
	else if (lsc_record_is(record, "status"))
		check(lsc_cluster_status(cluster, record, &err) == 0 || err.text[0]);
	check(lsc_cluster_write(cluster, &out) == 0 && is_json(&out));
	check(lsc_meter_write(&meter, cluster, &out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	LSC_CLEANUP(lsc_cluster_release) struct lsc_cluster cluster = LSC_CLUSTER_INIT;
	struct lsc_reply replies[2];
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	size_t at = 0;

	prepare();
	for (int i = 0; i < 2; i++)
		check(lsc_reply_init(&replies[i], &wishes[i], "x", "m", 1) == 0);
	while (at < len) {
		ssize_t n = lsc_record_parse(&record, data + at, len - at, NULL);

		if (n <= 0)
			break;
		at += (size_t)n;
		for (int i = 0; i < 2; i++) {
			out.len = 0;
			try_token(&replies[i], &record, &out);
		}
		try_cluster(&cluster, &record);
	}
	for (int i = 0; i < 2; i++)
		lsc_reply_release(&replies[i]);
	return 0;
}
