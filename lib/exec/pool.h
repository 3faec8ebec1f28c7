/* Threads that share out the tasks of one job at a time.
 *
 * lsc_pool_run() gives each task to whoever is free, the caller included, and returns when all are
 * done.  Threads that wake too late for a job are not waited for.  Between jobs they look for the
 * next one for some microseconds, then sleep on a futex.  One thread calls run.
 */
#ifndef LSC_EXEC_POOL_H
#define LSC_EXEC_POOL_H

#include <stdint.h>

#include "base/err.h"

#define LSC_POOL_MAX_THREADS 256

struct lsc_pool;

/* threads counts the caller; 0: lsc_pool_cpus(). */
int lsc_pool_new(struct lsc_pool **ret_pool, unsigned threads, struct lsc_err *err);
void lsc_pool_free(struct lsc_pool *pool);

unsigned lsc_pool_threads(const struct lsc_pool *pool);

/* thread is below lsc_pool_threads(), different for any two tasks that run at once. */
typedef void lsc_pool_fn(void *data, uint32_t task, unsigned thread);
void lsc_pool_run(struct lsc_pool *pool, lsc_pool_fn *fn, void *data, uint32_t n_tasks);

/* The CPUs this process may use: its affinity, cut to its control group's quota (rounded up). */
unsigned lsc_pool_cpus(void);

#endif
