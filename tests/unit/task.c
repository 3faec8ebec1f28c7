/* task: work in a thread, its end in the loop; stopped before, during and after */
#include "tap.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "net/task.h"

static struct lsc_loop *loop;
static struct lsc_err err;

struct job {
	struct lsc_task *task;
	atomic_bool hurry;
	atomic_int worked;
	int done;
	bool stops; /* itself, in done */
};

static void work(void *data)
{
	struct job *job = data;

	for (int i = 0; i < 200 && !atomic_load(&job->hurry); i++)
		usleep(1000);
	atomic_fetch_add(&job->worked, 1);
}

static void done(void *data)
{
	struct job *job = data;

	job->done++;
	if (job->stops) {
		lsc_task_stop(job->task);
		job->task = NULL;
	}
}

static void turn(const struct job *job)
{
	uint64_t until = lsc_clock_ns() + 5000000000u;

	while (!job->done && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 10, NULL);
}

int main(void)
{
	struct job job = {.task = NULL}, other = {.stops = true}, left = {.task = NULL};

	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	is_int(lsc_task_start(&job.task, loop, work, done, &job, &err), 0, "one starts");
	ok(!job.done, "and is not waited for");
	atomic_store(&job.hurry, true);
	turn(&job);
	ok(job.done == 1 && job.worked == 1, "its end is heard of once");
	lsc_loop_turn(loop, 20, NULL);
	lsc_task_stop(job.task);
	is_int(job.done, 1, "and not again");

	lsc_task_start(&other.task, loop, work, done, &other, &err);
	turn(&other);
	ok(other.done == 1 && !other.task, "one that is stopped by its own end");

	lsc_task_start(&left.task, loop, work, done, &left, &err);
	atomic_store(&left.hurry, true);
	lsc_task_stop(left.task);
	lsc_loop_turn(loop, 20, NULL);
	ok(left.worked == 1 && left.done == 0, "one that is stopped has worked, and says nothing");
	lsc_task_stop(NULL);
	lsc_loop_free(loop);
	return done_testing();
}
