/* commit - lsc_segment_commit() in a thread of its own
 *
 * Whoever started it may be gone before it is done: an image is synced to its end, since all of it
 * is here, and nobody waits for that but the end of the loop.
 */
#include "cast/commit.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

struct lsc_commit {
	struct lsc_loop *loop;
	pthread_t thread;
	int fd; /* an eventfd: done */
	struct lsc_watch *watch;
	struct lsc_segment *segment;
	void (*fn)(void *data, int result, const struct lsc_err *err);
	void *data;
	int result;
	struct lsc_err err;
	struct lsc_loop_hook at_free; /* once it is left */
};

static void *run(void *arg)
{
	struct lsc_commit *commit = arg;

	commit->result = lsc_segment_commit(commit->segment, &commit->err);
	eventfd_write(commit->fd, 1);
	return NULL;
}

static void release(struct lsc_commit *commit)
{
	lsc_watch_remove(commit->watch);
	close(commit->fd);
	free(commit);
}

/* Ends one that was left. */
static void bury(void *data)
{
	struct lsc_commit *commit = data;

	pthread_join(commit->thread, NULL);
	if (commit->result < 0)
		lsc_warning("%s", commit->err.text);
	lsc_segment_close(commit->segment);
	free(commit->segment);
	release(commit);
}

static void on_done(void *data, uint32_t events)
{
	struct lsc_commit *commit = data;

	(void)events;
	if (!commit->fn) {
		lsc_loop_unhook(commit->loop, &commit->at_free);
		bury(commit);
		return;
	}
	pthread_join(commit->thread, NULL);
	lsc_watch_remove(commit->watch);
	commit->watch = NULL;
	commit->fn(commit->data, commit->result, &commit->err);
}

int lsc_commit_start(struct lsc_commit **ret_commit, struct lsc_loop *loop,
		     struct lsc_segment *segment,
		     void (*fn)(void *data, int result, const struct lsc_err *err), void *data,
		     struct lsc_err *err)
{
	struct lsc_commit *commit = calloc(1, sizeof(*commit));
	int r;

	if (!commit)
		return lsc_err_set(err, ENOMEM, "cannot commit an image: %m");
	*commit = (struct lsc_commit){.loop = loop, .segment = segment, .fn = fn, .data = data};
	commit->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (commit->fd < 0) {
		r = lsc_err_set(err, errno, "cannot commit an image: %m");
		free(commit);
		return r;
	}
	r = lsc_loop_watch(loop, commit->fd, EPOLLIN, on_done, commit, &commit->watch, err);
	if (r == 0) {
		r = -pthread_create(&commit->thread, NULL, run, commit);
		if (r < 0)
			lsc_err_set(err, -r, "cannot start a thread: %m");
	}
	if (r < 0) {
		release(commit);
		return r;
	}
	*ret_commit = commit;
	return 0;
}

bool lsc_commit_leave(struct lsc_commit *commit)
{
	if (!commit)
		return false;
	if (!commit->watch) { /* it is done, and was joined */
		release(commit);
		return false;
	}
	commit->fn = NULL;
	commit->at_free = (struct lsc_loop_hook){.fn = bury, .data = commit};
	lsc_loop_hook(commit->loop, &commit->at_free);
	return true;
}
