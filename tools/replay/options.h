/* What lsc-replay's command line says. */
#ifndef LSC_REPLAY_OPTIONS_H
#define LSC_REPLAY_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "load/prompt.h"
#include "load/tally.h"
#include "load/timetable.h"

struct replay_options {
	const char *url, *trace; /* NULL where there is none */
	const char *model, *key_file, *ca_file, *text_file, *records, *svg;
	struct lsc_timetable_options timetable;
	struct lsc_objectives objectives;
	uint64_t max_concurrency; /* 0: what descriptors allow */
	double timeout_s, tokens_per_word;
	bool chat, greedy, ignore_eos, no_usage, dry_run, json, force;

	bool reshaped; /* own: --speed or --scale was given */
};

#define REPLAY_OPTIONS_INIT                                                                        \
	{                                                                                          \
		.timetable = {.speed = 1, .scale = 1, .cv = 1}, .timeout_s = 300                   \
	}

extern const struct argp replay_argp;

#endif
