/* move - requests on their way here */
#include "stage/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "exec/kernels.h"

#define MAX_MOVES   1024
#define ASKED       64 /* pieces at once, and of one link: */
#define ASKED_LINK  16
#define PIECE_BYTES (256u << 10) /* about: whole pages of ours */
#define TICK_NS     1000000000ull
#define SILENT_NS   10000000000ull /* nothing came for so long */

struct cursor { /* what is asked of one stage next */
	uint32_t layer, pos;
};

struct lsc_move {
	struct lsc_move *next;
	uint64_t tag;
	struct lsc_fetch_frame name; /* its image, client and the number that others know it by */
	uint64_t request;            /* the one here */
	uint32_t n;                  /* positions */
	struct lsc_frame_stage *route;
	struct cursor *cursors; /* [n_stages], as the route */
	uint32_t n_stages;
	struct lsc_move_plan *plan; /* NULL: there is no room yet */
	uint32_t asked;             /* pieces that have not come */
	uint64_t bytes;             /* that came */
	uint64_t heard_ns;
};

struct ask {
	struct ask *next;
	uint64_t tag; /* of the move */
	struct lsc_fetch_frame fetch;
};

struct lsc_feed {
	struct lsc_feed *next;
	struct lsc_moves *moves;
	char endpoint[LSC_FRAME_ENDPOINT];
	struct lsc_link *link;
	struct ask *asks;
	uint32_t n_asks;
	bool old;                  /* it knows nothing of this */
	struct lsc_job *receiving; /* while its body comes; NULL: it is skipped */
};

static void pump(struct lsc_moves *moves);

static struct lsc_move *find(const struct lsc_moves *moves, uint64_t tag)
{
	struct lsc_move *move = moves->first;

	while (move && move->tag != tag)
		move = move->next;
	return move;
}

static void remove_move(struct lsc_moves *moves, struct lsc_move *move)
{
	struct lsc_move **at = &moves->first;

	while (*at != move)
		at = &(*at)->next;
	*at = move->next;
	moves->n_moves--;
	free(move->route);
	free(move->cursors);
	free(move->plan);
	free(move);
}

static void end_move(struct lsc_moves *moves, struct lsc_move *move, const struct lsc_err *err)
{
	const struct lsc_client_id client = move->name.client;
	const struct lsc_moved_frame moved = {move->request, move->n, move->bytes};

	remove_move(moves, move);
	moves->on_end(moves->data, &client, &moved, err);
}

/* --- what was asked --- */

static void free_ask(struct lsc_feed *feed, struct ask **at)
{
	struct ask *ask = *at;
	struct lsc_move *move = find(feed->moves, ask->tag);

	*at = ask->next;
	if (move)
		move->asked--;
	feed->n_asks--;
	feed->moves->n_asked--;
	free(ask);
}

/* Whether a move has still to hear of a stage there. */
static bool needs(const struct lsc_feed *feed, const struct lsc_move *move)
{
	for (const struct ask *ask = feed->asks; ask; ask = ask->next)
		if (ask->tag == move->tag)
			return true;
	return false;
}

static void feed_free(struct lsc_feed *feed)
{
	struct lsc_feed **at = &feed->moves->feeds;

	while (*at != feed)
		at = &(*at)->next;
	*at = feed->next;
	if (feed->receiving)
		feed->moves->free_job(feed->moves->data, feed->receiving);
	while (feed->asks)
		free_ask(feed, &feed->asks);
	lsc_link_close(feed->link);
	free(feed);
}

/* All that wait for something from there go another way. */
static void fail_all(struct lsc_feed *feed, const struct lsc_err *err)
{
	struct lsc_move *move, *next;

	for (move = feed->moves->first; move; move = next) {
		next = move->next;
		if (needs(feed, move))
			end_move(feed->moves, move, err);
	}
}

/* --- a feed's link --- */

static int refuse(const struct lsc_feed *feed, struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "%s gives no keys and values away", feed->endpoint);
}

static void on_open(void *data, struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_feed *feed = data;

	if (lsc_link_minor(link) >= LSC_KV_MINOR)
		return;
	feed->old = true;
	refuse(feed, &err);
	fail_all(feed, &err);
}

static int take_pages(struct lsc_feed *feed, struct lsc_move *move,
		      const struct lsc_pages_frame *pages, uint32_t body_len, void **ret_body,
		      struct lsc_err *err)
{
	struct lsc_moves *moves = feed->moves;
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_job *job;

	move->heard_ns = lsc_clock_ns();
	if (pages->code) {
		lsc_err_set(&why, pages->code, "%s: %s", feed->endpoint, pages->why);
		end_move(moves, move, &why);
		return 0;
	}
	if (body_len != (uint64_t)pages->of.n * move->plan->row_bytes)
		return lsc_err_set(err, EBADMSG, "%u bytes for %u positions of %u each", body_len,
				   pages->of.n, move->plan->row_bytes);
	job = moves->make_job(moves->data, LSC_JOB_PAGES, body_len);
	if (!job) {
		lsc_err_set(&why, ENOBUFS, "no room for %u bytes of keys and values", body_len);
		end_move(moves, move, &why);
		return 0;
	}
	job->tag = move->tag;
	job->fetch = pages->of;
	job->run.client = move->name.client;
	job->run.request = move->request;
	job->run.n = move->n;
	feed->receiving = job;
	*ret_body = job->body;
	return 0;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_feed *feed = data;
	struct lsc_pages_frame pages;
	struct ask **at = &feed->asks;
	struct lsc_move *move;
	int r;

	(void)link;
	*ret_body = NULL;
	if (!lsc_record_is(record, "pages"))
		return 0;
	r = lsc_frame_parse_pages(record, &pages, err);
	if (r < 0)
		return r;
	while (*at && !lsc_fetch_is_same(&(*at)->fetch, &pages.of))
		at = &(*at)->next;
	if (!*at)
		return lsc_err_set(err, EPROTO, "pages of layer %u that nobody asked for",
				   pages.of.layer);
	move = find(feed->moves, (*at)->tag);
	r = move ? take_pages(feed, move, &pages, body_len, ret_body, err) : 0;
	if (r < 0)
		return r; /* the ask tells who is to hear of it */
	free_ask(feed, at);
	if (!feed->receiving)
		pump(feed->moves);
	return 0;
}

static bool is_all_asked(const struct lsc_move *move)
{
	for (uint32_t i = 0; i < move->n_stages; i++)
		if (move->cursors[i].layer < move->plan->layers)
			return false;
	return true;
}

/* Whether some of it is being received. */
static bool is_coming(const struct lsc_moves *moves, const struct lsc_move *move)
{
	for (const struct lsc_feed *feed = moves->feeds; feed; feed = feed->next)
		if (feed->receiving && feed->receiving->tag == move->tag)
			return true;
	return false;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	struct lsc_feed *feed = data;
	struct lsc_moves *moves = feed->moves;
	struct lsc_job *job = feed->receiving;
	struct lsc_move *move = job ? find(moves, job->tag) : NULL;

	(void)link;
	(void)err;
	feed->receiving = NULL;
	if (!move && job)
		moves->free_job(moves->data, job);
	if (move) {
		move->bytes += job->body_len;
		move->heard_ns = lsc_clock_ns();
		job->last = is_all_asked(move) && !move->asked && !is_coming(moves, move);
		moves->submit(moves->data, job);
	}
	pump(moves);
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_feed *feed = data;
	struct lsc_moves *moves = feed->moves;
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_move *move;

	(void)link;
	if (err->code) /* which names it */
		lsc_err_set(&why, EHOSTDOWN, "%s", err->text);
	else
		lsc_err_set(&why, EHOSTDOWN, "%s: closed its link", feed->endpoint);
	lsc_debug("stage", "%s", why.text);
	move = feed->receiving ? find(moves, feed->receiving->tag) : NULL;
	if (move)
		end_move(moves, move, &why);
	fail_all(feed, &why);
	feed_free(feed);
	pump(moves);
}

static const struct lsc_link_events feed_events = {
	.on_open = on_open, .on_record = on_record, .on_body = on_body, .on_close = on_close};

static int feed_open(struct lsc_moves *moves, const char *endpoint, struct lsc_feed **ret_feed,
		     struct lsc_err *err)
{
	const struct lsc_link_options options = {.kind = "exec",
						 .key = moves->access ? moves->access->key : NULL};
	struct lsc_endpoint peer;
	struct lsc_feed *feed;
	int r = lsc_endpoint_parse(&peer, endpoint, err);

	if (r == 0 && moves->access)
		r = lsc_access_check(moves->access, &peer, err);
	if (r < 0)
		return r;
	feed = calloc(1, sizeof(*feed));
	if (!feed)
		return lsc_err_set(err, ENOMEM, "no memory for a link");
	feed->moves = moves;
	snprintf(feed->endpoint, sizeof(feed->endpoint), "%s", endpoint);
	r = lsc_link_connect(&feed->link, moves->loop, &peer, &options, &feed_events, feed, err);
	if (r < 0) {
		free(feed);
		return r;
	}
	feed->next = moves->feeds;
	moves->feeds = *ret_feed = feed;
	return 0;
}

static int feed_find(struct lsc_moves *moves, const char *endpoint, struct lsc_feed **ret_feed,
		     struct lsc_err *err)
{
	struct lsc_feed *feed = moves->feeds;

	while (feed && strcmp(feed->endpoint, endpoint))
		feed = feed->next;
	if (!feed)
		return feed_open(moves, endpoint, ret_feed, err);
	*ret_feed = feed;
	return 0;
}

/* --- asking --- */

static void enter_layer(const struct lsc_move *move, uint32_t stage, uint32_t layer)
{
	struct cursor *cursor = &move->cursors[stage];

	while (layer < move->plan->layers && move->plan->of[layer].stage != stage)
		layer++;
	cursor->layer = layer;
	if (layer < move->plan->layers)
		cursor->pos = move->plan->of[layer].from;
}

/* Whole pages where they are small enough. */
static uint32_t piece_rows(const struct lsc_move_plan *plan)
{
	uint32_t rows = PIECE_BYTES / plan->row_bytes / LSC_PAGE_POSITIONS * LSC_PAGE_POSITIONS;

	if (!rows)
		rows = LSC_MIN((uint32_t)LSC_PAGE_POSITIONS, LSC_KV_MAX_BYTES / plan->row_bytes);
	return LSC_MIN(rows, (uint32_t)LSC_FRAME_MAX_TOKENS);
}

static int send_fetch(struct lsc_feed *feed, struct ask *ask)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = lsc_frame_pack_fetch(&pack, &ask->fetch);

	return r < 0 ? r : lsc_link_send(feed->link, &pack, NULL, 0, NULL);
}

/* Asks a stage for its next piece: 1; 0 where there is none, or not now. */
static int ask_stage(struct lsc_moves *moves, struct lsc_move *move, uint32_t stage,
		     struct lsc_err *err)
{
	struct cursor *cursor = &move->cursors[stage];
	struct lsc_feed *feed = NULL;
	struct ask *ask;
	int r;

	if (cursor->layer >= move->plan->layers)
		return 0;
	r = feed_find(moves, move->route[stage].endpoint, &feed, err);
	if (r == 0 && feed->old)
		r = refuse(feed, err);
	if (r < 0 || feed->n_asks >= ASKED_LINK)
		return r;
	ask = malloc(sizeof(*ask));
	if (!ask)
		return lsc_err_set(err, ENOMEM, "no memory for a fetch");
	*ask = (struct ask){feed->asks, move->tag, move->name};
	ask->fetch.layer = cursor->layer;
	ask->fetch.pos = cursor->pos;
	ask->fetch.n = LSC_MIN(move->n - cursor->pos, piece_rows(move->plan));
	r = send_fetch(feed, ask);
	if (r < 0) {
		free(ask);
		return lsc_err_set(err, -r, "%s: %m", feed->endpoint);
	}
	feed->asks = ask;
	feed->n_asks++;
	move->asked++;
	moves->n_asked++;
	cursor->pos += ask->fetch.n;
	if (cursor->pos >= move->n)
		enter_layer(move, stage, cursor->layer + 1);
	return 1;
}

/* A piece for a move of each stage that has more for it. */
static int ask_all(struct lsc_moves *moves, struct lsc_move *move, struct lsc_err *err)
{
	int any = 0;

	for (uint32_t s = 0; s < move->n_stages && moves->n_asked < ASKED; s++) {
		int r = ask_stage(moves, move, s, err);

		if (r < 0)
			return r;
		any |= r;
	}
	return any;
}

/* Asks for what may be on its way, each move in turn. */
static void pump(struct lsc_moves *moves)
{
	struct lsc_move *move, *next;
	bool more = true;

	while (more && moves->n_asked < ASKED) {
		more = false;
		for (move = moves->first; move; move = next) {
			struct lsc_err err = LSC_ERR_INIT;
			int r = move->plan ? ask_all(moves, move, &err) : 0;

			next = move->next;
			more = more || r > 0;
			if (r < 0)
				end_move(moves, move, &err);
		}
	}
}

/* --- time --- */

static bool is_wanted(const struct lsc_feed *feed)
{
	for (const struct lsc_move *move = feed->moves->first; move; move = move->next)
		if (needs(feed, move) || (feed->receiving && feed->receiving->tag == move->tag))
			return true;
	return false;
}

static void on_timer(void *data)
{
	struct lsc_moves *moves = data;
	struct lsc_feed *feed, *next_feed;
	struct lsc_move *move, *next;
	uint64_t now = lsc_clock_ns();

	for (move = moves->first; move; move = next) {
		struct lsc_err err = LSC_ERR_INIT;

		next = move->next;
		if (!move->plan || now - move->heard_ns < SILENT_NS)
			continue;
		lsc_err_set(&err, ETIMEDOUT, "no keys and values came for %.0f s",
			    (double)SILENT_NS / 1e9);
		end_move(moves, move, &err);
	}
	/* What is still to come from there nobody wants any more, if anything is. */
	for (feed = moves->feeds; feed; feed = next_feed) {
		next_feed = feed->next;
		if (!is_wanted(feed))
			feed_free(feed);
	}
	if (moves->first || moves->feeds)
		lsc_timer_arm(moves->timer, TICK_NS);
}

/* --- from the worker --- */

static struct lsc_move *add_move(struct lsc_moves *moves, const struct lsc_job *job)
{
	const struct lsc_run_frame *run = &job->run;
	struct lsc_move *move = calloc(1, sizeof(*move));

	if (!move)
		return NULL;
	move->route = calloc(run->n_stages, sizeof(*move->route));
	move->cursors = calloc(run->n_stages, sizeof(*move->cursors));
	if (!move->route || !move->cursors ||
	    (!moves->timer &&
	     lsc_timer_new(moves->loop, on_timer, moves, &moves->timer, NULL) < 0)) {
		free(move->route);
		free(move->cursors);
		free(move);
		return NULL;
	}
	memcpy(move->route, run->route, run->n_stages * sizeof(*move->route));
	move->n_stages = run->n_stages;
	move->name.image = run->image;
	move->name.client = run->client;
	move->name.request = job->from;
	move->request = run->request;
	move->n = run->n;
	move->tag = ++moves->tags;
	move->next = moves->first;
	moves->first = move;
	moves->n_moves++;
	lsc_timer_arm(moves->timer, TICK_NS);
	return move;
}

void lsc_moves_adopt(struct lsc_moves *moves, struct lsc_job *job)
{
	const struct lsc_moved_frame moved = {job->run.request, job->run.n, 0};
	const struct lsc_client_id client = job->run.client;
	struct lsc_move *move = moves->n_moves < MAX_MOVES ? add_move(moves, job) : NULL;
	struct lsc_err err = LSC_ERR_INIT;

	if (move) {
		job->tag = move->tag;
		moves->submit(moves->data, job);
		return;
	}
	moves->free_job(moves->data, job);
	lsc_err_set(&err, ENOBUFS, "no room for another request that moves here");
	moves->on_end(moves->data, &client, &moved, &err);
}

static void begin(struct lsc_moves *moves, struct lsc_move *move, struct lsc_job *job)
{
	const struct lsc_err good = LSC_ERR_INIT;

	move->plan = job->plan;
	job->plan = NULL;
	move->heard_ns = lsc_clock_ns();
	for (uint32_t s = 0; s < move->n_stages; s++)
		enter_layer(move, s, 0);
	if (is_all_asked(move))
		end_move(moves, move, &good);
	else
		pump(moves);
}

void lsc_moves_back(struct lsc_moves *moves, struct lsc_job *job)
{
	struct lsc_move *move = find(moves, job->tag);

	if (move && (job->err.code || job->last))
		end_move(moves, move, &job->err);
	else if (move && job->kind == LSC_JOB_ADOPT)
		begin(moves, move, job);
	moves->free_job(moves->data, job);
}

void lsc_moves_forget(struct lsc_moves *moves, const struct lsc_client_id *client,
		      const uint64_t *request)
{
	struct lsc_move *move, *next;

	for (move = moves->first; move; move = next) {
		next = move->next;
		if (!memcmp(&move->name.client, client, sizeof(*client)) &&
		    (!request || move->request == *request))
			remove_move(moves, move);
	}
}

void lsc_moves_release(struct lsc_moves *moves)
{
	while (moves->first)
		remove_move(moves, moves->first);
	while (moves->feeds)
		feed_free(moves->feeds);
	lsc_timer_free(moves->timer);
	moves->timer = NULL;
}
