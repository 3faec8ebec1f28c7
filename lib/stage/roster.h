/* Who has something at a stage: its requests, in one table.
 *
 * A guest is a request of which runs came here and that was not dropped since.  Here is what the
 * stage must know of it between runs: which image and units it uses, how old it is, how far it
 * reaches, and, for the repetition penalty, its tokens.  Its keys and values are the engine's.  One
 * thread uses a roster; pointers to guests hold until their drop.
 */
#ifndef LSC_STAGE_ROSTER_H
#define LSC_STAGE_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/engine.h"
#include "net/frame.h"
#include "stage/store.h"

#define LSC_ROSTER_MAX 65536 /* guests: they cost memory, and come from outside */

struct lsc_guest {
	struct lsc_request_entry entry; /* with its key */
	struct lsc_store_image *image;  /* of its latest run that could; NULL: none yet */
	uint64_t since;                 /* microseconds since 1970: the older wins */
	uint32_t first, last;           /* the units of that run */
	uint32_t pos;                   /* of it */
	uint32_t reach;                 /* positions that it is known to need */
	bool decodes;                   /* it was one position */
	bool rests;       /* it is over, and may be gone on with: the first to give way */
	uint64_t seen_ns; /* when it came or was computed */
	uint64_t away_ns; /* since when its client has what was computed; 0: a run of it is here */
	uint64_t away_step;   /* in which step that was */
	uint64_t trip_ns;     /* for how long it was away the last time; 0: never */
	bool awaited;         /* it counts as away: it is back soon as a rule */
	uint64_t visit, turn; /* marks of whoever goes through what waits: the latest look, and
			       * that in which it was picked */
	uint32_t *past;       /* its tokens [n_past], where it has a penalty */
	uint32_t n_past, past_cap;
};

struct lsc_roster {
	struct lsc_request_table guests;
	uint64_t step; /* the latest, and how many left in it, are awaited and not back: */
	unsigned n_away;
	uint64_t soon_ns; /* whoever was away for longer the last time is not awaited */
	unsigned n_resting;
	uint64_t rested; /* how often somebody began to */
};

#define LSC_ROSTER_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_roster_release(struct lsc_roster *roster);

struct lsc_guest *lsc_roster_find(const struct lsc_roster *roster,
				  const struct lsc_client_id *client, uint64_t request);

/* The guest of a run, found or made: -ENOBUFS where there are too many. */
int lsc_roster_take(struct lsc_roster *roster, const struct lsc_run_frame *run,
		    struct lsc_guest **ret_guest, struct lsc_err *err);

/* Takes note of a run of it that was found to fit its image: what does not, counts for nothing. */
void lsc_guest_follow(struct lsc_guest *guest, const struct lsc_run_frame *run);

/* Its request is over, and it stays as long as nobody else wants the room: of two that rest, who
 * does for longer goes first.  False: there is nothing of it to go on with. */
bool lsc_roster_rest(struct lsc_roster *roster, struct lsc_guest *guest);

void lsc_roster_drop(struct lsc_roster *roster, struct lsc_guest *guest);

/* An image goes: nobody has it any more. */
void lsc_roster_close(struct lsc_roster *roster, const struct lsc_store_image *image);

/* A step begins: whoever left in an earlier one is not counted as away any more. */
void lsc_roster_step(struct lsc_roster *roster);

/* A guest's client gets what was computed of it in this step. */
void lsc_roster_leave(struct lsc_roster *roster, struct lsc_guest *guest, uint64_t now_ns);

/* A run of it came at that time, before now perhaps.  Returns for how long it was away; 0: not. */
uint64_t lsc_roster_return(struct lsc_roster *roster, struct lsc_guest *guest, uint64_t came_ns);

/* Walks over all: next(NULL) is the first, after the last comes NULL. */
struct lsc_guest *lsc_roster_next(const struct lsc_roster *roster, const struct lsc_guest *guest);

/* Whether a came to its client before b.  Every stage says the same of two requests: of equals the
 * lower name is the older. */
bool lsc_guest_is_older(const struct lsc_guest *a, const struct lsc_guest *b);

/* Takes note of ids at positions pos .. pos + n - 1 and forgets what was there from pos on:
 * -ESTALE where what is known does not reach pos. */
int lsc_guest_remember(struct lsc_guest *guest, const uint32_t *ids, uint32_t pos, uint32_t n);

#endif
