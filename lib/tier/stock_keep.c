/* stock_keep - what of the stock outlives the daemon, and how it is found again
 *
 * Kept are, with K for the hash of an image's name:
 *
 *   about-K, manifest-K	the name, and the manifest
 *   marks-K			the table of arrivals of what is not whole
 *   part-K-BLOCK		a block's cell while it fills
 *   cell-HASH			one that is whole
 *   left-DEVICE-INODE		one that is no image's any more, and still mapped
 *
 * Something is kept before it is used, and dropped after; so whatever the moment at which a daemon
 * is killed, the next finds all that there is, and perhaps something more that makes no image,
 * which it drops.  That a cell is whole is said by its seal, not by its name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
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

static const char *leaving_name(char name[LSC_KEEP_NAME], const struct lsc_cell *cell)
{
	struct stat st = {.st_ino = 0};

	fstat(cell->fd, &st);
	snprintf(name, LSC_KEEP_NAME, "left-%llx-%llx", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return name;
}

/* --- with a holder that may end --- */

static bool has_ended(int r)
{
	return r == -EPIPE || r == -ECONNRESET;
}

static int put(struct lsc_stock *stock, const char *name, int fd, struct lsc_err *err)
{
	int r = lsc_keep_put(stock->keep, name, fd, err);

	if (!has_ended(r) || stock->keeping)
		return r;
	r = lsc_stock_keep_again(stock, err);
	return r < 0 ? r : lsc_keep_put(stock->keep, name, fd, err);
}

static void drop(struct lsc_stock *stock, const char *name)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_keep_drop(stock->keep, name, &err);

	if (has_ended(r) && !stock->keeping) {
		r = lsc_stock_keep_again(stock, &err);
		if (r == 0)
			r = lsc_keep_drop(stock->keep, name, &err);
	}
	if (r < 0)
		lsc_warning("%s", err.text);
}

static int keep_image(struct lsc_stock *stock, const struct lsc_holding *holding,
		      struct lsc_err *err)
{
	char name[LSC_KEEP_NAME];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < holding->image.n_blocks; i++) {
		const struct lsc_cell *cell = holding->cells[i];

		if (cell)
			r = put(stock,
				cell->whole ? cell_name(name, &cell->key)
					    : part_name(name, holding, i),
				cell->fd, err);
	}
	return r < 0 ? r : lsc_stock_keep_tables(stock, holding, err);
}

static int keep_all(struct lsc_stock *stock, struct lsc_err *err)
{
	int r = 0;

	for (struct lsc_holding *h = stock->holdings; r == 0 && h; h = h->next)
		if (h->cells)
			r = keep_image(stock, h, err);
	for (struct lsc_cell *cell = stock->leaving; r == 0 && cell; cell = cell->next)
		lsc_stock_keep_leaving(stock, cell);
	return r;
}

static void on_holder(void *data, uint32_t events)
{
	struct lsc_stock *stock = data;
	struct lsc_err err = LSC_ERR_INIT;

	(void)events;
	if (lsc_stock_keep_again(stock, &err) < 0)
		lsc_warning("memory is lost if this tier is killed: %s", err.text);
}

static int watch_holder(struct lsc_stock *stock, struct lsc_err *err)
{
	int fd = lsc_keep_fd(stock->keep);

	return fd < 0 ? 0
		      : lsc_loop_watch(stock->loop, fd, EPOLLIN, on_holder, stock, &stock->holder,
				       err);
}

int lsc_stock_keep_again(struct lsc_stock *stock, struct lsc_err *err)
{
	int r;

	lsc_watch_remove(stock->holder);
	stock->holder = NULL;
	stock->keeping = true;
	r = lsc_keep_again(stock->keep, err);
	if (r == 0)
		r = keep_all(stock, err);
	if (r == 0)
		r = watch_holder(stock, err);
	stock->keeping = false;
	if (r == 0)
		lsc_warning("the holder of memory had ended; another one has all of it now");
	return r;
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
		r = put(stock, table_name(name, "manifest", holding), holding->manifest_fd, err);
	if (r == 0 && holding->marks_fd >= 0)
		r = put(stock, table_name(name, "marks", holding), holding->marks_fd, err);
	if (r == 0)
		r = put(stock, table_name(name, "about", holding), about, err);
	return r;
}

int lsc_stock_keep_cell(struct lsc_stock *stock, const struct lsc_holding *holding, uint32_t block,
			struct lsc_err *err)
{
	char name[LSC_KEEP_NAME];

	return put(stock, part_name(name, holding, block), holding->cells[block]->fd, err);
}

int lsc_stock_keep_whole(struct lsc_stock *stock, const struct lsc_holding *holding, uint32_t block,
			 struct lsc_err *err)
{
	const struct lsc_cell *cell = holding->cells[block];
	char name[LSC_KEEP_NAME];
	int r = put(stock, cell_name(name, &cell->key), cell->fd, err);

	if (r == 0)
		lsc_stock_forget_part(stock, holding, block);
	return r;
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

void lsc_stock_keep_leaving(struct lsc_stock *stock, const struct lsc_cell *cell)
{
	struct lsc_err err = LSC_ERR_INIT;
	char name[LSC_KEEP_NAME];

	if (put(stock, leaving_name(name, cell), cell->fd, &err) < 0)
		lsc_warning("%s", err.text);
}

void lsc_stock_forget_leaving(struct lsc_stock *stock, const struct lsc_cell *cell)
{
	char name[LSC_KEEP_NAME];

	drop(stock, leaving_name(name, cell));
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

/* A table of what is kept, by the key of the image's name: its descriptor, and it is not kept any
 * more where that makes no image. */
static int take_table(struct finds *finds, const char *what, const char *key)
{
	char name[LSC_KEEP_NAME];

	snprintf(name, sizeof(name), "%s-%s", what, key);
	return take(finds, name);
}

static void drop_tables(struct lsc_stock *stock, const char *key)
{
	static const char *const tables[] = {"about", "marks", "manifest"};
	char name[LSC_KEEP_NAME];

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(tables); i++) {
		snprintf(name, sizeof(name), "%s-%s", tables[i], key);
		drop(stock, name);
	}
}

static int adopt_tables(struct finds *finds, const char *key, int about,
			struct lsc_holding **ret_holding, struct lsc_err *err)
{
	char name[LSC_SEGMENT_NAME];
	LSC_CLEANUP_FD int manifest = take_table(finds, "manifest", key);
	LSC_CLEANUP_FD int marks = take_table(finds, "marks", key);
	int r = read_name(about, name);

	if (r < 0 || manifest < 0)
		return lsc_err_set(err, EBADMSG, "it has no manifest");
	/* Both are the holding's from here on, whatever comes of it. */
	r = lsc_holding_adopt(ret_holding, name, manifest, LSC_MAX(marks, -1), err);
	manifest = marks = -1;
	return r;
}

/* Makes a holding again of what was found of it. */
static void adopt(struct lsc_stock *stock, struct finds *finds, const char *key, int about)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_holding *holding;

	if (adopt_tables(finds, key, about, &holding, &err) < 0) {
		lsc_warning("memory that was kept makes no image, dropping it: %s", err.text);
		drop_tables(stock, key);
		return;
	}
	lsc_stock_add(stock, holding);
	if (adopt_cells(stock, finds, holding) < 0) {
		lsc_warning("not all memory of '%s' was kept, dropping it", holding->name);
		lsc_stock_empty(stock, holding);
		return;
	}
	lsc_info("'%s' is in memory from before%s", holding->name,
		 holding->whole ? "" : ", in part");
	if (holding->whole && holding->marks) {
		lsc_holding_end_marks(holding, true);
		lsc_stock_forget_marks(stock, holding);
	}
}

static bool is_cell(const char *name)
{
	return !strncmp(name, "left-", 5) || !strncmp(name, "cell-", 5) ||
	       !strncmp(name, "part-", 5);
}

/* Memory that makes no image, and that somebody maps nevertheless. */
static bool adopt_leaving(struct lsc_stock *stock, struct found *found)
{
	const struct lsc_hash none = {{0}};
	struct lsc_cell *cell;
	struct stat st;

	if (!is_cell(found->name) || fstat(found->fd, &st) < 0 || st.st_size < 0)
		return false;
	if (lsc_cell_adopt(&cell, &none, (uint64_t)st.st_size, found->fd, NULL) < 0) {
		found->fd = -1;
		return false;
	}
	found->fd = -1;
	if (!lsc_cell_is_lent(cell)) {
		lsc_cell_free(cell);
		return false;
	}
	cell->next = stock->leaving;
	stock->leaving = cell;
	lsc_stock_keep_leaving(stock, cell);
	return !strncmp(found->name, "left-", 5);
}

/* What made no image, and what is older than this daemon knows. */
static void drop_rest(struct lsc_stock *stock, struct finds *finds)
{
	struct found *found, *next;

	for (found = finds->all; found; found = next) {
		next = found->next;
		if (found->fd >= 0 && stock->keep && !adopt_leaving(stock, found)) {
			lsc_debug("tier", "dropping '%s', which makes no image", found->name);
			drop(stock, found->name);
		}
		if (found->fd >= 0)
			close(found->fd);
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
	return r < 0 ? r : watch_holder(stock, err);
}
