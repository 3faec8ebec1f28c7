/* files_manifest - a tree and its pieces as records (lsc-files(5))
 *
 * A manifest also comes from peers: paths are held against the rules of base/tree.h, and where a
 * file lies in the range, which block begins where, how many pieces there are, is computed here
 * as at the sender, not read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/files.h"
#include "model/manifest_cursor.h"
#include "stream/record.h"

#define KIND      "files"
#define MIN_LARGE 4096u

static const char *const kinds[] = {
	[LSC_TREE_DIR] = "dir", [LSC_TREE_FILE] = "file", [LSC_TREE_LINK] = "link"};

/* --- blocks --- */

/* A block ends where the next begins: a large file, or a small one with a cut, unless the block
 * would be empty. */
static bool begins_block(const struct lsc_image *image, const struct lsc_tree_entry *entry)
{
	if (entry->kind != LSC_TREE_FILE || entry->bytes == 0)
		return false;
	return lsc_tree_is_large(image->tree, entry) || entry->cut;
}

static int add_block(struct lsc_image *image, uint64_t offset, uint64_t end, struct lsc_err *err)
{
	uint64_t n = lsc_div_up(end - offset, image->piece_bytes);

	if (image->n_blocks >= LSC_IMAGE_MAX_BLOCKS || n > LSC_IMAGE_MAX_PIECES - image->n_pieces)
		return lsc_err_set(err, EBADMSG, "more than %u blocks or %u pieces",
				   LSC_IMAGE_MAX_BLOCKS, LSC_IMAGE_MAX_PIECES);
	image->blocks[image->n_blocks++] = (struct lsc_block){
		.offset = offset,
		.bytes = end - offset,
		.first_piece = image->n_pieces,
		.n_pieces = (uint32_t)n,
	};
	image->n_pieces += (uint32_t)n;
	return 0;
}

int lsc_files_layout(struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_tree *tree = image->tree;
	uint64_t start = 0;
	uint32_t most = 1;
	int r = 0;

	for (uint32_t i = 0; i < tree->n; i++)
		most += begins_block(image, &tree->entries[i]);
	image->bytes = tree->bytes;
	image->align = LSC_TREE_ALIGN;
	image->blocks = calloc(LSC_MIN(most, LSC_IMAGE_MAX_BLOCKS), sizeof(*image->blocks));
	if (!image->blocks)
		return lsc_err_set(err, ENOMEM, "cannot hold %u blocks: %m", most);
	for (uint32_t i = 0; r == 0 && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];

		if (!begins_block(image, entry) || entry->offset == start)
			continue;
		r = add_block(image, start, entry->offset, err);
		start = entry->offset;
	}
	return r < 0 ? r : add_block(image, start, tree->bytes, err);
}

/* --- packing --- */

static int pack_entry(struct lsc_pack *pack, const struct lsc_tree_entry *entry)
{
	lsc_pack_more(pack, kinds[entry->kind]);
	lsc_pack_str(pack, "path", entry->path);
	if (entry->kind == LSC_TREE_LINK) {
		lsc_pack_str(pack, "target", entry->target);
		return lsc_pack_end(pack);
	}
	lsc_pack_uint(pack, "mode", entry->mode);
	lsc_pack_uint(pack, "mtime", entry->mtime_ns);
	if (entry->kind == LSC_TREE_FILE)
		lsc_pack_uint(pack, "bytes", entry->bytes);
	if (entry->cut)
		lsc_pack_bool(pack, "cut", true);
	return lsc_pack_end(pack);
}

static int pack_pieces(struct lsc_pack *pack, const struct lsc_image *image)
{
	size_t len = (size_t)image->n_pieces * LSC_HASH_BYTES;
	uint8_t header[5];
	int r;

	lsc_pack_more(pack, "pieces");
	lsc_pack_str(pack, "hash", "xxh3-128");
	lsc_pack_uint(pack, "body", len);
	r = lsc_pack_end(pack);
	if (r == 0)
		r = lsc_buf_add(&pack->buf, header, lsc_body_header(header, (uint32_t)len));
	return r < 0 ? r : lsc_buf_add(&pack->buf, image->pieces, len);
}

static int pack_all(struct lsc_pack *pack, const struct lsc_image *image)
{
	const struct lsc_tree *tree = image->tree;
	struct lsc_hash hash;
	int r = lsc_pack_hello(pack, KIND);

	lsc_pack_more(pack, "layout");
	lsc_pack_uint(pack, "bytes", tree->bytes);
	lsc_pack_uint(pack, "large", tree->large);
	lsc_pack_uint(pack, "piece_bytes", image->piece_bytes);
	if (r == 0)
		r = lsc_pack_end(pack);
	for (uint32_t i = 0; r == 0 && i < tree->n; i++)
		r = pack_entry(pack, &tree->entries[i]);
	if (r == 0)
		r = pack_pieces(pack, image);
	if (r < 0)
		return r;
	hash = lsc_hash_of(pack->buf.data, pack->buf.len);
	lsc_pack_more(pack, "end");
	lsc_pack_bin(pack, "xxh3-128", hash.bytes, LSC_HASH_BYTES);
	return lsc_pack_end(pack);
}

int lsc_files_pack(const struct lsc_image *image, struct lsc_buf *buf, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = pack_all(&pack, image);

	if (r == 0)
		r = lsc_buf_add(buf, pack.buf.data, pack.buf.len);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot build a manifest: %m");
	if (buf->len > LSC_MANIFEST_MAX_BYTES)
		return lsc_err_set(err, EINVAL, "the names of %u files are too long together",
				   image->tree->n);
	return 0;
}

/* --- parsing --- */

static int parse_layout(struct lsc_image *image, const struct lsc_record *record,
			uint64_t *ret_bytes, struct lsc_err *err)
{
	uint64_t piece;
	int r;

	if ((r = lsc_record_uint(record, "bytes", LSC_TREE_MAX_BYTES, ret_bytes, err)) < 0 ||
	    (r = lsc_record_uint(record, "large", UINT64_MAX, &image->tree->large, err)) < 0 ||
	    (r = lsc_record_uint(record, "piece_bytes", LSC_BODY_MAX_BYTES, &piece, err)) < 0)
		return r;
	if (piece < 4096 || piece & (piece - 1) || image->tree->large < MIN_LARGE)
		return lsc_err_set(err, EBADMSG, "no such piece size, or large files too small");
	image->piece_bytes = (uint32_t)piece;
	return 0;
}

static int parse_target(struct lsc_tree_entry *entry, const struct lsc_record *record,
			struct lsc_err *err)
{
	const char *target;
	uint32_t len;
	int r = lsc_record_str(record, "target", LSC_TREE_MAX_PATH, &target, &len, err);

	if (r < 0)
		return r;
	if (len == 0 || memchr(target, 0, len))
		return lsc_err_set(err, EBADMSG, "'%.200s' leads to no path", entry->path);
	entry->target = strndup(target, len);
	return entry->target ? 0 : lsc_err_set(err, ENOMEM, "cannot hold a link: %m");
}

static int parse_entry(struct lsc_tree *tree, enum lsc_tree_kind kind,
		       const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_tree_entry *entry;
	const char *path;
	uint64_t mode;
	uint32_t len;
	int r = lsc_record_str(record, "path", LSC_TREE_MAX_PATH, &path, &len, err);

	if (r == 0)
		r = lsc_tree_add(tree, kind, path, len, &entry, err);
	if (r < 0)
		return r;
	if (kind == LSC_TREE_LINK)
		return parse_target(entry, record, err);
	r = lsc_record_uint(record, "mode", 0777, &mode, err);
	if (r == 0)
		r = lsc_record_uint(record, "mtime", INT64_MAX, &entry->mtime_ns, err);
	if (r == 0)
		entry->mode = (uint16_t)mode;
	if (r == 0 && kind == LSC_TREE_FILE)
		r = lsc_record_uint(record, "bytes", LSC_TREE_MAX_BYTES, &entry->bytes, err);
	if (r == 0 && kind == LSC_TREE_FILE)
		r = lsc_record_bool_or(record, "cut", false, &entry->cut, err);
	return r;
}

/* The table is complete. */
static int end_table(struct lsc_image *image, uint64_t bytes, struct lsc_err *err)
{
	int r = lsc_tree_check(image->tree, err);

	if (r == 0)
		r = lsc_tree_place(image->tree, err);
	if (r == 0 && image->tree->bytes != bytes)
		r = lsc_err_set(err, EBADMSG, "the files have %llu bytes, not %llu",
				(unsigned long long)image->tree->bytes, (unsigned long long)bytes);
	return r < 0 ? r : lsc_files_layout(image, err);
}

static int parse_records(struct lsc_image *image, struct lsc_manifest_cursor *cursor,
			 struct lsc_err *err)
{
	uint64_t bytes = 0;
	int r;

	for (;;) {
		const struct lsc_record *record = &cursor->record;
		unsigned kind = 0;

		r = lsc_manifest_next(cursor, err);
		if (r < 0)
			return r;
		while (kind < LSC_ARRAY_SIZE(kinds) && !lsc_record_is(record, kinds[kind]))
			kind++;
		if (kind < LSC_ARRAY_SIZE(kinds) && image->piece_bytes && !image->pieces)
			r = parse_entry(image->tree, kind, record, err);
		else if (lsc_record_is(record, "layout") && !image->piece_bytes)
			r = parse_layout(image, record, &bytes, err);
		else if (lsc_record_is(record, "pieces") && image->piece_bytes && !image->blocks) {
			r = end_table(image, bytes, err);
			if (r == 0)
				r = lsc_manifest_take_pieces(cursor, image->n_pieces,
							     &image->pieces, err);
		} else if (lsc_record_is(record, "end") && image->pieces)
			return lsc_manifest_check_seal(cursor, err);
		else if (kind < LSC_ARRAY_SIZE(kinds) || lsc_record_is(record, "layout") ||
			 lsc_record_is(record, "pieces") || lsc_record_is(record, "end"))
			r = lsc_err_set(err, EBADMSG, "record '%.*s' is not in its place",
					(int)record->type_len, record->type);
		if (r < 0)
			return r;
	}
}

int lsc_files_parse(struct lsc_image *image, const void *manifest, size_t len, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_manifest_cursor_release)
	struct lsc_manifest_cursor cursor = {.data = manifest, .len = len};
	int r;

	image->tree = calloc(1, sizeof(*image->tree));
	if (!image->tree)
		return lsc_err_set(err, ENOMEM, "cannot hold a table of files: %m");
	r = lsc_manifest_next(&cursor, err);
	if (r == 0)
		r = lsc_record_hello(&cursor.record, KIND, err);
	if (r == 0)
		r = parse_records(image, &cursor, err);
	if (r == 0 && cursor.at != len)
		r = lsc_err_set(err, EBADMSG, "bytes follow its end");
	return r < 0 ? lsc_err_prefix(err, "manifest: ") : 0;
}

bool lsc_files_is_manifest(const void *manifest, size_t len)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	const char *kind;
	uint32_t n;

	return lsc_record_parse(&record, manifest, len, NULL) > 0 &&
	       lsc_record_is(&record, "hello") &&
	       lsc_record_str(&record, "kind", 32, &kind, &n, NULL) == 0 && n == strlen(KIND) &&
	       !memcmp(kind, KIND, n);
}
