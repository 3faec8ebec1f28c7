/* What computes units: one table of operations, one row a kind of device.
 *
 * The engine decides which rows run together, keeps requests and their KV in order, and settles
 * results; a backend holds the weights and computes.  The CPU's row (backend_cpu.c) is the
 * reference.  The row of CUDA is a plugin, loaded by device.h, so that one program runs where no
 * driver is.  Tool and plugin share the structures of this tree, which may change from commit to
 * commit: a plugin is taken only where LSC_BACKEND_ABI and the sizes of them are the tool's own.
 */
#ifndef LSC_EXEC_BACKEND_H
#define LSC_EXEC_BACKEND_H

#include <stdint.h>

#include "base/err.h"
#include "exec/engine.h"
#include "exec/kv.h"
#include "model/image.h"

#define LSC_BACKEND_ABI 2 /* grows with every change of what is below */

/* A row is one position of one request. */
struct lsc_row {
	struct lsc_kv_request *request; /* NULL where only embedding or head run */
	uint32_t pos;
	uint32_t id;     /* where the embedding runs */
	const float *in; /* [hidden] where it does not */
	float *out;      /* [hidden] where the head does not run; may be any row's in */
};

/* Rows through units first .. last.  Rows of one request stand in the order of their positions, and
 * their pages are reserved. */
struct lsc_chunk {
	uint32_t first, last;
	const struct lsc_row *rows;
	uint32_t n;

	/* where the head runs: row heads[i] wants its logits in logits[i], or a token, where there
	 * is draws[i] and the backend draws */
	const uint32_t *heads;
	float *const *logits;
	struct lsc_draw *const *draws;
	uint32_t n_heads;
};

struct lsc_backend_ops {
	const char *name;  /* "cpu", "cuda" */
	uint32_t max_rows; /* of a chunk */

	/* Whether device `index` can be used: 0, -ENODEV or -EOPNOTSUPP, with words.  NULL: yes. */
	int (*probe)(unsigned index, struct lsc_err *err);

	/* Borrows image, data and kv.  What keeps KV pages elsewhere than in this process's memory
	 * sets kv->memory, and the page's and the limit's size with it.  Tensors' shapes are
	 * checked, their bytes not looked at.  What fails leaves nothing behind. */
	int (*open)(void **ret_self, const struct lsc_image *image, const uint8_t *data,
		    struct lsc_kv *kv, const struct lsc_engine_options *options,
		    struct lsc_err *err);
	void (*close)(void *self); /* NULL is fine */

	/* These units' blocks are there and will be used: takes them to the device, without waiting
	 * for it.  Again costs nothing.  NULL: nothing to do. */
	int (*load)(void *self, uint32_t first, uint32_t last, struct lsc_err *err);

	/* Buffers for rows (at most max_rows) that see at most this many positions. */
	int (*reserve)(void *self, uint32_t rows, uint32_t positions, struct lsc_err *err);

	/* Computes; all of `in` is read before any `out` is written.  An error is the device's. */
	int (*run)(void *self, const struct lsc_chunk *chunk, struct lsc_err *err);
};

extern const struct lsc_backend_ops lsc_backend_cpu;

/* What a plugin exports, under the name LSC_BACKEND_SYMBOL. */
#define LSC_BACKEND_SYMBOL "lsc_backend_plugin"

struct lsc_backend_plugin {
	uint32_t abi;   /* LSC_BACKEND_ABI, first for ever */
	uint32_t sizes; /* LSC_BACKEND_SIZES */
	const struct lsc_backend_ops *ops;
};

/* A number made of the sizes of what tool and plugin share. */
#define LSC_BACKEND_SIZES                                                                          \
	((uint32_t)(sizeof(struct lsc_image) + 3 * sizeof(struct lsc_model_config) +               \
		    5 * sizeof(struct lsc_tensor) + 7 * sizeof(struct lsc_kv) +                    \
		    11 * sizeof(struct lsc_kv_request) + 37 * sizeof(struct lsc_kv_layer) +        \
		    41 * sizeof(struct lsc_unit) + 43 * sizeof(struct lsc_block) +                 \
		    13 * sizeof(struct lsc_row) + 17 * sizeof(struct lsc_chunk) +                  \
		    19 * sizeof(struct lsc_engine_options) + 23 * sizeof(struct lsc_draw) +        \
		    29 * LSC_DTYPE_COUNT + 31 * LSC_TENSOR_ROLES))

#endif
