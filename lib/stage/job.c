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
