/* batch - one step of a stage
 *
 * The engine runs works that have the same units as one batch.  Where routes were cut in different
 * places, a step is run in stretches of units over which nobody joins or leaves; activations wait
 * in between where they end up in any case, or in a buffer for those that end with logits.
 */
#include "stage/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

void lsc_batch_release(struct lsc_batch *batch)
{
	free(batch->between);
	batch->between = NULL;
	batch->between_cap = 0;
}

/* --- places --- */

/* Where a job goes: to a free place, or to that of another; NULL: there is none for it. */
static struct lsc_pick *find_place(struct lsc_batch *batch, const struct lsc_job *job,
				   const struct lsc_guest *guest)
{
	struct lsc_pick *youngest = NULL;
	unsigned prompts = 0;

	if (batch->n < LSC_STORE_BATCH)
		return &batch->picks[batch->n];
	for (unsigned i = 0; i < batch->n; i++) {
		struct lsc_pick *pick = &batch->picks[i];

		if (lsc_job_left(pick->job) == 1)
			continue;
		prompts++;
		if (!youngest || lsc_guest_is_older(youngest->guest, pick->guest))
			youngest = pick;
	}
	if (lsc_job_left(job) == 1)
		return prompts > 1 ? youngest : NULL;
	if (!youngest)
		return &batch->picks[batch->n - 1];
	return lsc_guest_is_older(guest, youngest->guest) ? youngest : NULL;
}

bool lsc_batch_has_place(struct lsc_batch *batch, const struct lsc_job *job,
			 const struct lsc_guest *guest)
{
	return find_place(batch, job, guest) != NULL;
}

void lsc_batch_add(struct lsc_batch *batch, struct lsc_job *job, struct lsc_guest *guest)
{
	struct lsc_pick *pick = find_place(batch, job, guest);

	*pick = (struct lsc_pick){.job = job, .guest = guest, .unit = lsc_job_stage(job)->first};
	batch->n = LSC_MAX(batch->n, (unsigned)(pick - batch->picks) + 1);
}

/* --- results --- */

static void explain(struct lsc_job *job, int result, const struct lsc_err *err)
{
	const struct lsc_run_frame *run = &job->run;

	job->finished = true;
	switch (result) {
	case -ESTALE:
		lsc_err_set(&job->err, ESTALE, "the KV here does not reach position %u",
			    run->pos + job->n_done);
		break;
	case -ENOSPC:
		lsc_err_set(&job->err, ENOSPC, "no room for the KV of position %u",
			    run->pos + job->n_done);
		break;
	case -ERANGE:
		lsc_err_set(&job->err, ERANGE, "position %u is past the model's context",
			    run->pos + run->n - 1);
		break;
	case -EINVAL:
		lsc_err_set(&job->err, EINVAL, "a token outside the vocabulary");
		break;
	default:
		lsc_err_set(&job->err, -result, "%s", err->text[0] ? err->text : "%m");
	}
}

/* Logits become a token once all positions of the run are through, unless more are to come. */
static void conclude(struct lsc_pick *pick, float *logits, struct lsc_store_image *image)
{
	struct lsc_job *job = pick->job;
	const struct lsc_run_frame *run = &job->run;

	job->n_done += pick->rows;
	job->finished = job->n_done == run->n;
	if (!lsc_job_draws(job) || !job->finished)
		return;
	if (pick->draw.drawn)
		job->drawn = (struct lsc_drawn){.token = pick->draw.token};
	else
		lsc_sampler_draw(&image->sampler, logits, &run->sampling, pick->guest->past,
				 LSC_MIN(pick->guest->n_past, run->pos + run->n), run->pos + run->n,
				 &job->drawn);
}

/* --- stretches of units --- */

/* The next stretch: false when all are through. */
static bool next_stretch(const struct lsc_batch *batch, uint32_t *ret_first, uint32_t *ret_last)
{
	uint32_t first = UINT32_MAX, last = UINT32_MAX;

	for (unsigned i = 0; i < batch->n; i++)
		if (batch->picks[i].job)
			first = LSC_MIN(first, batch->picks[i].unit);
	for (unsigned i = 0; i < batch->n; i++) {
		const struct lsc_pick *pick = &batch->picks[i];

		if (!pick->job)
			continue;
		last = LSC_MIN(last, pick->unit == first ? lsc_job_stage(pick->job)->last
							 : pick->unit - 1);
	}
	*ret_first = first;
	*ret_last = last;
	return first != UINT32_MAX;
}

static void make_work(struct lsc_batch *batch, unsigned index, struct lsc_store_image *image,
		      uint32_t last, struct lsc_work *work)
{
	struct lsc_pick *pick = &batch->picks[index];
	struct lsc_job *job = pick->job;
	const struct lsc_run_frame *run = &job->run;
	const struct lsc_model_config *config = &image->image.config;
	size_t done = (size_t)job->n_done * config->hidden;
	bool ends = last == lsc_job_stage(job)->last;
	bool draws = ends && lsc_job_draws(job) && job->n_done + pick->rows == run->n;

	*work = (struct lsc_work){.key = pick->guest->entry.key,
				  .first = pick->unit,
				  .last = last,
				  .pos = run->pos + job->n_done,
				  .n = pick->rows,
				  .ids = (const uint32_t *)job->body + job->n_done,
				  .in = pick->x};
	if (pick->unit == lsc_job_stage(job)->first)
		work->in = (const float *)job->body + done;
	if (ends && lsc_job_is_last(job))
		work->out = draws ? image->logits + (size_t)index * config->vocab : NULL;
	else
		work->out = job->out ? job->out + done : pick->x;
	pick->x = work->out;
	pick->draw = (struct lsc_draw){.temp = run->sampling.temp,
				       .top_p = run->sampling.top_p,
				       .seed = run->sampling.seed,
				       .pos = run->pos + run->n};
	if (draws && lsc_sampling_is_plain(&run->sampling))
		work->draw = &pick->draw;
}

/* Room for the activations of those that end with logits, where units differ. */
static int make_between(struct lsc_batch *batch, uint32_t hidden)
{
	const struct lsc_frame_stage *like = lsc_job_stage(batch->picks[0].job);
	bool alike = true;
	size_t rows = 0;

	for (unsigned i = 0; i < batch->n; i++) {
		const struct lsc_frame_stage *stage = lsc_job_stage(batch->picks[i].job);

		alike = alike && stage->first == like->first && stage->last == like->last;
		rows += batch->picks[i].rows;
	}
	if (alike)
		return 0;
	if (rows * hidden > batch->between_cap) {
		lsc_batch_release(batch);
		batch->between = malloc(rows * hidden * sizeof(*batch->between));
		if (!batch->between)
			return -ENOMEM;
		batch->between_cap = rows * hidden;
	}
	rows = 0;
	for (unsigned i = 0; i < batch->n; i++) {
		batch->picks[i].x = batch->between + rows * hidden;
		rows += batch->picks[i].rows;
	}
	return 0;
}

/* Where activations go that leave: of the whole run, filled part by part. */
static int make_out(struct lsc_job *job, uint32_t hidden)
{
	if (lsc_job_is_last(job) || job->out)
		return 0;
	job->out_len = job->run.n * hidden * (uint32_t)sizeof(float);
	job->out = malloc(job->out_len);
	if (job->out)
		return 0;
	job->out_len = 0;
	return -ENOMEM;
}

static void fail_all(struct lsc_batch *batch, int result)
{
	struct lsc_err err = LSC_ERR_INIT;

	lsc_err_set(&err, -result, "no memory for a step");
	for (unsigned i = 0; i < batch->n; i++)
		if (batch->picks[i].job)
			explain(batch->picks[i].job, result, &err);
}

static int prepare(struct lsc_batch *batch, uint32_t hidden)
{
	int r = make_between(batch, hidden);

	for (unsigned i = 0; i < batch->n && r == 0; i++)
		r = make_out(batch->picks[i].job, hidden);
	return r;
}

/* Runs one stretch; whether somebody is through. */
static bool run_stretch(struct lsc_batch *batch, struct lsc_store_image *image, uint32_t first,
			uint32_t last)
{
	struct lsc_err err = LSC_ERR_INIT;
	bool ended = false;
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < batch->n; i++)
		if (batch->picks[i].job && batch->picks[i].unit == first) {
			make_work(batch, i, image, last, &batch->works[n]);
			batch->at[n++] = i;
		}
	r = lsc_engine_run(image->engine, batch->works, n, &err);
	for (unsigned i = 0; i < n; i++) {
		struct lsc_pick *pick = &batch->picks[batch->at[i]];
		int result = r < 0 ? r : batch->works[i].result;

		pick->unit = last + 1;
		if (result == 0 && last < lsc_job_stage(pick->job)->last)
			continue;
		if (result < 0)
			explain(pick->job, result, &err);
		else
			conclude(pick, batch->works[i].out, image);
		ended = ended || pick->job->finished;
		pick->job = NULL;
	}
	return ended;
}

void lsc_batch_run(struct lsc_batch *batch, struct lsc_store_image *image,
		   void (*through)(void *data), void *data)
{
	int r = prepare(batch, image->image.config.hidden);
	uint32_t first, last;

	if (r < 0) {
		fail_all(batch, r);
		through(data);
		return;
	}
	while (next_stretch(batch, &first, &last))
		if (run_stretch(batch, image, first, last))
			through(data);
}
