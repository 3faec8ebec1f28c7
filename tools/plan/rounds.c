/* rounds - multicast schedules as tables, records, JSON lines or a chart; proofs of them
 *
 * What a schedule is, is decided in lib/plan/schedule.c, what makes one right in lib/plan/proof.c,
 * and how one is drawn in lib/plan/chart.c; lib/cast/transfers.c reads the records that this file
 * writes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cast/transfers.h"
#include "cli/tool.h"
#include "plan/chart.h"
#include "plan/schedule.h"
#include "stream/json.h"
#include "stream/record.h"

#include "commands.h"

#define MAX_ORDERS  8
#define FLUSH_BYTES (64 << 10)

enum format { TABLE, RECORDS, JSON, SVG };

struct options {
	uint64_t nodes, pieces, sources;
	enum lsc_order orders[MAX_ORDERS];
	uint32_t n_orders;
	enum format format;
	bool check, force;
	double rate;
	uint64_t piece_bytes;
	const char *prove;
};

enum {
	KEY_NODES = 0x100,
	KEY_PIECES,
	KEY_SOURCES,
	KEY_ORDER,
	KEY_CHECK,
	KEY_RECORDS,
	KEY_JSON,
	KEY_SVG,
	KEY_RATE,
	KEY_PIECE_BYTES,
	KEY_PROVE,
};

static const struct argp_option options[] = {
	{"nodes", KEY_NODES, "N", 0, "Nodes, sources included", 0},
	{"pieces", KEY_PIECES, "B", 0, "Pieces of the image", 0},
	{"sources", KEY_SOURCES, "K", 0, "Nodes that hold everything at first (default 1)", 0},
	{"order", KEY_ORDER, "ORDER,...", 0,
	 "round-optimal (the default), kway, chain, tree, sequential", 0},
	{"check", KEY_CHECK, NULL, 0, "Prove the schedule correct first", 0},
	{"records", KEY_RECORDS, NULL, 0, "Write records, not a table", 0},
	{"json", KEY_JSON, NULL, 0, "Write the records as JSON lines", 0},
	{"svg", KEY_SVG, NULL, 0, "Draw a chart", 0},
	{"rate", KEY_RATE, "RATE", 0, "A node's link, to tell times: 1gbit, 100M/s", 0},
	{"piece-bytes", KEY_PIECE_BYTES, "SIZE", 0, "Size of a piece, to tell times: 4M", 0},
	{"prove", KEY_PROVE, "FILE", 0, "Prove the schedules in a stream of records (-: stdin)", 0},
	{"force", 'f', NULL, 0, "Write records to a terminal as well", 0},
	{0},
};

static int parse_orders(char *text, struct options *opt, struct lsc_err *err)
{
	int r = 0;

	opt->n_orders = 0;
	for (char *name, *rest = text; !r && (name = strsep(&rest, ",")) != NULL;) {
		if (opt->n_orders == MAX_ORDERS)
			return lsc_err_set(err, EINVAL, "more than %d orders", MAX_ORDERS);
		r = lsc_order_parse(name, &opt->orders[opt->n_orders++], err);
	}
	return r;
}

static int parse_value(int key, char *arg, struct options *opt, struct lsc_err *err)
{
	switch (key) {
	case KEY_NODES:
		return lsc_parse_uint(arg, 1, LSC_SCHEDULE_MAX_NODES, &opt->nodes, err);
	case KEY_PIECES:
		return lsc_parse_uint(arg, 1, LSC_SCHEDULE_MAX_PIECES, &opt->pieces, err);
	case KEY_SOURCES:
		return lsc_parse_uint(arg, 1, LSC_SCHEDULE_MAX_NODES, &opt->sources, err);
	case KEY_ORDER:
		return parse_orders(arg, opt, err);
	case KEY_RATE:
		return lsc_parse_rate(arg, &opt->rate, err);
	case KEY_PIECE_BYTES:
		return lsc_parse_size(arg, &opt->piece_bytes, err);
	default:
		return 0;
	}
}

static void check_options(const struct options *opt, struct argp_state *state)
{
	if (opt->prove && (opt->nodes || opt->pieces))
		argp_failure(state, LSC_EXIT_USAGE, 0, "--prove takes sizes from the stream");
	else if (!opt->prove && (!opt->nodes || !opt->pieces))
		argp_failure(state, LSC_EXIT_USAGE, 0, "--nodes and --pieces are needed");
	else if ((opt->rate > 0) != (opt->piece_bytes > 0))
		argp_failure(state, LSC_EXIT_USAGE, 0, "--rate and --piece-bytes go together");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case KEY_CHECK:
		opt->check = true;
		return 0;
	case KEY_RECORDS:
		opt->format = RECORDS;
		return 0;
	case KEY_JSON:
		opt->format = JSON;
		return 0;
	case KEY_SVG:
		opt->format = SVG;
		return 0;
	case KEY_PROVE:
		opt->prove = arg;
		return 0;
	case 'f':
		opt->force = true;
		return 0;
	case ARGP_KEY_END:
		check_options(opt, state);
		return 0;
	}
	if (key < KEY_NODES || key > KEY_PROVE)
		return ARGP_ERR_UNKNOWN;
	lsc_tool_check(state, parse_value(key, arg, opt, &err), &err);
	return 0;
}

/* --- a table for people --- */

static int digits(uint32_t value)
{
	return snprintf(NULL, 0, "%u", value);
}

static void print_rounds(const struct lsc_schedule *schedule, const struct lsc_part *parts)
{
	int piece = digits(schedule->pieces - 1), node = digits(schedule->nodes - 1);

	printf("round");
	for (uint32_t i = schedule->sources; i < schedule->nodes; i++)
		printf(" %*u", piece + 1 + node, i);
	for (uint32_t round = 0; round < schedule->rounds && !ferror(stdout); round++) {
		printf("\n%5u", round);
		for (uint32_t i = schedule->sources; i < schedule->nodes; i++) {
			struct lsc_step step = lsc_part_step(&parts[i], round);

			if (step.recv_from == LSC_NOBODY)
				printf(" %*s", piece + 1 + node, "-");
			else
				printf(" %*u<%-*u", piece, step.recv_piece, node, step.recv_from);
		}
	}
	printf("\n");
}

static int print_table(const struct options *opt, const struct lsc_schedule *schedule,
		       const struct lsc_part *parts, const uint32_t *covered)
{
	double seconds = opt->rate > 0 ? (double)opt->piece_bytes / opt->rate : 0;

	printf("%s: nodes %u, sources %u, pieces %u, rounds %u\n", lsc_order_name(schedule->order),
	       schedule->nodes, schedule->sources, schedule->pieces, schedule->rounds);
	if (opt->rate > 0)
		printf("%g s a round, %g s in all\n", seconds, seconds * schedule->rounds);
	if (covered)
		printf("proven; the receivers together hold everything after %u rounds\n",
		       *covered);
	print_rounds(schedule, parts);
	return 0;
}

/* --- records --- */

struct output {
	bool json;
	struct lsc_pack pack;
	struct lsc_buf text;
};

static void output_release(struct output *output)
{
	lsc_pack_release(&output->pack);
	lsc_buf_release(&output->text);
}

static int flush_text(struct output *output, size_t enough, struct lsc_err *err)
{
	int r;

	if (output->text.len < enough)
		return 0;
	r = lsc_write_full(STDOUT_FILENO, output->text.data, output->text.len);
	output->text.len = 0;
	return r < 0 ? lsc_err_set(err, -r, "cannot write standard output: %m") : 0;
}

/* Adds the record in the pack to the text. */
static int put_record(struct output *output, int packed, struct lsc_err *err)
{
	const struct lsc_buf *buf = &output->pack.buf;
	int r = packed;

	if (!r && output->json)
		r = lsc_json_write(buf->data, buf->len, &output->text, err);
	else if (!r)
		r = lsc_buf_add(&output->text, buf->data, buf->len);
	if (!r && output->json)
		r = lsc_buf_add_str(&output->text, "\n");
	return r ? lsc_err_set(err, -r, "%m") : flush_text(output, FLUSH_BYTES, err);
}

static int put_plan(struct output *output, const struct options *opt,
		    const struct lsc_schedule *schedule, const uint32_t *covered,
		    struct lsc_err *err)
{
	struct lsc_pack *pack = &output->pack;

	lsc_pack_begin(pack, "plan");
	lsc_pack_str(pack, "order", lsc_order_name(schedule->order));
	lsc_pack_uint(pack, "nodes", schedule->nodes);
	lsc_pack_uint(pack, "sources", schedule->sources);
	lsc_pack_uint(pack, "pieces", schedule->pieces);
	lsc_pack_uint(pack, "rounds", schedule->rounds);
	if (covered)
		lsc_pack_uint(pack, "covered", *covered);
	if (opt->rate > 0)
		lsc_pack_real(pack, "round_s", (double)opt->piece_bytes / opt->rate);
	return put_record(output, lsc_pack_end(pack), err);
}

static int put_transfers(struct output *output, const struct lsc_schedule *schedule,
			 const struct lsc_part *parts, struct lsc_err *err)
{
	struct lsc_pack *pack = &output->pack;
	int r = 0;

	for (uint32_t round = 0; round < schedule->rounds; round++) {
		for (uint32_t i = 0; i < schedule->nodes && !r; i++) {
			struct lsc_step step = lsc_part_step(&parts[i], round);

			if (step.send_to == LSC_NOBODY)
				continue;
			lsc_pack_begin(pack, "transfer");
			lsc_pack_uint(pack, "round", round);
			lsc_pack_uint(pack, "from", i);
			lsc_pack_uint(pack, "to", step.send_to);
			lsc_pack_uint(pack, "piece", step.send_piece);
			r = put_record(output, lsc_pack_end(pack), err);
		}
		if (r)
			return r;
	}
	lsc_pack_begin(pack, "end");
	return put_record(output, lsc_pack_end(pack), err);
}

/* --- a schedule from options --- */

static int write_one(const struct options *opt, const struct lsc_schedule *schedule,
		     struct output *output, struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct lsc_part *parts = calloc(schedule->nodes, sizeof(*parts));
	uint32_t covered, *proven = NULL;
	int r;

	if (!parts)
		return lsc_err_set(err, ENOMEM, "%m");
	if (opt->check) {
		r = lsc_schedule_check(schedule, &covered, err);
		if (r < 0)
			return r;
		proven = &covered;
	}
	for (uint32_t i = 0; i < schedule->nodes; i++)
		lsc_part_init(&parts[i], schedule, i);
	if (opt->format == TABLE)
		return print_table(opt, schedule, parts, proven);
	if (opt->format == SVG)
		return 0;
	r = put_plan(output, opt, schedule, proven, err);
	return r ? r : put_transfers(output, schedule, parts, err);
}

static int run_write(const struct options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(output_release)
	struct output output = {opt->format == JSON, LSC_PACK_INIT, LSC_BUF_INIT};
	struct lsc_schedule schedules[MAX_ORDERS];
	int r = 0;

	for (uint32_t i = 0; i < opt->n_orders && !r; i++)
		r = lsc_schedule_init(&schedules[i], opt->orders[i], (uint32_t)opt->nodes,
				      (uint32_t)opt->sources, (uint32_t)opt->pieces, err);
	if (!r && opt->format == RECORDS && isatty(STDOUT_FILENO) && !opt->force)
		r = lsc_err_set(err, EINVAL, "records are binary: -f writes them to a terminal");
	if (!r && (opt->format == RECORDS || opt->format == JSON))
		r = put_record(&output, lsc_pack_hello(&output.pack, "plan"), err);
	for (uint32_t i = 0; i < opt->n_orders && !r; i++) {
		if (i && opt->format == TABLE)
			printf("\n");
		r = write_one(opt, &schedules[i], &output, err);
	}
	if (!r && opt->format == SVG)
		r = lsc_chart_draw(schedules, opt->n_orders, &output.text, err);
	return r ? r : flush_text(&output, 1, err);
}

/* --- proofs of plans from elsewhere --- */

static int run_prove(const struct options *opt, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = -1;
	LSC_CLEANUP(lsc_reader_release) struct lsc_reader reader;
	struct lsc_schedule schedule;
	uint32_t covered, plans = 0;
	int r;

	if (strcmp(opt->prove, "-")) {
		fd = open(opt->prove, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			lsc_reader_init(&reader, -1);
			return lsc_err_set(err, errno, "cannot open '%s': %m", opt->prove);
		}
	}
	lsc_reader_init(&reader, fd < 0 ? STDIN_FILENO : fd);
	r = lsc_reader_hello(&reader, "plan", err);
	if (r < 0)
		return r;
	while ((r = lsc_transfers_prove(&reader, &schedule, &covered, err)) == LSC_PLAN_PROVEN) {
		plans++;
		printf("proven: nodes %u, sources %u, pieces %u, rounds %u; the receivers together "
		       "hold everything after %u rounds\n",
		       schedule.nodes, schedule.sources, schedule.pieces, schedule.rounds, covered);
	}
	if (r == LSC_PLAN_WRONG) {
		lsc_error("%s", err->text);
		return LSC_EXIT_NO;
	}
	if (r < 0)
		return r;
	return plans ? 0 : lsc_err_set(err, EBADMSG, "no plan in '%s'", opt->prove);
}

int lsc_plan_schedule_main(int argc, char **argv)
{
	static const struct argp argp = {
		options, parse,
		NULL,    "Plan how pieces of an image get from nodes that have it to all others.",
		NULL,    NULL,
		NULL,
	};
	struct options opt = {.sources = 1, .orders = {LSC_ORDER_ROUND_OPTIMAL}, .n_orders = 1};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(opt.prove ? run_prove(&opt, &err) : run_write(&opt, &err), &err);
}
