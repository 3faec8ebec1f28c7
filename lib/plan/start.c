/* start - who starts a replica: each node's quickest way, and the nodes whose ways are quickest */
#include "plan/start.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"

/* What a cast can draw on. */
struct supply {
	double rate;        /* of all sources together */
	double fill_pieces; /* that a receiver waits for before its own come at the full rate */
	bool there;
};

const char *lsc_start_how_name(enum lsc_start_how how)
{
	static const char *const names[] = {"serves",   "copies", "reads",
					    "receives", "both",   "cannot"};

	return names[how];
}

static bool has_all(const struct lsc_start_node *node, enum lsc_tier tier)
{
	return node->have[tier] >= 1;
}

static double missing(const struct lsc_start *start, const struct lsc_start_node *node,
		      enum lsc_tier tier)
{
	return (double)start->bytes * (1 - LSC_MIN(LSC_MAX(node->have[tier], 0), 1));
}

/* --- sources --- */

/* What a node sends at, from the tier that it would be sent from. */
static double send_rate(const struct lsc_start_node *node)
{
	if (has_all(node, LSC_TIER_HOST))
		return node->link;
	if (has_all(node, LSC_TIER_GPU))
		return LSC_MIN(node->link, node->gpu);
	if (!has_all(node, LSC_TIER_DISK) && node->have[LSC_TIER_HOST] > node->have[LSC_TIER_DISK])
		return node->link;
	return LSC_MIN(node->link, node->disk);
}

static bool has_some(const struct lsc_start_node *node)
{
	for (unsigned tier = 0; tier < LSC_TIERS; tier++)
		if (node->have[tier] > 0)
			return true;
	return false;
}

enum class { IN_MEMORY, ON_DISK, IN_PARTS, CLASSES };

static bool is_of(const struct lsc_start_node *node, enum class class)
{
	bool in_memory =
		has_all(node, LSC_TIER_HOST) || (has_all(node, LSC_TIER_GPU) && node->gpu > 0);

	if (!(node->link > 0))
		return false;
	if (class == IN_MEMORY)
		return in_memory;
	if (class == ON_DISK)
		return has_all(node, LSC_TIER_DISK) && node->disk > 0;
	return has_some(node);
}

/* Whether the nodes that have parts have everything together. */
static bool parts_are_all(const struct lsc_start *start)
{
	for (uint32_t block = 0; block < start->n_blocks; block++) {
		bool there = false;

		for (uint32_t i = 0; i < start->n_nodes && !there; i++) {
			const struct lsc_start_node *node = &start->nodes[i];

			there = node->blocks && is_of(node, IN_PARTS) &&
				node->blocks[block / 8] >> (block % 8) & 1;
		}
		if (!there)
			return false;
	}
	return start->n_blocks > 0;
}

static struct supply find_sources(const struct lsc_start *start, struct lsc_start_choice *choices)
{
	struct supply supply = {0};
	uint32_t sources = 0, loaded = 0;

	for (enum class class = IN_MEMORY; class < CLASSES && !sources; class ++) {
		if (class == IN_PARTS && !parts_are_all(start))
			break;
		for (uint32_t i = 0; i < start->n_nodes; i++) {
			choices[i].source = is_of(&start->nodes[i], class);
			sources += choices[i].source;
			supply.rate += choices[i].source ? send_rate(&start->nodes[i]) : 0;
		}
	}
	for (uint32_t i = 0; i < start->n_nodes; i++)
		loaded += is_of(&start->nodes[i], IN_MEMORY) && !start->nodes[i].out;
	supply.there = sources > 0;
	supply.fill_pieces = sources && start->replicas > loaded
				     ? (double)lsc_div_up(start->replicas - loaded, sources)
				     : 1;
	return supply;
}

/* --- ways --- */

/* Keeps the way that is ready first; of equals, the one that is tried first. */
static void offer(struct lsc_start_choice *choice, enum lsc_start_how how, double seconds)
{
	if (!(seconds < choice->ready_s))
		return;
	choice->how = how;
	choice->ready_s = seconds;
}

static bool cannot(struct lsc_start_choice *choice, enum lsc_tier lacks, const char *why)
{
	choice->how = LSC_START_CANNOT;
	choice->ready_s = INFINITY;
	choice->lacks = lacks;
	choice->why = why;
	return false;
}

static bool fits(const struct lsc_start *start, const struct lsc_start_node *node,
		 struct lsc_start_choice *choice)
{
	double need = has_all(node, LSC_TIER_GPU) ? 0 : missing(start, node, start->target);

	if (node->out)
		return cannot(choice, LSC_TIERS, node->out);
	if (start->target == LSC_TIER_GPU && need > 0 && !(node->gpu > 0))
		return cannot(choice, LSC_TIERS, "it has no GPU");
	if (need > (double)node->room[start->target])
		return cannot(choice, start->target, "too little room");
	if (need > (double)node->free[start->target])
		choice->frees = (uint64_t)need - node->free[start->target];
	return true;
}

/* Seconds until what host memory lacks has come, and how.  Where the GPU is the target what comes
 * may pass through, or stay on disk. */
static void fetch(const struct lsc_start *start, const struct lsc_start_node *node,
		  const struct supply *supply, struct lsc_start_choice *choice)
{
	double rest = missing(start, node, LSC_TIER_HOST), others = supply->rate, fill;
	double unread = LSC_MIN(rest, missing(start, node, LSC_TIER_DISK));

	if (rest <= 0)
		offer(choice, LSC_START_COPIES, 0);
	if (node->disk > 0 && unread <= 0)
		offer(choice, LSC_START_READS, rest / node->disk);
	if (choice->source)
		others -= send_rate(node);
	choice->rate = LSC_MIN(node->link, others);
	if (!supply->there || !(choice->rate > 0) ||
	    (rest > (double)node->room[LSC_TIER_HOST] && rest > (double)node->room[LSC_TIER_DISK]))
		return;
	fill = supply->fill_pieces * (double)start->piece_bytes / choice->rate;
	offer(choice, LSC_START_RECEIVES, rest / choice->rate + fill);
	if (node->disk > 0 && unread < rest)
		offer(choice, LSC_START_BOTH,
		      fill + LSC_MAX(rest / (choice->rate + node->disk), unread / choice->rate));
}

static void find_way(const struct lsc_start *start, const struct lsc_start_node *node,
		     const struct supply *supply, struct lsc_start_choice *choice)
{
	double need = missing(start, node, start->target);

	choice->lacks = LSC_TIERS;
	choice->ready_s = INFINITY;
	choice->how = LSC_START_CANNOT;
	if (!fits(start, node, choice))
		return;
	if (need <= 0 || has_all(node, LSC_TIER_GPU)) {
		choice->how = LSC_START_SERVES;
		choice->ready_s = 0;
		return;
	}
	fetch(start, node, supply, choice);
	if (choice->how == LSC_START_CANNOT)
		cannot(choice, LSC_TIERS, "it has nothing to load it from");
	else if (start->target == LSC_TIER_GPU)
		choice->ready_s = LSC_MAX(choice->ready_s, need / node->gpu);
}

/* --- the choice --- */

struct order {
	const struct lsc_start *start;
	const struct lsc_start_choice *choices;
};

static int compare(const void *a, const void *b, void *data)
{
	const struct order *order = data;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct lsc_start_choice *x = &order->choices[i], *y = &order->choices[k];
	double x_load = order->start->nodes[i].load, y_load = order->start->nodes[k].load;

	if (x->ready_s != y->ready_s)
		return x->ready_s < y->ready_s ? -1 : 1;
	if (x->frees != y->frees)
		return x->frees < y->frees ? -1 : 1;
	if (x_load != y_load)
		return x_load < y_load ? -1 : 1;
	return i < k ? -1 : i > k;
}

int lsc_start_choose(const struct lsc_start *start, struct lsc_start_choice *ret_choices)
{
	LSC_CLEANUP_FREE uint32_t *places = calloc(start->n_nodes + (size_t)1, sizeof(*places));
	struct order order = {start, ret_choices};
	struct supply supply;
	uint32_t found = 0;

	if (!places)
		return -ENOMEM;
	for (uint32_t i = 0; i < start->n_nodes; i++) {
		ret_choices[i] = (struct lsc_start_choice){0};
		places[i] = i;
	}
	supply = find_sources(start, ret_choices);
	for (uint32_t i = 0; i < start->n_nodes; i++)
		find_way(start, &start->nodes[i], &supply, &ret_choices[i]);
	qsort_r(places, start->n_nodes, sizeof(*places), compare, &order);
	for (uint32_t k = 0; k < start->n_nodes; k++) {
		struct lsc_start_choice *choice = &ret_choices[places[k]];

		choice->place = k;
		choice->chosen = k < start->replicas && choice->how != LSC_START_CANNOT;
		found += choice->chosen;
	}
	return (int)found;
}
