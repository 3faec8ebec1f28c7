/* disk_share - blocks that several images have are held once
 *
 * Of each block one place stays: where most images have it already, or else where the first one
 * does; it stays only if the bytes there are what their hashes say.  The others get a link to its
 * file and a table that says so, which is on disk before anything goes: so whoever is killed at any
 * moment leaves images that are whole, and more bytes than are needed at most.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "tier/disk_own.h"

struct entry {
	const struct lsc_hash *name;
	uint32_t image, block;
	struct lsc_disk_place at;
};

struct sharing {
	struct lsc_disk *disk;
	struct entry *entries;
	size_t n;
	struct lsc_disk_place **to; /* by image and block; NULL: it stays as it is */
};

static bool is_same_place(const struct lsc_disk_place *a, const struct lsc_disk_place *b)
{
	return a->file == b->file && a->offset == b->offset;
}

static int by_block(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order = memcmp(left->name, right->name, sizeof(*left->name));

	if (order)
		return order;
	if (left->at.file != right->at.file)
		return left->at.file < right->at.file ? -1 : 1;
	if (left->at.offset != right->at.offset)
		return left->at.offset < right->at.offset ? -1 : 1;
	return left->image < right->image ? -1 : left->image > right->image;
}

/* Whether a block is made of pages that can be mapped from elsewhere. */
bool lsc_disk_is_pages(const struct lsc_image *image, const struct lsc_block *block,
		       const struct lsc_disk_place *at)
{
	uint64_t end = block->offset + block->bytes;

	return block->bytes && block->offset % LSC_DISK_PAGE == 0 &&
	       at->offset % LSC_DISK_PAGE == 0 && (end % LSC_DISK_PAGE == 0 || end == image->bytes);
}

static int list_blocks(struct sharing *s, struct lsc_err *err)
{
	size_t room = 0;

	for (uint32_t i = 0; i < s->disk->n; i++)
		room += s->disk->images[i]->image.n_blocks;
	s->entries = calloc(room + 1, sizeof(*s->entries));
	s->to = calloc(s->disk->n + (size_t)1, sizeof(*s->to));
	if (!s->entries || !s->to)
		return lsc_err_set(err, ENOMEM, "cannot compare images: %m");
	for (uint32_t i = 0; i < s->disk->n; i++) {
		const struct lsc_disk_image *image = s->disk->images[i];

		if (!lsc_disk_is_good(image))
			continue;
		for (uint32_t b = 0; b < image->image.n_blocks; b++) {
			struct lsc_disk_place at = lsc_disk_place(image, b);

			if (lsc_disk_is_pages(&image->image, &image->image.blocks[b], &at))
				s->entries[s->n++] = (struct entry){&image->blocks[b], i, b, at};
		}
	}
	if (s->n)
		qsort(s->entries, s->n, sizeof(*s->entries), by_block);
	return 0;
}

/* --- which stays --- */

bool lsc_disk_has_block(const struct lsc_disk *disk, const struct lsc_disk_image *image,
			uint32_t number)
{
	const struct lsc_block *block = &image->image.blocks[number];
	LSC_CLEANUP(lsc_parts_close) struct lsc_parts parts = LSC_PARTS_INIT;
	LSC_CLEANUP_FREE uint8_t *bytes = malloc(image->image.piece_bytes);
	LSC_CLEANUP_FREE char *path = lsc_disk_path(disk, image->name, NULL);
	int r = bytes && path ? 0 : -ENOMEM;

	if (r == 0)
		r = lsc_parts_open(&parts, path, NULL);
	for (uint32_t p = block->first_piece; r == 0 && p < block->first_piece + block->n_pieces;
	     p++) {
		uint32_t len = lsc_image_piece_bytes(&image->image, p);
		struct lsc_hash hash;

		r = lsc_parts_read(&parts, bytes, len, lsc_image_piece_offset(&image->image, p));
		hash = lsc_hash_of(bytes, r == 0 ? len : 0);
		if (r == 0 && !lsc_hash_equal(&hash, &image->image.pieces[p]))
			r = -EBADMSG;
	}
	if (r < 0)
		lsc_warning("block %u of '%s' is damaged", number, image->name);
	return r == 0;
}

static int move_to(struct sharing *s, const struct entry *entry, const struct lsc_disk_place *at)
{
	const struct lsc_disk_image *image = s->disk->images[entry->image];
	struct lsc_disk_place **to = &s->to[entry->image];

	if (!*to) {
		*to = calloc(image->image.n_blocks, sizeof(struct lsc_disk_place));
		if (!*to)
			return -ENOMEM;
		for (uint32_t b = 0; b < image->image.n_blocks; b++)
			(*to)[b] = lsc_disk_place(image, b);
	}
	(*to)[entry->block] = *at;
	return 0;
}

/* Entries of one place follow each other; the best place has the most of them that is not bad. */
static const struct entry *best_of(const struct entry *entries, size_t n, const bool *bad)
{
	const struct entry *best = NULL;
	size_t most = 0;

	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && is_same_place(&entries[end].at, &entries[i].at); end++)
			;
		if (!bad[i] && (end - i > most ||
				(end - i == most && best && entries[i].image < best->image))) {
			best = &entries[i];
			most = end - i;
		}
	}
	return best;
}

static int choose(struct sharing *s, const struct entry *entries, size_t n)
{
	LSC_CLEANUP_FREE bool *bad = calloc(n, sizeof(*bad));
	const struct entry *best;
	int r = bad ? 0 : -ENOMEM;

	if (n < 2 || is_same_place(&entries[0].at, &entries[n - 1].at))
		return r;
	while (r == 0 && (best = best_of(entries, n, bad)) &&
	       !lsc_disk_has_block(s->disk, s->disk->images[best->image], best->block))
		bad[best - entries] = true;
	for (size_t i = 0; r == 0 && best && i < n; i++)
		if (!is_same_place(&entries[i].at, &best->at))
			r = move_to(s, &entries[i], &best->at);
	return r;
}

static int choose_all(struct sharing *s, struct lsc_err *err)
{
	int r = 0;

	for (size_t i = 0, end; r == 0 && i < s->n; i = end) {
		for (end = i + 1;
		     end < s->n && lsc_hash_equal(s->entries[end].name, s->entries[i].name); end++)
			;
		r = choose(s, &s->entries[i], end - i);
	}
	return r < 0 ? lsc_err_set(err, -r, "cannot compare images: %m") : 0;
}

/* --- links and tables --- */

/* N of a share.N that is the file, made if there is none; LSC_DISK_NONE where it cannot be. */
static uint32_t link_to(const struct lsc_disk *disk, struct lsc_disk_image *image, uint32_t file)
{
	LSC_CLEANUP_FREE char *from = NULL, *to = NULL;
	uint32_t i, none = LSC_DISK_NONE;
	char name[32];

	for (i = 0; i < LSC_SHARES_MAX_FILES && image->links[i] != file; i++)
		if (none == LSC_DISK_NONE && image->links[i] == LSC_DISK_NONE)
			none = i;
	if (i < LSC_SHARES_MAX_FILES)
		return i;
	if (none == LSC_DISK_NONE)
		return LSC_DISK_NONE;
	snprintf(name, sizeof(name), "share.%u", none);
	from = lsc_disk_path(disk, disk->files[file].path, NULL);
	to = lsc_disk_path(disk, image->name, name);
	if (!from || !to)
		return LSC_DISK_NONE;
	if (link(from, to) < 0) {
		lsc_debug("tier", "cannot link '%s' to '%s': %s", to, from, strerror(errno));
		return LSC_DISK_NONE;
	}
	image->links[none] = file;
	return none;
}

static int add_row(struct lsc_shares *shares, const struct lsc_share *row)
{
	struct lsc_share *last = shares->n ? &shares->rows[shares->n - 1] : NULL;

	if (!last || last->file != row->file || last->offset + last->bytes != row->offset ||
	    last->file_offset + last->bytes != row->file_offset)
		return lsc_shares_add(shares, row);
	last->bytes += row->bytes;
	return 0;
}

static int add_rows(const struct lsc_disk *disk, struct lsc_disk_image *image,
		    const struct lsc_disk_place *to, struct lsc_shares *shares)
{
	int r = 0;

	shares->bytes = image->image.bytes;
	for (uint32_t b = 0; r == 0 && b < image->image.n_blocks; b++) {
		const struct lsc_block *block = &image->image.blocks[b];
		struct lsc_disk_place at = to[b];
		struct lsc_share row = {block->offset, block->bytes, 0, 0};

		if (at.file == image->own && at.offset == block->offset)
			continue;
		row.file = link_to(disk, image, at.file);
		if (row.file == LSC_DISK_NONE) { /* it stays where it is */
			at = lsc_disk_place(image, b);
			if (at.file == image->own && at.offset == block->offset)
				continue;
			row.file = link_to(disk, image, at.file);
		}
		row.file_offset = at.offset;
		if (block->bytes)
			r = add_row(shares, &row);
	}
	return r;
}

int lsc_disk_write_table(const struct lsc_disk *disk, struct lsc_disk_image *image,
			 const struct lsc_disk_place *to, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_shares_release) struct lsc_shares shares = LSC_SHARES_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP_FREE char *path = lsc_disk_path(disk, image->name, NULL);
	LSC_CLEANUP_FREE char *table = lsc_disk_path(disk, image->name, "shares");
	int r = add_rows(disk, image, to, &shares);

	if (r == 0)
		r = lsc_shares_format(&shares, &text);
	if (r < 0 || !path || !table)
		return lsc_err_set(err, r < 0 ? -r : ENOMEM, "cannot share blocks of '%s': %m",
				   image->name);
	if (shares.n == 0)
		return 0;
	r = lsc_path_sync(path, err); /* the links, before what names them */
	if (r == 0)
		r = lsc_file_write(table, text.data, text.len, err);
	if (r < 0)
		return r;
	lsc_shares_release(&image->shares);
	image->shares = shares;
	shares = (struct lsc_shares)LSC_SHARES_INIT;
	return lsc_path_sync(path, err);
}

/* --- all of it --- */

static int share(struct lsc_disk *disk, struct lsc_err *err)
{
	struct sharing s = {.disk = disk};
	int r = list_blocks(&s, err);

	if (r == 0)
		r = choose_all(&s, err);
	for (uint32_t i = 0; r == 0 && i < disk->n; i++)
		if (s.to[i])
			r = lsc_disk_write_table(disk, disk->images[i], s.to[i], err);
	for (uint32_t i = 0; s.to && i < disk->n; i++)
		free(s.to[i]);
	free(s.to);
	free(s.entries);
	return r;
}

int lsc_disk_share(struct lsc_disk *disk, uint64_t *ret_freed, struct lsc_err *err)
{
	LSC_CLEANUP_FD int lock = lsc_disk_lock(disk, err);
	int r = lock < 0 ? lock : lsc_disk_scan(disk, err);
	uint64_t before = disk->used;

	if (r == 0)
		r = share(disk, err);
	if (r == 0)
		r = lsc_disk_scan(disk, err);
	for (uint32_t i = 0; r == 0 && i < disk->n_files; i++)
		lsc_disk_trim(disk, i);
	if (r == 0)
		r = lsc_disk_scan(disk, err);
	if (r == 0)
		*ret_freed = before - LSC_MIN(before, disk->used);
	return r;
}
