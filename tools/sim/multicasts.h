/* What lsc-sim cast was asked, and its output. */
#ifndef LSC_TOOLS_SIM_MULTICASTS_H
#define LSC_TOOLS_SIM_MULTICASTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "sim/multicast.h"

#define MULTICASTS_MAX 64 /* numbers of receivers */

enum multicasts_format { MULTICASTS_TABLE, MULTICASTS_JSON };

struct multicasts {
	const char *cluster_path, *shape, *image_path;
	uint64_t bytes;
	double link, disk; /* 0: not given */
	uint64_t sources;
	uint32_t receivers[MULTICASTS_MAX], n_receivers;
	const struct lsc_system *systems[LSC_SYSTEM_MAX];
	unsigned n_systems;
	bool all_systems; /* those that can be had */
	enum multicasts_format format;

	struct lsc_site site;
	struct lsc_cargo cargo;
};

/* One cast that was simulated. */
struct multicast_row {
	const struct lsc_system *system;
	uint32_t receivers;
	double bound; /* seconds that no multicast is faster than */
	const struct lsc_multicast_result *result;
};

/* What comes in front of all rows, a row, and what comes behind them: appends it.  -ENOMEM. */
int multicasts_begin(const struct multicasts *m, struct lsc_buf *out);
int multicasts_row(const struct multicasts *m, const struct multicast_row *row,
		   struct lsc_buf *out);
int multicasts_end(const struct multicasts *m, struct lsc_buf *out);

#endif
