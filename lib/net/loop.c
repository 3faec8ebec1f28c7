/* loop - epoll, a heap of timers, signals
 *
 * A turn waits, runs the watches that have something, then the timers that are due by then.  So
 * what a watch defers with lsc_timer_arm(timer, 0) runs in the same turn, and what a timer defers
 * in the next.
 *
 * A watch that is removed may still stand in the batch of events being run: it is only marked, and
 * freed when the batch is done.
 */
#include "net/loop.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"

#define BATCH     64
#define NOT_ARMED UINT32_MAX

struct lsc_watch {
	struct lsc_loop *loop;
	int fd;
	lsc_watch_fn *fn; /* NULL: removed */
	void *data;
	struct lsc_watch *next_dead;
};

struct lsc_timer {
	struct lsc_loop *loop;
	uint64_t at_ns;
	uint64_t order; /* of arming: timers of one moment fire in it */
	uint32_t index; /* in the heap, or NOT_ARMED */
	lsc_timer_fn *fn;
	void *data;
};

struct lsc_loop {
	int epoll;
	bool no_pwait2; /* a kernel before 5.11 */
	bool stopped;
	int result;
	struct lsc_watch *dead;
	struct lsc_loop_hook *hooks;

	struct lsc_timer **heap; /* by at_ns; has room for every timer there is */
	uint32_t n_armed, n_timers, cap;
	uint64_t armings;

	int signal_fd;
	struct lsc_watch *signal_watch;
	void (*on_signal)(void *data, int signal);
	void *signal_data;
};

int lsc_loop_new(struct lsc_loop **ret_loop, struct lsc_err *err)
{
	struct lsc_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return lsc_err_set(err, ENOMEM, "cannot make an event loop: %m");
	loop->signal_fd = -1;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		int r = lsc_err_set(err, errno, "cannot make an event loop: %m");

		free(loop);
		return r;
	}
	*ret_loop = loop;
	return 0;
}

static void bury(struct lsc_loop *loop)
{
	while (loop->dead) {
		struct lsc_watch *watch = loop->dead;

		loop->dead = watch->next_dead;
		free(watch);
	}
}

void lsc_loop_free(struct lsc_loop *loop)
{
	if (!loop)
		return;
	while (loop->hooks) {
		struct lsc_loop_hook *hook = loop->hooks;

		lsc_loop_unhook(loop, hook);
		hook->fn(hook->data);
	}
	lsc_watch_remove(loop->signal_watch);
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	bury(loop);
	close(loop->epoll);
	free(loop->heap);
	free(loop);
}

void lsc_loop_hook(struct lsc_loop *loop, struct lsc_loop_hook *hook)
{
	hook->previous = NULL;
	hook->next = loop->hooks;
	if (loop->hooks)
		loop->hooks->previous = hook;
	loop->hooks = hook;
}

void lsc_loop_unhook(struct lsc_loop *loop, struct lsc_loop_hook *hook)
{
	if (hook->previous)
		hook->previous->next = hook->next;
	else
		loop->hooks = hook->next;
	if (hook->next)
		hook->next->previous = hook->previous;
}

/* --- watches --- */

int lsc_loop_watch(struct lsc_loop *loop, int fd, uint32_t events, lsc_watch_fn *fn, void *data,
		   struct lsc_watch **ret_watch, struct lsc_err *err)
{
	struct lsc_watch *watch = calloc(1, sizeof(*watch));
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (!watch)
		return lsc_err_set(err, ENOMEM, "cannot watch descriptor %d: %m", fd);
	*watch = (struct lsc_watch){.loop = loop, .fd = fd, .fn = fn, .data = data};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		int r = lsc_err_set(err, errno, "cannot watch descriptor %d: %m", fd);

		free(watch);
		return r;
	}
	*ret_watch = watch;
	return 0;
}

int lsc_watch_modify(struct lsc_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->fd, &event) < 0 ? -errno : 0;
}

void lsc_watch_remove(struct lsc_watch *watch)
{
	if (!watch)
		return;
	assert(watch->fn);
	epoll_ctl(watch->loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fn = NULL;
	watch->next_dead = watch->loop->dead;
	watch->loop->dead = watch;
}

/* --- timers --- */

static bool is_before(const struct lsc_timer *a, const struct lsc_timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_put(struct lsc_loop *loop, uint32_t index, struct lsc_timer *timer)
{
	loop->heap[index] = timer;
	timer->index = index;
}

static void heap_up(struct lsc_loop *loop, uint32_t index, struct lsc_timer *timer)
{
	while (index > 0 && is_before(timer, loop->heap[(index - 1) / 2])) {
		heap_put(loop, index, loop->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	heap_put(loop, index, timer);
}

static void heap_down(struct lsc_loop *loop, uint32_t index, struct lsc_timer *timer)
{
	for (;;) {
		uint32_t child = 2 * index + 1;

		if (child + 1 < loop->n_armed &&
		    is_before(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (child >= loop->n_armed || !is_before(loop->heap[child], timer))
			break;
		heap_put(loop, index, loop->heap[child]);
		index = child;
	}
	heap_put(loop, index, timer);
}

int lsc_timer_new(struct lsc_loop *loop, lsc_timer_fn *fn, void *data, struct lsc_timer **ret_timer,
		  struct lsc_err *err)
{
	struct lsc_timer *timer = calloc(1, sizeof(*timer));

	if (timer && loop->n_timers == loop->cap) {
		uint32_t cap = loop->cap ? 2 * loop->cap : 16;
		struct lsc_timer **heap = realloc(loop->heap, cap * sizeof(heap[0]));

		if (heap) {
			loop->heap = heap;
			loop->cap = cap;
		}
	}
	if (!timer || loop->n_timers == loop->cap) {
		free(timer);
		return lsc_err_set(err, ENOMEM, "cannot make a timer: %m");
	}
	*timer = (struct lsc_timer){.loop = loop, .index = NOT_ARMED, .fn = fn, .data = data};
	loop->n_timers++;
	*ret_timer = timer;
	return 0;
}

void lsc_timer_arm(struct lsc_timer *timer, uint64_t after_ns)
{
	lsc_timer_disarm(timer);
	timer->at_ns = lsc_clock_ns() + after_ns;
	timer->order = timer->loop->armings++;
	heap_up(timer->loop, timer->loop->n_armed++, timer);
}

void lsc_timer_disarm(struct lsc_timer *timer)
{
	struct lsc_loop *loop = timer->loop;
	uint32_t index = timer->index;
	struct lsc_timer *last;

	if (index == NOT_ARMED)
		return;
	timer->index = NOT_ARMED;
	last = loop->heap[--loop->n_armed];
	if (last == timer)
		return;
	if (index > 0 && is_before(last, loop->heap[(index - 1) / 2]))
		heap_up(loop, index, last);
	else
		heap_down(loop, index, last);
}

void lsc_timer_free(struct lsc_timer *timer)
{
	if (!timer)
		return;
	lsc_timer_disarm(timer);
	timer->loop->n_timers--;
	free(timer);
}

/* Only what was due at now: a timer that arms itself with 0 must not keep the watches waiting. */
static int run_timers(struct lsc_loop *loop)
{
	uint64_t now = lsc_clock_ns(), before = loop->armings;
	int n = 0;

	while (loop->n_armed && loop->heap[0]->at_ns <= now && loop->heap[0]->order < before) {
		struct lsc_timer *timer = loop->heap[0];

		lsc_timer_disarm(timer);
		timer->fn(timer->data);
		n++;
	}
	return n;
}

/* --- turns --- */

static int wait_events(struct lsc_loop *loop, struct epoll_event *events, int64_t timeout_ns)
{
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	int n;

	if (!loop->no_pwait2) {
		n = epoll_pwait2(loop->epoll, events, BATCH, timeout_ns < 0 ? NULL : &ts, NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		loop->no_pwait2 = true;
	}
	return epoll_wait(loop->epoll, events, BATCH,
			  timeout_ns < 0 ? -1
					 : (int)LSC_MIN((timeout_ns + 999999) / 1000000, INT_MAX));
}

static int turn(struct lsc_loop *loop, int64_t timeout_ns, struct lsc_err *err)
{
	struct epoll_event events[BATCH];
	int n, callbacks = 0;

	if (loop->n_armed) {
		uint64_t now = lsc_clock_ns(), at = loop->heap[0]->at_ns;
		int64_t left = at > now ? (int64_t)(at - now) : 0;

		if (timeout_ns < 0 || left < timeout_ns)
			timeout_ns = left;
	}
	n = wait_events(loop, events, timeout_ns);
	if (n < 0 && errno != EINTR)
		return lsc_err_set(err, errno, "cannot wait for events: %m");
	for (int i = 0; i < n; i++) {
		struct lsc_watch *watch = events[i].data.ptr;
		uint32_t what = events[i].events;

		if (!watch->fn)
			continue;
		if (what & (EPOLLERR | EPOLLHUP))
			what |= EPOLLIN | EPOLLOUT;
		watch->fn(watch->data, what & (EPOLLIN | EPOLLOUT));
		callbacks++;
	}
	callbacks += run_timers(loop);
	bury(loop);
	return callbacks;
}

int lsc_loop_run(struct lsc_loop *loop, struct lsc_err *err)
{
	while (!loop->stopped) {
		int r = turn(loop, -1, err);

		if (r < 0)
			return r;
	}
	loop->stopped = false;
	return loop->result;
}

void lsc_loop_stop(struct lsc_loop *loop, int result)
{
	loop->stopped = true;
	loop->result = result;
}

int lsc_loop_turn(struct lsc_loop *loop, int timeout_ms, struct lsc_err *err)
{
	return turn(loop, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000, err);
}

/* --- signals --- */

static void take_signal(void *data, uint32_t events)
{
	struct lsc_loop *loop = data;
	struct signalfd_siginfo info;

	(void)events;
	if (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info))
		loop->on_signal(loop->signal_data, (int)info.ssi_signo);
}

/* A signalfd would get it all the same.  Nobody who ignores SIGCHLD means by it that children are
 * not to be watched. */
static bool is_ignored(int number)
{
	struct sigaction was;

	return number != SIGCHLD && sigaction(number, NULL, &was) == 0 && was.sa_handler == SIG_IGN;
}

int lsc_loop_signals(struct lsc_loop *loop, const int *signals, unsigned n,
		     void (*fn)(void *data, int signal), void *data, struct lsc_err *err)
{
	sigset_t set;
	int fd, r;

	assert(loop->signal_fd < 0); /* once a loop */
	sigemptyset(&set);
	for (unsigned i = 0; i < n; i++)
		if (!is_ignored(signals[i]))
			sigaddset(&set, signals[i]);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r > 0)
		return lsc_err_set(err, r, "cannot block signals: %m");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot watch signals: %m");
	r = lsc_loop_watch(loop, fd, EPOLLIN, take_signal, loop, &loop->signal_watch, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	loop->signal_fd = fd;
	loop->on_signal = fn;
	loop->signal_data = data;
	return 0;
}
