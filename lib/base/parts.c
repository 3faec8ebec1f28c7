/* parts - the files that an image's bytes lie in
 *
 * The directory is opened once and its files by it, so that they are of one image, whatever happens
 * to its name.
 */
#include "base/parts.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "base/shares.h"

#define TRIES 100

void lsc_parts_close(struct lsc_parts *parts)
{
	if (!parts)
		return;
	for (uint32_t i = 0; i < parts->n_fds; i++)
		close(parts->fds[i]);
	free(parts->fds);
	free(parts->runs);
	*parts = (struct lsc_parts)LSC_PARTS_INIT;
}

/* --- opening --- */

struct opening {
	const char *path;
	int dir;
	struct lsc_shares shares;
	int table;                         /* that shares was read from; -1 where there is none */
	int by_file[LSC_SHARES_MAX_FILES]; /* of share.N; -1: not open yet */
	uint64_t sizes[LSC_SHARES_MAX_FILES];
};

static int open_file(struct lsc_parts *parts, const struct opening *o, const char *name,
		     uint64_t *ret_size, struct lsc_err *err)
{
	/* The image's own file may be a link, as its directory may; the others were made by us. */
	int follow = strcmp(name, "image") ? O_NOFOLLOW : 0;
	int fd = openat(o->dir, name, O_RDONLY | O_CLOEXEC | follow), *more;
	struct stat st;

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s/%s': %m", o->path, name);
	more = realloc(parts->fds, (parts->n_fds + 1) * sizeof(*more));
	if (!more) {
		close(fd);
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", o->path);
	}
	parts->fds = more;
	parts->fds[parts->n_fds++] = fd;
	if (fstat(fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot stat '%s/%s': %m", o->path, name);
	if (!S_ISREG(st.st_mode))
		return lsc_err_set(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
				   "'%s/%s' is not a regular file", o->path, name);
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

static int read_table(struct opening *o, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int r;

	o->table = openat(o->dir, "shares", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (o->table < 0)
		return errno == ENOENT
			       ? 0
			       : lsc_err_set(err, errno, "cannot open '%s/shares': %m", o->path);
	r = lsc_fd_read(o->table, "shares", LSC_SHARES_MAX_BYTES, &text, err);
	if (r == 0)
		r = lsc_shares_parse(&o->shares, text.data, text.len, err);
	return r < 0 ? lsc_err_prefix(err, "'%s/shares': ", o->path) : 0;
}

/* Whether the table is another one by now; that which was read is open still, so that no other has
 * its number. */
static bool has_changed(const struct opening *o)
{
	struct stat st, table;

	if (fstatat(o->dir, "shares", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return o->table >= 0;
	return o->table < 0 || fstat(o->table, &table) < 0 || st.st_ino != table.st_ino;
}

static int add_run(struct lsc_parts *parts, const struct opening *o, int fd, uint64_t size,
		   const struct lsc_run *run, struct lsc_err *err)
{
	if (run->bytes == 0)
		return 0;
	if (run->fd_offset > size || run->bytes > size - run->fd_offset)
		return lsc_err_set(err, EBADMSG, "'%s': a file of it was cut", o->path);
	parts->runs[parts->n] = *run;
	parts->runs[parts->n++].fd = fd;
	return 0;
}

static int add_share(struct lsc_parts *parts, struct opening *o, const struct lsc_share *row,
		     struct lsc_err *err)
{
	struct lsc_run run = {row->offset, row->bytes, -1, row->file_offset};
	char name[32];

	if (o->by_file[row->file] < 0) {
		snprintf(name, sizeof(name), "share.%u", row->file);
		o->by_file[row->file] = open_file(parts, o, name, &o->sizes[row->file], err);
	}
	if (o->by_file[row->file] < 0)
		return o->by_file[row->file];
	return add_run(parts, o, o->by_file[row->file], o->sizes[row->file], &run, err);
}

/* Runs by the table, and between them what `image` has at the same offsets. */
static int make_runs(struct lsc_parts *parts, struct opening *o, int image, uint64_t size,
		     struct lsc_err *err)
{
	uint64_t end = 0;
	int r = 0;

	memset(o->by_file, 0xff, sizeof(o->by_file));
	parts->bytes = o->table >= 0 ? o->shares.bytes : size;
	parts->runs = calloc(o->shares.n * (size_t)2 + 1, sizeof(*parts->runs));
	if (!parts->runs)
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", o->path);
	for (uint32_t i = 0; r == 0 && i <= o->shares.n; i++) {
		const struct lsc_share *row = i < o->shares.n ? &o->shares.rows[i] : NULL;
		uint64_t start = row ? row->offset : parts->bytes;
		struct lsc_run own = {end, start - end, -1, end};

		r = add_run(parts, o, image, size, &own, err);
		if (r == 0 && row)
			r = add_share(parts, o, row, err);
		end = row ? row->offset + row->bytes : end;
	}
	return r;
}

static int try_open(struct lsc_parts *parts, struct opening *o, struct lsc_err *err)
{
	uint64_t size;
	int image = open_file(parts, o, "image", &size, err);
	int r = image < 0 ? image : read_table(o, err);

	return r < 0 ? r : make_runs(parts, o, image, size, err);
}

int lsc_parts_open(struct lsc_parts *parts, const char *dir, struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct opening *o = calloc(1, sizeof(*o));
	int r = -EAGAIN;

	*parts = (struct lsc_parts)LSC_PARTS_INIT;
	if (!o)
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", dir);
	o->path = dir;
	o->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (o->dir < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", dir);
	for (unsigned i = 0; r == -EAGAIN && i < TRIES; i++) {
		o->table = -1;
		r = try_open(parts, o, err);
		if (has_changed(o))
			r = lsc_err_set(err, EAGAIN, "'%s' changes all the time", dir);
		if (r < 0)
			lsc_parts_close(parts);
		lsc_shares_release(&o->shares);
		if (o->table >= 0)
			close(o->table);
	}
	close(o->dir);
	return r;
}

/* --- finding one's way --- */

int lsc_parts_fd(const struct lsc_parts *parts)
{
	return parts->n == 1 && parts->runs[0].fd_offset == 0 ? parts->runs[0].fd : -1;
}

const struct lsc_run *lsc_parts_at(const struct lsc_parts *parts, uint64_t offset)
{
	uint32_t low = 0, high = parts->n;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (parts->runs[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return offset < parts->bytes && parts->n ? &parts->runs[low] : NULL;
}

int lsc_parts_read(const struct lsc_parts *parts, void *data, size_t len, uint64_t offset)
{
	uint8_t *to = data;

	while (len > 0) {
		const struct lsc_run *run = lsc_parts_at(parts, offset);
		uint64_t within = run ? offset - run->offset : 0;
		size_t part = run ? (size_t)LSC_MIN((uint64_t)len, run->bytes - within) : 0;
		int r = run ? lsc_pread_full(run->fd, to, part, run->fd_offset + within) : -EIO;

		if (r < 0)
			return r;
		to += part;
		offset += part;
		len -= part;
	}
	return 0;
}
