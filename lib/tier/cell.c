/* cell - a memfd, its seals and its locks */
#include "tier/cell.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"

#define SMALL_PAGE   4096ull
#define LARGE_PAGES  "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define LARGE_PAGE   (2ull << 20)
#define SEALS        (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
#define SEAL_TRIES   20 /* what is being sent from it is pinned for a moment */
#define SEAL_WAIT_NS 10000000

/* linux/mempolicy.h */
#define POLICY_INTERLEAVE 3
#define MAX_NODES         1024

static uint64_t round_up(uint64_t bytes, uint64_t page)
{
	return lsc_div_up(bytes, page) * page;
}

/* --- memory --- */

/* Pages of all NUMA nodes in turn: a block is read by threads of each.  Where there is one node, or
 * no such call, there is nothing to do. */
static void spread(void *at, uint64_t len)
{
	static _Thread_local unsigned long nodes[MAX_NODES / (8 * sizeof(long))];
	static _Thread_local int n_nodes = -1;

	if (n_nodes < 0) {
		DIR *dir = opendir("/sys/devices/system/node");
		struct dirent *entry;
		unsigned node;

		n_nodes = 0;
		while (dir && (entry = readdir(dir)))
			if (sscanf(entry->d_name, "node%u", &node) == 1 && node < MAX_NODES) {
				nodes[node / (8 * sizeof(long))] |= 1ul
								    << (node % (8 * sizeof(long)));
				n_nodes++;
			}
		if (dir)
			closedir(dir);
	}
	if (n_nodes > 1)
		syscall(SYS_mbind, at, len, POLICY_INTERLEAVE, nodes, MAX_NODES + 1, 0);
}

/* The policy stays with the file once it was said of a mapping. */
static int set_policy(int fd, uint64_t room, struct lsc_err *err)
{
	void *at = mmap(NULL, room, PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return lsc_err_set(err, errno, "cannot map %llu bytes: %m",
				   (unsigned long long)room);
	spread(at, room);
	munmap(at, room);
	return 0;
}

static int make_memory(const char *name, uint64_t room, unsigned flags, struct lsc_err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	int r;

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot make memory: %m");
	r = ftruncate(fd, (off_t)room) < 0 ? -errno : 0;
	/* Large pages are reserved here, or it is known now that there are too few. */
	if (r == 0 && (flags & MFD_HUGETLB) && fallocate(fd, 0, 0, (off_t)room) < 0)
		r = -errno;
	/* Others may use it, by a lease, and open nothing of it by themselves. */
	if (r == 0 && fchmod(fd, 0600) < 0)
		r = -errno;
	/* Whoever fills it may write to it, and not cut it: that would be a SIGBUS to all others.
	 */
	if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		r = -errno;
	if (r == 0)
		r = set_policy(fd, room, err);
	if (r < 0) {
		close(fd);
		return lsc_err_set(err, -r, "no memory for %llu bytes: %m",
				   (unsigned long long)room);
	}
	return fd;
}

static int own(struct lsc_cell **ret_cell, const struct lsc_hash *key, uint64_t bytes,
	       uint64_t room, int fd, struct lsc_err *err)
{
	struct lsc_cell *cell = malloc(sizeof(*cell));

	if (!cell) {
		close(fd);
		return lsc_err_set(err, ENOMEM, "no memory for a block");
	}
	*cell = (struct lsc_cell){.key = *key, .bytes = bytes, .room = room, .fd = fd};
	cell->whole = (fcntl(fd, F_GET_SEALS) & SEALS) == SEALS;
	*ret_cell = cell;
	return 0;
}

uint64_t lsc_cell_room(uint64_t bytes, bool huge)
{
	return round_up(bytes, huge ? LARGE_PAGE : SMALL_PAGE);
}

static bool is_above_0(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long n = 0;

	if (!file)
		return false;
	if (fscanf(file, "%lu", &n) != 1)
		n = 0;
	fclose(file);
	return n > 0;
}

bool lsc_cell_has_large_pages(void)
{
	return is_above_0(LARGE_PAGES "free_hugepages") ||
	       is_above_0(LARGE_PAGES "nr_overcommit_hugepages");
}

int lsc_cell_new(struct lsc_cell **ret_cell, const struct lsc_hash *key, uint64_t bytes, bool huge,
		 struct lsc_err *err)
{
	char text[LSC_HASH_TEXT], name[64];
	uint64_t room = lsc_cell_room(bytes, huge);
	int fd = -1;

	snprintf(name, sizeof(name), "lsc-%s", lsc_hash_text(key, text));
	if (huge)
		fd = make_memory(name, room, MFD_HUGETLB, NULL);
	if (fd < 0) {
		room = lsc_cell_room(bytes, false);
		fd = make_memory(name, room, 0, err);
	}
	return fd < 0 ? fd : own(ret_cell, key, bytes, room, fd, err);
}

int lsc_cell_adopt(struct lsc_cell **ret_cell, const struct lsc_hash *key, uint64_t bytes, int fd,
		   struct lsc_err *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || seals < 0 || !(seals & F_SEAL_SHRINK) ||
	    (uint64_t)st.st_size < bytes || (uint64_t)st.st_size > round_up(bytes, LARGE_PAGE)) {
		close(fd);
		return lsc_err_set(err, EBADMSG, "a descriptor is not a block's memory");
	}
	return own(ret_cell, key, bytes, (uint64_t)st.st_size, fd, err);
}

int lsc_cell_seal(struct lsc_cell *cell, struct lsc_err *err)
{
	struct timespec pause = {0, SEAL_WAIT_NS};

	for (int i = 0; !cell->whole; i++) {
		if (fcntl(cell->fd, F_ADD_SEALS, SEALS) == 0)
			cell->whole = true;
		else if (errno != EBUSY || i == SEAL_TRIES)
			return lsc_err_set(err, errno, "cannot seal a block: %m");
		else
			nanosleep(&pause, NULL);
	}
	return 0;
}

/* --- leases --- */

/* A description of its own: what is passed on itself would share ours, with its rights and locks.
 */
static int reopen(const struct lsc_cell *cell, int flags, struct lsc_err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", cell->fd);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? lsc_err_set(err, errno, "cannot lend a block: %m") : fd;
}

/* Of the description (F_OFD_SETLK in fcntl(2)), over all of it.  Unlike one of flock(2), who may
 * only read cannot make an exclusive one of it, which would keep others out. */
static struct flock lock_of(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

int lsc_cell_lend(const struct lsc_cell *cell, struct lsc_err *err)
{
	int fd = reopen(cell, O_RDONLY, err), r;
	struct flock lock = lock_of(F_RDLCK);

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		r = lsc_err_set(err, errno, "cannot lend a block: %m");
		close(fd);
		return r;
	}
	return fd;
}

int lsc_cell_open(const struct lsc_cell *cell, struct lsc_err *err)
{
	return reopen(cell, O_RDWR, err);
}

bool lsc_cell_is_lent(const struct lsc_cell *cell)
{
	struct flock lock = lock_of(F_WRLCK);

	return fcntl(cell->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

uint64_t lsc_cell_taken(const struct lsc_cell *cell)
{
	struct stat st;

	return fstat(cell->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

void lsc_cell_free(struct lsc_cell *cell)
{
	if (!cell)
		return;
	close(cell->fd);
	free(cell);
}
