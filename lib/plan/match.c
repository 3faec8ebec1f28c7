/* match - shortest augmenting paths over sets of nodes
 *
 * A unit for which no node has room left takes the place of another, which goes on looking: breadth
 * first, each node visited once, so a path costs at most a pass over the units' sets.
 */
#include "plan/match.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* Who can run few units is given these before others are: fewer have to move later. */
static void rank_nodes(struct lsc_match *match, const uint8_t *can)
{
	uint32_t *count = match->used, *starts = match->queue;

	for (uint32_t i = 0; i < match->nodes; i++)
		for (uint32_t u = 0; u < match->units; u++)
			count[i] += can[(size_t)i * match->units + u] != 0;
	for (uint32_t i = 0; i < match->nodes; i++)
		starts[count[i]]++;
	for (uint32_t n = 0, at = 0, next; n <= match->units; n++, at = next) {
		next = at + starts[n];
		starts[n] = at;
	}
	for (uint32_t i = 0; i < match->nodes; i++)
		match->rank[i] = starts[count[i]]++;
}

int lsc_match_init(struct lsc_match *match, uint32_t nodes, uint32_t units, const uint8_t *can,
		   const int64_t *need)
{
	uint32_t words = (nodes + 63) / 64;

	*match = (struct lsc_match){.nodes = nodes, .units = units, .words = words, .need = need};
	match->may = calloc((size_t)units * words, sizeof(*match->may));
	match->rank = calloc(nodes, sizeof(*match->rank));
	match->room = calloc(nodes, sizeof(*match->room));
	match->used = calloc(nodes, sizeof(*match->used));
	match->open = calloc(words, sizeof(*match->open));
	match->seen = calloc(words, sizeof(*match->seen));
	match->owner = calloc(units, sizeof(*match->owner));
	match->first = calloc(nodes, sizeof(*match->first));
	match->next = calloc(units, sizeof(*match->next));
	match->back = calloc(units, sizeof(*match->back));
	match->from = calloc(nodes, sizeof(*match->from));
	match->queue = calloc((size_t)units + 1, sizeof(*match->queue));
	if (!match->may || !match->rank || !match->room || !match->used || !match->open ||
	    !match->seen || !match->owner || !match->first || !match->next || !match->back ||
	    !match->from || !match->queue) {
		lsc_match_release(match);
		return -ENOMEM;
	}
	rank_nodes(match, can);
	for (uint32_t i = 0; i < nodes; i++)
		for (uint32_t u = 0; u < units; u++)
			match->may[(size_t)u * words + match->rank[i] / 64] |=
				(uint64_t)can[(size_t)i * units + u] << (match->rank[i] % 64);
	return 0;
}

void lsc_match_release(struct lsc_match *match)
{
	free(match->may);
	free(match->rank);
	free(match->room);
	free(match->used);
	free(match->open);
	free(match->seen);
	free(match->owner);
	free(match->first);
	free(match->next);
	free(match->back);
	free(match->from);
	free(match->queue);
	*match = (struct lsc_match){0};
}

static void give(struct lsc_match *match, uint32_t unit, uint32_t node)
{
	uint32_t other = match->first[node];

	match->owner[unit] = node;
	match->next[unit] = other;
	match->back[unit] = NONE;
	if (other != NONE)
		match->back[other] = unit;
	match->first[node] = unit;
}

static void take(struct lsc_match *match, uint32_t unit)
{
	uint32_t next = match->next[unit], back = match->back[unit];

	if (back == NONE)
		match->first[match->owner[unit]] = next;
	else
		match->next[back] = next;
	if (next != NONE)
		match->back[next] = back;
}

static void fill(struct lsc_match *match, uint32_t node)
{
	if (++match->used[node] == match->room[node])
		match->open[node / 64] &= ~(1ull << (node % 64));
}

/* Of the nodes that can run a unit one with room left; NONE: there is none, and the units of those
 * that were not seen yet are in the queue. */
static uint32_t look(struct lsc_match *match, uint32_t unit, uint32_t *tail)
{
	const uint64_t *may = match->may + (size_t)unit * match->words;

	match->work += match->words;
	for (uint32_t w = 0; w < match->words; w++)
		if (may[w] & match->open[w])
			return w * 64 + (uint32_t)__builtin_ctzll(may[w] & match->open[w]);
	for (uint32_t w = 0; w < match->words; w++) {
		uint64_t fresh = may[w] & ~match->seen[w];

		match->seen[w] |= fresh;
		for (; fresh; fresh &= fresh - 1) {
			uint32_t node = w * 64 + (uint32_t)__builtin_ctzll(fresh);

			match->from[node] = unit;
			match->work += 2;
			for (uint32_t u = match->first[node]; u != NONE; u = match->next[u])
				match->queue[(*tail)++] = u;
		}
	}
	return NONE;
}

/* Finds a place for a unit; others may have to move. */
static bool place(struct lsc_match *match, uint32_t unit)
{
	uint32_t head = 0, tail = 0, at = unit, node;

	memset(match->seen, 0, match->words * sizeof(*match->seen));
	while ((node = look(match, at, &tail)) == NONE) {
		if (head == tail)
			return false;
		at = match->queue[head++];
	}
	fill(match, node);
	while (at != unit) {
		uint32_t left = match->owner[at];

		take(match, at);
		give(match, at, node);
		node = left;
		at = match->from[node];
	}
	give(match, unit, node);
	return true;
}

bool lsc_match_check(struct lsc_match *match, uint32_t first)
{
	memset(match->open, 0, match->words * sizeof(*match->open));
	memset(match->used, 0, match->nodes * sizeof(*match->used));
	memset(match->first, 0xff, match->nodes * sizeof(*match->first));
	for (uint32_t i = 0; i < match->nodes; i++)
		match->open[i / 64] |= (uint64_t)(match->room[i] > 0) << (i % 64);
	match->work += match->nodes;
	for (uint32_t u = first; u < match->units; u++) {
		match->work += 4;
		if (match->need[u] && !place(match, u))
			return false;
	}
	return true;
}
