/* transfers - records of a plan, back into the steps of each round
 *
 * The proof asks for steps round by round, so they are read just in time and one round is held.
 */
#include "cast/transfers.h"

#include <stdlib.h>

#include "base/cleanup.h"

struct import {
	struct lsc_reader *reader;
	struct lsc_err *err;
	struct lsc_schedule schedule;
	struct lsc_step *steps; /* of this round */
	uint32_t round;
	bool ended;   /* its end was read, or that of the stream */
	bool pending; /* the reader's record is a transfer of a later round */
	bool broken;  /* result is about the plan and not about the stream */
	int result;   /* of reading; once it is negative nothing more is read */
};

static int read_uint(const struct import *import, const char *key, uint32_t min, uint32_t max,
		     uint32_t *ret_value)
{
	uint64_t value = 0;
	int r = lsc_record_uint(&import->reader->record, key, max, &value, import->err);

	if (r < 0)
		return r;
	if (value < min)
		return lsc_err_set(import->err, EBADMSG, "key '%s' is below %u", key, min);
	*ret_value = (uint32_t)value;
	return 0;
}

static int read_plan(struct import *import)
{
	struct lsc_schedule *schedule = &import->schedule;
	int r;

	if ((r = read_uint(import, "nodes", 1, LSC_SCHEDULE_MAX_NODES, &schedule->nodes)) < 0 ||
	    (r = read_uint(import, "sources", 1, schedule->nodes, &schedule->sources)) < 0 ||
	    (r = read_uint(import, "pieces", 1, LSC_SCHEDULE_MAX_PIECES, &schedule->pieces)) < 0)
		return r;
	return read_uint(import, "rounds", 0, UINT32_MAX - 1, &schedule->rounds);
}

static int break_rule(struct import *import, const char *what, uint32_t node)
{
	import->broken = true;
	return lsc_err_set(import->err, EBADMSG, "round %u: node %u %s twice", import->round, node,
			   what);
}

/* Puts the record among the steps of this round; 1 when it belongs to a later one. */
static int add_transfer(struct import *import)
{
	const struct lsc_schedule *schedule = &import->schedule;
	uint32_t round, from, to, piece;
	int r;

	if ((r = read_uint(import, "round", 0, UINT32_MAX - 1, &round)) < 0 ||
	    (r = read_uint(import, "from", 0, schedule->nodes - 1, &from)) < 0 ||
	    (r = read_uint(import, "to", 0, schedule->nodes - 1, &to)) < 0 ||
	    (r = read_uint(import, "piece", 0, schedule->pieces - 1, &piece)) < 0)
		return r;
	if (round > import->round)
		return 1;
	if (round < import->round)
		return lsc_err_set(import->err, EBADMSG,
				   "a transfer of round %u stands among those of round %u", round,
				   import->round);
	if (import->steps[from].send_to != LSC_NOBODY)
		return break_rule(import, "sends", from);
	if (import->steps[to].recv_from != LSC_NOBODY)
		return break_rule(import, "receives", to);
	import->steps[from].send_to = to;
	import->steps[from].send_piece = piece;
	import->steps[to].recv_from = from;
	import->steps[to].recv_piece = piece;
	return 0;
}

/* Reads on until a transfer of a later round, or the end. */
static int read_round(struct import *import)
{
	int r;

	for (uint32_t i = 0; i < import->schedule.nodes; i++)
		import->steps[i] = (struct lsc_step){LSC_NOBODY, 0, LSC_NOBODY, 0};
	while (!import->ended) {
		if (!import->pending) {
			r = lsc_reader_next(import->reader, import->err);
			if (r < 0)
				return r;
			import->ended = r == 0 || lsc_record_is(&import->reader->record, "end");
			if (import->ended || !lsc_record_is(&import->reader->record, "transfer"))
				continue;
		}
		r = add_transfer(import);
		import->pending = r == 1;
		if (r)
			return r < 0 ? r : 0;
	}
	return 0;
}

/* The proof asks for all ranks of a round before those of the next, from rank 0 on. */
static struct lsc_step import_step(const void *data, uint32_t rank, uint32_t round)
{
	struct import *import = *(struct import *const *)data;

	if (rank == 0 && import->result >= 0) {
		import->round = round;
		import->result = read_round(import);
	}
	if (import->result < 0)
		return (struct lsc_step){LSC_NOBODY, 0, LSC_NOBODY, 0};
	return import->steps[rank];
}

/* What follows the last round of a plan must be its end. */
static int read_end(struct import *import)
{
	import->round = import->schedule.rounds;
	if (!import->pending)
		import->result = read_round(import);
	if (import->result < 0)
		return import->result;
	for (uint32_t i = 0; i < import->schedule.nodes; i++)
		import->pending = import->pending || import->steps[i].send_to != LSC_NOBODY;
	if (!import->pending)
		return 0;
	import->broken = true;
	return lsc_err_set(import->err, EBADMSG, "there are transfers after %u rounds",
			   import->schedule.rounds);
}

static int prove(struct import *import, uint32_t *ret_covered)
{
	/* A failed read has its words in import->err, and the proof goes on to some end. */
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_schedule_check_steps(&import->schedule, import_step, &import, ret_covered,
					 &err);

	if (import->result < 0)
		return import->broken ? LSC_PLAN_WRONG : import->result;
	if (r < 0) {
		r = lsc_err_set(import->err, r == -EINVAL ? EOPNOTSUPP : -r, "%s", err.text);
		return r == -EBADMSG ? LSC_PLAN_WRONG : r;
	}
	r = read_end(import);
	if (r < 0)
		return import->broken ? LSC_PLAN_WRONG : r;
	return LSC_PLAN_PROVEN;
}

int lsc_transfers_prove(struct lsc_reader *reader, struct lsc_schedule *ret_schedule,
			uint32_t *ret_covered, struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct lsc_step *steps = NULL;
	struct import import = {.reader = reader, .err = err};
	uint32_t covered;
	int r;

	do {
		r = lsc_reader_next(reader, err);
		if (r <= 0)
			return r < 0 ? r : LSC_PLAN_NONE;
	} while (!lsc_record_is(&reader->record, "plan"));
	r = read_plan(&import);
	if (r < 0)
		return r;
	steps = import.steps = calloc(import.schedule.nodes, sizeof(*steps));
	if (!steps)
		return lsc_err_set(err, ENOMEM, "%m");
	r = prove(&import, &covered);
	if (r != LSC_PLAN_PROVEN)
		return r;
	*ret_schedule = import.schedule;
	*ret_covered = covered;
	return r;
}
