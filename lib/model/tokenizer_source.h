/* The tokenizer of anything that has one: an image, or what images are made of. */
#ifndef LSC_MODEL_TOKENIZER_SOURCE_H
#define LSC_MODEL_TOKENIZER_SOURCE_H

#include "base/buf.h"
#include "base/err.h"
#include "model/image.h"
#include "model/tokenizer.h"

struct lsc_tokenizer_source {
	struct lsc_tokenizer *tokenizer;
	struct lsc_image image; /* it lies in its manifest, */
	struct lsc_buf blob;    /* or was compiled into this */
};

#define LSC_TOKENIZER_SOURCE_INIT                                                                  \
	{                                                                                          \
		0                                                                                  \
	}

/* -EOPNOTSUPP for an image that has none. */
int lsc_tokenizer_source_open(struct lsc_tokenizer_source *source, const char *path,
			      struct lsc_err *err);
void lsc_tokenizer_source_close(struct lsc_tokenizer_source *source);

#endif
