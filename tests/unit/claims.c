/* claims: one of many has a block, in threads and processes; the dead lose theirs */
#include "tap.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "mem/claims.h"
#include "mem/marks.h"

#define PIECES  130
#define BLOCKS  500
#define THREADS 4

static struct lsc_marks *marks;
static int fd;
static struct lsc_err err;
static atomic_uint taken[BLOCKS];

static struct lsc_claims *join(enum lsc_claim kind)
{
	struct lsc_claims *claims = NULL;

	if (lsc_claims_open(&claims, marks, fd, kind, &err) < 0)
		printf("# %s\n", err.text);
	return claims;
}

static void test_two(void)
{
	struct lsc_claims *disk = join(LSC_CLAIM_DISK), *cast = join(LSC_CLAIM_CAST);
	uint32_t pid = 0, seen = lsc_marks_generation(marks);

	ok(disk && cast, "two sets of claims on one table");
	is_int(lsc_claims_of(marks, 7, &pid), LSC_CLAIM_NONE, "a block is nobody's");
	ok(lsc_claims_take(disk, 7) && lsc_claims_take(disk, 7), "who takes it has it");
	ok(!lsc_claims_take(cast, 7) && !lsc_claims_has(cast, 7), "and the other one has not");
	ok(lsc_claims_of(marks, 7, &pid) == LSC_CLAIM_DISK && pid == (uint32_t)getpid(),
	   "anyone sees what for, and by whom");
	ok(lsc_marks_generation(marks) != seen, "and that something has changed");
	lsc_claims_drop(cast, 7);
	ok(lsc_claims_has(disk, 7), "nobody drops what is not his own");
	is_int(lsc_claims_bury(cast), 0, "who lives is not buried");
	lsc_claims_drop(disk, 7);
	ok(lsc_claims_take(cast, 7), "what was dropped may be taken");
	ok(lsc_claims_take(cast, BLOCKS - 1) && lsc_claims_take(disk, 0), "first and last");
	lsc_claims_close(cast);
	ok(lsc_claims_of(marks, 7, NULL) == LSC_CLAIM_NONE &&
		   lsc_claims_of(marks, BLOCKS - 1, NULL) == LSC_CLAIM_NONE &&
		   lsc_claims_of(marks, 0, NULL) == LSC_CLAIM_DISK,
	   "who closes his set drops them all");
	lsc_claims_close(disk);
	lsc_claims_close(NULL);
}

/* --- many --- */

static void *take_all(void *arg)
{
	struct lsc_claims *claims = join(LSC_CLAIM_DISK);
	uint32_t from = (uint32_t)(uintptr_t)arg * 31;

	for (uint32_t i = 0; claims && i < BLOCKS; i++)
		if (lsc_claims_take(claims, (from + i) % BLOCKS))
			atomic_fetch_add(&taken[(from + i) % BLOCKS], 1);
	return claims;
}

static void test_threads(void)
{
	void *claims[THREADS];
	pthread_t threads[THREADS];
	bool once = true;

	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, take_all, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], &claims[i]);
	for (int i = 0; i < BLOCKS; i++)
		once = once && taken[i] == 1;
	ok(once, "of %d threads, one has a block", THREADS);
	for (int i = 0; i < THREADS; i++)
		lsc_claims_close(claims[i]);
}

static void test_full(void)
{
	struct lsc_claims *all[256];
	unsigned n = 0;
	int r = 0;

	while (n < 256 && (r = lsc_claims_open(&all[n], marks, fd, LSC_CLAIM_CAST, &err)) == 0)
		n++;
	ok(r == -EBUSY && n == 250, "one more than can be: %s", err.text);
	while (n--)
		lsc_claims_close(all[n]);
}

/* --- processes --- */

/* Takes the first blocks, says so, and waits for its end. */
static pid_t start_claimant(uint32_t n)
{
	int pipe_fds[2];
	char c = 0;
	pid_t pid;

	if (pipe(pipe_fds) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		struct lsc_claims *claims = join(LSC_CLAIM_DISK);

		for (uint32_t i = 0; claims && i < n; i++)
			c += lsc_claims_take(claims, i);
		_exit(write(pipe_fds[1], &c, 1) != 1 || pause() < 0);
	}
	if (read(pipe_fds[0], &c, 1) != 1)
		abort();
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return pid;
}

static void end_claimant(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_dead(void)
{
	struct lsc_claims *cast = join(LSC_CLAIM_CAST), *later;
	pid_t pid = start_claimant(3);
	uint32_t seen, owner = 0;

	ok(!lsc_claims_take(cast, 2) && lsc_claims_take(cast, 3), "another process has three");
	is_int(lsc_claims_bury(cast), 0, "it lives");
	end_claimant(pid);
	ok(lsc_claims_of(marks, 2, &owner) == LSC_CLAIM_DISK && owner == (uint32_t)pid,
	   "it dies, with its claims held");
	later = join(LSC_CLAIM_DISK);
	ok(later && !lsc_claims_take(later, 2), "who comes after it does not become it");
	is_int(lsc_claims_bury(cast), 0, "a moment of grace for its reads");
	is_int(lsc_claims_bury(cast), 0, "which is not over at once");
	usleep(LSC_CLAIMS_GRACE_NS / 1000 + 1000);
	seen = lsc_marks_generation(marks);
	is_int(lsc_claims_bury(cast), 3, "then it loses them");
	ok(lsc_marks_generation(marks) != seen, "as others hear");
	ok(lsc_claims_take(later, 2) && lsc_claims_has(cast, 3), "and someone else may bring them");
	lsc_claims_close(later);
	lsc_claims_close(cast);
}

/* One who would bury dies himself, and its slots are another's to bury. */
static void test_undertaker(void)
{
	struct lsc_claims *first = join(LSC_CLAIM_CAST), *second = join(LSC_CLAIM_CAST);

	end_claimant(start_claimant(1));
	lsc_claims_bury(first);
	lsc_claims_bury(second);
	lsc_claims_close(first);
	lsc_claims_bury(second);
	usleep(LSC_CLAIMS_GRACE_NS / 1000 + 1000);
	is_int(lsc_claims_bury(second), 1, "who was about to bury may go, too");
	lsc_claims_close(second);
}

static void test_tables(void)
{
	size_t len = lsc_marks_bytes(PIECES, BLOCKS);
	struct lsc_marks *plain = calloc(1, lsc_marks_bytes(PIECES, 0));
	struct lsc_claims *claims;

	lsc_marks_start(plain, PIECES, 0);
	is_int(lsc_claims_open(&claims, plain, fd, LSC_CLAIM_DISK, &err), -EOPNOTSUPP,
	       "a table without claims: %s", err.text);
	is_int(((uint32_t *)plain)[2], 1, "is of the version that it always was");
	is_int(lsc_marks_check(plain, lsc_marks_bytes(PIECES, 0), "d", &err), 0, "and is read");
	is_int(((uint32_t *)marks)[2], 2, "one with claims is of the next");
	is_int(lsc_marks_check(marks, len, "d", &err), 0, "and is read, too");
	is_int(lsc_marks_check(marks, len - 1, "d", &err), -EBADMSG, "if it is all there");
	ok(lsc_marks_take_up(marks, PIECES, BLOCKS) && !lsc_marks_take_up(marks, PIECES, 0) &&
		   !lsc_marks_take_up(plain, PIECES, BLOCKS),
	   "one kind is not taken up as the other");
	ok(lsc_marks_set(marks, 129) && !lsc_marks_set(marks, 129),
	   "of two who mark, one was first");
	((uint32_t *)plain)[2] = 3;
	is_int(lsc_marks_check(plain, lsc_marks_bytes(PIECES, 0), "d", &err), -EPROTO,
	       "of a version to come: %s", err.text);
	free(plain);
}

int main(void)
{
	size_t len = lsc_marks_bytes(PIECES, BLOCKS);

	fd = memfd_create("arrivals", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		abort();
	marks = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	lsc_marks_start(marks, PIECES, BLOCKS);
	test_tables();
	test_two();
	test_threads();
	test_full();
	test_dead();
	test_undertaker();
	return done_testing();
}
