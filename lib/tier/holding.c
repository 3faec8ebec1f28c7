/* holding - the tables of an image in memory */
#include "tier/holding.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "mem/marks.h"

#define READ_SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

/* --- memory --- */

static int file_len(int fd, uint64_t max, size_t *ret_len)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > max)
		return -EBADMSG;
	*ret_len = (size_t)st.st_size;
	return 0;
}

static int map_fd(int fd, size_t len, int prot, void **ret)
{
	void *at = mmap(NULL, len, prot, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	*ret = at;
	return 0;
}

/* What a client gave may still be written to by it: so it is copied, and the copy sealed. */
static int copy_manifest(int from, struct lsc_err *err)
{
	size_t len;
	void *at = NULL;
	int fd, r = file_len(from, LSC_MANIFEST_MAX_BYTES, &len);

	if (r == 0 && !(at = malloc(len)))
		r = -ENOMEM;
	if (r == 0)
		r = lsc_pread_full(from, at, len, 0);
	fd = r < 0 ? r : memfd_create("lsc-manifest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r == 0 && fd < 0)
		r = -errno;
	if (r == 0)
		r = lsc_write_full(fd, at, len);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, READ_SEALS) < 0)
		r = -errno;
	free(at);
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return lsc_err_set(err, -r, "cannot take a manifest: %m");
	}
	return fd;
}

/* --- tables --- */

static int parse(struct lsc_holding *holding, struct lsc_err *err)
{
	size_t len;
	void *at = NULL;
	int r = file_len(holding->manifest_fd, LSC_MANIFEST_MAX_BYTES, &len);

	if (r == 0)
		r = map_fd(holding->manifest_fd, len, PROT_READ, &at);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map a manifest: %m");
	holding->manifest = at;
	return lsc_image_parse(&holding->image, at, len, err);
}

/* Whoever filled it could write to all of it, so nothing that it says of itself is trusted. */
static bool is_table_of(const struct lsc_marks *marks, size_t len, const struct lsc_image *image)
{
	return lsc_marks_check(marks, len, "", NULL) == 0 &&
	       len == lsc_marks_bytes(image->n_pieces, image->n_blocks) &&
	       lsc_marks_pieces(marks) == image->n_pieces &&
	       lsc_marks_blocks(marks) == image->n_blocks;
}

static int adopt_marks(struct lsc_holding *holding, struct lsc_err *err)
{
	void *at = NULL;
	size_t len;
	int r = file_len(holding->marks_fd, UINT32_MAX, &len);

	flock(holding->marks_fd, LOCK_UN); /* as who looked for a writer may have left it */
	if (r == 0)
		r = map_fd(holding->marks_fd, len, PROT_READ | PROT_WRITE, &at);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map a table of arrivals: %m");
	if (!is_table_of(at, len, &holding->image)) {
		munmap(at, len);
		return lsc_err_set(err, EBADMSG, "'%s' has another image's arrivals",
				   holding->name);
	}
	holding->marks = at;
	return 0;
}

int lsc_holding_adopt(struct lsc_holding **ret_holding, const char *name, int manifest_fd,
		      int marks_fd, struct lsc_err *err)
{
	struct lsc_holding *holding = calloc(1, sizeof(*holding));
	struct lsc_hash key = lsc_hash_of(name, strlen(name));
	int r;

	if (!holding)
		return lsc_err_set(err, ENOMEM, "no memory for an image");
	*holding = (struct lsc_holding){.manifest_fd = manifest_fd, .marks_fd = marks_fd};
	lsc_hash_text(&key, holding->key);
	snprintf(holding->name, sizeof(holding->name), "%s", name);
	r = parse(holding, err);
	if (r == 0 && marks_fd >= 0)
		r = adopt_marks(holding, err);
	if (r < 0) {
		lsc_holding_free(holding);
		return r;
	}
	*ret_holding = holding;
	return 0;
}

int lsc_holding_new(struct lsc_holding **ret_holding, const char *name, int manifest_fd,
		    struct lsc_err *err)
{
	int fd = copy_manifest(manifest_fd, err);

	return fd < 0 ? fd : lsc_holding_adopt(ret_holding, name, fd, -1, err);
}

struct lsc_hash lsc_holding_block(const struct lsc_holding *holding, uint32_t block)
{
	return lsc_image_block_hash(&holding->image, block);
}

int lsc_holding_begin(struct lsc_holding *holding, struct lsc_err *err)
{
	uint32_t n = holding->image.n_pieces;
	size_t len = lsc_marks_bytes(n, holding->image.n_blocks);
	void *at = NULL;
	int r = 0;

	holding->marks_fd = memfd_create("lsc-arrivals", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (holding->marks_fd < 0 || ftruncate(holding->marks_fd, (off_t)len) < 0 ||
	    fchmod(holding->marks_fd, 0600) < 0)
		r = -errno;
	if (r == 0)
		r = map_fd(holding->marks_fd, len, PROT_READ | PROT_WRITE, &at);
	if (r < 0)
		return lsc_err_set(err, -r, "no memory for a table of arrivals: %m");
	/* A table that somebody cut would be a SIGBUS to whoever looks at it. */
	fcntl(holding->marks_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	holding->marks = at;
	lsc_marks_start(holding->marks, n, holding->image.n_blocks);
	return 0;
}

void lsc_holding_mark_whole(struct lsc_holding *holding)
{
	for (uint32_t i = 0; i < holding->image.n_blocks; i++) {
		const struct lsc_block *block = &holding->image.blocks[i];

		for (uint32_t p = 0; holding->cells[i]->whole && p < block->n_pieces; p++)
			lsc_marks_set(holding->marks, block->first_piece + p);
	}
}

bool lsc_holding_is_full(const struct lsc_holding *holding)
{
	for (uint32_t i = 0; holding->marks && i < holding->image.n_pieces; i++)
		if (!lsc_marks_has(holding->marks, i))
			return false;
	return true;
}

/* --- who uses it --- */

bool lsc_holding_is_filler(const struct lsc_holding *holding, int fd)
{
	struct stat ours, its;

	return holding->marks_fd >= 0 && fstat(holding->marks_fd, &ours) == 0 &&
	       fstat(fd, &its) == 0 && ours.st_dev == its.st_dev && ours.st_ino == its.st_ino &&
	       (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

int lsc_holding_lend_marks(const struct lsc_holding *holding, bool fill, struct lsc_err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", holding->marks_fd);
	fd = open(path, (fill ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot lend a table of arrivals: %m");
	if (fill && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return lsc_err_set(err, EBUSY, "'%s' is being received already", holding->name);
	}
	return fd;
}

bool lsc_holding_is_filled(const struct lsc_holding *holding)
{
	if (holding->marks_fd < 0)
		return false;
	if (flock(holding->marks_fd, LOCK_EX | LOCK_NB) < 0)
		return true;
	flock(holding->marks_fd, LOCK_UN);
	return false;
}

bool lsc_holding_is_lent(const struct lsc_holding *holding)
{
	for (uint32_t i = 0; holding->cells && i < holding->image.n_blocks; i++)
		if (holding->cells[i] && lsc_cell_is_lent(holding->cells[i]))
			return true;
	return false;
}

/* --- ends --- */

void lsc_holding_end_marks(struct lsc_holding *holding, bool committed)
{
	if (holding->marks) {
		lsc_marks_end(holding->marks,
			      committed ? LSC_MARKS_COMMITTED : LSC_MARKS_DISCARDED);
		munmap(holding->marks,
		       lsc_marks_bytes(holding->image.n_pieces, holding->image.n_blocks));
	}
	if (holding->marks_fd >= 0)
		close(holding->marks_fd);
	holding->marks = NULL;
	holding->marks_fd = -1;
}

void lsc_holding_free(struct lsc_holding *holding)
{
	size_t len;

	if (!holding)
		return;
	lsc_image_close(&holding->image);
	if (holding->manifest && file_len(holding->manifest_fd, UINT64_MAX >> 1, &len) == 0)
		munmap(holding->manifest, len);
	if (holding->manifest_fd >= 0)
		close(holding->manifest_fd);
	if (holding->marks)
		munmap(holding->marks,
		       lsc_marks_bytes(holding->image.n_pieces, holding->image.n_blocks));
	if (holding->marks_fd >= 0)
		close(holding->marks_fd);
	free(holding->cells);
	free(holding);
}
