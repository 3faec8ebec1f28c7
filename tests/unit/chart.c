/* chart: a well-formed document with a cell for every transfer */
#include "tap.h"

#include "base/cleanup.h"
#include "plan/chart.h"

static struct lsc_err err;

static uint32_t count(const char *text, const char *what)
{
	uint32_t n = 0;

	for (; (text = strstr(text, what)) != NULL; text += strlen(what))
		n++;
	return n;
}

/* Whether every tag is closed by its own end, and nothing stands after the document. */
static bool is_well_formed(const char *text)
{
	char open[16][16];
	int depth = 0;

	while ((text = strchr(text, '<')) != NULL) {
		size_t len = strcspn(++text, " >/");
		const char *end = strchr(text, '>');

		if (!end)
			return false;
		if (*text == '/') {
			len = (size_t)(end - text) - 1;
			if (!depth || strncmp(open[--depth], text + 1, len) || open[depth][len])
				return false;
		} else if (end[-1] != '/') {
			if (depth == 16 || len >= sizeof(open[0]))
				return false;
			memcpy(open[depth], text, len);
			open[depth++][len] = 0;
		}
		text = end + 1;
		if (!depth)
			return !strcmp(text, "\n");
	}
	return false;
}

static void test_drawing(void)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_schedule schedules[2];
	const char *text;

	lsc_schedule_init(&schedules[0], LSC_ORDER_ROUND_OPTIMAL, 8, 1, 16, &err);
	lsc_schedule_init(&schedules[1], LSC_ORDER_KWAY, 9, 3, 16, &err);
	is_int(lsc_chart_draw(schedules, 2, &buf, &err), 0, "draws two schedules");
	text = (const char *)buf.data;
	ok(is_well_formed(text), "which are one document");
	/* A line for each of 7 + 6 receivers and 16 pieces; a box for what sources send. */
	is_int(count(text, "h21") - count(text, "h-21"), 13 * 16, "a cell for each piece received");
	is_int(count(text, "h-19z"), 18 + 3 * 17, "a box for each piece sent by a source");
	is_int(count(text, "<tspan"), 13 * 16 + 18 + 3 * 17, "with its number");
	ok(strstr(text, "<title id=\"title\">Multicast schedules</title>"), "a title");
	ok(strstr(text, "round-optimal: 8 nodes, 16 pieces, 18 rounds. "
			"kway: 9 nodes, 3 sources, 16 pieces, 17 rounds.</desc>"),
	   "and a description");
	ok(strstr(text, "prefers-color-scheme:dark"), "for dark screens too");
	ok(buf.len < 24000, "%zu bytes", buf.len);
}

static void draw_one(enum lsc_order order, uint32_t nodes, uint32_t sources, uint32_t pieces)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_schedule schedule;

	lsc_schedule_init(&schedule, order, nodes, sources, pieces, &err);
	ok(lsc_chart_draw(&schedule, 1, &buf, &err) == 0 && is_well_formed((const char *)buf.data),
	   "%s of %u pieces to %u nodes", lsc_order_name(order), pieces, nodes);
}

int main(void)
{
	struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_schedule large;

	test_drawing();
	draw_one(LSC_ORDER_CHAIN, 1, 1, 1);
	draw_one(LSC_ORDER_TREE, 2, 1, 1);
	draw_one(LSC_ORDER_SEQUENTIAL, 20, 3, 700);
	draw_one(LSC_ORDER_ROUND_OPTIMAL, 2, 1, 49999);

	lsc_schedule_init(&large, LSC_ORDER_CHAIN, 1000, 1, 1000, &err);
	is_int(lsc_chart_draw(&large, 1, &buf, &err), -EINVAL, "refuses what is too large");
	is_str(err.text, "1000 nodes x 1998 rounds are too many to draw (at most 100000)",
	       "in words");
	ok(!buf.data, "before it takes memory");
	return done_testing();
}
