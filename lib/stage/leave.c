/* leave - looks now and then whether anything is left to be done */
#include "stage/leave.h"

#include "base/clock.h"

#define LOOK_NS 20000000u

static void on_look(void *data)
{
	struct lsc_leave *leave = data;

	if (lsc_clock_ns() < leave->until_ns && leave->is_busy(leave->worker))
		lsc_timer_arm(leave->look, LOOK_NS);
	else
		leave->on_left(leave->data);
}

int lsc_leave_start(struct lsc_leave *leave, struct lsc_loop *loop, uint64_t within_ns,
		    bool (*is_busy)(void *worker), void *worker, void (*on_left)(void *data),
		    void *data, struct lsc_err *err)
{
	int r = lsc_timer_new(loop, on_look, leave, &leave->look, err);

	if (r < 0)
		return r;
	leave->until_ns = lsc_clock_ns() + within_ns;
	leave->is_busy = is_busy;
	leave->worker = worker;
	leave->on_left = on_left;
	leave->data = data;
	lsc_timer_arm(leave->look, 0);
	return 0;
}

void lsc_leave_release(struct lsc_leave *leave)
{
	lsc_timer_free(leave->look);
	*leave = (struct lsc_leave){0};
}

double lsc_leave_left_s(const struct lsc_leave *leave)
{
	uint64_t now = lsc_clock_ns();

	return now < leave->until_ns ? (double)(leave->until_ns - now) / 1e9 : 0;
}
