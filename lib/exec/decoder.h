/* The units of one image over a batch of rows: embedding, layers, norm and head.
 *
 * A row is one position of one request; its activations are x[row].  The engine decides which rows
 * run together and keeps the requests' KV in order; the decoder computes.  Buffers are sized by
 * lsc_decoder_reserve(), so that running allocates nothing.
 */
#ifndef LSC_EXEC_DECODER_H
#define LSC_EXEC_DECODER_H

#include <stdint.h>

#include "base/err.h"
#include "exec/backend.h"
#include "exec/experts.h"
#include "exec/kernels.h"
#include "exec/kv.h"
#include "exec/pool.h"
#include "exec/rope.h"
#include "model/image.h"

/* Rows that run together at most; activations of more would not stay in cache. */
#define LSC_DECODER_MAX_ROWS 256

struct lsc_matrix {
	enum lsc_dtype dtype;
	uint32_t rows, cols;
	const void *data;
};

struct lsc_layer {
	struct lsc_matrix qkv, o;
	struct lsc_matrix gate_up, down; /* where there are no experts */
	const float *attn_norm, *ffn_norm;
	const float *qkv_bias, *q_norm, *k_norm; /* NULL where the model has none */
};

struct lsc_decoder {
	const struct lsc_model_config *config;
	const struct lsc_kernels *kernels;
	bool exact;            /* no product packs its activations */
	struct lsc_pool *pool; /* owned, as is rope */
	struct lsc_rope rope;
	struct lsc_kv *kv;  /* borrowed */
	uint64_t *progress; /* the same; NULL: nobody looks */

	struct lsc_matrix embed, head;
	const float *final_norm;
	struct lsc_layer *layers;
	struct lsc_experts experts;

	uint32_t hidden_stride, qkv_stride, att_stride, ffn_stride; /* multiples of the lanes */
	uint32_t max_rows;                                          /* that the buffers hold */
	float *x, *normed, *qkv, *att, *gate_up;
	uint8_t *packed; /* the activations of the product that runs */
	uint32_t score_stride;
	float *scores; /* [threads][LSC_ATTEND_QUERIES][score_stride] */
	float *logits; /* of rows of the head at once, [vocab] each */
};

#define LSC_DECODER_INIT                                                                           \
	{                                                                                          \
		0                                                                                  \
	}

/* A tensor of the image, and whether it lies there and is of a type that runs: -EBADMSG,
 * -EOPNOTSUPP. */
int lsc_decoder_find(const struct lsc_image *image, uint32_t unit, enum lsc_tensor_role role,
		     uint32_t rows, uint32_t cols, const struct lsc_tensor **ret_tensor,
		     struct lsc_err *err);

/* Borrows image, data and kv.  The tensors' shapes are checked, their bytes not looked at. */
int lsc_decoder_init(struct lsc_decoder *decoder, const struct lsc_image *image,
		     const uint8_t *data, struct lsc_kv *kv,
		     const struct lsc_engine_options *options, struct lsc_err *err);
void lsc_decoder_release(struct lsc_decoder *decoder);

/* Buffers for rows (at most LSC_DECODER_MAX_ROWS) that see at most this many positions. */
int lsc_decoder_reserve(struct lsc_decoder *decoder, uint32_t rows, uint32_t positions);

/* x[i] for rows that do not come from the embedding. */
float *lsc_decoder_x(const struct lsc_decoder *decoder, uint32_t row);

void lsc_decoder_embed(struct lsc_decoder *decoder, const struct lsc_row *rows, uint32_t n);

/* Rows of one request stand in the order of their positions; their pages are reserved. */
void lsc_decoder_layer(struct lsc_decoder *decoder, uint32_t layer, const struct lsc_row *rows,
		       uint32_t n);

/* Logits of x[index[i]] into out[i], for i < n. */
void lsc_decoder_head(struct lsc_decoder *decoder, const uint32_t *index, float *const *out,
		      uint32_t n);

#endif
