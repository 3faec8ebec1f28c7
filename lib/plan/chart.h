/* Schedules drawn as SVG: a Gantt chart with a row a node, a column a round, a colour a piece.
 *
 * A filled cell is a piece that the node receives in that round; a source, which receives nothing,
 * has outlined cells for what it sends.  Several schedules share one time scale, so that they can
 * be compared.  The picture has a title and a description, no background, and follows the
 * viewer's light or dark scheme.
 */
#ifndef LSC_PLAN_CHART_H
#define LSC_PLAN_CHART_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "plan/schedule.h"

#define LSC_CHART_MAX_CELLS 100000u /* nodes x rounds of all schedules */

/* Appends the document; -EINVAL for more cells than that, -ENOMEM. */
int lsc_chart_draw(const struct lsc_schedule *schedules, uint32_t n, struct lsc_buf *buf,
		   struct lsc_err *err);

#endif
