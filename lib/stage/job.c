/* job - what the loop's thread asks of the compute thread, and lists of it */
#include "stage/job.h"

#include <stdlib.h>

struct lsc_job *lsc_job_new(enum lsc_job_kind kind)
{
	struct lsc_job *job = calloc(1, sizeof(*job));

	if (job)
		job->kind = kind;
	return job;
}

void lsc_job_free(struct lsc_job *job)
{
	if (!job)
		return;
	free(job->body);
	free(job->ids);
	free(job->out);
	free(job->plan);
	free(job);
}

const struct lsc_frame_stage *lsc_job_stage(const struct lsc_job *job)
{
	return &job->run.route[job->run.stage];
}

bool lsc_job_is_last(const struct lsc_job *job)
{
	return job->run.stage + 1 == job->run.n_stages;
}

bool lsc_job_draws(const struct lsc_job *job)
{
	return lsc_job_is_last(job) && job->run.reach <= job->run.pos + job->run.n;
}

uint32_t lsc_job_left(const struct lsc_job *job)
{
	return job->run.n - job->n_done;
}

int lsc_job_check(const struct lsc_job *job, const struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_run_frame *run = &job->run;
	const struct lsc_frame_stage *stage = lsc_job_stage(job);
	uint32_t head = lsc_model_head_unit(&image->config), context = image->config.context;
	uint64_t each =
		stage->first ? (uint64_t)image->config.hidden * sizeof(float) : sizeof(uint32_t);

	if (stage->first > stage->last || stage->last > head)
		return lsc_err_set(err, EINVAL, "units %u to %u are not this image's 0 to %u",
				   stage->first, stage->last, head);
	if (!lsc_model_may_begin(&image->config, stage->first) ||
	    !lsc_model_may_end(&image->config, stage->last))
		return lsc_err_set(err, EINVAL, "units %u to %u part a layer from its experts",
				   stage->first, stage->last);
	if ((stage->first == 0) != (run->stage == 0) ||
	    (stage->last == head) != lsc_job_is_last(job))
		return lsc_err_set(err, EINVAL,
				   "a route of %u stages that gives stage %u units %u "
				   "to %u",
				   run->n_stages, run->stage, stage->first, stage->last);
	if (job->body_len != each * run->n)
		return lsc_err_set(err, EINVAL, "%u bytes for %u positions of %llu", job->body_len,
				   run->n, (unsigned long long)each);
	if (!lsc_job_is_last(job) &&
	    (uint64_t)run->n * image->config.hidden * sizeof(float) > LSC_BODY_MAX_BYTES)
		return lsc_err_set(err, EINVAL, "%u positions are more than a body holds", run->n);
	if (run->n > context || run->pos > context - run->n)
		return lsc_err_set(err, ERANGE, "position %u is past the model's context",
				   run->pos + run->n - 1);
	if (run->reach > context)
		return lsc_err_set(err, ERANGE, "%u positions are more than the model's context",
				   run->reach);
	return 0;
}

void lsc_jobs_add(struct lsc_jobs *jobs, struct lsc_job *job)
{
	if (!jobs->first)
		jobs->end = &jobs->first;
	job->next = NULL;
	*jobs->end = job;
	jobs->end = &job->next;
}

struct lsc_job *lsc_jobs_take(struct lsc_jobs *jobs)
{
	return jobs->first ? lsc_jobs_take_at(jobs, &jobs->first) : NULL;
}

struct lsc_job *lsc_jobs_take_at(struct lsc_jobs *jobs, struct lsc_job **at)
{
	struct lsc_job *job = *at;

	*at = job->next;
	if (jobs->end == &job->next)
		jobs->end = at;
	job->next = NULL;
	return job;
}

void lsc_jobs_move(struct lsc_jobs *to, struct lsc_jobs *from)
{
	if (!from->first)
		return;
	if (!to->first)
		to->end = &to->first;
	*to->end = from->first;
	to->end = from->end;
	from->first = NULL;
}

void lsc_jobs_release(struct lsc_jobs *jobs)
{
	struct lsc_job *job;

	while ((job = lsc_jobs_take(jobs)))
		lsc_job_free(job);
}
