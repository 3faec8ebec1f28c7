/* How `lsc-exec run` draws tokens, and at what it stops. */
#ifndef LSC_TOOLS_EXEC_SAMPLING_H
#define LSC_TOOLS_EXEC_SAMPLING_H

#include <argp.h>
#include <stdbool.h>

#include "base/sampling.h"
#include "model/stop.h"
#include "model/tokens.h"

struct exec_sampling {
	struct lsc_sampling how;
	struct lsc_stops stops;
	struct lsc_tokens stop_ids;
};

enum {
	EXEC_KEY_TEMP = 0x3000,
	EXEC_KEY_TOP_K,
	EXEC_KEY_TOP_P,
	EXEC_KEY_MIN_P,
	EXEC_KEY_PENALTY,
	EXEC_KEY_SEED,
	EXEC_KEY_STOP,
	EXEC_KEY_STOP_ID,
	EXEC_KEY_LOGPROBS,
};

/* A parser's answer to these: whether it was one. */
bool exec_sampling_option(struct exec_sampling *sampling, int key, const char *arg,
			  struct argp_state *state);
void exec_sampling_release(struct exec_sampling *sampling);

#endif
