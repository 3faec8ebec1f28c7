/* pace - how much a step may take on
 *
 * Times of single steps jump about on a machine that does other things too, so estimates move by a
 * part of what they are off, and at most by a factor of two a step.  How long trips take is held as
 * TCP holds it (Jacobson 1988): the mean, and the mean of what they are off.
 */
#include "stage/pace.h"

#include "base/macros.h"

#define FRESH       32    /* steps with prompts after which decodes are timed alone again */
#define HELD        64    /* steps after which more rows are tried than were too many */
#define SOLO_NS     200e6 /* of prompts alone: a newcomer waits for it */
#define SOLO_MIN    64 /* rows that are done alone in any case: fewer read the weights for little */
#define SOON_NS     20e6
#define LINGER_PART 8 /* of a step: who comes too late waits for a whole one */

static double clamp(double value, double min, double max)
{
	return value < min ? min : value > max ? max : value;
}

/* A new estimate after a measurement. */
static double learn(double old, double seen)
{
	if (old <= 0)
		return seen;
	return old + (clamp(seen, old / 2, old * 2) - old) / 4;
}

static unsigned class_of(unsigned decodes)
{
	unsigned i = 0;

	while (i + 1 < LSC_PACE_CLASSES && decodes > 1u << i)
		i++;
	return i;
}

/* What is known of a class comes from steps of so many decodes: those that are away are not in
 * one, and a step that waits for them has as much as one beside them. */
uint32_t lsc_pace_rows(const struct lsc_pace *pace, unsigned decodes, unsigned away, uint32_t units)
{
	const struct lsc_pace_class *class = &pace->classes[class_of(decodes)];

	if (decodes == 0 && away == 0)
		return pace->solo_ns > 0 ? (uint32_t)clamp(SOLO_NS / (pace->solo_ns * units),
							   SOLO_MIN, LSC_PACE_MAX_ROWS)
					 : SOLO_MIN;
	if (decodes && (class->alone_ns <= 0 || class->age >= FRESH))
		return 0;
	return (uint32_t)clamp(pace->rows, 1, LSC_PACE_MAX_ROWS);
}

/* A step was so many times as long as it may be.  One alone that is too long may be so for whatever
 * else the machine did meanwhile; what counts is the better of two in a row.  More than what was
 * too much once is tried again after a while. */
static void adjust(struct lsc_pace *pace, uint32_t rows, double over)
{
	double both = LSC_MIN(over, pace->over), more;

	pace->over = over;
	if (both > 1) {
		pace->most = LSC_MAX(rows - 1.0, 1);
		pace->rows = clamp(rows / both, 1, pace->most);
		pace->held = 0;
		return;
	}
	if (over >= 1 || rows + 1 <= pace->rows) /* there were not that many */
		return;
	more = LSC_MIN(pace->rows + LSC_MAX(pace->rows / 8, 0.5), LSC_PACE_MAX_ROWS);
	if (more > pace->most && ++pace->held < HELD)
		more = pace->most;
	pace->most = LSC_MAX(more, pace->most);
	pace->rows = more;
}

void lsc_pace_step(struct lsc_pace *pace, unsigned decodes, uint32_t rows, uint32_t units,
		   uint64_t took_ns)
{
	struct lsc_pace_class *class = &pace->classes[class_of(decodes)];
	double took = (double)took_ns / units;

	pace->step_ns = (double)took_ns;
	if (decodes == 0) {
		if (rows >= SOLO_MIN)
			pace->solo_ns = learn(pace->solo_ns, took / rows);
		return;
	}
	if (rows == 0) {
		class->alone_ns = learn(class->alone_ns, took);
		class->age = 0;
		return;
	}
	class->age++;
	if (class->alone_ns > 0)
		adjust(pace, rows, took / (LSC_PACE_STRETCH * class->alone_ns));
}

uint64_t lsc_pace_soon_ns(const struct lsc_pace *pace)
{
	return (uint64_t)LSC_MIN(pace->step_ns / 2, SOON_NS);
}

void lsc_pace_trip(struct lsc_pace *pace, uint64_t took_ns)
{
	double off = (double)took_ns - pace->trip_ns;

	if (took_ns > lsc_pace_soon_ns(pace))
		return;
	if (pace->trip_ns > 0)
		pace->late_ns += ((off < 0 ? -off : off) - pace->late_ns) / 16;
	pace->trip_ns += pace->trip_ns > 0 ? off / 16 : off;
}

uint64_t lsc_pace_linger_ns(const struct lsc_pace *pace)
{
	double late = LSC_MAX(4 * pace->late_ns, pace->step_ns / LINGER_PART);

	if (pace->trip_ns <= 0)
		return 0;
	return LSC_MIN((uint64_t)(pace->trip_ns + late), lsc_pace_soon_ns(pace));
}
