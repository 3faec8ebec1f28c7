/* A checkpoint: a model as it was published.
 *
 * One of: a Hugging Face directory (config.json and model.safetensors, or its index and shards),
 * a single .safetensors file (tensors only), a GGUF file (v2 or v3).  The files are mapped, so
 * opening costs nothing that grows with the weights.  Everything read is bounds-checked on
 * opening: afterwards a tensor's data can be trusted to be there.
 *
 * Differences between the formats end here: tensors are asked for by role and layer and come as
 * f32 rows in Hugging Face's order (GGUF's interleaved q and k rows of the llama architecture are
 * put back into half-split order).  Experts are asked for one by one, also where the file has
 * all of a layer in one tensor.
 */
#ifndef LSC_MODEL_CHECKPOINT_H
#define LSC_MODEL_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "model/config.h"
#include "model/dtype.h"

#define LSC_TENSOR_MAX_DIMS 8

enum lsc_role {
	LSC_ROLE_EMBED,     /* [vocab][hidden] */
	LSC_ROLE_ATTN_NORM, /* [hidden] */
	LSC_ROLE_Q,
	LSC_ROLE_K,
	LSC_ROLE_V, /* [heads*head_dim][hidden], kv_heads for k and v */
	LSC_ROLE_Q_BIAS,
	LSC_ROLE_K_BIAS,
	LSC_ROLE_V_BIAS,
	LSC_ROLE_Q_NORM,
	LSC_ROLE_K_NORM, /* [head_dim] */
	LSC_ROLE_O,      /* [hidden][heads*head_dim] */
	LSC_ROLE_FFN_NORM,
	LSC_ROLE_GATE,
	LSC_ROLE_UP,     /* [ffn][hidden] */
	LSC_ROLE_DOWN,   /* [hidden][ffn]; absent, as are the two before, where there are experts */
	LSC_ROLE_ROUTER, /* [experts][hidden] */
	LSC_ROLE_EXPERT_GATE,
	LSC_ROLE_EXPERT_UP,   /* each [expert_ffn][hidden] */
	LSC_ROLE_EXPERT_DOWN, /* each [hidden][expert_ffn] */
	LSC_ROLE_FINAL_NORM,
	LSC_ROLE_HEAD, /* [vocab][hidden]; absent where it is tied */
	LSC_ROLE_COUNT
};

/* A tensor as it lies in the file. */
struct lsc_tensor_source {
	const char *name;
	enum lsc_dtype dtype;
	uint32_t n_dims;
	uint64_t dims[LSC_TENSOR_MAX_DIMS]; /* outermost first */
	const uint8_t *data;
	uint64_t bytes;
};

enum lsc_checkpoint_kind { LSC_CHECKPOINT_HF, LSC_CHECKPOINT_SAFETENSORS, LSC_CHECKPOINT_GGUF };

struct lsc_checkpoint {
	enum lsc_checkpoint_kind kind;
	char *path;
	struct lsc_tensor_source *tensors; /* sorted by name */
	size_t n_tensors;
	struct lsc_checkpoint_files *files; /* what is mapped */
};

#define LSC_CHECKPOINT_INIT                                                                        \
	{                                                                                          \
		0                                                                                  \
	}

int lsc_checkpoint_open(struct lsc_checkpoint *checkpoint, const char *path, struct lsc_err *err);
void lsc_checkpoint_close(struct lsc_checkpoint *checkpoint);

const struct lsc_tensor_source *lsc_checkpoint_find(const struct lsc_checkpoint *checkpoint,
						    const char *name);

/* The configuration, and whether every tensor it implies is there with the right shape.
 * -EOPNOTSUPP names an architecture or a feature we cannot run. */
int lsc_checkpoint_config(const struct lsc_checkpoint *checkpoint,
			  struct lsc_model_config *ret_config, struct lsc_err *err);

/* Which of a role's tensors; what a role does not have is ignored. */
struct lsc_role_at {
	uint32_t layer, expert;
};

/* The tensor of a role, or the one that all experts of a layer are in; NULL: there is none. */
const struct lsc_tensor_source *lsc_checkpoint_role(const struct lsc_checkpoint *checkpoint,
						    enum lsc_role role, struct lsc_role_at at);

/* Rows first .. first+n-1 of that tensor as f32 (a vector is one row of its length). */
int lsc_checkpoint_rows(const struct lsc_checkpoint *checkpoint,
			const struct lsc_model_config *config, enum lsc_role role,
			struct lsc_role_at at, uint64_t first, uint64_t n, float *ret_rows,
			struct lsc_err *err);

/* The same rows as the blocks they are stored in, Q8_0; false where they are stored otherwise. */
bool lsc_checkpoint_blocks(const struct lsc_checkpoint *checkpoint,
			   const struct lsc_model_config *config, enum lsc_role role,
			   struct lsc_role_at at, uint64_t first, uint64_t n, uint8_t *ret_blocks);

/* The files it is made of, for their digests: 0 .. until NULL; names are relative to the
 * directory (or the file's own base name). */
const char *lsc_checkpoint_file(const struct lsc_checkpoint *checkpoint, unsigned index,
				const uint8_t **ret_data, size_t *ret_len);

#endif
