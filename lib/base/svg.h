/* What SVG documents of ours have in common: a head, and ticks of an axis.
 *
 * A document has a title and a description for who does not see it, no background, and follows the
 * viewer's light or dark scheme: text and lines take currentColor.  The class dim is for the
 * numbers of an axis.
 */
#ifndef LSC_BASE_SVG_H
#define LSC_BASE_SVG_H

#include "base/buf.h"

/* Begins a document; style is more CSS, lines.  title and description are text without markup. */
int lsc_svg_begin(struct lsc_buf *buf, int width, int height, const char *title,
		  const char *description, const char *style);

/* The distance of ticks: 1, 2 or 5 times a power of ten, so that at most n fit into range. */
double lsc_svg_step(double range, int n);

#endif
