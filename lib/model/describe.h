/* What an image or a checkpoint holds, for people or as one JSON object (lsc-shard(1)). */
#ifndef LSC_MODEL_DESCRIBE_H
#define LSC_MODEL_DESCRIBE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/checkpoint.h"
#include "model/image.h"

/* All append lines to out; an image may be one of files. */
int lsc_describe_image(const struct lsc_image *image, bool json, struct lsc_buf *out,
		       struct lsc_err *err);

/* config is NULL where the tensors make no model that we can run. */
int lsc_describe_checkpoint(const struct lsc_checkpoint *checkpoint,
			    const struct lsc_model_config *config, bool json, struct lsc_buf *out,
			    struct lsc_err *err);

#endif
