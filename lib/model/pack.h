/* The packer: writes an image's file and manifest from rows it asks for. */
#ifndef LSC_MODEL_PACK_H
#define LSC_MODEL_PACK_H

#include "base/err.h"
#include "model/image.h"
#include "model/manifest.h"

/* Where the rows of tensors come from. */
struct lsc_pack_origin {
	/* Rows first .. first+n-1 of one of the image's tensors, as f32. */
	int (*rows)(const struct lsc_pack_origin *origin, const struct lsc_tensor *tensor,
		    uint64_t first, uint64_t n, float *ret_rows, struct lsc_err *err);
	/* Of an image of q8: rows from first on, n at most, as they are where the source has them
	 * in blocks of Q8_0.  How many it gave, or, below 0, how many it has otherwise; rows of
	 * a kind it need not count to the last.  NULL: it has none. */
	int64_t (*blocks)(const struct lsc_pack_origin *origin, const struct lsc_tensor *tensor,
			  uint64_t first, uint64_t n, uint8_t *ret_blocks);
	const struct lsc_model_config *config;
	const struct lsc_image_source *sources;
	size_t n_sources;
	const struct lsc_chat *chat; /* NULL: none */
	const void *tokenizer;       /* NULL: none */
	size_t tokenizer_len;
};

int lsc_pack_image(const struct lsc_pack_origin *origin, const char *dir,
		   const struct lsc_image_options *options, struct lsc_err *err);

#endif
