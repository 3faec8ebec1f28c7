/* manifest - any bytes as an image's manifest, as a peer might send them
 *
 * The corpus has manifests without their last record, which holds their hash: it is added here, or
 * nothing that was changed would come further than that.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "model/image.h"
#include "stream/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void parse(const uint8_t *data, size_t len)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_image_parse(&image, data, len, &err) == 0)
		for (uint32_t i = 0; i < image.n_tensors; i++)
			if (image.tensors[i].offset > image.bytes ||
			    image.tensors[i].bytes > image.bytes - image.tensors[i].offset)
				abort();
	lsc_image_close(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_hash hash = lsc_hash_of(data, len);

	parse(data, len);
	if (lsc_buf_add(&pack.buf, data, len) < 0)
		return 0;
	lsc_pack_more(&pack, "end");
	lsc_pack_bin(&pack, "xxh3-128", hash.bytes, LSC_HASH_BYTES);
	if (lsc_pack_end(&pack) == 0)
		parse(pack.buf.data, pack.buf.len);
	return 0;
}
