/* How much a step of a stage may take on, from what steps took before.
 *
 * A step runs one position of every request that decodes, and beside them as many positions of
 * prompts as keep it within LSC_PACE_STRETCH times what the decodes take alone (Sarathi-Serve,
 * Agrawal et al. 2024, calls this stall-free batching).  What decodes take alone is measured by
 * a step without prompts now and then; how many positions fit is found by trying more until it is
 * too long, because what one more costs is anything but even: a matrix product takes rows in tiles.
 * Arithmetic on given times; no clock is read here.
 */
#ifndef LSC_STAGE_PACE_H
#define LSC_STAGE_PACE_H

#include <stdint.h>

#define LSC_PACE_STRETCH  2.0
#define LSC_PACE_MAX_ROWS 512 /* positions of prompts in a step */
#define LSC_PACE_CLASSES  8

struct lsc_pace_class {  /* steps with about so many decodes */
	double alone_ns; /* they take so long without prompts; 0: not known */
	uint32_t age;    /* steps with prompts since that was measured */
};

struct lsc_pace {
	struct lsc_pace_class classes[LSC_PACE_CLASSES]; /* 1, 2, 3-4, 5-8 ... decodes */
	double solo_ns; /* that a prompt's position takes where there are none */
	double rows;    /* of prompts beside decodes, next */
	double most;    /* so many were not too long */
	uint32_t held;  /* steps since more were */
	double over;    /* how the latest compares with what is too long */
	double trip_ns; /* from a token given out to the run that it comes back in, of those who are
			 * back soon; 0: not known */
	double late_ns; /* what trips are off that, on average */
	double step_ns; /* the latest */
};

#define LSC_PACE_INIT                                                                              \
	{                                                                                          \
		.rows = 8, .most = LSC_PACE_MAX_ROWS                                               \
	}

/* How many positions of prompts a step with so many decodes may have, while others that decode are
 * away and may come back any moment; 0: none, for once, to see what the decodes take alone.
 * Without either, as many as are soon done. */
uint32_t lsc_pace_rows(const struct lsc_pace *pace, unsigned decodes, unsigned away,
		       uint32_t units);

/* A step with so many of both took so long. */
void lsc_pace_step(struct lsc_pace *pace, unsigned decodes, uint32_t rows, uint32_t units,
		   uint64_t took_ns);

/* Who is back within this is waited for, and nobody else. */
uint64_t lsc_pace_soon_ns(const struct lsc_pace *pace);

/* A token came back as the next run after so long. */
void lsc_pace_trip(struct lsc_pace *pace, uint64_t took_ns);

/* How long to wait for those whose tokens were just given out and who are back soon as a rule: a
 * step that has them all costs less than two with a part of them each. */
uint64_t lsc_pace_linger_ns(const struct lsc_pace *pace);

#endif
