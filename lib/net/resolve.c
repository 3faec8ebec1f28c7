/* resolve - names to addresses, by a few threads
 *
 * getaddrinfo() can be neither polled nor interrupted.  So it runs in threads that come when there
 * is something to do and go when there is nothing; what is no longer wanted, they find out
 * afterwards.  All that they share with the loop is under one lock.
 */
#include "net/resolve.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_THREADS 8

enum state {
	QUEUED,
	RUNNING,
	LEFT, /* while it was running: the thread frees it */
	DONE,
};

struct lsc_resolve {
	struct lsc_endpoint endpoint;
	int fd; /* an eventfd: done */
	struct lsc_watch *watch;
	lsc_resolve_fn *fn;
	void *data;
	struct lsc_resolve *next;

	enum state state; /* under the lock */
	int result;
	struct addrinfo *list;
	struct lsc_err err;
};

static struct {
	pthread_mutex_t lock;
	struct lsc_resolve *first, **end;
	unsigned threads;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .end = &queue.first};

static int resolve(const struct lsc_endpoint *endpoint, int flags, struct addrinfo **ret_list)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
	char port[8];

	*ret_list = NULL;
	snprintf(port, sizeof(port), "%u", endpoint->port);
	return getaddrinfo(endpoint->name, port, &hints, ret_list);
}

int lsc_resolve_now(const struct lsc_endpoint *endpoint, int flags, struct addrinfo **ret_list,
		    struct lsc_err *err)
{
	int r = resolve(endpoint, flags, ret_list);

	if (r == 0)
		return 0;
	return lsc_err_set(err, r == EAI_MEMORY ? ENOMEM : EHOSTUNREACH, "cannot resolve '%s': %s",
			   endpoint->name, gai_strerror(r));
}

/* One that nobody else knows any more. */
static void release(struct lsc_resolve *resolve)
{
	if (resolve->list)
		freeaddrinfo(resolve->list);
	close(resolve->fd);
	free(resolve);
}

static void *work(void *arg)
{
	struct lsc_resolve *r;

	pthread_mutex_lock(&queue.lock);
	while ((r = queue.first)) {
		queue.first = r->next;
		if (!queue.first)
			queue.end = &queue.first;
		r->state = RUNNING;
		pthread_mutex_unlock(&queue.lock);
		r->result = lsc_resolve_now(&r->endpoint, AI_ADDRCONFIG, &r->list, &r->err);
		pthread_mutex_lock(&queue.lock);
		if (r->state == LEFT) {
			release(r);
		} else {
			r->state = DONE;
			eventfd_write(r->fd, 1);
		}
	}
	queue.threads--;
	pthread_mutex_unlock(&queue.lock);
	return arg;
}

static void on_done(void *data, uint32_t events)
{
	struct lsc_resolve *r = data;
	struct addrinfo *list;

	(void)events;
	pthread_mutex_lock(&queue.lock); /* what the thread wrote is seen behind it */
	list = r->list;
	r->list = NULL;
	pthread_mutex_unlock(&queue.lock);
	lsc_watch_remove(r->watch);
	r->watch = NULL;
	r->fn(r->data, r->result, list, &r->err);
}

/* A thread for it, if there may be one more: it is done in any case while there is any. */
static int push(struct lsc_resolve *r)
{
	pthread_t thread;
	int code = 0;

	pthread_mutex_lock(&queue.lock);
	if (queue.threads < MAX_THREADS) {
		code = pthread_create(&thread, NULL, work, NULL);
		if (code == 0) {
			queue.threads++;
			pthread_detach(thread);
		}
	}
	if (queue.threads) {
		*queue.end = r;
		queue.end = &r->next;
		code = 0;
	}
	pthread_mutex_unlock(&queue.lock);
	return -code;
}

int lsc_resolve_start(struct lsc_resolve **ret_resolve, struct lsc_loop *loop,
		      const struct lsc_endpoint *endpoint, lsc_resolve_fn *fn, void *data,
		      struct addrinfo **ret_list, struct lsc_err *err)
{
	struct lsc_resolve *r;
	int code;

	if (resolve(endpoint, AI_NUMERICHOST, ret_list) == 0)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return lsc_err_set(err, ENOMEM, "cannot resolve '%s': %m", endpoint->name);
	*r = (struct lsc_resolve){.endpoint = *endpoint, .fn = fn, .data = data};
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	code = r->fd < 0 ? -errno : 0;
	if (code == 0)
		code = lsc_loop_watch(loop, r->fd, EPOLLIN, on_done, r, &r->watch, NULL);
	if (code == 0)
		code = push(r);
	if (code < 0) {
		lsc_watch_remove(r->watch);
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return lsc_err_set(err, -code, "cannot resolve '%s': %m", endpoint->name);
	}
	*ret_resolve = r;
	return 0;
}

void lsc_resolve_stop(struct lsc_resolve *r)
{
	struct lsc_resolve **at;
	bool ours;

	if (!r)
		return;
	lsc_watch_remove(r->watch);
	pthread_mutex_lock(&queue.lock);
	ours = r->state != RUNNING;
	if (r->state == RUNNING)
		r->state = LEFT;
	if (r->state == QUEUED) {
		for (at = &queue.first; *at != r; at = &(*at)->next)
			;
		*at = r->next;
		if (!r->next)
			queue.end = at;
	}
	pthread_mutex_unlock(&queue.lock);
	if (ours)
		release(r);
}
