/* The feed-forward part of layers that have experts: which of them take which rows, and what comes
 * of it.
 *
 * For each row the router's product, in f32, goes through a softmax; the experts_used greatest
 * (of equals the lower number) take the row, each with its share as weight, divided by the sum of
 * those taken where the model has norm_topk.  What they give is added up in the order of these
 * weights, the greatest first, then to the row.  So a row's result is the same whichever rows run
 * with it, and on however many threads.
 *
 * Sources: Shazeer et al. 2017, "Outrageously large neural networks"; Jiang et al. 2024, "Mixtral
 * of experts"; the Qwen3 technical report, 2025.
 */
#ifndef LSC_EXEC_EXPERTS_H
#define LSC_EXEC_EXPERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "exec/kernels.h"
#include "exec/pool.h"
#include "model/image.h"

struct lsc_expert {
	const void *gate_up, *down;
};

struct lsc_experts {
	const struct lsc_model_config *config;
	const struct lsc_kernels *kernels;
	struct lsc_pool *pool;                  /* borrowed */
	bool exact;                             /* no product packs its activations */
	enum lsc_dtype gate_up_type, down_type; /* of all experts */
	const float **routers;                  /* [layers]: [experts][hidden] */
	struct lsc_expert *weights;             /* [layers][experts] */

	/* What a run works with, reserved before. */
	uint32_t hidden_stride, ffn_stride, router_stride; /* multiples of the lanes */
	uint32_t max_rows;                                 /* that the buffers hold */
	float *logits;                                     /* [rows][router_stride] */
	float *shares;      /* [rows][used]: weights, the greatest first */
	uint32_t *chosen;   /* [rows][used]: experts in that order */
	uint32_t *slots;    /* [rows][used]: where they have the row */
	uint32_t *first;    /* [experts + 1]: slots of each expert; they follow each other */
	uint32_t *active;   /* [experts]: those that have some */
	float *x, *gate_up; /* [slots][hidden_stride], [slots][2][ffn_stride] */
	uint8_t *packed; /* [slots][packed_stride]: of x, and then of what comes of gate and up */
	size_t packed_stride;
	float *out; /* [slots][hidden_stride] */
};

#define LSC_EXPERTS_INIT                                                                           \
	{                                                                                          \
		0                                                                                  \
	}

/* Borrows everything.  For a model without experts there is nothing to do. */
int lsc_experts_init(struct lsc_experts *experts, const struct lsc_image *image,
		     const uint8_t *data, const struct lsc_kernels *kernels, struct lsc_pool *pool,
		     bool exact, struct lsc_err *err);
void lsc_experts_release(struct lsc_experts *experts);

/* Buffers for so many rows in one run, so that runs allocate nothing: 0 or -ENOMEM. */
int lsc_experts_reserve(struct lsc_experts *experts, uint32_t rows);

/* Adds to each of n rows of y what the layer's experts make of its row of x; both have a stride
 * of hidden, rounded up to the lanes, and x is zero beyond hidden. */
void lsc_experts_run(struct lsc_experts *experts, uint32_t layer, const float *x, float *y,
		     uint32_t n);

#endif
