/* manifest - any bytes as an image's manifest, as a peer might send them */
#include <stdlib.h>

#include "model/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_image_parse(&image, data, len, &err) == 0)
		for (uint32_t i = 0; i < image.n_tensors; i++)
			if (image.tensors[i].offset > image.bytes ||
			    image.tensors[i].bytes > image.bytes - image.tensors[i].offset)
				abort();
	lsc_image_close(&image);
	return 0;
}
