/* meter - counters, histograms and their text */
#include "gate/meter.h"

#include <inttypes.h>

#include "base/macros.h"
#include "gate/within.h"

static const double bounds[LSC_METER_BUCKETS] = {
	0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250};

double lsc_meter_bound(unsigned bucket)
{
	return bounds[bucket];
}

void lsc_histogram_add(struct lsc_histogram *histogram, double seconds)
{
	unsigned i = 0;

	while (i < LSC_METER_BUCKETS && seconds > bounds[i])
		i++;
	histogram->counts[i]++;
	histogram->n++;
	histogram->sum += seconds;
}

static int put_head(struct lsc_buf *buf, const char *name, const char *type, const char *help)
{
	return lsc_buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int put_histogram(struct lsc_buf *buf, const char *name, const char *help,
			 const struct lsc_histogram *h)
{
	uint64_t sum = 0;

	LSC_TRY(put_head(buf, name, "histogram", help));
	for (unsigned i = 0; i < LSC_METER_BUCKETS; i++) {
		sum += h->counts[i];
		LSC_TRY(lsc_buf_printf(buf, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i],
				       sum));
	}
	return lsc_buf_printf(
		buf, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n",
		name, h->n, name, h->sum, name, h->n);
}

struct row {
	const char *name, *type, *help;
	uint64_t value;
};

static int put_rows(struct lsc_buf *buf, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		LSC_TRY(put_head(buf, rows[i].name, rows[i].type, rows[i].help));
		LSC_TRY(lsc_buf_printf(buf, "%s %" PRIu64 "\n", rows[i].name, rows[i].value));
	}
	return 0;
}

static int put_requests(struct lsc_buf *buf, const struct lsc_meter *meter)
{
	static const char *const outcomes[] = {"ok", "invalid", "refused", "failed", "cancelled"};
	static const char *const ends[] = {"completions", "chat"};

	LSC_TRY(put_head(buf, "lsc_gate_requests_total", "counter", "Requests that are over."));
	for (unsigned chat = 0; chat < 2; chat++)
		for (unsigned i = 0; i < LSC_METER_OUTCOMES; i++)
			LSC_TRY(lsc_buf_printf(
				buf,
				"lsc_gate_requests_total{endpoint=\"%s\",outcome=\"%s\"} %" PRIu64
				"\n",
				ends[chat], outcomes[i], meter->requests[chat][i]));
	return 0;
}

static int put_gate(struct lsc_buf *buf, const struct lsc_meter *m)
{
	const struct row rows[] = {
		{"lsc_gate_waiting", "gauge", "Requests that wait for their first token.",
		 m->waiting},
		{"lsc_gate_running", "gauge", "Requests being answered.", m->running},
		{"lsc_gate_connections", "gauge", "Connections of clients.", m->connections},
		{"lsc_gate_prompt_tokens_total", "counter", "Tokens of prompts.", m->prompt_tokens},
		{"lsc_gate_tokens_total", "counter", "Tokens of answers.", m->tokens},
		{"lsc_gate_routes_total", "counter", "Routes that requests were given.", m->routes},
		{"lsc_gate_switches_total", "counter",
		 "Requests that moved from a pipeline to one node.", m->switches},
		{"lsc_gate_reconnects_total", "counter", "Times the router was reached again.",
		 m->reconnects},
		{"lsc_router_up", "gauge", "Whether the router is there.", m->up},
	};

	LSC_TRY(put_requests(buf, m));
	LSC_TRY(put_rows(buf, rows, LSC_ARRAY_SIZE(rows)));
	LSC_TRY(put_histogram(buf, "lsc_gate_time_to_first_token_seconds",
			      "From a whole request to its first token.", &m->first));
	LSC_TRY(put_histogram(buf, "lsc_gate_inter_token_seconds", "Between tokens of a choice.",
			      &m->gap));
	return put_histogram(buf, "lsc_gate_request_seconds",
			     "From a whole request to the end of its answer.", &m->whole);
}

static int put_nodes(struct lsc_buf *buf, const struct lsc_cluster *cluster)
{
	uint64_t complete = 0, up = 0, failed = 0;

	for (uint32_t i = 0; i < cluster->n_nodes; i++) {
		complete += cluster->nodes[i].complete;
		up += cluster->nodes[i].up;
		failed += cluster->nodes[i].failed;
	}
	LSC_TRY(put_head(buf, "lsc_router_nodes", "gauge", "Nodes of the cast."));
	LSC_TRY(lsc_buf_printf(buf,
			       "lsc_router_nodes{state=\"known\"} %u\n"
			       "lsc_router_nodes{state=\"up\"} %" PRIu64 "\n"
			       "lsc_router_nodes{state=\"complete\"} %" PRIu64 "\n"
			       "lsc_router_nodes{state=\"failed\"} %" PRIu64 "\n",
			       cluster->n_nodes, up, complete, failed));
	LSC_TRY(put_head(buf, "lsc_router_node_blocks", "gauge", "Blocks of the image at a node."));
	for (uint32_t i = 0; i < cluster->n_nodes; i++)
		LSC_TRY(lsc_buf_printf(buf,
				       "lsc_router_node_blocks{node=\"%" PRIu64 "\"} %" PRIu64 "\n",
				       cluster->nodes[i].node, cluster->nodes[i].blocks));
	LSC_TRY(put_head(buf, "lsc_router_node_busy", "gauge",
			 "Requests whose route leads over a node."));
	for (uint32_t i = 0; i < cluster->n_nodes; i++)
		LSC_TRY(lsc_buf_printf(buf,
				       "lsc_router_node_busy{node=\"%" PRIu64 "\"} %" PRIu64 "\n",
				       cluster->nodes[i].node, cluster->nodes[i].busy));
	return 0;
}

static int put_router(struct lsc_buf *buf, const struct lsc_cluster *cluster)
{
	const struct lsc_cluster_counts *c = &cluster->counts;
	const struct row rows[] = {
		{"lsc_router_ready", "gauge", "Whether a request would have a route.",
		 cluster->ready},
		{"lsc_router_route_stages", "gauge", "Stages of the route it would have.",
		 cluster->n_stages},
		{"lsc_router_queue", "gauge", "Requests that may wait.", c->queue},
		{"lsc_router_waiting", "gauge", "Requests without a route.", c->waiting},
		{"lsc_router_running", "gauge", "Requests with a route.", c->running},
		{"lsc_router_kv_positions", "gauge",
		 "Positions of requests with a route, whose keys and values are kept.",
		 c->positions},
		{"lsc_router_blocks", "gauge", "Blocks of the image.", cluster->blocks},
		{"lsc_router_arriving", "gauge", "Whether the cast is still under way.",
		 !cluster->ended},
		{"lsc_router_requests_total", "counter", "Requests accepted.", c->requests},
		{"lsc_router_failed_total", "counter", "Requests that failed.", c->failed},
		{"lsc_router_cancelled_total", "counter", "Requests that were given up.",
		 c->cancelled},
		{"lsc_router_prompt_tokens_total", "counter", "Tokens of prompts.",
		 c->prompt_tokens},
		{"lsc_router_cached_tokens_total", "counter",
		 "Tokens of prompts that were not computed anew.", c->cached_tokens},
		{"lsc_router_tokens_total", "counter", "Tokens of answers.", c->tokens},
		{"lsc_router_routes_total", "counter", "Routes given.", c->routes},
		{"lsc_router_switches_total", "counter",
		 "Requests that moved from a pipeline to one node.", c->switches},
	};

	LSC_TRY(put_rows(buf, rows, LSC_ARRAY_SIZE(rows)));
	return put_nodes(buf, cluster);
}

int lsc_meter_write(const struct lsc_meter *meter, const struct lsc_cluster *cluster,
		    struct lsc_buf *buf)
{
	LSC_TRY(put_gate(buf, meter));
	return cluster->told ? put_router(buf, cluster) : 0;
}
