/* cell: sealed when it is whole, never cut; a lease is kept by a mapping alone, whoever has it */
#include "tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tier/cell.h"

#define BYTES 10000

static struct lsc_err err;
static struct lsc_hash key;

static struct lsc_cell *make(bool huge)
{
	struct lsc_cell *cell = NULL;

	if (lsc_cell_new(&cell, &key, BYTES, huge, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
	return cell;
}

static void *map(int fd, int prot)
{
	void *at = mmap(NULL, BYTES, prot, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* --- what may be done to it --- */

static void test_seals(void)
{
	struct lsc_cell *cell = make(false), *again = NULL;
	int write_fd = lsc_cell_open(cell, &err), lease;
	uint8_t *at = map(write_fd, PROT_READ | PROT_WRITE);

	ok(at && !cell->whole && cell->room == 12288 && lsc_cell_room(BYTES, false) == 12288,
	   "room of whole pages");
	ok(ftruncate(write_fd, 0) < 0 && ftruncate(write_fd, 1 << 20) < 0,
	   "whoever fills it cannot cut it, nor have it grow");
	memset(at, 7, BYTES);
	ok(lsc_cell_taken(cell) >= BYTES, "it takes memory when it is filled");
	is_int(lsc_cell_seal(cell, &err), -EBUSY, "while it is mapped to write it is not whole");
	ok(!cell->whole && strstr(err.text, "seal"), "in words: %s", err.text);
	munmap(at, BYTES);
	is_int(lsc_cell_seal(cell, &err), 0, "then it is");
	is_int(lsc_cell_seal(cell, &err), 0, "and stays so");
	ok(!map(write_fd, PROT_READ | PROT_WRITE) && pwrite(write_fd, "x", 1, 0) < 0 &&
		   fallocate(write_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0,
	   "nobody writes to it any more");
	lease = lsc_cell_lend(cell, &err);
	at = map(lease, PROT_READ);
	ok(at && at[0] == 7 && at[BYTES - 1] == 7, "what was written is there");
	ok(mprotect(at, BYTES, PROT_READ | PROT_WRITE) < 0 &&
		   fcntl(lease, F_ADD_SEALS, F_SEAL_SEAL) < 0,
	   "who reads can change nothing of that");
	munmap(at, BYTES);
	close(lease);
	close(write_fd);
	ok(lsc_cell_adopt(&again, &key, BYTES, fcntl(cell->fd, F_DUPFD_CLOEXEC, 0), &err) == 0 &&
		   again->whole && again->room == 12288,
	   "it is known again by its seals");
	lsc_cell_free(again);
	lsc_cell_free(cell);
}

static void test_adopt(void)
{
	struct lsc_cell *cell = NULL;
	int pipes[2], bare = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	is_int(pipe(pipes), 0, "a pipe");
	is_int(lsc_cell_adopt(&cell, &key, BYTES, pipes[0], &err), -EBADMSG, "is no cell");
	close(pipes[1]);
	is_int(lsc_cell_adopt(&cell, &key, BYTES, open("/dev/zero", O_RDWR), &err), -EBADMSG,
	       "nor is a device");
	is_int(ftruncate(bare, 12288), 0, "memory that can be cut");
	is_int(lsc_cell_adopt(&cell, &key, BYTES, bare, &err), -EBADMSG, "is none either");
	cell = make(false);
	is_int(lsc_cell_adopt(&cell, &key, 12289, fcntl(cell->fd, F_DUPFD_CLOEXEC, 0), &err),
	       -EBADMSG, "nor one that is too short");
	lsc_cell_free(cell);
	lsc_cell_free(NULL);
}

/* --- leases --- */

static void test_lease(void)
{
	struct lsc_cell *cell = make(false);
	int a, b;
	void *at;
	pid_t pid;

	ok(!lsc_cell_is_lent(cell), "nobody uses it");
	a = lsc_cell_lend(cell, &err);
	b = lsc_cell_lend(cell, &err);
	ok(a >= 0 && b >= 0 && lsc_cell_is_lent(cell), "two do");
	ok((fcntl(a, F_GETFL) & O_ACCMODE) == O_RDONLY && fcntl(a, F_GETFD) == FD_CLOEXEC,
	   "to read alone");
	close(a);
	ok(lsc_cell_is_lent(cell), "one does");
	at = map(b, PROT_READ);
	close(b);
	ok(at && lsc_cell_is_lent(cell), "by its mapping alone");
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	munmap(at, BYTES);
	ok(lsc_cell_is_lent(cell), "a child that has the mapping uses it, too");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(!lsc_cell_is_lent(cell), "until it is killed");
	lsc_cell_free(cell);
}

/* Who may only read keeps nobody else out, by no kind of lock. */
static void test_greedy(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct lsc_cell *cell = make(false);
	int a = lsc_cell_lend(cell, &err), b;

	ok(fcntl(a, F_OFD_SETLK, &lock) < 0 && errno == EBADF, "a lease cannot be made exclusive");
	ok(flock(a, LOCK_EX | LOCK_NB) == 0, "and an exclusive lock of another kind");
	b = lsc_cell_lend(cell, &err);
	ok(b >= 0, "keeps nobody out");
	close(a);
	ok(lsc_cell_is_lent(cell), "nor does it hide others");
	close(b);
	ok(!lsc_cell_is_lent(cell), "all are gone");
	lsc_cell_free(cell);
}

static bool has_huge_pages(void)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	int n = 0;

	if (file && fscanf(file, "%d", &n) != 1)
		n = 0;
	if (file)
		fclose(file);
	return n > 0;
}

static void test_huge(void)
{
	struct lsc_cell *cell = make(true);
	bool large = cell->room == 2 << 20;

	is_int(lsc_cell_room(BYTES, true), 2 << 20, "room for a large page is counted");
	if (has_huge_pages())
		ok(large && lsc_cell_taken(cell) == 2 << 20, "a cell of a large page");
	else
		ok(cell->room == 12288, "where there are none it has small ones");
	is_int(lsc_cell_seal(cell, &err), 0, "it is sealed as others are");
	lsc_cell_free(cell);
}

int main(void)
{
	key = lsc_hash_of("a", 1);
	test_seals();
	test_adopt();
	test_lease();
	test_greedy();
	test_huge();
	return done_testing();
}
