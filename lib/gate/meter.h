/* What a gate counts, and how Prometheus reads it (its text format, 0.0.4). */
#ifndef LSC_GATE_METER_H
#define LSC_GATE_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "gate/cluster.h"

#define LSC_METER_BUCKETS 17

struct lsc_histogram {
	uint64_t counts[LSC_METER_BUCKETS + 1]; /* the last: above all bounds */
	uint64_t n;
	double sum;
};

enum lsc_meter_outcome {
	LSC_METER_OK,
	LSC_METER_INVALID,   /* 4xx: the request was wrong */
	LSC_METER_REFUSED,   /* 429 or 503: not now */
	LSC_METER_FAILED,    /* 5xx, or an error within a stream */
	LSC_METER_CANCELLED, /* its client went away */
	LSC_METER_OUTCOMES,
};

struct lsc_meter {
	uint64_t requests[2][LSC_METER_OUTCOMES]; /* completions, chats */
	uint64_t prompt_tokens, tokens;
	uint64_t connections, waiting, running; /* now */
	bool up;                                /* the router is there */
	uint64_t reconnects;
	uint64_t routes, switches;
	struct lsc_histogram first, gap,
		whole; /* seconds: to the first token, between two, in all */
};

/* The upper bound of a bucket, in seconds. */
double lsc_meter_bound(unsigned bucket);

void lsc_histogram_add(struct lsc_histogram *histogram, double seconds);

int lsc_meter_write(const struct lsc_meter *meter, const struct lsc_cluster *cluster,
		    struct lsc_buf *buf);

#endif
