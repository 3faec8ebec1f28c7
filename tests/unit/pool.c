/* The pool: every task runs once, also when jobs follow each other faster than threads wake. */
#include "exec/pool.h"

#include <stdatomic.h>

#include "tap.h"

struct count {
	atomic_uint runs[1000];
	atomic_uint busy[LSC_POOL_MAX_THREADS]; /* a thread's number is used by one at a time */
	atomic_uint clashes;
	uint64_t plain; /* only ever written between jobs */
};

static void count(void *data, uint32_t task, unsigned thread)
{
	struct count *c = data;

	if (atomic_fetch_add(&c->busy[thread], 1))
		atomic_fetch_add(&c->clashes, 1);
	atomic_fetch_add(&c->runs[task], 1 + (unsigned)(c->plain & 0));
	atomic_fetch_sub(&c->busy[thread], 1);
}

static void test_jobs(unsigned threads)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 1000, 7, 64};
	static struct count c;
	struct lsc_pool *pool = NULL;
	bool once = true;

	memset(&c, 0, sizeof(c));
	is_int(lsc_pool_new(&pool, threads, NULL), 0, "a pool of %u", threads);
	for (unsigned round = 0; round < 300; round++) {
		uint32_t n = sizes[round % 7];

		for (uint32_t i = 0; i < 1000; i++)
			atomic_store(&c.runs[i], 0);
		c.plain++;
		lsc_pool_run(pool, count, &c, n);
		for (uint32_t i = 0; i < 1000; i++)
			once &= atomic_load(&c.runs[i]) == (i < n);
		if (round % 50 == 49)
			usleep(2000); /* long enough for all to sleep */
	}
	ok(once, "%u threads: each task of 300 jobs runs once", threads);
	is_int(atomic_load(&c.clashes), 0, "%u threads: no two tasks under one number", threads);
	is_int(lsc_pool_threads(pool), threads, "it has the threads it was asked for");
	lsc_pool_free(pool);
}

int main(void)
{
	struct lsc_pool *pool = NULL;

	for (unsigned threads = 1; threads <= 5; threads++)
		test_jobs(threads);
	ok(lsc_pool_cpus() >= 1 && lsc_pool_cpus() <= LSC_POOL_MAX_THREADS, "%u CPUs for us",
	   lsc_pool_cpus());
	is_int(lsc_pool_new(&pool, 3, NULL), 0, "a pool that is never used");
	lsc_pool_free(pool);
	lsc_pool_free(NULL);
	return done_testing();
}
