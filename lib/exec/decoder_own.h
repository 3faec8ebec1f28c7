/* What the files of a decoder share: decoder.c has its buffers, products and units,
 * decoder_weights.c its tensors, decoder_attend.c attention. */
#ifndef LSC_EXEC_DECODER_OWN_H
#define LSC_EXEC_DECODER_OWN_H

#include "exec/decoder.h"

/* Finds all tensors of an image: -EBADMSG, -EOPNOTSUPP. */
int lsc_decoder_load(struct lsc_decoder *decoder, const struct lsc_image *image,
		     const uint8_t *data, struct lsc_err *err);

/* What rows of a layer see, from decoder->qkv to decoder->att. */
void lsc_decoder_attend(struct lsc_decoder *decoder, uint32_t layer, const struct lsc_row *rows,
			uint32_t n);

#endif
