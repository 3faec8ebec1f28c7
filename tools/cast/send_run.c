/* lsc-cast send - a cast, and what people see of it; a plan of one for --dry-run
 *
 * Launching and casting is in lib/send/sending.c, how it is shown in lib/cli/progress.c, which
 * knows nothing of casts: this hands to one what it reads from the other.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "send/costs.h"
#include "send/forecast.h"
#include "send/sending.h"
#include "send.h"

struct job {
	const struct lsc_image *image;
	struct lsc_loop *loop;
	struct lsc_sending *sending;
	struct lsc_progress progress;
	struct lsc_err *err;
	int signal;
};

static enum lsc_progress_state state_of(const struct lsc_cast_node *node, uint64_t total)
{
	if (node->complete)
		return LSC_PROGRESS_COMPLETE;
	if (node->why)
		return LSC_PROGRESS_FAILED;
	if (node->bytes == 0)
		return LSC_PROGRESS_WAITING;
	return node->bytes < total ? LSC_PROGRESS_RECEIVING : LSC_PROGRESS_SYNCING;
}

/* Hands what the cast knows of its receivers to what shows it. */
static void show(void *data, const struct lsc_cast *cast)
{
	struct job *job = data;
	struct lsc_progress *p = &job->progress;
	const struct lsc_image *image = job->image;
	uint32_t n = lsc_cast_n_nodes(cast), first = 1;

	while (first < n && lsc_cast_node(cast, first).source)
		first++;
	if (!p->nodes && lsc_progress_init(p, n - first, image->bytes, image->n_pieces,
					   lsc_sending_began_ns(job->sending), NULL) < 0)
		return;
	for (uint32_t i = first; i < n; i++) {
		struct lsc_cast_node node = lsc_cast_node(cast, i);
		struct lsc_progress_node *shown = &p->nodes[i - first];

		shown->name = node.name;
		shown->state = state_of(&node, image->bytes);
		shown->why = node.why;
		shown->pieces = node.pieces;
		shown->bytes = node.bytes;
		shown->had_bytes = (uint64_t)node.had * image->piece_bytes;
		if (shown->had_bytes > image->bytes)
			shown->had_bytes = image->bytes;
	}
	lsc_progress_tick(p);
}

static void on_done(void *data, int result, const struct lsc_err *err)
{
	struct job *job = data;
	const struct lsc_cast *cast = lsc_sending_cast(job->sending);

	*job->err = *err;
	if (cast) {
		show(job, cast);
		lsc_progress_end(&job->progress);
	}
	lsc_loop_stop(job->loop, result);
}

static void interrupt(void *data, int number)
{
	struct job *job = data;

	job->signal = number;
	lsc_sending_abort(job->sending, "the cast was interrupted");
}

int lsc_cast_send_run(struct send_options *opt, const struct lsc_subject *subject, const char *name,
		      struct lsc_loop *loop, struct lsc_err *err)
{
	struct job job = {
		.image = &subject->image,
		.loop = loop,
		.progress = {.mode = opt->progress},
		.err = err,
	};
	const struct lsc_sending_options options = {
		.cast =
			{
				.image = &subject->image,
				.segment = subject->partial ? &subject->segment : NULL,
				.absent = subject->absent,
				.n_parts = opt->n_parts,
				.name = name,
				.rate = opt->rate,
				.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
				.key = opt->access.key,
				.cleartext = opt->cleartext,
				.transport = opt->transport,
				.exec = opt->exec,
				.report_fd =
					opt->json || !isatty(STDOUT_FILENO) ? STDOUT_FILENO : -1,
				.report_json = opt->json,
				.on_done = on_done,
				.on_tick = show,
				.data = &job,
			},
		.order = opt->order,
		.to = &opt->to,
		.sources = &opt->sources,
		.launch =
			{
				.how = opt->launch,
				.timeout_ns = (uint64_t)(opt->launch_timeout_s * 1e9),
			},
		.program = opt->program,
		.dir = opt->dir,
		.port = (uint16_t)opt->port,
	};
	int r;

	/* Bars and records on one terminal would tear each other. */
	if (opt->json && isatty(STDOUT_FILENO) && job.progress.mode == LSC_PROGRESS_AUTO)
		job.progress.mode = LSC_PROGRESS_LINES;
	r = lsc_sending_start(&job.sending, loop, &options, err);

	if (r == 0)
		r = lsc_loop_signals(loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, interrupt, &job,
				     err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	if (lsc_progress_any(&job.progress) && r != -ECANCELED)
		lsc_progress_summary(&job.progress, lsc_forecast_speed(opt->link, opt->rate));
	if (r >= 0 && opt->stats)
		lsc_costs_print(lsc_sending_cast(job.sending), stderr);
	lsc_sending_free(job.sending);
	lsc_progress_release(&job.progress);
	return job.signal && r == -ECANCELED ? 128 + job.signal : r;
}

/* A ring of links that are equal is a chain for each source. */
int lsc_cast_send_plan(const struct send_options *opt, const struct lsc_subject *subject,
		       const char *name, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	struct lsc_cast_options chosen = {
		.image = &subject->image,
		.absent = subject->absent,
		.n_sources = opt->sources.n,
		.n_to = opt->to.n,
	};
	struct lsc_forecast forecast = {
		.image = &subject->image,
		.name = name,
		.absent = subject->absent,
		.sources = opt->sources.names,
		.n_sources = opt->sources.n,
		.to = opt->to.names,
		.n_to = opt->to.n,
		.speed = lsc_forecast_speed(opt->link, opt->rate),
	};
	int r;

	lsc_sending_choose(opt->order, &chosen);
	forecast.order = chosen.scheduled ? chosen.order : LSC_ORDER_CHAIN;
	forecast.order_name = lsc_sending_order_name(&chosen);
	r = lsc_forecast_tell(&forecast, opt->json, &text, err);
	if (r == 0)
		fwrite(text.data, 1, text.len, stdout);
	return r;
}
