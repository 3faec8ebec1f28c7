/* multicast - the clock and the coordinator of a simulated cast */
#include "sim/multicast.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/macros.h"
#include "cast/planner.h"
#include "sim/multicast_own.h"

/* As cast/cast.c has them. */
#define REPORT_NS      100000000ull
#define REPORT_NODE_NS 1000000ull
#define MAX_REPORT_NS  500000000ull

#define MAX_IDLE 100 /* reports of all nodes while nothing is under way: nothing will be */

struct coordinator {
	struct lsc_planner *planner;
	struct lsc_agenda reports; /* by node; behind the last: the plans are thought over */
	double every;
	uint32_t idle;
};

void lsc_multicast_release(struct lsc_multicast_result *result)
{
	free(result->done);
	*result = (struct lsc_multicast_result){0};
}

/* ---- messages ---- */

static bool grow_posts(struct lsc_mc *mc)
{
	uint32_t room = LSC_MAX(2 * mc->room_posts, 256u);
	struct lsc_post *grown = calloc(room, sizeof(grown[0]));

	if (!grown)
		return false;
	for (uint32_t i = 0; i < mc->n_posts; i++)
		grown[i] = mc->posts[(mc->first_post + i) & (mc->room_posts - 1)];
	free(mc->posts);
	mc->posts = grown;
	mc->first_post = 0;
	mc->room_posts = room;
	return true;
}

void lsc_mc_post(struct lsc_mc *mc, const struct lsc_post *post)
{
	struct lsc_post *place;

	if (mc->n_posts == mc->room_posts && !grow_posts(mc)) {
		mc->failed = -ENOMEM;
		return;
	}
	place = &mc->posts[(mc->first_post + mc->n_posts++) & (mc->room_posts - 1)];
	*place = *post;
	place->at = mc->now + mc->o.site->latency;
}

static void post_release(const struct lsc_post *post)
{
	if (post->kind == LSC_POST_PLAN && post->data)
		lsc_plan_release(post->data);
	free(post->data);
}

static uint64_t ns(double seconds)
{
	return (uint64_t)(seconds * 1e9) + 1;
}

static void deliver(struct lsc_mc *mc, struct coordinator *c)
{
	while (mc->n_posts && mc->posts[mc->first_post].at <= mc->now + LSC_WIRES_TICK) {
		struct lsc_post post = mc->posts[mc->first_post];

		mc->first_post = (mc->first_post + 1) & (mc->room_posts - 1);
		mc->n_posts--;
		if (post.kind == LSC_POST_REPORT)
			lsc_planner_progress(c->planner, post.from, post.data, ns(mc->now));
		else
			lsc_mc_take(mc, &post);
		post_release(&post);
	}
}

/* ---- the coordinator ---- */

static int send_plans(struct lsc_mc *mc, struct lsc_planner *planner)
{
	for (uint32_t i = 0; i < mc->n_nodes; i++) {
		struct lsc_plan plan = LSC_PLAN_INIT;
		struct lsc_post post = {.kind = LSC_POST_PLAN, .to = i};
		int r = lsc_planner_plan(planner, i, &plan);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		post.data = malloc(sizeof(plan));
		if (!post.data) {
			lsc_plan_release(&plan);
			return -ENOMEM;
		}
		memcpy(post.data, &plan, sizeof(plan));
		lsc_mc_post(mc, &post);
		mc->result.plans++;
	}
	return 0;
}

static int report(struct lsc_mc *mc, struct coordinator *c, uint32_t node)
{
	struct lsc_post post = {.kind = LSC_POST_REPORT, .from = node};

	post.data = malloc(sizeof(struct lsc_node_progress));
	if (!post.data)
		return -ENOMEM;
	lsc_mc_progress(mc, node, post.data);
	lsc_mc_post(mc, &post);
	lsc_agenda_set(&c->reports, node, mc->now + c->every);
	return 0;
}

static int replan(struct lsc_mc *mc, struct coordinator *c)
{
	const char *why;

	c->idle = lsc_wires_next(mc->wires, mc->now) < LSC_NEVER ? 0 : c->idle + 1;
	if (c->idle > MAX_IDLE)
		return -EDEADLK;
	lsc_agenda_set(&c->reports, mc->n_nodes, mc->now + c->every);
	return lsc_planner_step(c->planner, ns(mc->now), &why) ? send_plans(mc, c->planner) : 0;
}

static int think(struct lsc_mc *mc, struct coordinator *c)
{
	uint32_t number;
	int r = 0;

	while (r == 0 && lsc_agenda_next(&c->reports, &number) <= mc->now)
		r = number < mc->n_nodes ? report(mc, c, number) : replan(mc, c);
	return r;
}

static int coordinate(struct lsc_mc *mc, struct coordinator *c, struct lsc_err *err)
{
	const struct lsc_system *system = mc->system;
	uint32_t group = 1 + (uint32_t)lsc_div_up(mc->o.receivers, mc->o.sources);
	bool chosen = system->way == LSC_WAY_CHOSEN, many = mc->o.sources > 1;
	uint64_t every =
		LSC_MIN(LSC_MAX(REPORT_NS, REPORT_NODE_NS * mc->o.receivers), MAX_REPORT_NS);
	const struct lsc_planner_options options = {
		.scheduled = !chosen || !lsc_chain_is_fastest(group, mc->cargo->n_pieces),
		.rotate = chosen && many,
		.order = !chosen ? system->order
			 : many  ? LSC_ORDER_KWAY
				 : LSC_ORDER_ROUND_OPTIMAL,
		.max_nodes = mc->n_nodes,
		.n_pieces = mc->cargo->n_pieces,
		.bytes = mc->cargo->bytes,
		.blocks = mc->cargo->blocks,
		.n_blocks = mc->cargo->n_blocks,
		.report_ns = every,
	};
	int r = lsc_planner_new(&c->planner, &options, err);

	c->every = (double)every / 1e9;
	mc->tells = !options.scheduled;
	if (r == 0)
		r = lsc_agenda_reserve(&c->reports, mc->n_nodes + 1, err);
	for (uint32_t i = 0; r == 0 && i < mc->n_nodes; i++) {
		lsc_planner_join(c->planner, i, mc->nodes[i].source, "",
				 (uint64_t)mc->nodes[i].bytes, ns(mc->now));
		if (!options.scheduled) /* nodes report at moments of their own */
			lsc_agenda_set(&c->reports, i,
				       mc->now + c->every * (i + 1) / (mc->n_nodes + 1));
	}
	if (r == 0)
		lsc_agenda_set(&c->reports, mc->n_nodes, mc->now);
	return r;
}

/* ---- the clock ---- */

static int run(struct lsc_mc *mc, struct coordinator *c)
{
	int r = 0;

	while (r == 0 && mc->n_done < mc->o.receivers) {
		double over = lsc_wires_next(mc->wires, mc->now), at = over;
		uint32_t path, number;

		at = LSC_MIN(at, lsc_agenda_next(&c->reports, &number));
		if (mc->n_posts)
			at = LSC_MIN(at, mc->posts[mc->first_post].at);
		mc->now = LSC_MAX(mc->now, at);
		while (lsc_wires_take(mc->wires, mc->now, &path))
			lsc_mc_sent(mc, path);
		deliver(mc, c);
		r = think(mc, c);
		deliver(mc, c);
		for (uint32_t i = 0; i < mc->n_dirty; i++)
			lsc_mc_pump(mc, mc->dirty[i]);
		mc->n_dirty = 0;
		if (r == 0)
			r = mc->failed;
	}
	return r;
}

static int set_up(struct lsc_mc *mc, struct lsc_err *err)
{
	int r = lsc_wires_new(&mc->wires, mc->n_nodes, err);

	mc->nodes = calloc(mc->n_nodes, sizeof(mc->nodes[0]));
	mc->dirty = calloc(mc->n_nodes, sizeof(mc->dirty[0]));
	mc->blocks_apart = calloc(mc->cargo->n_blocks, sizeof(mc->blocks_apart[0]));
	if (r == 0 && (!mc->nodes || !mc->dirty || !mc->blocks_apart))
		r = -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < mc->n_nodes; i++) {
		uint32_t words = lsc_bits_words(mc->cargo->n_pieces);

		lsc_wires_set_node(mc->wires, i, lsc_site_up(mc->o.site, i),
				   lsc_site_down(mc->o.site, i));
		mc->nodes[i].source = i < mc->o.sources;
		mc->nodes[i].here = lsc_bits_new(mc->cargo->n_pieces);
		mc->nodes[i].block_left = calloc(mc->cargo->n_blocks, sizeof(uint32_t));
		if (!mc->nodes[i].here || !mc->nodes[i].block_left)
			return lsc_err_set(err, ENOMEM, "cannot simulate a cast: %m");
		for (uint32_t b = 0; b < mc->cargo->n_blocks; b++)
			mc->nodes[i].block_left[b] = mc->cargo->blocks[b].n_pieces;
		if (!mc->nodes[i].source)
			continue;
		mc->nodes[i].n_here = mc->cargo->n_pieces;
		mc->nodes[i].bytes = (double)mc->cargo->bytes;
		memset(mc->nodes[i].here, 0xff, words * sizeof(uint64_t));
		if (mc->cargo->n_pieces % 64)
			mc->nodes[i].here[words - 1] =
				(UINT64_C(1) << (mc->cargo->n_pieces % 64)) - 1;
	}
	return r;
}

static void tear_down(struct lsc_mc *mc, struct coordinator *c)
{
	for (uint32_t i = 0; i < mc->n_posts; i++)
		post_release(&mc->posts[(mc->first_post + i) & (mc->room_posts - 1)]);
	for (uint32_t i = 0; mc->nodes && i < mc->n_nodes; i++)
		lsc_mc_node_release(&mc->nodes[i]);
	free(mc->posts);
	free(mc->nodes);
	free(mc->dirty);
	free(mc->blocks_apart);
	free(mc->owners);
	lsc_wires_free(mc->wires);
	lsc_planner_free(c->planner);
	lsc_agenda_release(&c->reports);
}

static int run_planned(struct lsc_mc *mc, struct lsc_err *err)
{
	struct coordinator c = {.reports = LSC_AGENDA_INIT};
	int r;

	mc->now = mc->o.site->start;
	r = set_up(mc, err);
	if (r == 0)
		r = coordinate(mc, &c, err);
	if (r == 0) {
		r = run(mc, &c);
		if (r == -EDEADLK)
			lsc_err_set(err, EDEADLK, "the simulated cast came to a halt after %g s",
				    mc->now);
		else if (r < 0)
			lsc_err_set(err, -r, "cannot simulate a cast: %m");
	}
	tear_down(mc, &c);
	return r;
}

/* ---- without plans ---- */

static int run_disk(struct lsc_mc *mc, struct lsc_err *err)
{
	mc->result.covered = LSC_NEVER;
	for (uint32_t i = 0; i < mc->o.receivers; i++) {
		double disk = mc->o.site->nodes[mc->o.sources + i].disk, done;

		if (!(disk > 0))
			return lsc_err_set(err, EINVAL, "'%s' wants 'disk=' of all receivers",
					   mc->system->name);
		done = mc->o.site->start + (double)mc->cargo->bytes / disk;
		mc->result.done[i] = done;
		mc->result.covered = LSC_MIN(mc->result.covered, done);
		mc->result.all = LSC_MAX(mc->result.all, done);
	}
	return 0;
}

/* Everything leaves the sources once, enters each receiver once, and is sent once for each of them
 * (Mundinger, Weber and Weiss, "Optimal Scheduling of Peer-to-Peer File Dissemination", 2008). */
static void run_bound(struct lsc_mc *mc)
{
	double bytes = (double)mc->cargo->bytes, sources = 0, up = 0, down = 0, least;

	for (uint32_t i = 0; i < mc->n_nodes; i++) {
		up += lsc_site_up(mc->o.site, i);
		if (i < mc->o.sources)
			sources += lsc_site_up(mc->o.site, i);
		else
			down += lsc_site_down(mc->o.site, i);
	}
	least = bytes / sources;
	mc->result.covered = bytes / LSC_MIN(sources, down);
	mc->result.all = LSC_MAX(least, bytes * mc->o.receivers / up);
	for (uint32_t i = 0; i < mc->o.receivers; i++) {
		double own = bytes / lsc_site_down(mc->o.site, mc->o.sources + i);

		mc->result.done[i] = LSC_MAX(own, least);
		mc->result.all = LSC_MAX(mc->result.all, mc->result.done[i]);
	}
}

static int cut(const struct lsc_system *system, const struct lsc_cargo *cargo,
	       struct lsc_cargo *ret_cargo, struct lsc_err *err)
{
	if (system->blocks)
		return lsc_cargo_init(ret_cargo, cargo->bytes, system->blocks, UINT64_MAX, err);
	return lsc_cargo_init(ret_cargo, cargo->bytes, cargo->n_blocks, system->piece_bytes, err);
}

int lsc_multicast_run(const struct lsc_system *system, const struct lsc_multicast_options *options,
		      struct lsc_multicast_result *ret_result, struct lsc_err *err)
{
	struct lsc_cargo own = LSC_CARGO_INIT;
	struct lsc_mc mc = {
		.o = *options,
		.system = system,
		.cargo = options->cargo,
		.n_nodes = options->sources + options->receivers,
	};
	int r = 0;

	if (!options->sources || !options->receivers || mc.n_nodes > options->site->n_nodes)
		return lsc_err_set(err, EINVAL, "a cast of %u sources and %u receivers in %u nodes",
				   options->sources, options->receivers, options->site->n_nodes);
	if (system->blocks || system->piece_bytes) {
		r = cut(system, options->cargo, &own, err);
		mc.cargo = &own;
	}
	mc.result.done = calloc(options->receivers, sizeof(mc.result.done[0]));
	if (r == 0 && !mc.result.done)
		r = lsc_err_set(err, ENOMEM, "cannot simulate a cast: %m");
	if (r == 0 && system->way == LSC_WAY_BOUND)
		run_bound(&mc);
	else if (r == 0)
		r = system->way == LSC_WAY_DISK ? run_disk(&mc, err) : run_planned(&mc, err);
	lsc_cargo_release(&own);
	if (r < 0)
		lsc_multicast_release(&mc.result);
	else
		*ret_result = mc.result;
	return r;
}
