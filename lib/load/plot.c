/* plot - a tally as SVG
 *
 * Latencies have a logarithmic axis, since their tails are what one looks at; tokens a second are
 * drawn in 200 steps at most, however fine the bins are.
 */
#include "load/plot.h"

#include <math.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/svg.h"

enum {
	LEFT = 72,
	WIDE = 800,
	RIGHT = 16,
	HEAD = 28, /* a panel's title above it */
	HIGH = 160,
	FOOT = 36, /* its axis below it */
	PANELS = 3,
	STEPS = 200,
};

struct plot {
	struct lsc_buf *out;
	int failed; /* -ENOMEM, once */
};

#define PUT(plot, ...)                                                                             \
	do {                                                                                       \
		if (lsc_buf_printf((plot)->out, __VA_ARGS__) < 0)                                  \
			(plot)->failed = -ENOMEM;                                                  \
	} while (0)

static void put_frame(struct plot *plot, int y, const char *title)
{
	PUT(plot, "<text x=\"%d\" y=\"%d\" class=\"head\">%s</text>\n", LEFT, y + 18, title);
	PUT(plot, "<path class=\"axis\" d=\"M%d %dv%dh%d\"/>\n", LEFT, y + HEAD, HIGH, WIDE);
}

static void put_y_tick(struct plot *plot, int y, double share, const char *label)
{
	double at = y + HEAD + HIGH * (1 - share);

	PUT(plot, "<path class=\"grid\" d=\"M%d %.1fh%d\"/>", LEFT, at, WIDE);
	PUT(plot, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" class=\"dim\">%s</text>\n",
	    LEFT - 6, at + 4, label);
}

static void put_x_tick(struct plot *plot, int y, double share, const char *label)
{
	double at = LEFT + WIDE * share;

	PUT(plot, "<path class=\"grid\" d=\"M%.1f %dv%d\"/>", at, y + HEAD, HIGH);
	PUT(plot, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" class=\"dim\">%s</text>\n", at,
	    y + HEAD + HIGH + 16, label);
}

/* --- shares of requests --- */

struct curve {
	const char *name, *class;
	const struct lsc_digest *digest;
};

/* Decades from which and up to which the curves go. */
static void find_decades(const struct curve *curves, size_t n, double *ret_low, double *ret_high)
{
	double least = INFINITY, most = 0;

	for (size_t i = 0; i < n; i++) {
		const struct lsc_digest *digest = curves[i].digest;

		if (!digest->n)
			continue;
		least = fmin(least, fmax((double)digest->least, 1e3));
		most = fmax(most, fmax((double)digest->most, 1e3));
	}
	*ret_low = most > 0 ? floor(log10(least)) : 6;
	*ret_high = most > 0 ? fmax(ceil(log10(most)), *ret_low + 1) : 9;
}

static void put_curve(struct plot *plot, const struct curve *curve, int y, double low, double high)
{
	uint64_t value = 0, below = 0;
	uint32_t bucket = 0;

	PUT(plot, "<path class=\"line %s\" d=\"", curve->class);
	for (bool first = true; lsc_digest_next(curve->digest, &bucket, &value, &below);
	     first = false) {
		double at = (log10(fmax((double)value, 1e3)) - low) / (high - low);
		double share = (double)below / (double)curve->digest->n;

		if (first)
			PUT(plot, "M%.1f %d", LEFT + WIDE * at, y + HEAD + HIGH);
		PUT(plot, "H%.1fV%.1f", LEFT + WIDE * at, y + HEAD + HIGH * (1 - share));
	}
	PUT(plot, "\"/>\n");
}

static void put_legend(struct plot *plot, const struct curve *curves, size_t n, int y)
{
	for (size_t i = 0; i < n; i++) {
		int x = LEFT + WIDE - 110 * (int)(n - i);

		PUT(plot,
		    "<path class=\"line %s\" d=\"M%d %dh18\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
		    curves[i].class, x, y + 14, x + 24, y + 18, curves[i].name);
	}
}

static void put_latencies(struct plot *plot, const struct lsc_tally *tally, int y)
{
	const struct curve curves[] = {
		{"TTFT", "a", &tally->ttft},
		{"TPOT", "b", &tally->tpot},
		{"end to end", "c", &tally->e2e},
	};
	double low, high;

	find_decades(curves, LSC_ARRAY_SIZE(curves), &low, &high);
	put_frame(plot, y, "Share of requests that took at most");
	put_legend(plot, curves, LSC_ARRAY_SIZE(curves), y);
	for (int i = 0; i <= 4; i++) {
		char label[8];

		snprintf(label, sizeof(label), "%d %%", 25 * i);
		put_y_tick(plot, y, i / 4.0, label);
	}
	for (double d = low; d <= high; d++) {
		static const char *const units[] = {"ns", "&#181;s", "ms", "s"};
		int unit = LSC_MIN((int)d / 3, 3);
		char label[32];

		snprintf(label, sizeof(label), "%.0f %s", pow(10, d - 3 * unit), units[unit]);
		put_x_tick(plot, y, (d - low) / (high - low), label);
	}
	for (size_t i = 0; i < LSC_ARRAY_SIZE(curves); i++)
		put_curve(plot, &curves[i], y, low, high);
}

/* --- tokens over time --- */

/* Bins that are drawn as one, so that STEPS are enough. */
static uint32_t bins_a_step(const struct lsc_series *series)
{
	return LSC_MAX((uint32_t)lsc_div_up(series->n, STEPS), 1u);
}

static double step_rate(const struct lsc_series *series, const uint64_t *bins, uint32_t from)
{
	uint32_t to = LSC_MIN(from + bins_a_step(series), series->n);
	uint64_t tokens = 0;

	for (uint32_t i = from; i < to; i++)
		tokens += bins[i];
	return (double)tokens / ((double)series->bin_ns / 1e9 * (to - from));
}

static void put_rates(struct plot *plot, const struct lsc_series *series, const uint64_t *bins,
		      const char *class, int y, double most)
{
	uint32_t step = bins_a_step(series);

	PUT(plot, "<path class=\"line %s\" d=\"M%d %d", class, LEFT, y + HEAD + HIGH);
	for (uint32_t i = 0; i < series->n; i += step)
		PUT(plot, "V%.1fH%.1f", y + HEAD + HIGH * (1 - step_rate(series, bins, i) / most),
		    LEFT + WIDE * (double)LSC_MIN(i + step, series->n) / series->n);
	PUT(plot, "\"/>\n");
}

static void put_tokens(struct plot *plot, const struct lsc_series *series, const uint64_t *bins,
		       const char *title, const char *class, int y)
{
	double most = 0, seconds = (double)series->bin_ns / 1e9 * series->n, step;
	char label[32];

	put_frame(plot, y, title);
	for (uint32_t i = 0; i < series->n; i += bins_a_step(series))
		most = fmax(most, step_rate(series, bins, i));
	if (!(most > 0))
		return;
	step = lsc_svg_step(most, 4);
	for (double at = 0; at <= most * 1.0001; at += step) {
		snprintf(label, sizeof(label), "%.6g", at);
		put_y_tick(plot, y, at / most, label);
	}
	step = lsc_svg_step(seconds, 8);
	for (double at = 0; at <= seconds * 1.0001; at += step) {
		snprintf(label, sizeof(label), "%.6g s", at);
		put_x_tick(plot, y, at / seconds, label);
	}
	put_rates(plot, series, bins, class, y, most);
}

int lsc_plot_draw(const struct lsc_tally *tally, struct lsc_buf *buf, struct lsc_err *err)
{
	const int panel = HEAD + HIGH + FOOT;
	const struct lsc_series *series = &tally->series;
	struct plot plot = {.out = buf};
	char words[256];

	snprintf(words, sizeof(words),
		 "%u requests sent, %u complete: the share of them by latency, and tokens a second "
		 "over time, out and in.",
		 tally->sent, tally->outcomes[LSC_OUTCOME_OK]);
	if (lsc_svg_begin(buf, LEFT + WIDE + RIGHT, PANELS * panel, "Replay", words,
			  ".head{font-weight:600}\n"
			  ".axis{stroke:currentColor}.grid{stroke:currentColor;opacity:.15}\n"
			  ".line{stroke-width:1.5}.a{stroke:#5b8def}.b{stroke:#2fb39a}"
			  ".c{stroke:#ee7f5b}\n") < 0)
		plot.failed = -ENOMEM;
	put_latencies(&plot, tally, 0);
	put_tokens(&plot, series, series->out, "Tokens a second, out", "c", panel);
	put_tokens(&plot, series, series->in, "Tokens a second, in", "a", 2 * panel);
	PUT(&plot, "</svg>\n");
	return plot.failed ? lsc_err_set(err, ENOMEM, "out of memory") : 0;
}
