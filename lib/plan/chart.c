/* chart - schedules as SVG
 *
 * The cells of one colour are one path, which keeps the file small; so the drawing goes over each
 * schedule once and collects paths by colour.
 */
#include "plan/chart.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/svg.h"

#define COLOURS 32

enum {
	LEFT = 72, /* of the first column: room for the names of the rows */
	RIGHT = 16,
	WIDE = 800, /* what columns share, if they are not too narrow for it */
	ROW = 18,   /* from row to row */
	CELL = 16,  /* height of a cell, even */
	HEAD = 28,  /* a schedule's title above its rows */
	FOOT = 24,  /* the numbers of rounds below them */
	LEGEND = 34,
	DIGIT = 7, /* width */
};

struct chart {
	struct lsc_buf *out;
	struct lsc_buf filled[COLOURS], outlined[COLOURS];
	struct lsc_buf text; /* numbers on cells, over all of them */
	uint32_t colours, pieces;
	int column; /* width, with the gap behind it */
	int width, height;
	bool numbers;
	int failed; /* -ENOMEM, once */
};

static void chart_release(struct chart *chart)
{
	for (int i = 0; i < COLOURS; i++) {
		lsc_buf_release(&chart->filled[i]);
		lsc_buf_release(&chart->outlined[i]);
	}
	lsc_buf_release(&chart->text);
}

#define PUT(chart, buf, ...)                                                                       \
	do {                                                                                       \
		if (lsc_buf_printf((buf), __VA_ARGS__) < 0)                                        \
			(chart)->failed = -ENOMEM;                                                 \
	} while (0)

/* From blue over green and yellow to red: in order, and black numbers can be read on all. */
static void put_colour(struct chart *chart, uint32_t colour)
{
	static const uint8_t stops[4][3] = {
		{0x5b, 0x8d, 0xef}, {0x2f, 0xb3, 0x9a}, {0xe3, 0xb9, 0x3c}, {0xee, 0x7f, 0x5b}};
	double at = chart->colours > 1 ? 3.0 * colour / (chart->colours - 1) : 0;
	int stop = LSC_MIN((int)at, 2), rgb[3];

	for (int i = 0; i < 3; i++)
		rgb[i] =
			(int)(stops[stop][i] + (at - stop) * (stops[stop + 1][i] - stops[stop][i]));
	PUT(chart, chart->out, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

static uint32_t colour_of(const struct chart *chart, uint32_t piece)
{
	return (uint32_t)((uint64_t)piece * chart->colours / chart->pieces);
}

/* A filled cell is a thick line, which takes half the bytes of a box. */
static void put_cell(struct chart *chart, int x, int y, uint32_t piece, bool outlined)
{
	int width = chart->column > 3 ? chart->column - 1 : chart->column;

	if (outlined)
		PUT(chart, &chart->outlined[colour_of(chart, piece)], "M%d.75 %d.75h%dv%dh-%dz", x,
		    y, LSC_MAX(width - 2, 1), CELL - 2, LSC_MAX(width - 2, 1));
	else
		PUT(chart, &chart->filled[colour_of(chart, piece)], "M%d %dh%d", x, y + CELL / 2,
		    width);
	if (chart->numbers)
		PUT(chart, &chart->text, "<tspan x=\"%d\">%u</tspan>", x + width / 2, piece);
}

static void put_row(struct chart *chart, const struct lsc_schedule *schedule, uint32_t rank, int y)
{
	bool source = rank < schedule->sources;
	struct lsc_part part;

	PUT(chart, chart->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %u</text>\n",
	    LEFT - 6, y + 12, source ? "source" : "node", rank);
	PUT(chart, chart->out,
	    "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" class=\"row\"/>\n", LEFT, y,
	    (int)schedule->rounds * chart->column, CELL);
	if (chart->numbers)
		PUT(chart, &chart->text, "<text y=\"%d\" class=\"%s\">", y + 12,
		    source ? "in" : "on");
	lsc_part_init(&part, schedule, rank);
	for (uint32_t round = 0; round < schedule->rounds; round++) {
		struct lsc_step step = lsc_part_step(&part, round);
		int x = LEFT + (int)round * chart->column;

		if (source && step.send_to != LSC_NOBODY)
			put_cell(chart, x, y, step.send_piece, true);
		else if (!source && step.recv_from != LSC_NOBODY)
			put_cell(chart, x, y, step.recv_piece, false);
	}
	if (chart->numbers)
		PUT(chart, &chart->text, "</text>\n");
}

/* Numbers below the rows, as many as there is room for; the last round always has one. */
static void put_rounds(struct chart *chart, const struct lsc_schedule *schedule, int y)
{
	static const uint32_t steps[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000, 100000};
	uint32_t step = 1;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(steps); i++) {
		step = steps[i];
		if ((int)step * chart->column >= 36)
			break;
	}
	for (uint32_t round = step; round <= schedule->rounds; round += step)
		if (round == schedule->rounds || schedule->rounds - round >= step)
			PUT(chart, chart->out,
			    "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" class=\"dim\">%u</text>\n",
			    LEFT + (int)round * chart->column, y + 11, round);
	if (schedule->rounds % step || !schedule->rounds)
		PUT(chart, chart->out,
		    "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" class=\"dim\">%u</text>\n",
		    LEFT + (int)schedule->rounds * chart->column, y + 11, schedule->rounds);
}

static void put_paths(struct chart *chart)
{
	for (uint32_t i = 0; i < chart->colours; i++) {
		if (chart->filled[i].len) {
			PUT(chart, chart->out, "<path stroke-width=\"%d\" stroke=\"", CELL);
			put_colour(chart, i);
			PUT(chart, chart->out, "\" d=\"%s\"/>\n", (char *)chart->filled[i].data);
		}
		if (chart->outlined[i].len) {
			PUT(chart, chart->out, "<path stroke-width=\"1.5\" stroke=\"");
			put_colour(chart, i);
			PUT(chart, chart->out, "\" d=\"%s\"/>\n", (char *)chart->outlined[i].data);
		}
	}
	if (chart->text.len)
		PUT(chart, chart->out, "%s", (char *)chart->text.data);
}

static void put_legend(struct chart *chart, int y)
{
	int x = LEFT + 56, width = LSC_MAX(256 / (int)chart->colours, 8);

	PUT(chart, chart->out, "<text x=\"%d\" y=\"%d\">piece 0</text>\n", LEFT, y + 12);
	for (uint32_t i = 0; i < chart->colours; i++) {
		PUT(chart, chart->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"",
		    x + (int)i * width, y, width, CELL);
		put_colour(chart, i);
		PUT(chart, chart->out, "\"/>\n");
	}
	x += (int)chart->colours * width + 8;
	PUT(chart, chart->out,
	    "<text x=\"%d\" y=\"%d\">%u</text>\n"
	    "<text x=\"%d\" y=\"%d\" class=\"dim\">filled: received; outlined: sent by a source"
	    "</text>\n",
	    x, y + 12, chart->pieces - 1, LEFT, y + ROW + 12);
}

static void put_words(struct chart *chart, const struct lsc_schedule *schedule, struct lsc_buf *buf)
{
	PUT(chart, buf, "%s: %u node%s", lsc_order_name(schedule->order), schedule->nodes,
	    schedule->nodes == 1 ? "" : "s");
	if (schedule->sources > 1)
		PUT(chart, buf, ", %u sources", schedule->sources);
	PUT(chart, buf, ", %u piece%s, %u round%s", schedule->pieces,
	    schedule->pieces == 1 ? "" : "s", schedule->rounds, schedule->rounds == 1 ? "" : "s");
}

static void put_head(struct chart *chart, const struct lsc_schedule *schedules, uint32_t n)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf words = LSC_BUF_INIT;

	PUT(chart, &words,
	    "A row for each node, a column for each round; a filled cell is a piece received, an "
	    "outlined one a piece sent by a source.");
	for (uint32_t i = 0; i < n; i++) {
		PUT(chart, &words, " ");
		put_words(chart, &schedules[i], &words);
		PUT(chart, &words, ".");
	}
	if (chart->failed ||
	    lsc_svg_begin(chart->out, chart->width, chart->height,
			  n == 1 ? "Multicast schedule" : "Multicast schedules",
			  (const char *)words.data,
			  ".row{fill:currentColor;opacity:.08}\n.head{font-weight:600}\n"
			  ".on,.in{font-size:10px;text-anchor:middle}\n.on{fill:#111}\n") < 0)
		chart->failed = -ENOMEM;
}

/* Sizes follow from the longest schedule. */
static int lay_out(struct chart *chart, const struct lsc_schedule *schedules, uint32_t n,
		   struct lsc_err *err)
{
	uint64_t cells = 0;
	uint32_t rounds = 1;
	char last[12];

	chart->pieces = 1;
	chart->height = LEGEND + ROW;
	for (uint32_t i = 0; i < n; i++) {
		cells += (uint64_t)schedules[i].nodes * LSC_MAX(schedules[i].rounds, 1);
		if (cells > LSC_CHART_MAX_CELLS)
			return lsc_err_set(err, EINVAL,
					   "%u nodes x %u rounds are too many to draw (at most %u)",
					   schedules[i].nodes, schedules[i].rounds,
					   LSC_CHART_MAX_CELLS);
		rounds = LSC_MAX(rounds, schedules[i].rounds);
		chart->pieces = LSC_MAX(chart->pieces, schedules[i].pieces);
		chart->height += HEAD + (int)schedules[i].nodes * ROW + FOOT;
	}
	chart->column = LSC_MAX(LSC_MIN(WIDE / (int)rounds, 22), 2);
	chart->width = LEFT + LSC_MAX(chart->column * (int)rounds, 330) + RIGHT;
	chart->colours = LSC_MIN(chart->pieces, COLOURS);
	chart->numbers =
		snprintf(last, sizeof(last), "%u", chart->pieces - 1) * DIGIT + 2 <= chart->column;
	return 0;
}

int lsc_chart_draw(const struct lsc_schedule *schedules, uint32_t n, struct lsc_buf *buf,
		   struct lsc_err *err)
{
	LSC_CLEANUP(chart_release) struct chart chart = {.out = buf};
	int y = 0, r;

	r = lay_out(&chart, schedules, n, err);
	if (r < 0)
		return r;
	put_head(&chart, schedules, n);
	for (uint32_t i = 0; i < n; i++) {
		PUT(&chart, buf, "<text x=\"%d\" y=\"%d\" class=\"head\">", LEFT, y + 18);
		put_words(&chart, &schedules[i], buf);
		PUT(&chart, buf, "</text>\n");
		y += HEAD;
		for (uint32_t rank = 0; rank < schedules[i].nodes; rank++, y += ROW)
			put_row(&chart, &schedules[i], rank, y);
		put_rounds(&chart, &schedules[i], y);
		y += FOOT;
	}
	put_paths(&chart);
	put_legend(&chart, y + 6);
	PUT(&chart, buf, "</svg>\n");
	return chart.failed ? lsc_err_set(err, ENOMEM, "out of memory") : 0;
}
