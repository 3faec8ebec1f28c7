/* commit - lsc_segment_commit() in a thread of its own */
#include "cast/commit.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lsc_commit {
	pthread_t thread;
	int fd; /* an eventfd: done */
	struct lsc_watch *watch;
	struct lsc_segment *segment;
	void (*fn)(void *data, int result, const struct lsc_err *err);
	void *data;
	int result;
	struct lsc_err err;
};

static void *run(void *arg)
{
	struct lsc_commit *commit = arg;

	commit->result = lsc_segment_commit(commit->segment, &commit->err);
	eventfd_write(commit->fd, 1);
	return NULL;
}

static void on_done(void *data, uint32_t events)
{
	struct lsc_commit *commit = data;

	(void)events;
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
	*commit = (struct lsc_commit){.segment = segment, .fn = fn, .data = data};
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
		lsc_watch_remove(commit->watch);
		close(commit->fd);
		free(commit);
		return r;
	}
	*ret_commit = commit;
	return 0;
}

void lsc_commit_stop(struct lsc_commit *commit)
{
	if (!commit)
		return;
	pthread_join(commit->thread, NULL);
	lsc_watch_remove(commit->watch);
	close(commit->fd);
	free(commit);
}
