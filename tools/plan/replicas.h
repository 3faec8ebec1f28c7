/* What lsc-plan start was asked, and its output. */
#ifndef LSC_TOOLS_PLAN_REPLICAS_H
#define LSC_TOOLS_PLAN_REPLICAS_H

#include "holders.h"
#include "plan/start.h"

enum replicas_format { REPLICAS_TABLE, REPLICAS_JSON, REPLICAS_RECORDS, REPLICAS_COMMANDS };

struct replicas_options {
	const char *model;
	uint64_t replicas, bytes, piece_bytes;
	bool has_tier, force;
	enum lsc_tier tier;
	double disk, link, gpu;
	enum replicas_format format;
	const char *files[256];
	size_t n_files;
};

int replicas_output(const struct replicas_options *opt, const struct holders *holders,
		    const struct lsc_start *start, const struct lsc_start_choice *choices,
		    uint32_t found, struct lsc_err *err);

#endif
