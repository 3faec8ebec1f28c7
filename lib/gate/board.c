/* board - a gate's words as a table, a line or an object; what changes as rates */
#include "gate/board.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "gate/within.h"

#define MAX_COLUMNS 512
#define MIN_BAR     6
#define MAX_BAR     40
#define NAME_MIN    12
#define NAME_WIDTH  28
#define SMOOTH_S    3.0 /* blocks come whole: a rate is of so long, the near past most */
#define MINUTE_S    60.0

void lsc_board_release(struct lsc_board *board)
{
	lsc_cluster_release(&board->cluster);
	free(board->rates);
	board->rates = NULL;
	board->n_rates = 0;
}

/* --- what came --- */

/* The counts of the histogram of first tokens, which the text has as sums. */
static void read_first(const char *metrics, uint64_t counts[LSC_METER_BUCKETS + 1])
{
	static const char name[] = "\nlsc_gate_time_to_first_token_seconds_bucket{";
	uint64_t before = 0;
	const char *at = metrics;

	memset(counts, 0, (LSC_METER_BUCKETS + 1) * sizeof(counts[0]));
	for (unsigned i = 0; i <= LSC_METER_BUCKETS && (at = strstr(at, name)); i++) {
		uint64_t sum;

		at = strchr(at, '}');
		if (!at)
			return;
		sum = strtoull(at + 1, NULL, 10);
		counts[i] = sum - LSC_MIN(before, sum);
		before = sum;
	}
}

static void keep_first(struct lsc_board *board, double now_s)
{
	if (board->n_past == LSC_BOARD_MINUTE ||
	    (board->n_past && now_s - board->past[0].at_s > MINUTE_S)) {
		board->n_past--;
		memmove(board->past, board->past + 1, board->n_past * sizeof(board->past[0]));
	}
	board->past[board->n_past].at_s = now_s;
	memcpy(board->past[board->n_past++].counts, board->first, sizeof(board->first));
}

/* The rate of a node a moment ago, and what it had. */
static const struct lsc_board_rate *find_rate(const struct lsc_board *board, uint64_t node)
{
	for (uint32_t i = 0; i < board->n_rates; i++)
		if (board->rates[i].node == node)
			return &board->rates[i];
	return NULL;
}

static int take_rates(struct lsc_board *board, const struct lsc_cluster *next, double passed_s)
{
	double block = next->blocks ? (double)next->bytes / (double)next->blocks : 0;
	double weight = passed_s / (passed_s + SMOOTH_S);
	struct lsc_board_rate *rates = calloc(next->n_nodes + 1, sizeof(*rates));

	if (!rates)
		return -ENOMEM;
	for (uint32_t i = 0; i < next->n_nodes; i++) {
		const struct lsc_cluster_node *node = &next->nodes[i];
		const struct lsc_board_rate *last = find_rate(board, node->node);
		uint64_t had = last ? LSC_MIN(last->blocks, node->blocks) : node->blocks;
		double now = passed_s > 0 ? (double)(node->blocks - had) * block / passed_s : 0;

		rates[i] = (struct lsc_board_rate){.node = node->node, .blocks = node->blocks};
		if (!node->complete && last && passed_s > 0)
			rates[i].bytes_s = last->bytes_s + weight * (now - last->bytes_s);
	}
	free(board->rates);
	board->rates = rates;
	board->n_rates = next->n_nodes;
	return 0;
}

static double per_second(uint64_t now, uint64_t before, double passed_s)
{
	return passed_s > 0 && now > before ? (double)(now - before) / passed_s : 0;
}

int lsc_board_take(struct lsc_board *board, const char *cluster, size_t cluster_len,
		   const char *metrics, double now_s, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_cluster_release) struct lsc_cluster next = LSC_CLUSTER_INIT;
	const struct lsc_cluster_counts *now = &next.counts, *before = &board->cluster.counts;
	double passed_s = board->at_s > 0 && board->cluster.told ? now_s - board->at_s : 0;
	struct lsc_cluster last;

	LSC_TRY(lsc_cluster_read(&next, cluster, cluster_len, err));
	if (take_rates(board, &next, passed_s) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for %u nodes", next.n_nodes);
	board->tokens_s = per_second(now->tokens, before->tokens, passed_s);
	board->prompt_tokens_s = per_second(now->prompt_tokens, before->prompt_tokens, passed_s);
	last = board->cluster; /* to be released */
	board->cluster = next;
	next = last;
	board->at_s = now_s;
	read_first(metrics, board->first);
	keep_first(board, now_s);
	return 0;
}

/* Within a bucket they are taken to lie evenly; those above all bounds, at the last one. */
static double find_part(const uint64_t counts[LSC_METER_BUCKETS + 1], uint64_t n, double part)
{
	double low = 0, want = part * (double)n;
	uint64_t sum = 0;

	for (unsigned i = 0; i <= LSC_METER_BUCKETS; i++) {
		double high = i < LSC_METER_BUCKETS ? lsc_meter_bound(i) : low;

		if (counts[i] && (double)(sum + counts[i]) >= want)
			return low + (high - low) * (want - (double)sum) / (double)counts[i];
		sum += counts[i];
		low = high;
	}
	return 0;
}

double lsc_board_first_token(const struct lsc_board *board, double part)
{
	uint64_t counts[LSC_METER_BUCKETS + 1], n = 0, all = 0;

	for (unsigned i = 0; i <= LSC_METER_BUCKETS; i++) {
		uint64_t before = board->n_past ? board->past[0].counts[i] : 0;

		counts[i] = board->first[i] - LSC_MIN(before, board->first[i]);
		n += counts[i];
		all += board->first[i];
	}
	return n ? find_part(counts, n, part) : find_part(board->first, all, part);
}

/* --- words --- */

static uint32_t count_complete(const struct lsc_cluster *c, uint32_t *ret_receivers)
{
	uint32_t complete = 0;

	*ret_receivers = 0;
	for (uint32_t i = 0; i < c->n_nodes; i++) {
		complete += c->nodes[i].complete && !c->nodes[i].source;
		*ret_receivers += !c->nodes[i].source;
	}
	return complete;
}

static const char *state_of(const struct lsc_cluster_node *node)
{
	if (node->failed && !node->up)
		return "failed";
	if (node->source)
		return node->up ? "source" : "sends";
	if (!node->up)
		return node->blocks ? "away" : "waiting";
	return node->complete ? "complete" : "loading";
}

static const char *rate_text(double rate, char text[24])
{
	static const char units[] = "kMGT";
	int unit = 0;

	for (rate /= 1000; rate >= 999.5 && unit < 3; unit++)
		rate /= 1000;
	snprintf(text, 24, rate < 9.95 ? "%.1f %cB/s" : "%.0f %cB/s", rate, units[unit]);
	return text;
}

/* --- lines that fit --- */

struct page {
	struct lsc_buf *buf;
	unsigned columns, lines, used;
	int r;
};

/* A line, cut where the terminal ends; blanks at its end are left out. */
__attribute__((format(printf, 2, 3))) static void put(struct page *page, const char *fmt, ...)
{
	char line[MAX_COLUMNS + 1];
	va_list args;
	int n;

	if (page->r < 0 || page->used == page->lines)
		return;
	va_start(args, fmt);
	n = vsnprintf(line, LSC_MIN(page->columns + 1, sizeof(line)), fmt, args);
	va_end(args);
	n = LSC_MIN(n, (int)LSC_MIN(page->columns, sizeof(line) - 1));
	while (n > 0 && line[n - 1] == ' ')
		n--;
	page->r = lsc_buf_printf(page->buf, "%.*s\n", n, line);
	page->used++;
}

static void put_totals(const struct lsc_board *board, struct page *page)
{
	const struct lsc_cluster_counts *c = &board->cluster.counts;
	double median = lsc_board_first_token(board, 0.5),
	       most = lsc_board_first_token(board, 0.95);
	uint64_t over = c->waiting + c->running + c->failed + c->cancelled;
	char first[64] = "";

	if (median > 0)
		snprintf(first, sizeof(first), "   first token %.2g s, 95%% in %.2g s", median,
			 most);
	put(page,
	    "requests  %" PRIu64 " waiting, %" PRIu64 " running, %" PRIu64 " done, %" PRIu64
	    " failed, %" PRIu64 " moved",
	    c->waiting, c->running, c->requests - LSC_MIN(over, c->requests), c->failed,
	    c->switches);
	put(page, "tokens    %.1f/s answered, %.1f/s of prompts%s", board->tokens_s,
	    board->prompt_tokens_s, first);
}

static void put_route(const struct lsc_cluster *c, struct page *page)
{
	char text[MAX_COLUMNS] = "none yet";
	size_t at = 0;

	for (uint32_t i = 0; i < c->n_stages && at < sizeof(text) - 1; i++) {
		const struct lsc_cluster_stage *stage = &c->stages[i];

		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "%s%" PRIu64 "-%" PRIu64 " on node %" PRIu64, i ? ", " : "",
				       stage->first, stage->last, stage->node);
	}
	put(page, "route     units %s", text);
}

static void put_head(const struct lsc_board *board, const char *where, struct page *page)
{
	const struct lsc_cluster *c = &board->cluster;
	uint32_t receivers, complete = count_complete(c, &receivers);

	if (!c->known || !c->told) {
		put(page, "%s: no router is there", where);
		return;
	}
	put(page, "%s at %s: %s, %u of %u nodes complete%s, %.0f s", c->name, where,
	    c->ready ? "ready" : "no route yet", complete, receivers, c->ended ? "" : ", casting",
	    c->t);
	put_totals(board, page);
	put_route(c, page);
	put(page, "%s", "");
}

/* --- nodes --- */

/* Columns from the left; those for which there is no room are left out, the last ones first. */
struct widths {
	unsigned name, bar;
	bool rate, busy, units;
};

static struct widths fit(const struct lsc_cluster *c, unsigned columns)
{
	unsigned fixed = 5 + 9 + 5, left; /* number, state, percent, with their blanks */
	struct widths w = {.name = NAME_MIN};

	for (uint32_t i = 0; i < c->n_nodes; i++)
		w.name = LSC_MAX(w.name, (unsigned)strlen(c->nodes[i].name));
	w.name = LSC_MIN(w.name, NAME_WIDTH);
	if (columns < fixed + w.name + 2)
		w.name = columns > fixed + NAME_MIN + 2 ? columns - fixed - 2 : NAME_MIN;
	left = columns - LSC_MIN(columns, fixed + w.name + 2);
	w.busy = left >= 6;
	left -= w.busy ? 6 : 0;
	w.rate = left >= 11;
	left -= w.rate ? 11 : 0;
	w.units = left >= 10;
	left -= w.units ? 10 : 0;
	w.bar = left >= MIN_BAR + 3 ? LSC_MIN(left - 3, MAX_BAR) : 0;
	return w;
}

static void units_of(const struct lsc_cluster *c, uint64_t node, char text[32])
{
	size_t at = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < c->n_stages && at < 31; i++) {
		const struct lsc_cluster_stage *s = &c->stages[i];

		if (s->node == node)
			at += (size_t)snprintf(text + at, 32 - at, "%s%" PRIu64 "-%" PRIu64,
					       at ? "," : "", s->first, s->last);
	}
}

static void put_node(const struct lsc_board *board, uint32_t i, const struct widths *w,
		     struct page *page)
{
	const struct lsc_cluster *c = &board->cluster;
	const struct lsc_cluster_node *node = &c->nodes[i];
	uint64_t held = LSC_MIN(node->blocks, c->blocks);
	char bar[MAX_BAR + 4] = "", rate[24] = "-", tail[80] = "", units[32];
	size_t at = 0;

	if (w->bar) {
		size_t full = c->blocks ? (size_t)(w->bar * held / c->blocks) : 0;

		snprintf(bar, sizeof(bar), "[%*s] ", (int)w->bar, "");
		memset(bar + 1, '#', full);
	}
	if (board->rates[i].bytes_s >= 100)
		rate_text(board->rates[i].bytes_s, rate);
	units_of(c, node->node, units);
	if (w->rate)
		at += (size_t)snprintf(tail, sizeof(tail), " %10s", rate);
	if (w->busy)
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, " %5" PRIu64, node->busy);
	if (w->units)
		snprintf(tail + at, sizeof(tail) - at, "  %s", units);
	put(page, "%4" PRIu64 "  %-*.*s %-8s %s%3u%%%s", node->node, (int)w->name, (int)w->name,
	    node->name, state_of(node), bar, c->blocks ? (unsigned)(100 * held / c->blocks) : 0,
	    tail);
}

static void put_nodes(const struct lsc_board *board, struct page *page)
{
	const struct lsc_cluster *c = &board->cluster;
	struct widths w = fit(c, page->columns);
	unsigned room, shown = 0;
	char tail[64] = "";

	snprintf(tail, sizeof(tail), "%s%s%s", w.rate ? "       rate" : "", w.busy ? "  busy" : "",
		 w.units ? "  units" : "");
	put(page, "node  %-*s %-8s %*s%s", (int)w.name, "name", "state",
	    (int)(w.bar ? w.bar + 7 : 4), "held", tail);
	room = page->lines - page->used;
	/* Where they do not fit: those at which something is to be seen. */
	for (unsigned pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < c->n_nodes && c->n_nodes > room; i++) {
			const struct lsc_cluster_node *node = &c->nodes[i];
			bool quiet = node->complete && node->up && !node->busy;

			if (quiet != (pass == 1) || shown + 1 >= room)
				continue;
			put_node(board, i, &w, page);
			shown++;
		}
	if (c->n_nodes > room) {
		put(page, "      and %u more", c->n_nodes - shown);
		return;
	}
	for (uint32_t i = 0; i < c->n_nodes; i++)
		put_node(board, i, &w, page);
}

int lsc_board_draw(const struct lsc_board *board, const char *where, unsigned columns,
		   unsigned lines, struct lsc_buf *buf)
{
	struct page page = {.buf = buf, .columns = LSC_MIN(columns, MAX_COLUMNS), .lines = lines};

	put_head(board, where, &page);
	if (board->cluster.known && board->cluster.told)
		put_nodes(board, &page);
	return page.r;
}

int lsc_board_line(const struct lsc_board *board, struct lsc_buf *buf)
{
	const struct lsc_cluster *c = &board->cluster;
	uint32_t receivers, complete = count_complete(c, &receivers);
	uint64_t held = 0;

	if (!c->known || !c->told)
		return lsc_buf_add_str(buf, "no router\n");
	for (uint32_t i = 0; i < c->n_nodes; i++)
		held += c->nodes[i].source ? 0 : LSC_MIN(c->nodes[i].blocks, c->blocks);
	return lsc_buf_printf(
		buf,
		"%.0f s: %s, %u of %u nodes complete, %u%% held, %" PRIu64 " waiting, %" PRIu64
		" running, %.1f tokens/s\n",
		c->t, c->ready ? "ready" : "no route yet", complete, receivers,
		receivers && c->blocks ? (unsigned)(100 * held / (c->blocks * receivers)) : 0,
		c->counts.waiting, c->counts.running, board->tokens_s);
}

int lsc_board_json(const struct lsc_board *board, struct lsc_buf *buf)
{
	LSC_TRY(lsc_cluster_write(&board->cluster, buf));
	buf->len--; /* its last brace */
	LSC_TRY(lsc_buf_printf(buf, ",\"tokens_s\":%.6g,\"prompt_tokens_s\":%.6g", board->tokens_s,
			       board->prompt_tokens_s));
	LSC_TRY(lsc_buf_printf(
		buf, ",\"first_token_p50\":%.6g,\"first_token_p95\":%.6g,\"rates\":[",
		lsc_board_first_token(board, 0.5), lsc_board_first_token(board, 0.95)));
	for (uint32_t i = 0; i < board->n_rates; i++)
		LSC_TRY(lsc_buf_printf(buf, "%s%.6g", i ? "," : "", board->rates[i].bytes_s));
	return lsc_buf_add_str(buf, "]}\n");
}
