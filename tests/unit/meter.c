/* Counters as Prometheus reads them, and a router's words as a page does. */
#include "gate/meter.h"

#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "stream/json.h"
#include "tap.h"

static bool has(const struct lsc_buf *buf, const char *line)
{
	const char *at = strstr((const char *)buf->data, line);

	return at && (at == (const char *)buf->data || at[-1] == '\n');
}

static void test_histogram(void)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_cluster cluster = LSC_CLUSTER_INIT;
	struct lsc_meter meter = {.up = true};

	lsc_histogram_add(&meter.gap, 0.001);
	lsc_histogram_add(&meter.gap, 0.0011);
	lsc_histogram_add(&meter.gap, 251);
	ok(lsc_meter_write(&meter, &cluster, &buf) == 0, "written");
	ok(has(&buf, "lsc_gate_inter_token_seconds_bucket{le=\"0.001\"} 1\n"),
	   "a bound is in its bucket");
	ok(has(&buf, "lsc_gate_inter_token_seconds_bucket{le=\"0.0025\"} 2\n") &&
		   has(&buf, "lsc_gate_inter_token_seconds_bucket{le=\"250\"} 2\n"),
	   "buckets have what is below");
	ok(has(&buf, "lsc_gate_inter_token_seconds_bucket{le=\"+Inf\"} 3\n") &&
		   has(&buf, "lsc_gate_inter_token_seconds_count 3\n") &&
		   has(&buf, "lsc_gate_inter_token_seconds_sum 251.0021\n"),
	   "the last one has all");
	ok(has(&buf, "lsc_router_up 1\n") && !strstr((char *)buf.data, "lsc_router_ready"),
	   "nothing is told of a router that told nothing");
}

/* A record from JSON, taken by fn. */
static int take(struct lsc_cluster *cluster, const char *json,
		int (*fn)(struct lsc_cluster *, const struct lsc_record *, struct lsc_err *),
		struct lsc_err *err)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;

	if (lsc_json_read(json, strlen(json), &buf, err) < 0 ||
	    lsc_record_parse(&record, buf.data, buf.len, err) <= 0)
		return 1;
	return fn(cluster, &record, err);
}

#define STATUS                                                                                     \
	"{\"type\":\"status\",\"t\":0.5,\"ready\":true,\"ended\":false,\"queue\":9,\"waiting\":1," \
	"\"running\":2,\"positions\":30,\"requests\":3,\"failed\":0,\"cancelled\":1,"              \
	"\"prompt_tokens\":9,\"cached_tokens\":4,\"tokens\":12,\"routes\":2,\"switches\":1,"       \
	"\"stages\":[{\"node\":0,\"first\":0,\"last\":6}],\"nodes\":[%s]}"
#define NODE                                                                                       \
	"{\"node\":0,\"name\":\"a \\\"<b>\",\"source\":true,\"blocks\":6,\"complete\":true,"       \
	"\"failed\":false,\"up\":true,\"busy\":2}"

static void test_cluster(void)
{
	static const char model[] =
		"{\"type\":\"model\",\"name\":\"m\",\"image\":{\"$bin\":"
		"\"AAECAwQFBgcICQoLDA0ODw==\"},\"context\":512,\"vocab\":5,\"units\":7,"
		"\"blocks\":6,\"bytes\":100,\"chat\":\"chatml\"}";
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_cluster cluster = LSC_CLUSTER_INIT;
	struct lsc_meter meter = {0};
	struct lsc_err err = LSC_ERR_INIT;
	char text[2000];
	json_t *json;

	is_int(take(&cluster, model, lsc_cluster_model, &err), 0, "a model %s", err.text);
	snprintf(text, sizeof(text), STATUS, NODE);
	is_int(take(&cluster, text, lsc_cluster_status, &err), 0, "a status %s", err.text);
	ok(cluster.known && cluster.told && cluster.ready && cluster.counts.positions == 30 &&
		   cluster.n_nodes == 1 && cluster.stages[0].last == 6,
	   "what they say");
	ok(lsc_cluster_write(&cluster, &buf) == 0, "as JSON");
	json = json_loadb((char *)buf.data, buf.len, 0, NULL);
	is_str(json_string_value(
		       json_object_get(json_array_get(json_object_get(json, "nodes"), 0), "name")),
	       "a?\"<b>", "with names for a page");
	json_decref(json);
	buf.len = 0;
	ok(lsc_meter_write(&meter, &cluster, &buf) == 0 &&
		   has(&buf, "lsc_router_node_blocks{node=\"0\"} 6\n") &&
		   has(&buf, "lsc_router_kv_positions 30\n") &&
		   has(&buf, "lsc_router_cached_tokens_total 4\n") &&
		   has(&buf, "lsc_router_arriving 1\n"),
	   "and as metrics");
	snprintf(text, sizeof(text), STATUS, "{\"node\":0}");
	is_int(take(&cluster, text, lsc_cluster_status, &err), -EBADMSG, "no node");
	ok(!cluster.told && !cluster.ready && cluster.n_nodes == 0,
	   "leaves nothing that was known");
	lsc_cluster_release(&cluster);
}

int main(void)
{
	test_histogram();
	test_cluster();
	return done_testing();
}
