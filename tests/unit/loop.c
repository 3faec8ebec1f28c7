/* loop: watches, the order of timers, removal from inside callbacks, signals */
#include "tap.h"

#include <signal.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/macros.h"
#include "net/loop.h"

static struct lsc_loop *loop;
static struct lsc_err err;
static char trace[64];

static void note(char c)
{
	size_t n = strlen(trace);

	if (n + 1 < sizeof(trace)) {
		trace[n] = c;
		trace[n + 1] = 0;
	}
}

static void note_timer(void *data)
{
	note(*(const char *)data);
}

static void stop_timer(void *data)
{
	(void)data;
	lsc_loop_stop(loop, 42);
}

static void test_timers(void)
{
	struct lsc_timer *timers[5];
	struct lsc_timer *stop;
	/* Long enough for a busy machine to arm them all in between. */
	const uint64_t start = lsc_clock_ns(), unit = 30000000;

	trace[0] = 0;
	for (int i = 0; i < 5; i++)
		lsc_timer_new(loop, note_timer, &"abcde"[i], &timers[i], &err);
	lsc_timer_new(loop, stop_timer, NULL, &stop, &err);
	lsc_timer_arm(timers[0], 9 * unit);
	lsc_timer_arm(timers[1], 3 * unit);
	lsc_timer_arm(timers[2], 6 * unit);
	lsc_timer_arm(timers[3], unit);
	lsc_timer_arm(timers[4], 0);
	lsc_timer_arm(timers[0], 4 * unit); /* moved */
	lsc_timer_disarm(timers[3]);
	lsc_timer_arm(stop, 12 * unit);
	is_int(lsc_loop_run(loop, &err), 42, "run returns what stop was given");
	is_str(trace, "ebac", "timers fire in the order of their times, once");
	ok(lsc_clock_ns() - start >= 12 * unit, "and not before");
	for (int i = 0; i < 5; i++)
		lsc_timer_free(timers[i]);
	lsc_timer_free(stop);
}

/* Many timers armed and disarmed in a scrambled order still fire sorted. */
static uint64_t fired[257];
static unsigned n_fired;

static void note_number(void *data)
{
	fired[n_fired++] = *(const uint64_t *)data;
}

static void test_heap(void)
{
	struct lsc_timer *timers[257];
	uint64_t numbers[257];
	bool sorted = true;

	for (uint64_t i = 0; i < 257; i++) {
		numbers[i] = i * 101 % 257;
		lsc_timer_new(loop, note_number, &numbers[i], &timers[i], &err);
		lsc_timer_arm(timers[i], 1000000000 + numbers[i] * 10000);
	}
	for (int i = 0; i < 257; i += 3)
		lsc_timer_disarm(timers[i]);
	for (int i = 0; i < 257; i++)
		if (i % 3)
			lsc_timer_arm(timers[i], 1000000 + numbers[i] * 1000000);
	while (n_fired < 171 && lsc_loop_turn(loop, 1000, &err) >= 0)
		;
	for (unsigned i = 1; i < n_fired; i++)
		sorted = sorted && fired[i - 1] < fired[i];
	is_int(n_fired, 171, "each armed timer fired");
	ok(sorted, "in the order of their times");
	for (int i = 0; i < 257; i++)
		lsc_timer_free(timers[i]);
}

struct pipe_watch {
	int fds[2];
	struct lsc_watch *watch;
	struct pipe_watch *victim;
};

static void remove_victim(void *data, uint32_t events)
{
	struct pipe_watch *w = data;

	note(events & EPOLLIN ? 'r' : '?');
	lsc_watch_remove(w->victim->watch);
	w->victim->watch = NULL;
	lsc_watch_remove(w->watch);
	w->watch = NULL;
}

static void test_watches(void)
{
	struct pipe_watch a = {0}, b = {0};

	trace[0] = 0;
	a.victim = &b;
	b.victim = &a;
	if (pipe(a.fds) < 0 || pipe(b.fds) < 0)
		abort();
	lsc_loop_watch(loop, a.fds[0], EPOLLIN, remove_victim, &a, &a.watch, &err);
	lsc_loop_watch(loop, b.fds[0], EPOLLIN, remove_victim, &b, &b.watch, &err);
	is_int(lsc_loop_turn(loop, 0, &err), 0, "nothing to read, no callback");
	if (write(a.fds[1], "x", 1) != 1 || write(b.fds[1], "x", 1) != 1)
		abort();
	is_int(lsc_loop_turn(loop, 1000, &err), 1,
	       "a watch removed by another of the same turn is not called");
	is_str(trace, "r", "the first saw its byte");
	is_int(lsc_loop_turn(loop, 0, &err), 0, "and neither is watched any more");
	for (int i = 0; i < 2; i++) {
		close(a.fds[i]);
		close(b.fds[i]);
	}
	ok(lsc_loop_watch(loop, -1, EPOLLIN, remove_victim, &a, &a.watch, &err) < 0 && err.text[0],
	   "a bad descriptor is refused in words");
}

static struct lsc_timer *again;

static void arm_again(void *data)
{
	(void)data;
	note('t');
	lsc_timer_arm(again, 0);
}

static void test_deferred(void)
{
	trace[0] = 0;
	lsc_timer_new(loop, arm_again, NULL, &again, &err);
	lsc_timer_arm(again, 0);
	is_int(lsc_loop_turn(loop, 1000, &err), 1, "a timer that arms itself runs once a turn");
	is_int(lsc_loop_turn(loop, 1000, &err), 1, "and again in the next");
	lsc_timer_free(again);
	is_int(lsc_loop_turn(loop, 0, &err), 0, "freed while armed, it is gone");
}

static void on_signal(void *data, int signal)
{
	note(*(char *)data);
	lsc_loop_stop(loop, signal);
}

static void run_hook(void *data)
{
	note(*(const char *)data);
}

int main(void)
{
	static struct lsc_loop_hook hooks[3];
	int signals[] = {SIGUSR1, SIGHUP, SIGUSR2};

	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_timers();
	test_heap();
	test_watches();
	test_deferred();
	trace[0] = 0;
	signal(SIGHUP, SIG_IGN);
	is_int(lsc_loop_signals(loop, signals, 3, on_signal, "s", &err), 0, "signals are watched");
	raise(SIGHUP);
	is_int(lsc_loop_turn(loop, 0, &err), 0, "but not one that is ignored");
	raise(SIGUSR2);
	is_int(lsc_loop_run(loop, &err), SIGUSR2, "and come as a callback");
	for (unsigned i = 0; i < LSC_ARRAY_SIZE(hooks); i++) {
		hooks[i] = (struct lsc_loop_hook){.fn = run_hook, .data = (void *)&"xyz"[i]};
		lsc_loop_hook(loop, &hooks[i]);
	}
	lsc_loop_unhook(loop, &hooks[1]);
	lsc_loop_free(loop);
	is_str(trace, "szx", "freeing the loop calls its hooks");
	return done_testing();
}
