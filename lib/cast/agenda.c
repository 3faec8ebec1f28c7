/* agenda - a node's steps: chained by piece until it arrives, then in a heap for each peer
 *
 * Steps are numbered in the order of their rounds, so their numbers are what the heaps compare.
 * 16 bytes a step and 5 a piece, once a cast; nothing is allocated after init.
 */
#include "cast/agenda.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct lsc_agenda_step {
	uint32_t piece;
	uint32_t peer : 31;
	uint32_t gone : 1; /* taken or skipped */
	uint32_t next;     /* step of the same piece, or NONE */
};

void lsc_agenda_release(struct lsc_agenda *agenda)
{
	free(agenda->peer_ranks);
	free(agenda->left);
	free(agenda->steps);
	free(agenda->first);
	free(agenda->ready);
	free(agenda->heap_at);
	free(agenda->heap_len);
	free(agenda->arrived);
	*agenda = (struct lsc_agenda)LSC_AGENDA_INIT;
}

/* Numbers the peers in the order in which they are first sent to, and counts steps. */
static void count(struct lsc_agenda *agenda, const struct lsc_part *part, uint32_t *peer_of)
{
	for (uint32_t round = 0; round < part->schedule->rounds; round++) {
		uint32_t to = lsc_part_step(part, round).send_to;

		if (to == LSC_NOBODY)
			continue;
		if (peer_of[to] == NONE)
			peer_of[to] = agenda->n_peers++;
		agenda->n_steps++;
	}
}

static bool allocate(struct lsc_agenda *agenda)
{
	size_t peers = agenda->n_peers + 1u, steps = agenda->n_steps + (size_t)1;
	size_t pieces = agenda->n_pieces + (size_t)1;

	agenda->peer_ranks = calloc(peers, sizeof(uint32_t));
	agenda->left = calloc(peers, sizeof(uint32_t));
	agenda->heap_at = calloc(peers, sizeof(uint32_t));
	agenda->heap_len = calloc(peers, sizeof(uint32_t));
	agenda->steps = calloc(steps, sizeof(agenda->steps[0]));
	agenda->ready = calloc(steps, sizeof(uint32_t));
	agenda->first = malloc(pieces * sizeof(uint32_t));
	agenda->arrived = calloc(pieces, 1);
	return agenda->peer_ranks && agenda->left && agenda->heap_at && agenda->heap_len &&
	       agenda->steps && agenda->ready && agenda->first && agenda->arrived;
}

static void fill(struct lsc_agenda *agenda, const struct lsc_part *part, const uint32_t *peer_of)
{
	uint32_t n = agenda->n_steps, at = 0;

	/* Last rounds first, so that each piece's chain begins with its earliest step. */
	memset(agenda->first, 0xff, agenda->n_pieces * sizeof(agenda->first[0]));
	for (uint32_t round = part->schedule->rounds; round-- > 0;) {
		struct lsc_step step = lsc_part_step(part, round);
		uint32_t peer;

		if (step.send_to == LSC_NOBODY)
			continue;
		peer = peer_of[step.send_to];
		agenda->steps[--n] = (struct lsc_agenda_step){
			.piece = step.send_piece,
			.peer = peer,
			.next = agenda->first[step.send_piece],
		};
		agenda->first[step.send_piece] = n;
		agenda->peer_ranks[peer] = step.send_to;
		agenda->left[peer]++;
	}
	for (uint32_t peer = 0; peer < agenda->n_peers; peer++) {
		agenda->heap_at[peer] = at;
		at += agenda->left[peer];
	}
}

int lsc_agenda_check(const struct lsc_schedule *schedule, struct lsc_err *err)
{
	if (schedule->rounds <= LSC_AGENDA_MAX_ROUNDS)
		return 0;
	return lsc_err_set(
		err, EINVAL,
		"%u pieces to %u nodes take %u rounds in %s order; a cast has %u at most",
		schedule->pieces, schedule->nodes, schedule->rounds,
		lsc_order_name(schedule->order), LSC_AGENDA_MAX_ROUNDS);
}

int lsc_agenda_init(struct lsc_agenda *agenda, const struct lsc_schedule *schedule, uint32_t rank,
		    struct lsc_err *err)
{
	uint32_t *peer_of = NULL;
	struct lsc_part part;
	int r = lsc_agenda_check(schedule, err);

	*agenda = (struct lsc_agenda){.n_pieces = schedule->pieces};
	if (r < 0)
		return r;
	peer_of = malloc(schedule->nodes * sizeof(uint32_t));
	if (!peer_of)
		return lsc_err_set(err, ENOMEM, "cannot plan a cast: %m");
	memset(peer_of, 0xff, schedule->nodes * sizeof(uint32_t));
	lsc_part_init(&part, schedule, rank);
	count(agenda, &part, peer_of);
	if (!allocate(agenda)) {
		free(peer_of);
		lsc_agenda_release(agenda);
		return lsc_err_set(err, ENOMEM, "cannot plan a cast: %m");
	}
	fill(agenda, &part, peer_of);
	free(peer_of);
	return 0;
}

/* --- heaps --- */

static void push(struct lsc_agenda *agenda, uint32_t peer, uint32_t step)
{
	uint32_t *heap = agenda->ready + agenda->heap_at[peer];
	uint32_t i = agenda->heap_len[peer]++;

	while (i > 0 && step < heap[(i - 1) / 2]) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = step;
}

static void pop(struct lsc_agenda *agenda, uint32_t peer)
{
	uint32_t *heap = agenda->ready + agenda->heap_at[peer];
	uint32_t n = --agenda->heap_len[peer], last = heap[n], i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < n && heap[child + 1] < heap[child])
			child++;
		if (child >= n || heap[child] >= last)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
}

/* The peer's earliest ready step, or NONE. */
static uint32_t top(struct lsc_agenda *agenda, uint32_t peer)
{
	uint32_t step;

	while (agenda->heap_len[peer]) {
		step = agenda->ready[agenda->heap_at[peer]];
		if (!agenda->steps[step].gone)
			return step;
		pop(agenda, peer);
	}
	return NONE;
}

/* --- work --- */

void lsc_agenda_arrived(struct lsc_agenda *agenda, uint32_t piece)
{
	if (agenda->arrived[piece])
		return;
	agenda->arrived[piece] = 1;
	for (uint32_t i = agenda->first[piece]; i != NONE; i = agenda->steps[i].next)
		if (!agenda->steps[i].gone)
			push(agenda, agenda->steps[i].peer, i);
}

void lsc_agenda_skip(struct lsc_agenda *agenda, uint32_t peer, uint32_t piece)
{
	for (uint32_t i = agenda->first[piece]; i != NONE; i = agenda->steps[i].next) {
		struct lsc_agenda_step *step = &agenda->steps[i];

		if (step->peer != peer || step->gone)
			continue;
		step->gone = 1;
		agenda->left[peer]--;
	}
}

bool lsc_agenda_next(struct lsc_agenda *agenda, const bool *busy, uint32_t *ret_peer,
		     uint32_t *ret_piece)
{
	uint32_t best = NONE;

	for (uint32_t peer = 0; peer < agenda->n_peers; peer++) {
		uint32_t step = busy[peer] ? NONE : top(agenda, peer);

		if (step < best)
			best = step;
	}
	if (best == NONE)
		return false;
	agenda->steps[best].gone = 1;
	*ret_peer = agenda->steps[best].peer;
	*ret_piece = agenda->steps[best].piece;
	pop(agenda, *ret_peer);
	agenda->left[*ret_peer]--;
	return true;
}
