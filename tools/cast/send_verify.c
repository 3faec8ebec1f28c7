/* lsc-cast send --verify-only - a line for each node on what it has; lib/send/survey.c asks them */
#include <stdio.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "send/survey.h"
#include "cli/exit.h"
#include "send.h"

struct verifying {
	const struct send_options *opt;
	struct lsc_loop *loop;
};

static void on_answer(void *data, uint32_t node, const struct lsc_check_result *result,
		      const struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
	struct verifying *v = data;

	if (lsc_survey_tell(v->opt->to.names[node], result, err, v->opt->json, &line) < 0)
		return;
	fwrite(line.data, 1, line.len, stdout);
	fflush(stdout); /* nodes take minutes */
}

static void on_done(void *data, uint32_t n_good)
{
	struct verifying *v = data;

	lsc_loop_stop(v->loop, n_good == v->opt->to.n ? 0 : LSC_EXIT_NO);
}

int lsc_cast_send_verify(const struct send_options *opt, const struct lsc_subject *subject,
			 const char *name, struct lsc_loop *loop, struct lsc_err *err)
{
	struct verifying v = {opt, loop};
	const struct lsc_survey_options options = {
		.image = &subject->image,
		.name = name,
		.nodes = opt->to.names,
		.n_nodes = opt->to.n,
		.key = opt->access.key,
		.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
		.on_answer = on_answer,
		.on_done = on_done,
		.data = &v,
	};
	struct lsc_survey *survey = NULL;
	int r = lsc_survey_start(&survey, loop, &options, err);

	if (r == 0)
		r = lsc_loop_run(loop, err);
	lsc_survey_free(survey);
	return r;
}
