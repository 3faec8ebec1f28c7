/* What load.c shares with load_group.c, and nobody else. */
#ifndef LSC_TIER_LOAD_OWN_H
#define LSC_TIER_LOAD_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "tier/load.h"

enum lsc_load_state {
	LSC_LOAD_WAITING, /* to be claimed */
	LSC_LOAD_READING,
	LSC_LOAD_OVER,
};

struct lsc_load_block {
	enum lsc_load_state state;
	uint32_t groups; /* on their way */
	uint32_t bad, first_bad;
	bool damaged; /* what others had brought */
	int code;     /* of the first bad one; -EBADMSG: its hash is wrong */
};

/* Pieces that are read together, from one run or several. */
struct lsc_load_group {
	struct lsc_load *load;
	struct lsc_load_group *next; /* that is done */
	uint32_t block, first, n;
	uint64_t bytes;
	atomic_uint left; /* reads */
	atomic_int result;
	uint32_t bad, first_bad; /* pieces with another hash */
	bool damaged;            /* that others had brought meanwhile */
	struct lsc_read reads[];
};

struct lsc_load {
	struct lsc_load_options o;
	struct lsc_load_events events;
	struct lsc_reader *reader;
	pthread_t thread;

	/* the thread's */
	struct lsc_load_block *blocks;
	uint32_t low, high; /* blocks that are not looked at in this round */
	uint32_t seen;      /* the marks' generation, when the round began */
	uint64_t on_their_way;
	uint32_t groups;
	uint64_t buried_ns;

	pthread_mutex_t lock; /* of the rest */
	pthread_cond_t more;
	struct lsc_load_group *done;
	bool stopped;
	double rate;
	uint64_t began_ns, ended_ns;
	struct lsc_load_progress progress;
};

/* A piece, or n of them, cannot be had.  The load's thread calls this and the next. */
void lsc_load_note_bad(struct lsc_load *load, uint32_t block, uint32_t piece, uint32_t n, int code);

/* Reads pieces that lie side by side; what cannot even be asked for is noted. */
void lsc_load_read(struct lsc_load *load, uint32_t block, uint32_t first, uint32_t n);

/* How many pieces from this one on, before end, are missing and are to be read together. */
uint32_t lsc_load_group_from(const struct lsc_load *load, uint32_t piece, uint32_t end);

#endif
