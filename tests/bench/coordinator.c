/* coordinator - what a cast costs the node that coordinates it, by the number of nodes and of
 * pieces
 *
 * The nodes are played by a few lines here, in the same process over memory links: they say ready,
 * take their plans, report blocks and completion, and receive nothing.  What is measured is the
 * processor time of it all, theirs included, for each node: where that stays what it is while
 * their number grows, the coordinator's work is linear.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "cast/cast.h"
#include "cast/usage.h"
#include "net/link.h"

#define MAX_NODES 4095

static struct lsc_loop *loop;
static struct lsc_image image;
static uint64_t *all; /* pieces */
static bool done;
static int result;
static struct lsc_err err;

/* --- a node --- */

struct node {
	struct lsc_listener *listener;
	char address[32];
	bool reported;
};

static struct node nodes[MAX_NODES];
static char *names[MAX_NODES];
static struct lsc_pack pack;

struct caller {
	struct node *node;
	struct lsc_link *link;
	void *manifest;
};

static void say(struct caller *caller)
{
	if (lsc_link_send(caller->link, &pack, NULL, 0, NULL) < 0)
		abort();
}

static void report(struct caller *caller)
{
	struct lsc_node_progress progress = {.pieces = image.n_pieces, .bytes = image.bytes};

	if (caller->node->reported)
		return;
	caller->node->reported = true;
	lsc_node_progress_pack(&pack, &progress);
	say(caller);
	for (uint32_t i = 0; i < image.n_blocks; i++) {
		lsc_pack_begin(&pack, "block");
		lsc_pack_uint(&pack, "block", i);
		lsc_pack_end(&pack);
		say(caller);
	}
	lsc_pack_begin(&pack, "complete");
	lsc_pack_end(&pack);
	say(caller);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *e)
{
	struct caller *caller = data;

	(void)link;
	(void)e;
	if (lsc_record_is(record, "offer")) {
		*ret_body = caller->manifest = malloc(body_len);
		lsc_ready_pack(&pack, &(struct lsc_ready){0}, NULL, image.n_pieces);
		say(caller);
	} else if (lsc_record_is(record, "plan")) {
		report(caller);
	} else if (lsc_record_is(record, "peer")) {
		lsc_have_pack(&pack, all, image.n_pieces);
		say(caller);
	} else if (lsc_record_is(record, "end")) {
		lsc_stats_pack(&pack, &(struct lsc_stats){0});
		say(caller);
		lsc_link_finish(caller->link);
		free(caller->manifest);
		free(caller);
	}
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *e)
{
	struct caller *caller = data;

	(void)e;
	lsc_link_close(link);
	free(caller->manifest);
	free(caller);
}

static const struct lsc_link_events events = {.on_record = on_record, .on_close = on_close};

static void *on_link(void *data, struct lsc_link *link)
{
	struct caller *caller = calloc(1, sizeof(*caller));

	*caller = (struct caller){.node = data, .link = link};
	return caller;
}

static int listen_all(uint32_t n)
{
	const struct lsc_link_options options = {.kind = LSC_CAST_KIND};

	for (uint32_t i = 0; i < n; i++) {
		struct lsc_endpoint at;
		int r;

		snprintf(nodes[i].address, sizeof(nodes[i].address), "memory:bench-%u", i);
		names[i] = nodes[i].address;
		r = lsc_endpoint_parse(&at, nodes[i].address, &err);
		if (r == 0)
			r = lsc_listener_open(&nodes[i].listener, loop, &at, &options, &events,
					      on_link, &nodes[i], &err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- a cast --- */

static void on_done(void *data, int r, const struct lsc_err *e)
{
	(void)data;
	done = true;
	result = r;
	err = *e;
}

static int measure(uint32_t n, bool scheduled)
{
	struct lsc_cast_options options = {
		.image = &image,
		.name = "image",
		.to = names,
		.n_to = n,
		.scheduled = scheduled,
		.order = LSC_ORDER_ROUND_OPTIMAL,
		.timeout_ns = 60000000000u,
		.report_fd = -1,
		.on_done = on_done,
	};
	double before = lsc_usage_cpu_s(), took;
	struct lsc_cast *cast;
	int r;

	for (uint32_t i = 0; i < n; i++)
		nodes[i].reported = false;
	done = false;
	r = lsc_cast_start(&cast, loop, &options, &err);
	while (r == 0 && !done)
		lsc_loop_turn(loop, 1000, NULL);
	lsc_cast_free(cast);
	for (int i = 0; i < 10; i++) /* the last links close */
		lsc_loop_turn(loop, 0, NULL);
	if (r < 0 || result)
		return r < 0 ? r : result;
	took = lsc_usage_cpu_s() - before;
	printf("{\"name\":\"coordinator\",\"order\":\"%s\",\"nodes\":%u,\"pieces\":%u,"
	       "\"cpu_seconds\":%.4f,\"cpu_microseconds_per_node\":%.1f}\n",
	       scheduled ? "round-optimal" : "ring", n + 1, image.n_pieces, took, took * 1e6 / n);
	fflush(stdout);
	return 0;
}

/* An image of so many pieces, in 16 blocks, without bytes: nobody is sent any. */
static int make_image(uint32_t n_pieces)
{
	image = (struct lsc_image){
		.n_pieces = n_pieces,
		.n_blocks = 16,
		.piece_bytes = 4096,
		.bytes = 4096ull * n_pieces,
		.manifest_len = 40000,
		.data = (const uint8_t *)"",
	};
	image.blocks = calloc(image.n_blocks, sizeof(image.blocks[0]));
	image.pieces = calloc(n_pieces, sizeof(image.pieces[0]));
	image.manifest = calloc(1, image.manifest_len);
	all = lsc_bits_new(n_pieces);
	if (!image.blocks || !image.pieces || !image.manifest || !all)
		return -ENOMEM;
	for (uint32_t i = 0; i < image.n_blocks; i++)
		image.blocks[i] = (struct lsc_block){
			.offset = 4096ull * n_pieces / 16 * i,
			.bytes = 4096ull * n_pieces / 16,
			.first_piece = n_pieces / 16 * i,
			.n_pieces = n_pieces / 16,
		};
	for (uint32_t i = 0; i < n_pieces; i++)
		lsc_bits_add(all, i);
	return 0;
}

static void free_image(void)
{
	free(image.blocks);
	free(image.pieces);
	free((void *)image.manifest);
	free(all);
}

int main(void)
{
	static const uint32_t sizes[] = {64, 256, 1024, MAX_NODES}, pieces[] = {1024, 4096};
	int r = lsc_loop_new(&loop, &err);

	if (r == 0)
		r = listen_all(MAX_NODES);
	for (size_t p = 0; r == 0 && p < LSC_ARRAY_SIZE(pieces); p++) {
		r = make_image(pieces[p]);
		for (size_t i = 0; r == 0 && i < LSC_ARRAY_SIZE(sizes); i++) {
			r = measure(sizes[i], false);
			if (r == 0)
				r = measure(sizes[i], true);
		}
		free_image();
	}
	if (r)
		fprintf(stderr, "coordinator: %s\n", err.text);
	for (uint32_t i = 0; i < MAX_NODES; i++)
		lsc_listener_close(nodes[i].listener);
	lsc_loop_free(loop);
	lsc_pack_release(&pack);
	return r != 0;
}
