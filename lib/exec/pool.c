/* pool - threads that share out the tasks of one job at a time
 *
 * A job is announced by adding to `epoch`; `gate` says whether it may be entered and how many are
 * inside.  The caller closes the gate when it finds no more tasks and waits for those inside: a
 * thread that the kernel has not woken yet keeps nobody waiting, which matters where processors
 * are shared.  Who is inside wakes the caller only where it says that it sleeps: most jobs end with
 * no system call.
 */
#include "exec/pool.h"

#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"

/* Pauses before sleeping: 10 to 40 us by processor.  Jobs of one token follow each other within
 * that; a futex wake costs as much again.  A hundred times as many gain nothing on processors of
 * one's own, and lose a third where others want them too: who sleeps leaves his to whom he waits
 * for. */
#define SPINS 1000

#define GATE_OPEN    (1u << 31)
#define GATE_AWAITED (1u << 30) /* the caller sleeps until nobody is inside */

struct worker {
	struct lsc_pool *pool;
	pthread_t thread;
	unsigned index;
};

struct lsc_pool {
	unsigned n_threads;
	lsc_pool_fn *fn; /* the job: written while the gate is closed and nobody is inside */
	void *data;
	uint32_t n_tasks;
	bool stop;
	_Alignas(64) _Atomic uint32_t next; /* task to take */
	_Alignas(64) _Atomic uint32_t gate;
	_Alignas(64) _Atomic uint32_t epoch;
	_Atomic bool sleepers; /* since the last wake */
	unsigned n_workers;
	struct worker workers[];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void spin_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void take_tasks(struct lsc_pool *pool, unsigned thread)
{
	uint32_t task;

	while ((task = atomic_fetch_add(&pool->next, 1)) < pool->n_tasks)
		pool->fn(pool->data, task, thread);
}

static uint32_t await_epoch(struct lsc_pool *pool, uint32_t seen)
{
	uint32_t epoch;

	for (int i = 0; i < SPINS; i++) {
		epoch = atomic_load_explicit(&pool->epoch, memory_order_acquire);
		if (epoch != seen)
			return epoch;
		spin_pause();
	}
	for (;;) {
		atomic_store(&pool->sleepers, true);
		epoch = atomic_load(&pool->epoch);
		if (epoch != seen)
			return epoch;
		futex_wait(&pool->epoch, seen);
	}
}

static bool enter(struct lsc_pool *pool)
{
	uint32_t gate = atomic_load(&pool->gate);

	while (gate & GATE_OPEN)
		if (atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1))
			return true;
	return false;
}

static void *work(void *data)
{
	struct worker *worker = data;
	struct lsc_pool *pool = worker->pool;
	uint32_t seen = 0;
	bool stop = false;

	while (!stop) {
		seen = await_epoch(pool, seen);
		if (!enter(pool))
			continue;
		stop = pool->stop;
		take_tasks(pool, worker->index);
		if (atomic_fetch_sub(&pool->gate, 1) == (GATE_AWAITED | 1))
			futex_wake(&pool->gate);
	}
	return NULL;
}

static void announce(struct lsc_pool *pool)
{
	atomic_store(&pool->next, 0);
	atomic_store(&pool->gate, GATE_OPEN);
	atomic_fetch_add(&pool->epoch, 1);
	/* Once: one that was woken, and waits for a processor, is not woken by the next jobs too.
	 */
	if (atomic_load(&pool->sleepers) && atomic_exchange(&pool->sleepers, false))
		futex_wake(&pool->epoch);
}

static void await_others(struct lsc_pool *pool)
{
	uint32_t inside = atomic_fetch_and(&pool->gate, ~GATE_OPEN) & ~GATE_OPEN;

	for (int i = 0; inside && i < SPINS; i++) {
		spin_pause();
		inside = atomic_load(&pool->gate);
	}
	if (!inside)
		return;
	inside = atomic_fetch_or(&pool->gate, GATE_AWAITED) | GATE_AWAITED;
	while (inside != GATE_AWAITED) {
		futex_wait(&pool->gate, inside);
		inside = atomic_load(&pool->gate);
	}
	atomic_store(&pool->gate, 0);
}

void lsc_pool_run(struct lsc_pool *pool, lsc_pool_fn *fn, void *data, uint32_t n_tasks)
{
	if (n_tasks <= 1 || pool->n_threads == 1) {
		for (uint32_t task = 0; task < n_tasks; task++)
			fn(data, task, 0);
		return;
	}
	pool->fn = fn;
	pool->data = data;
	pool->n_tasks = n_tasks;
	announce(pool);
	take_tasks(pool, 0);
	await_others(pool);
}

unsigned lsc_pool_threads(const struct lsc_pool *pool)
{
	return pool->n_threads;
}

int lsc_pool_new(struct lsc_pool **ret_pool, unsigned threads, struct lsc_err *err)
{
	unsigned n = threads ? LSC_MIN(threads, LSC_POOL_MAX_THREADS) : lsc_pool_cpus();
	struct lsc_pool *pool = NULL;
	int r;

	if (posix_memalign((void **)&pool, 64, sizeof(*pool) + n * sizeof(pool->workers[0])))
		return lsc_err_set(err, ENOMEM, "no memory for %u threads", n);
	memset(pool, 0, sizeof(*pool) + n * sizeof(pool->workers[0]));
	pool->n_threads = n;
	for (unsigned i = 0; i + 1 < n; i++) {
		struct worker *worker = &pool->workers[i];

		worker->pool = pool;
		worker->index = i + 1;
		r = pthread_create(&worker->thread, NULL, work, worker);
		if (r) {
			lsc_pool_free(pool);
			return lsc_err_set(err, r, "cannot start thread %u of %u: %m", i + 1, n);
		}
		pool->n_workers++;
	}
	*ret_pool = pool;
	return 0;
}

/* The last job stays open, so that every worker enters it and sees stop. */
void lsc_pool_free(struct lsc_pool *pool)
{
	if (!pool)
		return;
	pool->stop = true;
	pool->n_tasks = 0;
	announce(pool);
	futex_wake(&pool->epoch); /* whoever says that nobody sleeps */
	for (unsigned i = 0; i < pool->n_workers; i++)
		pthread_join(pool->workers[i].thread, NULL);
	free(pool);
}

/* --- how many --- */

/* The path of this process's group for a v1 controller, or of the unified tree where it is "". */
static bool group_path(const char *controller, char *path, size_t size)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	char *line, *rest;

	if (lsc_file_read("/proc/self/cgroup", 1 << 16, &buf, NULL) < 0 || !buf.data)
		return false;
	for (line = strtok_r((char *)buf.data, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char *names = strchr(line, ':'), *at = names ? strchr(names + 1, ':') : NULL, *each;

		if (!at)
			continue;
		names++;
		*at++ = 0;
		if (!*controller && !*names)
			return snprintf(path, size, "%s", at) < (int)size;
		while ((each = strsep(&names, ",")))
			if (*controller && !strcmp(each, controller))
				return snprintf(path, size, "%s", at) < (int)size;
	}
	return false;
}

static bool read_numbers(const char *path, long long numbers[2], int n)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;

	if (lsc_file_read(path, 256, &buf, NULL) < 0 || !buf.data)
		return false;
	return sscanf((char *)buf.data, "%lld %lld", &numbers[0], &numbers[1]) >= n;
}

/* The quota of one group in CPUs, rounded up; UINT_MAX where there is none. */
static unsigned quota_of(const char *root, const char *group, bool unified)
{
	char path[1200];
	long long numbers[2] = {-1, 0}, period[2] = {0, 0};

	if (unified) {
		snprintf(path, sizeof(path), "%s%s/cpu.max", root, group);
		if (!read_numbers(path, numbers, 2))
			return UINT_MAX;
	} else {
		snprintf(path, sizeof(path), "%s%s/cpu.cfs_quota_us", root, group);
		if (!read_numbers(path, numbers, 1))
			return UINT_MAX;
		snprintf(path, sizeof(path), "%s%s/cpu.cfs_period_us", root, group);
		if (!read_numbers(path, period, 1))
			return UINT_MAX;
		numbers[1] = period[0];
	}
	if (numbers[0] <= 0 || numbers[1] <= 0)
		return UINT_MAX;
	return (unsigned)LSC_MIN(lsc_div_up((uint64_t)numbers[0], (uint64_t)numbers[1]), 1u << 20);
}

/* The least quota from this process's group up to the root. */
static unsigned quota_cpus(const char *root, const char *controller)
{
	char group[1024];
	unsigned least = UINT_MAX;
	char *slash;

	if (!group_path(controller, group, sizeof(group)))
		return UINT_MAX;
	do {
		unsigned cpus = quota_of(root, group, !*controller);

		least = LSC_MIN(least, cpus);
		slash = strrchr(group, '/');
		if (slash)
			*slash = 0;
	} while (slash);
	return least;
}

unsigned lsc_pool_cpus(void)
{
	cpu_set_t set;
	unsigned n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned)CPU_COUNT(&set);
	n = LSC_MIN(n, quota_cpus("/sys/fs/cgroup", ""));
	n = LSC_MIN(n, quota_cpus("/sys/fs/cgroup/unified", ""));
	n = LSC_MIN(n, quota_cpus("/sys/fs/cgroup/cpu", "cpu"));
	return LSC_MAX(LSC_MIN(n, LSC_POOL_MAX_THREADS), 1);
}
