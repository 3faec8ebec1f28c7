/* An image: a model laid out as it is cast and executed (lsc-image(5)).
 *
 * A directory NAME/ with two files: `manifest`, a few records that hold every table below, and
 * `image`, the tokenizer and the bytes that execution reads.  The image's id is the hash of its
 * manifest, which holds the hash of every piece, so an id names the exact bytes of both.
 *
 * Units are what executes: unit 0 is the embedding, then come those of the layers (model/config.h),
 * the last is the final norm and head.  Blocks hold whole units, in the order in which they are
 * used, and are cut into pieces; only a block's last piece may be shorter than piece_bytes.  A tied
 * embedding is stored once, in the last block with the head: units say which blocks they need.
 */
#ifndef LSC_MODEL_IMAGE_H
#define LSC_MODEL_IMAGE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/parts.h"
#include "model/chat.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/dtype.h"

#define LSC_MODEL_MAX_BLOCKS   1026       /* a layer each */
#define LSC_IMAGE_MAX_BLOCKS   (1u << 16) /* of files too */
#define LSC_IMAGE_MAX_PIECES   (1u << 22)
#define LSC_MANIFEST_MAX_BYTES (256u << 20)

/* The matrices and vectors of a unit.  Matrices are row-major, rows are outputs: y = W x. */
enum lsc_tensor_role {
	LSC_TENSOR_EMBED,     /* [vocab][hidden]; also the head's matrix where it is tied */
	LSC_TENSOR_ATTN_NORM, /* f32 [hidden]; so are all norms and biases */
	LSC_TENSOR_QKV,       /* [(heads + 2 kv_heads) * head_dim][hidden]: q, then k, then v */
	LSC_TENSOR_QKV_BIAS,
	LSC_TENSOR_Q_NORM, /* [head_dim] */
	LSC_TENSOR_K_NORM,
	LSC_TENSOR_O, /* [hidden][heads * head_dim] */
	LSC_TENSOR_FFN_NORM,
	LSC_TENSOR_ROUTER,  /* f32 [experts][hidden]; then every expert has the next two */
	LSC_TENSOR_GATE_UP, /* [2 ffn][hidden]: gate, then up, a part each */
	LSC_TENSOR_DOWN,    /* [hidden][ffn] */
	LSC_TENSOR_FINAL_NORM,
	LSC_TENSOR_HEAD, /* [vocab][hidden]; absent where it is tied */
	LSC_TENSOR_ROLES
};

struct lsc_tensor {
	enum lsc_tensor_role role;
	enum lsc_dtype dtype;
	uint32_t unit; /* that it is stored with */
	uint32_t rows; /* 1 for a vector */
	uint32_t cols;
	uint32_t parts;  /* matrices of rows / parts rows that lie one after another */
	uint64_t offset; /* in the image file; a multiple of 64 at least */
	uint64_t bytes;
};

struct lsc_block {
	uint64_t offset;
	uint64_t bytes; /* all but the last block: a multiple of align */
	uint32_t first_piece, n_pieces;
	uint32_t first_unit, n_units; /* stored in it */
};

/* The blocks a unit needs before it can run: at most two runs of blocks, the second for a tied
 * embedding (n = 0 when unused). */
struct lsc_need {
	uint32_t first, n;
};

struct lsc_unit {
	struct lsc_need needs[2];
	uint32_t first_tensor, n_tensors; /* stored with it */
};

struct lsc_image {
	struct lsc_hash id; /* of the manifest's bytes */
	struct lsc_model_config config;
	enum lsc_dtype dtype; /* of the matrices */
	uint64_t bytes;       /* of the image file */
	uint64_t align;       /* of blocks */
	uint32_t piece_bytes; /* a power of two */

	struct lsc_tensor *tensors;
	uint32_t n_tensors;
	struct lsc_unit *units; /* up to lsc_model_head_unit() */
	uint32_t n_units;
	struct lsc_block *blocks;
	uint32_t n_blocks;
	struct lsc_hash *pieces;
	uint32_t n_pieces;

	struct lsc_chat chat;
	uint64_t tokenizer_len; /* of the blob that data begins with, for lsc_tokenizer_open(); 0
				 * where the model has none */

	/* NULL: it is a model.  Else it is files that are cast as they are (model/files.h), with
	 * blocks and pieces, and nothing else of the above. */
	struct lsc_tree *tree;
	uint8_t *tree_data;    /* the range, mapped from the files */
	uint8_t *own_manifest; /* where it was made here */

	struct lsc_map manifest_map; /* while opened from a directory */
	struct lsc_parts parts;      /* likewise: the files that data is the mapping of */
	uint8_t *data_map;
	const uint8_t *manifest; /* the bytes all of this was parsed from */
	size_t manifest_len;
	const uint8_t *data; /* the image's bytes; NULL when only the manifest was parsed */
};

#define LSC_IMAGE_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

/* Maps the files of a directory and checks the manifest and the image's size, not the pieces. */
int lsc_image_open(struct lsc_image *image, const char *dir, struct lsc_err *err);

/* From a manifest's bytes alone, which must outlive the image.  One of files is refused: for what
 * is cast, and not executed, there is lsc_image_parse_any(). */
int lsc_image_parse(struct lsc_image *image, const void *manifest, size_t len, struct lsc_err *err);
int lsc_image_parse_any(struct lsc_image *image, const void *manifest, size_t len,
			struct lsc_err *err);
void lsc_image_close(struct lsc_image *image);

/* The file that data is the mapping of, at offset 0; -1 where it is not, or is of several. */
int lsc_image_fd(const struct lsc_image *image);

/* What data is the mapping of, in order and without a gap, for who reads it otherwise; none where
 * the image was not opened from a directory.  They are the image's. */
const struct lsc_run *lsc_image_runs(const struct lsc_image *image, uint32_t *ret_n);

/* Whether path is a directory with a manifest in it. */
bool lsc_image_is(const char *path);

const struct lsc_tensor *lsc_image_tensor(const struct lsc_image *image, uint32_t unit,
					  enum lsc_tensor_role role);

/* Where a piece lies. */
uint64_t lsc_image_piece_offset(const struct lsc_image *image, uint32_t piece);
uint32_t lsc_image_piece_bytes(const struct lsc_image *image, uint32_t piece);
uint32_t lsc_image_piece_block(const struct lsc_image *image, uint32_t piece);

/* What a block is known by, wherever it lies: XXH3-128 of the hash of its pieces' hashes, in their
 * order, and its length (8 bytes, little-endian). */
struct lsc_hash lsc_image_block_hash(const struct lsc_image *image, uint32_t block);

/* The first piece whose bytes do not match, n_pieces when all do.  threads <= 1: this thread. */
int lsc_image_verify(const struct lsc_image *image, unsigned threads, uint32_t *ret_piece,
		     struct lsc_err *err);

/* --- packing (pack.c) --- */

struct lsc_image_options {
	enum lsc_dtype dtype;
	uint32_t blocks;                   /* wanted; at most one a unit.  0: 16 */
	uint32_t piece_bytes;              /* 0: chosen by size */
	uint64_t seed;                     /* of a dummy's weights */
	const volatile sig_atomic_t *stop; /* NULL, or set by a signal: pack no more */
};

/* Writes dir (which must not exist) from a checkpoint; tokenizer and chat template come from the
 * checkpoint's path.  Memory stays bounded; what is not finished lies in dir.tmp.  A pack that is
 * killed leaves no dir, one that fails or is stopped (-ECANCELED) no dir.tmp either. */
int lsc_image_pack(const struct lsc_checkpoint *checkpoint, const char *dir,
		   const struct lsc_image_options *options, struct lsc_err *err);

/* The same with random weights of a shape, and no tokenizer. */
int lsc_image_pack_dummy(const struct lsc_model_config *config, const char *dir,
			 const struct lsc_image_options *options, struct lsc_err *err);

#endif
