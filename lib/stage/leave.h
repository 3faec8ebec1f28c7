/* Leaving: until nothing is left to be done, or for so long at most. */
#ifndef LSC_STAGE_LEAVE_H
#define LSC_STAGE_LEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"

struct lsc_leave {
	struct lsc_timer *look; /* NULL: nobody leaves */
	uint64_t until_ns;
	bool (*is_busy)(void *worker);
	void *worker;
	void (*on_left)(void *data);
	void *data;
};

/* on_left comes from the loop, once. */
int lsc_leave_start(struct lsc_leave *leave, struct lsc_loop *loop, uint64_t within_ns,
		    bool (*is_busy)(void *worker), void *worker, void (*on_left)(void *data),
		    void *data, struct lsc_err *err);
void lsc_leave_release(struct lsc_leave *leave);

static inline bool lsc_leave_is_on(const struct lsc_leave *leave)
{
	return leave->look != NULL;
}

/* Seconds until it is gone at the latest. */
double lsc_leave_left_s(const struct lsc_leave *leave);

#endif
