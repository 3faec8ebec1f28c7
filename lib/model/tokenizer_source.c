/* tokenizer_source - finds and opens the tokenizer at a path */
#include "model/tokenizer_source.h"

static int open_image(struct lsc_tokenizer_source *source, const char *path, struct lsc_err *err)
{
	struct lsc_image *image = &source->image;
	int r = lsc_image_open(image, path, err);

	if (r < 0)
		return r;
	if (!image->tokenizer_len)
		return lsc_err_set(err, EOPNOTSUPP, "'%s' has no tokenizer", path);
	return lsc_tokenizer_open(&source->tokenizer, image->data, image->tokenizer_len, err);
}

int lsc_tokenizer_source_open(struct lsc_tokenizer_source *source, const char *path,
			      struct lsc_err *err)
{
	int r;

	*source = (struct lsc_tokenizer_source)LSC_TOKENIZER_SOURCE_INIT;
	if (lsc_image_is(path)) {
		r = open_image(source, path, err);
	} else {
		r = lsc_tokenizer_compile(&source->blob, path, NULL, err);
		if (r == 0)
			r = lsc_tokenizer_open(&source->tokenizer, source->blob.data,
					       source->blob.len, err);
	}
	if (r < 0)
		lsc_tokenizer_source_close(source);
	return r;
}

void lsc_tokenizer_source_close(struct lsc_tokenizer_source *source)
{
	lsc_tokenizer_close(source->tokenizer);
	lsc_image_close(&source->image);
	lsc_buf_release(&source->blob);
	*source = (struct lsc_tokenizer_source)LSC_TOKENIZER_SOURCE_INIT;
}
