/* What a router tells of its model, itself and its nodes: records model and status of
 * lsc-stream(5). */
#ifndef LSC_GATE_CLUSTER_H
#define LSC_GATE_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "stream/record.h"

#define LSC_CLUSTER_MAX_NODES  1024
#define LSC_CLUSTER_MAX_STAGES 64
#define LSC_CLUSTER_NAME       280

struct lsc_cluster_node {
	uint64_t node, blocks, busy;
	bool source, complete, failed, up;
	char name[LSC_CLUSTER_NAME]; /* printable ASCII, what is not replaced */
};

struct lsc_cluster_stage {
	uint64_t node, first, last;
};

struct lsc_cluster_counts {
	uint64_t queue, waiting, running, positions;
	uint64_t requests, failed, cancelled, prompt_tokens, tokens, routes, switches;
	uint64_t cached_tokens; /* of prompts, that were not computed anew */
};

struct lsc_cluster {
	bool known; /* model came: */
	char name[LSC_CLUSTER_NAME];
	char chat[32];
	struct lsc_hash image;
	uint64_t context, vocab, units, blocks, bytes;

	bool told; /* status came: */
	double t;
	bool ready, ended;
	struct lsc_cluster_counts counts;
	struct lsc_cluster_node *nodes;
	uint32_t n_nodes, cap_nodes;
	struct lsc_cluster_stage stages[LSC_CLUSTER_MAX_STAGES];
	uint32_t n_stages;
};

#define LSC_CLUSTER_INIT                                                                           \
	{                                                                                          \
		0                                                                                  \
	}

/* -EBADMSG for what is malformed; then nothing is known of what it tells. */
int lsc_cluster_model(struct lsc_cluster *cluster, const struct lsc_record *record,
		      struct lsc_err *err);
int lsc_cluster_status(struct lsc_cluster *cluster, const struct lsc_record *record,
		       struct lsc_err *err);

/* Nothing is known any more. */
void lsc_cluster_release(struct lsc_cluster *cluster);

/* As one JSON object, and back, but for the image's hash. */
int lsc_cluster_write(const struct lsc_cluster *cluster, struct lsc_buf *buf);
int lsc_cluster_read(struct lsc_cluster *cluster, const char *json, size_t len,
		     struct lsc_err *err);

#endif
