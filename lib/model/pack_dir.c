/* pack_dir - the directory of an image that is being written
 *
 * All of it happens in DIR.tmp, which is locked and becomes DIR only when it is whole and synced;
 * what a killed pack left there is removed by the next.  A directory of that name with anything
 * else in it is someone else's, and is left alone.
 */
#include "model/pack_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

void lsc_pack_dir_release(struct lsc_pack_dir *target)
{
	if (target->fd >= 0)
		close(target->fd);
	if (target->lock >= 0) {
		lsc_dir_remove(target->temp, NULL);
		close(target->lock);
	}
	free(target->path);
	free(target->temp);
	*target = (struct lsc_pack_dir)LSC_PACK_DIR_INIT;
}

/* Removes what a killed pack may have left: the image, the manifest, a manifest half written. */
static int clear_temp(const struct lsc_pack_dir *target, struct lsc_err *err)
{
	int fd = dup(target->lock), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		r = lsc_err_set(err, errno, "cannot read directory '%s': %m", target->temp);
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (strcmp(name, "image") && strcmp(name, "manifest") &&
		    strncmp(name, "manifest.tmp", 12))
			r = lsc_err_set(err, EEXIST, "'%s' holds '%s', which no pack left there",
					target->temp, name);
		else if (unlinkat(target->lock, name, 0) < 0)
			r = lsc_err_set(err, errno, "cannot remove '%s/%s': %m", target->temp,
					name);
	}
	closedir(dir);
	return r;
}

/* Between opening and locking it, another pack may have finished: then what is locked is a whole
 * image, under the name it was for. */
static int own_temp(const struct lsc_pack_dir *target, struct lsc_err *err)
{
	struct stat locked, named;

	if (fstat(target->lock, &locked) < 0)
		return lsc_err_set(err, errno, "cannot stat '%s': %m", target->temp);
	if (lstat(target->temp, &named) < 0 || named.st_ino != locked.st_ino ||
	    named.st_dev != locked.st_dev)
		return lsc_err_set(err, EBUSY, "another pack is writing '%s'", target->path);
	if (lstat(target->path, &named) == 0)
		return lsc_err_set(err, EEXIST, "'%s' exists already", target->path);
	return clear_temp(target, err);
}

static int lock_temp(struct lsc_pack_dir *target, struct lsc_err *err)
{
	target->lock = open(target->temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (target->lock < 0)
		return lsc_err_set(err, errno, "cannot open directory '%s': %m", target->temp);
	if (flock(target->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return lsc_err_set(err, EBUSY, "another pack is writing '%s'", target->temp);
	return lsc_err_set(err, errno, "cannot lock '%s': %m", target->temp);
}

/* Takes the temporary directory, made by us or left by a pack that was killed. */
static int take_temp(struct lsc_pack_dir *target, struct lsc_err *err)
{
	int r;

	if (mkdir(target->temp, 0777) < 0 && errno != EEXIST)
		return lsc_err_set(err, errno, "cannot make directory '%s': %m", target->temp);
	if ((r = lock_temp(target, err)) < 0 || (r = own_temp(target, err)) < 0) {
		if (target->lock >= 0)
			close(target->lock);
		target->lock = -1; /* not ours to remove */
	}
	return r;
}

static int open_file(struct lsc_pack_dir *target, uint64_t bytes, struct lsc_err *err)
{
	target->fd = openat(target->lock, "image", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (target->fd < 0)
		return lsc_err_set(err, errno, "cannot create '%s/image': %m", target->temp);
	/* A full disk is found before hours are spent; where it cannot be, the writes find it. */
	if (fallocate(target->fd, 0, 0, (off_t)bytes) < 0 && errno == ENOSPC)
		return lsc_err_set(err, ENOSPC, "cannot write '%s', %llu bytes: %m", target->temp,
				   (unsigned long long)bytes);
	return 0;
}

int lsc_pack_dir_start(struct lsc_pack_dir *target, const char *dir, uint64_t bytes,
		       struct lsc_err *err)
{
	size_t len = strlen(dir);
	struct stat st;
	int r;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (len == 0)
		return lsc_err_set(err, EINVAL, "an image needs a name");
	target->path = strndup(dir, len);
	if (!target->path || asprintf(&target->temp, "%s.tmp", target->path) < 0) {
		target->temp = NULL;
		return lsc_err_set(err, ENOMEM, "cannot pack '%s': %m", dir);
	}
	if (lstat(target->path, &st) == 0)
		return lsc_err_set(err, EEXIST, "'%s' exists already", target->path);
	r = take_temp(target, err);
	return r < 0 ? r : open_file(target, bytes, err);
}

static int sync_parent(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (!parent)
		return lsc_err_set(err, ENOMEM, "cannot sync '%s': %m", path);
	if (!slash)
		return lsc_path_sync(".", err);
	slash[slash == parent] = 0;
	return lsc_path_sync(parent, err);
}

int lsc_pack_dir_finish(struct lsc_pack_dir *target, const struct lsc_buf *manifest,
			struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *path = NULL;
	int r;

	if (asprintf(&path, "%s/manifest", target->temp) < 0) {
		path = NULL;
		return lsc_err_set(err, ENOMEM, "cannot write '%s': %m", target->temp);
	}
	if (fsync(target->fd) < 0)
		return lsc_err_set(err, errno, "cannot sync '%s/image': %m", target->temp);
	if ((r = lsc_file_write(path, manifest->data, manifest->len, err)) < 0 ||
	    (r = lsc_path_sync(target->temp, err)) < 0)
		return r;
	if (rename(target->temp, target->path) < 0)
		return lsc_err_set(err, errno, "cannot rename '%s' to '%s': %m", target->temp,
				   target->path);
	close(target->lock);
	target->lock = -1;
	return sync_parent(target->path, err);
}
