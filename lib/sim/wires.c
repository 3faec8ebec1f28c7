/* wires - max-min fair rates of transfers
 *
 * A node has two ends, up and down, and a path joins the up end of one node with the down end of
 * another.  When transfers begin or end, rates can change at whatever those ends are joined with,
 * and what that is joined with: a walk finds it, and the ends of it are filled, the one first that
 * leaves its paths the least.
 */
#include "sim/wires.h"

#include <stdlib.h>

#include "base/macros.h"
#include "sim/agenda.h"

#define NOBODY UINT32_MAX

enum { UP, DOWN, SIDES };

struct end {
	double rate;
	uint32_t first;   /* path that is under way at it */
	double left;      /* while rates are worked out: what no path has yet */
	uint32_t without; /* paths that have none */
	uint32_t round;   /* in which it was met */
};

struct path {
	uint32_t ends[SIDES];
	uint32_t next[SIDES], prev[SIDES]; /* at the same end */
	bool runs;                         /* it has a transfer */
	bool listed;                       /* it is in the lists of its ends, and has a rate */
	bool stale;                        /* in the list of what may begin or end */
	uint32_t round;                    /* in which its rate was last worked out */
	double bytes;                      /* of the transfer */
	double rate, left, since;
};

struct lsc_wires {
	struct end *ends; /* node's up, node's down, and so on */
	uint32_t n_ends;
	struct path *paths;
	uint32_t n_paths, room;
	struct lsc_agenda over; /* transfers by path */
	struct lsc_agenda full; /* ends, by what they leave each path; while rates are worked out */
	uint32_t *stale, n_stale;
	uint32_t *met, n_met; /* ends */
	uint32_t round;
};

void lsc_wires_free(struct lsc_wires *wires)
{
	if (!wires)
		return;
	lsc_agenda_release(&wires->over);
	lsc_agenda_release(&wires->full);
	free(wires->ends);
	free(wires->paths);
	free(wires->stale);
	free(wires->met);
	free(wires);
}

int lsc_wires_new(struct lsc_wires **ret_wires, uint32_t nodes, struct lsc_err *err)
{
	struct lsc_wires *wires = calloc(1, sizeof(*wires));
	int r;

	if (!wires)
		return lsc_err_set(err, ENOMEM, "cannot lay wires: %m");
	wires->n_ends = SIDES * nodes;
	wires->ends = calloc(wires->n_ends, sizeof(wires->ends[0]));
	wires->met = calloc(wires->n_ends, sizeof(wires->met[0]));
	r = lsc_agenda_reserve(&wires->full, wires->n_ends, err);
	if (r == 0 && (!wires->ends || !wires->met))
		r = lsc_err_set(err, ENOMEM, "cannot lay wires: %m");
	if (r < 0) {
		lsc_wires_free(wires);
		return r;
	}
	for (uint32_t i = 0; i < wires->n_ends; i++)
		wires->ends[i].first = NOBODY;
	*ret_wires = wires;
	return 0;
}

void lsc_wires_set_node(struct lsc_wires *wires, uint32_t node, double up, double down)
{
	wires->ends[SIDES * node + UP].rate = up;
	wires->ends[SIDES * node + DOWN].rate = down;
}

int lsc_wires_add(struct lsc_wires *wires, uint32_t from, uint32_t to, uint32_t *ret_path,
		  struct lsc_err *err)
{
	int r = lsc_agenda_reserve(&wires->over, wires->n_paths + 1, err);

	if (r < 0)
		return r;
	if (wires->n_paths == wires->room) {
		uint32_t room = LSC_MAX(2 * wires->room, 64u);
		struct path *paths = reallocarray(wires->paths, room, sizeof(paths[0]));
		uint32_t *stale;

		if (paths)
			wires->paths = paths;
		stale = reallocarray(wires->stale, room, sizeof(stale[0]));
		if (stale)
			wires->stale = stale;
		if (!paths || !stale)
			return lsc_err_set(err, ENOMEM, "cannot lay a wire: %m");
		wires->room = room;
	}
	wires->paths[wires->n_paths] =
		(struct path){.ends = {SIDES * from + UP, SIDES * to + DOWN}};
	*ret_path = wires->n_paths++;
	return 0;
}

/* ---- which paths are under way ---- */

static void list(struct lsc_wires *wires, uint32_t id)
{
	struct path *path = &wires->paths[id];

	for (int side = 0; side < SIDES; side++) {
		struct end *end = &wires->ends[path->ends[side]];

		path->prev[side] = NOBODY;
		path->next[side] = end->first;
		if (end->first != NOBODY)
			wires->paths[end->first].prev[side] = id;
		end->first = id;
	}
	path->listed = true;
}

static void unlist(struct lsc_wires *wires, uint32_t id)
{
	struct path *path = &wires->paths[id];

	for (int side = 0; side < SIDES; side++) {
		if (path->prev[side] != NOBODY)
			wires->paths[path->prev[side]].next[side] = path->next[side];
		else
			wires->ends[path->ends[side]].first = path->next[side];
		if (path->next[side] != NOBODY)
			wires->paths[path->next[side]].prev[side] = path->prev[side];
	}
	path->listed = false;
	path->rate = 0;
}

static void set_stale(struct lsc_wires *wires, uint32_t id)
{
	if (!wires->paths[id].stale)
		wires->stale[wires->n_stale++] = id;
	wires->paths[id].stale = true;
}

/* ---- rates ---- */

static void meet(struct lsc_wires *wires, uint32_t id)
{
	struct end *end = &wires->ends[id];

	if (end->round == wires->round)
		return;
	end->round = wires->round;
	end->left = end->rate;
	end->without = 0;
	wires->met[wires->n_met++] = id;
}

/* Goes from the ends that are met to all that they are joined with. */
static void walk(struct lsc_wires *wires)
{
	for (uint32_t i = 0; i < wires->n_met; i++) {
		struct end *end = &wires->ends[wires->met[i]];
		int side = (int)(wires->met[i] % SIDES);

		for (uint32_t id = end->first; id != NOBODY; id = wires->paths[id].next[side]) {
			end->without++;
			meet(wires, wires->paths[id].ends[!side]);
		}
		lsc_agenda_set(&wires->full, wires->met[i],
			       end->without ? end->left / end->without : LSC_NEVER);
	}
}

static void set_rate(struct lsc_wires *wires, uint32_t id, double rate, double now)
{
	struct path *path = &wires->paths[id];

	path->round = wires->round;
	if (rate == path->rate)
		return;
	path->left -= path->rate * (now - path->since);
	path->since = now;
	path->rate = rate;
	lsc_agenda_set(&wires->over, id,
		       rate > 0 ? now + LSC_MAX(path->left, 0.0) / rate : LSC_NEVER);
}

/* The end that leaves its paths the least gives them that, and so on. */
static void fill(struct lsc_wires *wires, double now)
{
	uint32_t full;
	double rate;

	while ((rate = lsc_agenda_next(&wires->full, &full)) < LSC_NEVER) {
		int side = (int)(full % SIDES);
		struct path *path;

		lsc_agenda_set(&wires->full, full, LSC_NEVER);
		for (uint32_t id = wires->ends[full].first; id != NOBODY; id = path->next[side]) {
			struct end *other;

			path = &wires->paths[id];
			if (path->round == wires->round)
				continue;
			set_rate(wires, id, rate, now);
			other = &wires->ends[path->ends[!side]];
			other->left = LSC_MAX(other->left - rate, 0.0);
			other->without--;
			lsc_agenda_set(&wires->full, path->ends[!side],
				       other->without ? other->left / other->without : LSC_NEVER);
		}
	}
}

static void share(struct lsc_wires *wires, double now)
{
	wires->round++;
	wires->n_met = 0;
	for (uint32_t i = 0; i < wires->n_stale; i++) {
		struct path *path = &wires->paths[wires->stale[i]];

		path->stale = false;
		if (path->runs == path->listed)
			continue;
		if (path->runs)
			list(wires, wires->stale[i]);
		else
			unlist(wires, wires->stale[i]);
		meet(wires, path->ends[UP]);
		meet(wires, path->ends[DOWN]);
	}
	wires->n_stale = 0;
	walk(wires);
	fill(wires, now);
}

/* ---- transfers ---- */

void lsc_wires_start(struct lsc_wires *wires, uint32_t id, double bytes, double now)
{
	struct path *path = &wires->paths[id];

	path->runs = true;
	path->bytes = path->left = bytes;
	path->since = now;
	if (path->listed && path->rate > 0) /* another was over just now */
		lsc_agenda_set(&wires->over, id, now + bytes / path->rate);
	set_stale(wires, id);
}

double lsc_wires_next(struct lsc_wires *wires, double now)
{
	uint32_t id;

	if (wires->n_stale)
		share(wires, now);
	return lsc_agenda_next(&wires->over, &id);
}

bool lsc_wires_take(struct lsc_wires *wires, double now, uint32_t *ret_path)
{
	uint32_t id;

	if (lsc_agenda_next(&wires->over, &id) > now + LSC_WIRES_TICK)
		return false;
	lsc_agenda_set(&wires->over, id, LSC_NEVER);
	wires->paths[id].runs = false;
	set_stale(wires, id);
	*ret_path = id;
	return true;
}

double lsc_wires_done(const struct lsc_wires *wires, uint32_t id, double now)
{
	const struct path *path = &wires->paths[id];

	return path->runs ? path->bytes - path->left + path->rate * (now - path->since) : 0;
}
