/* planner - plans for the nodes of a cast, from a ring or a schedule
 *
 * A schedule has no place for a node that comes or goes: ranks are given to those that are there,
 * sources first and then in the order of their numbers, and everyone gets a new plan.  Pieces that
 * are where they belong already are not sent again, so little is lost by that.
 */
#include "cast/planner.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/image.h"
#include "plan/ring.h"

#define RDMA "rdma://"

struct member {
	const char *name;
	bool here, source, rdma;
	bool stale; /* it has no plan yet, or one that is not this any more */
	uint32_t rank;
};

struct lsc_planner {
	struct lsc_planner_options o;
	struct lsc_ring *ring;  /* NULL with a schedule */
	struct member *members; /* by node */
	uint32_t *by_rank;
	uint32_t n_ranks, n_sources;
	uint32_t *gone;
	uint32_t n_gone;
	bool changed; /* who is here */
};

void lsc_planner_free(struct lsc_planner *planner)
{
	if (!planner)
		return;
	lsc_ring_free(planner->ring);
	free(planner->members);
	free(planner->by_rank);
	free(planner->gone);
	free(planner);
}

int lsc_planner_new(struct lsc_planner **ret_planner, const struct lsc_planner_options *options,
		    struct lsc_err *err)
{
	struct lsc_planner *planner = calloc(1, sizeof(*planner));
	int r = 0;

	if (!planner)
		return lsc_err_set(err, ENOMEM, "cannot plan a cast: %m");
	planner->o = *options;
	planner->members = calloc(options->max_nodes, sizeof(planner->members[0]));
	planner->by_rank = calloc(options->max_nodes, sizeof(planner->by_rank[0]));
	planner->gone = calloc(options->max_nodes, sizeof(planner->gone[0]));
	if (!planner->members || !planner->by_rank || !planner->gone)
		r = lsc_err_set(err, ENOMEM, "cannot plan a cast: %m");
	if (r == 0 && !options->scheduled)
		r = lsc_ring_new(&planner->ring, options->max_nodes, options->bytes,
				 options->rotate, err);
	if (r < 0)
		lsc_planner_free(planner);
	else
		*ret_planner = planner;
	return r;
}

void lsc_planner_join(struct lsc_planner *planner, uint32_t node, bool source, const char *name,
		      uint64_t bytes, uint64_t now_ns)
{
	planner->members[node] =
		(struct member){.name = name, .here = true, .source = source, .stale = true};
	planner->changed = true;
	if (!planner->ring)
		return;
	planner->n_sources += source;
	lsc_ring_join(planner->ring, node, source, now_ns);
	if (source || bytes)
		lsc_ring_held(planner->ring, node, bytes, now_ns);
}

void lsc_planner_rdma(struct lsc_planner *planner, uint32_t node)
{
	planner->members[node].rdma = true;
}

void lsc_planner_leave(struct lsc_planner *planner, uint32_t node, uint64_t now_ns)
{
	if (!planner->members[node].here)
		return;
	planner->members[node].here = false;
	planner->gone[planner->n_gone++] = node;
	planner->changed = true;
	if (!planner->ring)
		return;
	planner->n_sources -= planner->members[node].source;
	lsc_ring_leave(planner->ring, node, now_ns);
}

void lsc_planner_progress(struct lsc_planner *planner, uint32_t node,
			  const struct lsc_node_progress *progress, uint64_t now_ns)
{
	if (!planner->ring || !planner->members[node].here)
		return;
	if (!planner->members[node].source)
		lsc_ring_held(planner->ring, node, progress->bytes, now_ns);
	for (uint32_t i = 0; i < progress->n_sent; i++) {
		uint32_t to = progress->sent[i].node;

		if (to < planner->o.max_nodes && planner->members[to].here)
			lsc_ring_sent(planner->ring, node, to, progress->sent[i].sent,
				      progress->sent[i].ready, now_ns);
	}
}

/* Gives ranks to those that are here. */
static void rank_all(struct lsc_planner *planner)
{
	uint32_t n = 0;

	for (int source = 1; source >= 0; source--) {
		for (uint32_t i = 0; i < planner->o.max_nodes; i++) {
			struct member *member = &planner->members[i];

			if (!member->here || member->source != (bool)source)
				continue;
			member->stale = true;
			member->rank = n;
			planner->by_rank[n++] = i;
		}
		if (source)
			planner->n_sources = n;
	}
	planner->n_ranks = n;
}

bool lsc_planner_step(struct lsc_planner *planner, uint64_t now_ns, const char **ret_why)
{
	bool changed = planner->changed;

	*ret_why = "";
	planner->changed = false;
	if (!planner->ring) {
		if (changed)
			rank_all(planner);
		return changed;
	}
	changed = lsc_ring_step(planner->ring, now_ns) || changed;
	*ret_why = lsc_ring_why(planner->ring);
	return changed;
}

static void add_to(const struct lsc_planner *planner, struct lsc_plan *plan, uint32_t node,
		   enum lsc_duty duty)
{
	struct lsc_plan_to *to = &plan->to[plan->n_to++];

	to->node = node;
	to->duty = duty;
	to->rank = planner->members[node].rank;
	if (planner->members[node].rdma && planner->members[plan->node].rdma &&
	    strlen(planner->members[node].name) + strlen(RDMA) < sizeof(to->address))
		strcpy(to->address, RDMA);
	strncat(to->address, planner->members[node].name,
		sizeof(to->address) - strlen(to->address) - 1);
}

/* The piece at which a part begins.  A block that two sources begin and end is whole late, so it is
 * the first of a block's, where one is as near as a quarter of what each source has to send. */
static uint32_t first_piece(const struct lsc_planner *planner, double first)
{
	uint32_t last = planner->o.n_pieces ? planner->o.n_pieces - 1 : 0;
	uint32_t piece = LSC_MIN((uint32_t)(first * planner->o.n_pieces), last), best = piece;
	uint32_t most = planner->o.n_pieces / (4 * LSC_MAX(planner->n_sources, 1u));

	for (uint32_t i = 0; i < planner->o.n_blocks; i++) {
		uint32_t at = planner->o.blocks[i].first_piece;
		uint32_t away = at < piece ? piece - at : at - piece;

		if (at > last || away > most)
			continue;
		best = at;
		most = away;
	}
	return best;
}

static int plan_ring(struct lsc_planner *planner, struct lsc_plan *plan)
{
	struct lsc_ring_part part;

	if (!lsc_ring_part(planner->ring, plan->node, &part) && !planner->members[plan->node].stale)
		return 0;
	plan->to = calloc(LSC_RING_MAX_TO, sizeof(plan->to[0]));
	if (!plan->to)
		return -ENOMEM;
	plan->first = first_piece(planner, part.first);
	for (uint32_t i = 0; i < part.n_to; i++)
		add_to(planner, plan, part.to[i].node,
		       part.to[i].inject ? LSC_DUTY_INJECT : LSC_DUTY_ALL);
	planner->members[plan->node].stale = false;
	return 1;
}

static int plan_schedule(struct lsc_planner *planner, struct lsc_plan *plan)
{
	struct member *member = &planner->members[plan->node];
	struct lsc_schedule schedule;
	struct lsc_part part;
	uint32_t n = 0;

	if (!member->stale)
		return 0;
	plan->scheduled = true;
	plan->order = planner->o.order;
	plan->rank = member->rank;
	plan->ranks = planner->n_ranks;
	plan->sources = planner->n_sources;
	if (lsc_schedule_init(&schedule, plan->order, plan->ranks, plan->sources,
			      LSC_MAX(planner->o.n_pieces, 1u), NULL) < 0)
		return 0; /* of no sources: nothing goes on */
	lsc_part_init(&part, &schedule, plan->rank);
	while (lsc_part_peer(&part, n) != LSC_NOBODY)
		n++;
	plan->first = part.first;
	plan->to = calloc(n + (size_t)1, sizeof(plan->to[0]));
	if (!plan->to)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		add_to(planner, plan, planner->by_rank[lsc_part_peer(&part, i)], LSC_DUTY_PART);
	member->stale = false;
	return 1;
}

int lsc_planner_plan(struct lsc_planner *planner, uint32_t node, struct lsc_plan *ret_plan)
{
	int r;

	if (!planner->members[node].here)
		return 0;
	*ret_plan = (struct lsc_plan){
		.node = node,
		.rate = planner->o.rate,
		.timeout_ns = planner->o.timeout_ns,
		.report_ns = planner->o.report_ns,
		.rdma = planner->o.rdma,
	};
	r = planner->ring ? plan_ring(planner, ret_plan) : plan_schedule(planner, ret_plan);
	if (r == 1 && planner->n_gone) {
		ret_plan->gone = malloc(planner->n_gone * sizeof(ret_plan->gone[0]));
		if (!ret_plan->gone)
			r = -ENOMEM;
		else
			memcpy(ret_plan->gone, planner->gone,
			       planner->n_gone * sizeof(ret_plan->gone[0]));
		ret_plan->n_gone = planner->n_gone;
	}
	if (r != 1)
		lsc_plan_release(ret_plan);
	return r;
}
