/* A gate's /cluster and /metrics as a table for people: what each node holds and does, and how
 * requests fare.
 *
 * Rates come from what changed since the last time: an owner gives it what it fetched about once a
 * second.
 */
#ifndef LSC_GATE_BOARD_H
#define LSC_GATE_BOARD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "gate/cluster.h"
#include "gate/meter.h"

#define LSC_BOARD_MINUTE 64 /* histograms that are kept for it */

struct lsc_board_rate {
	uint64_t node, blocks;
	double bytes_s;
};

struct lsc_board {
	struct lsc_cluster cluster;
	double at_s;     /* when it was taken; 0: never */
	double tokens_s; /* of answers */
	double prompt_tokens_s;
	struct lsc_board_rate *rates; /* as cluster.nodes */
	uint32_t n_rates;
	uint64_t first[LSC_METER_BUCKETS + 1]; /* counted since the gate began */
	struct {
		double at_s;
		uint64_t counts[LSC_METER_BUCKETS + 1];
	} past[LSC_BOARD_MINUTE];
	unsigned n_past;
};

#define LSC_BOARD_INIT                                                                             \
	{                                                                                          \
		.cluster = LSC_CLUSTER_INIT                                                        \
	}

void lsc_board_release(struct lsc_board *board);

/* Both texts as the gate gave them at now_s, on any clock.  -EBADMSG for what is malformed; then
 * it is as before. */
int lsc_board_take(struct lsc_board *board, const char *cluster, size_t cluster_len,
		   const char *metrics, double now_s, struct lsc_err *err);

/* The time within which a part of the first tokens came, by the buckets of the gate's histogram: of
 * those of the last minute, or where there were none, of all; 0: none came yet. */
double lsc_board_first_token(const struct lsc_board *board, double part);

/* Appends the table: at most so many columns, and lines with a line break each. */
int lsc_board_draw(const struct lsc_board *board, const char *where, unsigned columns,
		   unsigned lines, struct lsc_buf *buf);

/* Appends it in one line, for a log. */
int lsc_board_line(const struct lsc_board *board, struct lsc_buf *buf);

/* Appends one JSON object and a line break: that of /cluster with rates. */
int lsc_board_json(const struct lsc_board *board, struct lsc_buf *buf);

#endif
