/* stock_keep - what of the stock outlives the daemon, and how it is found again
 *
 * Kept are, with K for the hash of an image's name:
 *
 *   about-K, manifest-K	the name, and the manifest
 *   marks-K			the table of arrivals of what is not whole
 *   part-K-BLOCK		a block's cell while it fills
 *   cell-HASH			one that is whole
 *
 * Something is kept before it is used, and dropped after; so whatever the moment at which a daemon
 * is killed, the next finds all that there is, and perhaps something more that makes no image,
 * which it drops.  That a cell is whole is said by its seal, not by its name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "tier/stock_own.h"

static const char *part_name(char name[LSC_KEEP_NAME], const struct lsc_holding *holding,
			     uint32_t block)
{
	snprintf(name, LSC_KEEP_NAME, "part-%s-%u", holding->key, block);
	return name;
}

static const char *cell_name(char name[LSC_KEEP_NAME], const struct lsc_hash *key)
{
	char text[LSC_HASH_TEXT];

	snprintf(name, LSC_KEEP_NAME, "cell-%s", lsc_hash_text(key, text));
	return name;
}

static const char *table_name(char name[LSC_KEEP_NAME], const char *what,
			      const struct lsc_holding *holding)
{
	snprintf(name, LSC_KEEP_NAME, "%s-%s", what, holding->key);
	return name;
}

/* --- keeping --- */

/* Its name, as a file of memory. */
static int make_about(const struct lsc_holding *holding, struct lsc_err *err)
{
	int fd = memfd_create("lsc-about", MFD_CLOEXEC), r;

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot make memory: %m");
	r = lsc_write_full(fd, holding->name, strlen(holding->name));
	if (r < 0) {
		close(fd);
		return lsc_err_set(err, -r, "cannot make memory: %m");
	}
	return fd;
}

int lsc_stock_keep_tables(struct lsc_stock *stock, const struct lsc_holding *holding,
			  struct lsc_err *err)
{
	LSC_CLEANUP_FD int about = make_about(holding, err);
	char name[LSC_KEEP_NAME];
	int r = about;

	if (r >= 0)
		r = lsc_keep_put(stock->keep, table_name(name, "manifest", holding),
				 holding->manifest_fd, err);
	if (r == 0 && holding->marks_fd >= 0)
		r = lsc_keep_put(stock->keep, table_name(name, "marks", holding), holding->marks_fd,
				 err);
	if (r == 0)
		r = lsc_keep_put(stock->keep, table_name(name, "about", holding), about, err);
	return r;
}

int lsc_stock_keep_cell(struct lsc_stock *stock, const struct lsc_holding *holding, uint32_t block,
			struct lsc_err *err)
{
	char name[LSC_KEEP_NAME];

	return lsc_keep_put(stock->keep, part_name(name, holding, block), holding->cells[block]->fd,
			    err);
}

int lsc_stock_keep_whole(struct lsc_stock *stock, const struct lsc_holding *holding, uint32_t block,
			 struct lsc_err *err)
{
	const struct lsc_cell *cell = holding->cells[block];
	char name[LSC_KEEP_NAME];
	int r = lsc_keep_put(stock->keep, cell_name(name, &cell->key), cell->fd, err);

	if (r == 0)
		lsc_stock_forget_part(stock, holding, block);
	return r;
}

static void drop(struct lsc_stock *stock, const char *name)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_keep_drop(stock->keep, name, &err) < 0)
		lsc_warning("%s", err.text);
}

void lsc_stock_forget_marks(struct lsc_stock *stock, const struct lsc_holding *holding)
{
	char name[LSC_KEEP_NAME];

	drop(stock, table_name(name, "marks", holding));
}

void lsc_stock_forget_tables(struct lsc_stock *stock, const struct lsc_holding *holding)
{
	char name[LSC_KEEP_NAME];

	drop(stock, table_name(name, "about", holding));
	drop(stock, table_name(name, "marks", holding));
	drop(stock, table_name(name, "manifest", holding));
}

void lsc_stock_forget_part(struct lsc_stock *stock, const struct lsc_holding *holding,
			   uint32_t block)
{
	char name[LSC_KEEP_NAME];

	drop(stock, part_name(name, holding, block));
}

void lsc_stock_forget_cell(struct lsc_stock *stock, const struct lsc_cell *cell)
{
	char name[LSC_KEEP_NAME];

	drop(stock, cell_name(name, &cell->key));
}

/* --- finding again --- */

struct found {
	char name[LSC_KEEP_NAME];
	int fd; /* -1: it was taken */
	struct found *next;
};

struct finds {
	struct found *all;
};

static int on_found(void *data, const char *name, int fd)
{
	struct finds *finds = data;
	struct found *found = malloc(sizeof(*found));

	if (!found) {
		close(fd);
		return -ENOMEM;
	}
	snprintf(found->name, sizeof(found->name), "%s", name);
	found->fd = fd;
	found->next = finds->all;
	finds->all = found;
	return 0;
}

static int take(struct finds *finds, const char *name)
{
	for (struct found *found = finds->all; found; found = found->next)
		if (found->fd >= 0 && !strcmp(found->name, name)) {
			int fd = found->fd;

			found->fd = -1;
			return fd;
		}
	return -ENOENT;
}

/* A cell of the image's, from what was found: one that another image took already, by key, or one
 * of its own. */
static int adopt_cell(struct lsc_stock *stock, struct finds *finds, struct lsc_holding *holding,
		      uint32_t block)
{
	struct lsc_hash key = lsc_holding_block(holding, block);
	struct lsc_cell *cell = lsc_stock_cell(stock, &key);
	char name[LSC_KEEP_NAME];
	int fd, r = 0;

	if (!cell) {
		bool part = false;

		fd = take(finds, cell_name(name, &key));
		if (fd < 0) {
			fd = take(finds, part_name(name, holding, block));
			part = true;
		}
		if (fd < 0)
			return fd;
		r = lsc_cell_adopt(&cell, &key, holding->image.blocks[block].bytes, fd, NULL);
		if (r == 0 && !part && !cell->whole) {
			lsc_cell_free(cell);
			return -EBADMSG;
		}
		if (r < 0)
			return r;
		lsc_stock_add_cell(stock, cell);
		holding->cells[block] = cell;
		if (part && cell->whole) /* it was sealed, and then the daemon was killed */
			r = lsc_stock_keep_whole(stock, holding, block, NULL);
	}
	holding->cells[block] = cell;
	cell->users++;
	return r;
}

static int adopt_cells(struct lsc_stock *stock, struct finds *finds, struct lsc_holding *holding)
{
	int r = 0;

	holding->cells = calloc(holding->image.n_blocks + 1, sizeof(struct lsc_cell *));
	if (!holding->cells)
		return -ENOMEM;
	holding->whole = true;
	for (uint32_t i = 0; r == 0 && i < holding->image.n_blocks; i++) {
		r = adopt_cell(stock, finds, holding, i);
		holding->whole = holding->whole && r == 0 && holding->cells[i]->whole;
	}
	return r == 0 && !holding->whole && !holding->marks ? -EBADMSG : r;
}

static int read_name(int fd, char name[LSC_SEGMENT_NAME])
{
	ssize_t n = pread(fd, name, LSC_SEGMENT_NAME - 1, 0);

	name[n > 0 ? n : 0] = 0;
	return lsc_segment_check_name(name, NULL);
}

/* Makes a holding again of what was found of it. */
static void adopt(struct lsc_stock *stock, struct finds *finds, const char *key, int about)
{
	char name[LSC_SEGMENT_NAME], kept[LSC_KEEP_NAME];
	struct lsc_holding *holding = NULL;
	int manifest, marks, r;

	snprintf(kept, sizeof(kept), "manifest-%s", key);
	manifest = take(finds, kept);
	snprintf(kept, sizeof(kept), "marks-%s", key);
	marks = take(finds, kept);
	r = read_name(about, name);
	if (r == 0 && manifest >= 0) {
		r = lsc_holding_adopt(&holding, name, manifest, marks < 0 ? -1 : marks, NULL);
	} else {
		r = -EBADMSG;
		if (manifest >= 0)
			close(manifest);
		if (marks >= 0)
			close(marks);
	}
	if (r < 0) {
		lsc_warning("memory that was kept of '%s' makes no image, dropping it", name);
		return;
	}
	lsc_stock_add(stock, holding);
	holding->used_ns = 0;
	r = adopt_cells(stock, finds, holding);
	if (r < 0) {
		lsc_warning("not all memory of '%s' was kept, dropping it", name);
		lsc_stock_empty(stock, holding);
		return;
	}
	lsc_info("'%s' is in memory from before%s", name, holding->whole ? "" : ", in part");
	if (holding->whole && holding->marks) {
		lsc_holding_end_marks(holding, true);
		lsc_stock_forget_marks(stock, holding);
	}
}

/* What made no image, and what is older than this daemon knows. */
static void drop_rest(struct lsc_stock *stock, struct finds *finds)
{
	struct found *found, *next;

	for (found = finds->all; found; found = next) {
		next = found->next;
		if (found->fd >= 0) {
			lsc_debug("tier", "dropping '%s', which makes no image", found->name);
			close(found->fd);
			if (stock->keep)
				drop(stock, found->name);
		}
		free(found);
	}
}

int lsc_stock_adopt(struct lsc_stock *stock, struct lsc_err *err)
{
	struct finds finds = {NULL};
	int r = lsc_keep_open(&stock->keep, stock->o.hold, on_found, &finds, err);

	for (struct found *found = finds.all; r == 0 && found; found = found->next) {
		int about;

		if (found->fd < 0 || strncmp(found->name, "about-", 6))
			continue;
		about = found->fd;
		found->fd = -1;
		adopt(stock, &finds, found->name + 6, about);
		close(about);
	}
	drop_rest(stock, &finds);
	return r;
}
