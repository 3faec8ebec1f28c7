/* proof - simulates a schedule and finds what is wrong with it
 *
 * It knows the rules and nothing of how schedules are made: every step is asked for and held
 * against what the nodes hold by then.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "plan/schedule.h"

struct proof {
	const struct lsc_schedule *schedule;
	lsc_step_fn *step;
	const void *data;
	uint64_t *held;         /* a bit a (rank, piece) */
	uint64_t *known;        /* a bit a piece: a receiver holds it */
	struct lsc_step *steps; /* of this round */
	uint32_t *sender;       /* of this round, by who is sent to */
	uint32_t known_pieces;
	uint64_t missing; /* pieces that receivers lack, all together */
};

static void proof_release(struct proof *proof)
{
	free(proof->held);
	free(proof->known);
	free(proof->steps);
	free(proof->sender);
}

static uint64_t held_bit(const struct proof *proof, uint32_t rank, uint32_t piece)
{
	return (uint64_t)rank * proof->schedule->pieces + piece;
}

static bool bit_is_set(const uint64_t *bits, uint64_t at)
{
	return bits[at / 64] >> at % 64 & 1;
}

static void bit_set(uint64_t *bits, uint64_t at)
{
	bits[at / 64] |= 1ull << at % 64;
}

static bool holds(const struct proof *proof, uint32_t rank, uint32_t piece)
{
	return rank < proof->schedule->sources ||
	       bit_is_set(proof->held, held_bit(proof, rank, piece));
}

static int proof_init(struct proof *proof, struct lsc_err *err)
{
	uint64_t nodes = proof->schedule->nodes, pieces = proof->schedule->pieces;

	if (nodes * LSC_MAX(pieces, proof->schedule->rounds) > LSC_SCHEDULE_MAX_PROOF)
		return lsc_err_set(
			err, EINVAL, "%u pieces to %u nodes in %u rounds are too many to check",
			proof->schedule->pieces, proof->schedule->nodes, proof->schedule->rounds);
	proof->held = calloc(nodes * pieces / 64 + 1, sizeof(*proof->held));
	proof->known = calloc(pieces / 64 + 1, sizeof(*proof->known));
	proof->steps = malloc(nodes * sizeof(*proof->steps));
	proof->sender = malloc(nodes * sizeof(*proof->sender));
	if (!proof->held || !proof->known || !proof->steps || !proof->sender)
		return lsc_err_set(err, ENOMEM, "out of memory");
	proof->missing = (nodes - proof->schedule->sources) * pieces;
	return 0;
}

/* What rank does, on its own, is possible: nobody sends it yet, so all that counts is what it
 * holds from the rounds before. */
static int check_send(struct proof *proof, uint32_t rank, uint32_t round, struct lsc_err *err)
{
	const struct lsc_step *step = &proof->steps[rank];

	if (step->send_to >= proof->schedule->nodes || step->send_to == rank)
		return lsc_err_set(err, EBADMSG, "round %u: node %u sends to node %u", round, rank,
				   step->send_to);
	if (step->send_piece >= proof->schedule->pieces)
		return lsc_err_set(err, EBADMSG, "round %u: node %u sends piece %u of %u", round,
				   rank, step->send_piece, proof->schedule->pieces);
	if (!holds(proof, rank, step->send_piece))
		return lsc_err_set(err, EBADMSG,
				   "round %u: node %u sends piece %u, which it does not hold",
				   round, rank, step->send_piece);
	if (proof->sender[step->send_to] != LSC_NOBODY)
		return lsc_err_set(err, EBADMSG,
				   "round %u: node %u receives from node %u and from node %u",
				   round, step->send_to, proof->sender[step->send_to], rank);
	proof->sender[step->send_to] = rank;
	return 0;
}

static int check_receive(struct proof *proof, uint32_t rank, uint32_t round, struct lsc_err *err)
{
	const struct lsc_step *step = &proof->steps[rank];
	uint32_t sender = proof->sender[rank], piece;

	if (sender == LSC_NOBODY)
		return lsc_err_set(err, EBADMSG,
				   "round %u: node %u expects piece %u from node %u, "
				   "which does not send to it",
				   round, rank, step->recv_piece, step->recv_from);
	piece = proof->steps[sender].send_piece;
	if (step->recv_from == LSC_NOBODY)
		return lsc_err_set(err, EBADMSG,
				   "round %u: node %u sends piece %u to node %u, "
				   "which does not expect it",
				   round, sender, piece, rank);
	if (step->recv_from != sender || step->recv_piece != piece)
		return lsc_err_set(err, EBADMSG,
				   "round %u: node %u expects piece %u from node %u, "
				   "but node %u sends it piece %u",
				   round, rank, step->recv_piece, step->recv_from, sender, piece);
	if (holds(proof, rank, piece))
		return lsc_err_set(err, EBADMSG,
				   "round %u: node %u gets piece %u, which it holds already", round,
				   rank, piece);
	return 0;
}

static void receive(struct proof *proof, uint32_t rank)
{
	uint32_t piece = proof->steps[rank].recv_piece;

	bit_set(proof->held, held_bit(proof, rank, piece));
	proof->missing--;
	if (!bit_is_set(proof->known, piece)) {
		bit_set(proof->known, piece);
		proof->known_pieces++;
	}
}

static int check_round(struct proof *proof, uint32_t round, struct lsc_err *err)
{
	uint32_t nodes = proof->schedule->nodes;
	uint64_t missing = proof->missing;
	int r;

	for (uint32_t i = 0; i < nodes; i++) {
		proof->steps[i] = proof->step(proof->data, i, round);
		proof->sender[i] = LSC_NOBODY;
	}
	for (uint32_t i = 0; i < nodes; i++) {
		if (proof->steps[i].send_to == LSC_NOBODY)
			continue;
		r = check_send(proof, i, round, err);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < nodes; i++) {
		if (proof->sender[i] == LSC_NOBODY && proof->steps[i].recv_from == LSC_NOBODY)
			continue;
		r = check_receive(proof, i, round, err);
		if (r < 0)
			return r;
		receive(proof, i);
	}
	if (proof->missing == missing)
		return lsc_err_set(err, EBADMSG, "round %u: nobody sends anything", round);
	return 0;
}

/* The lowest rank that lacks something, and what: after the last round, or never. */
static int say_missing(const struct proof *proof, struct lsc_err *err)
{
	for (uint32_t i = proof->schedule->sources; i < proof->schedule->nodes; i++)
		for (uint32_t piece = 0; piece < proof->schedule->pieces; piece++)
			if (!holds(proof, i, piece))
				return lsc_err_set(err, EBADMSG,
						   "node %u lacks piece %u after %u rounds", i,
						   piece, proof->schedule->rounds);
	return 0;
}

int lsc_schedule_check_steps(const struct lsc_schedule *schedule, lsc_step_fn *step,
			     const void *data, uint32_t *ret_covered, struct lsc_err *err)
{
	LSC_CLEANUP(proof_release)
	struct proof proof = {.schedule = schedule, .step = step, .data = data};
	uint32_t covered = 0;
	int r;

	r = proof_init(&proof, err);
	if (r < 0)
		return r;
	for (uint32_t round = 0; round < schedule->rounds; round++) {
		if (!proof.missing)
			return lsc_err_set(err, EBADMSG,
					   "everyone holds everything after %u of %u rounds", round,
					   schedule->rounds);
		r = check_round(&proof, round, err);
		if (r < 0)
			return r;
		if (!covered && proof.known_pieces == schedule->pieces)
			covered = round + 1;
	}
	if (proof.missing)
		return say_missing(&proof, err);
	*ret_covered = covered;
	return 0;
}

static struct lsc_step part_step(const void *data, uint32_t rank, uint32_t round)
{
	const struct lsc_part *parts = data;

	return lsc_part_step(&parts[rank], round);
}

int lsc_schedule_check(const struct lsc_schedule *schedule, uint32_t *ret_covered,
		       struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct lsc_part *parts = calloc(schedule->nodes, sizeof(*parts));

	if (!parts)
		return lsc_err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < schedule->nodes; i++)
		lsc_part_init(&parts[i], schedule, i);
	return lsc_schedule_check_steps(schedule, part_step, parts, ret_covered, err);
}
