/* A tally drawn as SVG: shares of requests by TTFT, time per token and end-to-end time, and tokens
 * a second, out and in, over the time of the replay. */
#ifndef LSC_LOAD_PLOT_H
#define LSC_LOAD_PLOT_H

#include "base/buf.h"
#include "base/err.h"
#include "load/tally.h"

/* Appends the document; -ENOMEM. */
int lsc_plot_draw(const struct lsc_tally *tally, struct lsc_buf *buf, struct lsc_err *err);

#endif
