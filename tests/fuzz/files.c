/* files - any bytes as a manifest of files, as a peer might send them
 *
 * As in manifest.c, the corpus lacks the last record, which is added here.  What is accepted must
 * lie within the range, in pieces without gaps, and beneath the root.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/files.h"
#include "stream/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct lsc_image *image)
{
	const struct lsc_tree *tree = image->tree;
	uint64_t at = 0;

	for (uint32_t i = 0; i < image->n_pieces && i < 4096; i++) {
		if (lsc_image_piece_offset(image, i) != at)
			abort();
		at += lsc_image_piece_bytes(image, i);
		if (at > image->bytes)
			abort();
	}
	for (uint32_t i = 0; i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];

		if (entry->path[0] == '/' || strstr(entry->path, "//") ||
		    !strcmp(entry->path, "..") || !strncmp(entry->path, "../", 3) ||
		    strstr(entry->path, "/../") || entry->mode > 0777 ||
		    entry->offset > image->bytes || entry->bytes > image->bytes - entry->offset)
			abort();
		if (lsc_tree_is_large(tree, entry) && entry->offset % LSC_TREE_ALIGN)
			abort();
	}
}

static void parse(const uint8_t *data, size_t len)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_image_parse_any(&image, data, len, &err) == 0 && image.tree)
		check(&image);
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
