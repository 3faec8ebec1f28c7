/* task - a thread, and an eventfd that says that it is done */
#include "net/task.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lsc_task {
	void (*work)(void *data);
	void (*done)(void *data);
	void *data;
	pthread_t thread;
	bool running; /* not joined yet */
	int fd;       /* an eventfd; -1 */
	struct lsc_watch *watch;
};

static void *run(void *arg)
{
	struct lsc_task *task = arg;

	task->work(task->data);
	eventfd_write(task->fd, 1);
	return NULL;
}

static void on_done(void *data, uint32_t events)
{
	struct lsc_task *task = data;

	(void)events;
	pthread_join(task->thread, NULL);
	task->running = false;
	lsc_watch_remove(task->watch);
	task->watch = NULL;
	task->done(task->data);
}

int lsc_task_start(struct lsc_task **ret_task, struct lsc_loop *loop, void (*work)(void *data),
		   void (*done)(void *data), void *data, struct lsc_err *err)
{
	struct lsc_task *task = calloc(1, sizeof(*task));
	int r;

	if (!task)
		return lsc_err_set(err, ENOMEM, "cannot start a thread: %m");
	*task = (struct lsc_task){.work = work, .done = done, .data = data};
	task->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = task->fd < 0 ? lsc_err_set(err, errno, "cannot start a thread: %m") : 0;
	if (r == 0)
		r = lsc_loop_watch(loop, task->fd, EPOLLIN, on_done, task, &task->watch, err);
	if (r == 0) {
		r = -pthread_create(&task->thread, NULL, run, task);
		if (r < 0)
			lsc_err_set(err, -r, "cannot start a thread: %m");
		task->running = r == 0;
	}
	if (r < 0) {
		lsc_task_stop(task);
		return r;
	}
	*ret_task = task;
	return 0;
}

void lsc_task_stop(struct lsc_task *task)
{
	if (!task)
		return;
	if (task->running)
		pthread_join(task->thread, NULL);
	lsc_watch_remove(task->watch);
	if (task->fd >= 0)
		close(task->fd);
	free(task);
}
