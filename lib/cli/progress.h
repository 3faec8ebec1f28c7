/* How far many nodes are, for people: bars on a terminal, now and then a line elsewhere.
 *
 * The owner fills nodes[] with what it knows and calls lsc_progress_tick() a few times a second,
 * and lsc_progress_end() when it is over; a rate and the time left come from what changes.  Where
 * more nodes are than a terminal has lines, one line stands for all of them, and the others are for
 * those that failed and those that are furthest behind.  Everything goes to standard error.
 */
#ifndef LSC_CLI_PROGRESS_H
#define LSC_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum lsc_progress_mode {
	LSC_PROGRESS_AUTO, /* bars on a terminal that takes them, else lines */
	LSC_PROGRESS_NONE,
	LSC_PROGRESS_LINES, /* every 5 s, and one for each node that is complete */
	LSC_PROGRESS_BARS,
};

enum lsc_progress_state {
	LSC_PROGRESS_WAITING,
	LSC_PROGRESS_RECEIVING,
	LSC_PROGRESS_SYNCING, /* has everything, which is not on its disk yet */
	LSC_PROGRESS_COMPLETE,
	LSC_PROGRESS_FAILED,
};

struct lsc_progress_node {
	const char *name;
	enum lsc_progress_state state;
	uint32_t pieces;
	uint64_t bytes, had_bytes; /* there, and there before it began */
	const char *why;           /* it failed; NULL */

	/* own */
	double rate; /* bytes a second, smoothed */
	uint64_t seen_bytes, first_ns, last_ns;
	bool said;
};

struct lsc_progress {
	enum lsc_progress_mode mode;
	uint64_t bytes; /* that each is to have */
	uint32_t pieces;
	struct lsc_progress_node *nodes;
	uint32_t n;

	/* own */
	uint64_t start_ns, tick_ns, said_ns, end_ns;
	unsigned drawn; /* lines on the terminal */
};

#define LSC_PROGRESS_INIT                                                                          \
	{                                                                                          \
		0                                                                                  \
	}

/* n nodes, all waiting; mode is set by the owner.  start_ns: when it began. */
int lsc_progress_init(struct lsc_progress *progress, uint32_t n, uint64_t bytes, uint32_t pieces,
		      uint64_t start_ns, struct lsc_err *err);
void lsc_progress_release(struct lsc_progress *progress);

void lsc_progress_tick(struct lsc_progress *progress);

/* The last drawing: what stands on the terminal stays. */
void lsc_progress_end(struct lsc_progress *progress);

/* Whether any node is complete. */
bool lsc_progress_any(const struct lsc_progress *progress);

/* Says how it went: nodes, seconds, bytes a second together, and how that compares with one copy
 * over a link of link_rate bytes a second, or (0) to the quickest node; and who failed, and why. */
void lsc_progress_summary(const struct lsc_progress *progress, double link_rate);

/* --- parts, for tests --- */

/* Rates from what changed up to now. */
void lsc_progress_update(struct lsc_progress *progress, uint64_t now_ns);

/* What stands on a terminal of so many columns and lines, without what moves the cursor. */
int lsc_progress_frame(const struct lsc_progress *progress, unsigned columns, unsigned lines,
		       struct lsc_buf *buf);

/* "3 of 4 nodes complete in ..." */
int lsc_progress_words(const struct lsc_progress *progress, double link_rate, struct lsc_buf *buf);

#endif
