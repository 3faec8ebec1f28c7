/* segment: arriving, waiting, taking up, committing and discarding, in one process and several */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "mem/segment.h"

#define PIECES      130
#define PIECE_BYTES 4096
#define BYTES       ((uint64_t)PIECES * PIECE_BYTES)

static struct lsc_err err;
static char dir[PATH_MAX];
static const char manifest[] = "a manifest", other_manifest[] = "another one";

static int create(struct lsc_segment *s, const char *name, const char *text)
{
	err = (struct lsc_err)LSC_ERR_INIT;
	return lsc_segment_create(s, dir, name, text, strlen(text), BYTES, PIECES, &err);
}

static void receive(struct lsc_segment *s, uint32_t piece)
{
	lsc_segment_prepare(s, (uint64_t)piece * PIECE_BYTES, PIECE_BYTES, NULL);
	memset(s->data + (uint64_t)piece * PIECE_BYTES, (int)piece + 1, PIECE_BYTES);
	lsc_segment_wrote(s, (uint64_t)piece * PIECE_BYTES, PIECE_BYTES);
	lsc_segment_mark(s, piece);
}

static bool is_piece(const struct lsc_segment *s, uint32_t piece)
{
	for (int i = 0; i < PIECE_BYTES; i++)
		if (s->data[(uint64_t)piece * PIECE_BYTES + i] != (uint8_t)(piece + 1))
			return false;
	return true;
}

static bool exists(const char *name)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static int note_name(void *data, const char *name, bool arriving)
{
	sprintf((char *)data + strlen(data), "%s%s ", name, arriving ? "*" : "");
	return 0;
}

static void test_arrival(void)
{
	struct lsc_segment s = LSC_SEGMENT_INIT, user = LSC_SEGMENT_INIT, late = LSC_SEGMENT_INIT;
	char names[256] = "";
	struct stat st;

	is_int(lsc_segment_open(&user, dir, "m", &err), -ENOENT, "nothing there: %s", err.text);
	is_int(create(&s, "m", manifest), 0, "created");
	is_int(lsc_segment_open(&user, dir, "m", &err), 0, "a user opens it while it arrives");
	is_int(user.bytes, BYTES, "its size is known");
	ok(user.manifest_len == strlen(manifest) && !memcmp(user.manifest, manifest, 10),
	   "and its manifest");
	ok(!lsc_segment_has(&user, 0, 1) && lsc_segment_count(&user) == 0, "no piece is there");
	receive(&s, 64);
	receive(&s, 64);
	is_int(lsc_segment_count(&user), 1, "a piece marked twice counts once");
	ok(lsc_segment_has(&user, 64, 1) && is_piece(&user, 64), "the user sees it");
	ok(!lsc_segment_has(&user, 63, 2) && !lsc_segment_has(&user, 64, 2), "and no more");
	ok(lsc_segment_has(&user, 7, 0), "of no pieces, all are there");
	is_int(lsc_segment_wait(&user, 63, 2, 20), -ETIMEDOUT, "waiting times out");
	lsc_segment_each(dir, note_name, names, &err);
	is_str(names, "m* ", "it is listed as arriving");
	for (uint32_t i = 0; i < PIECES; i++)
		receive(&s, i);
	is_int(lsc_segment_commit(&s, &err), 0, "committed");
	ok(exists("m/image") && exists("m/manifest") && !exists("m/arrivals") && !exists("m.part"),
	   "it lies under its name, without the table");
	ok(is_piece(&user, 129) && lsc_segment_wait(&user, 0, PIECES, 0) == 0,
	   "who mapped it before goes on");
	is_int(lsc_segment_open(&late, dir, "m", &err), 0, "who comes late");
	ok(!late.arrivals && late.n_pieces == 0 && lsc_segment_wait(&late, 0, 1, 0) == 0 &&
		   is_piece(&late, 100),
	   "finds it whole");
	names[0] = 0;
	lsc_segment_each(dir, note_name, names, &err);
	is_str(names, "m ", "it is listed as arrived");
	ok(stat(s.dir, &st) == 0 && st.st_nlink >= 2, "the receiver knows where it is now");
	lsc_segment_close(&late);
	lsc_segment_close(&user);
	lsc_segment_close(&s);
	is_int(create(&s, "m", manifest), -EEXIST, "it is not received again: %s", err.text);
}

/* Parts that begin and end anywhere. */
static void test_parts(void)
{
	struct lsc_segment s = LSC_SEGMENT_INIT;

	create(&s, "p", manifest);
	lsc_segment_prepare(&s, 0, 0, NULL);
	lsc_segment_prepare(&s, BYTES, 0, NULL);
	lsc_segment_prepare(&s, 1, 1, NULL);
	receive(&s, 3);
	lsc_segment_prepare(&s, 3 * PIECE_BYTES - 1, PIECE_BYTES + 2, NULL);
	lsc_segment_prepare(&s, 0, BYTES, NULL);
	ok(is_piece(&s, 3) && s.data[0] == 0 && s.data[BYTES - 1] == 0,
	   "making ready what is there changes nothing");
	lsc_segment_discard(&s, &err);
	lsc_segment_close(&s);
}

static void test_take_up(void)
{
	struct lsc_segment s = LSC_SEGMENT_INIT, again = LSC_SEGMENT_INIT;
	struct lsc_segment user = LSC_SEGMENT_INIT;
	char path[PATH_MAX + 64];
	int fd;

	create(&s, "r", manifest);
	receive(&s, 5);
	receive(&s, 77);
	is_int(create(&again, "r", manifest), -EBUSY, "one receiver at a time: %s", err.text);
	lsc_segment_close(&s);
	is_int(create(&s, "r", manifest), 0, "taken up again");
	is_int(lsc_segment_count(&s), 2, "with the pieces it has");
	ok(lsc_segment_has(&s, 5, 1) && lsc_segment_has(&s, 77, 1) && is_piece(&s, 77),
	   "which are the same");
	lsc_segment_close(&s);
	is_int(create(&s, "r", other_manifest), 0, "with another manifest");
	is_int(lsc_segment_count(&s), 0, "it starts afresh");
	receive(&s, 1);
	lsc_segment_close(&s);

	/* Cut short by someone: what its marks say is no longer there. */
	snprintf(path, sizeof(path), "%s/r.part/image", dir);
	if (truncate(path, BYTES / 2) < 0)
		abort();
	create(&s, "r", other_manifest);
	is_int(lsc_segment_count(&s), 0, "an image of another size has no pieces");
	receive(&s, 1);
	lsc_segment_close(&s);

	/* As if the machine had been booted since. */
	snprintf(path, sizeof(path), "%s/r.part/arrivals", dir);
	fd = open(path, O_RDWR);
	if (pwrite(fd, "another boot", 12, 16) != 12)
		abort();
	close(fd);
	create(&s, "r", other_manifest);
	is_int(lsc_segment_count(&s), 0, "marks of another boot are not trusted");
	receive(&s, 1);
	is_int(lsc_segment_open(&user, dir, "r", &err), 0, "a user");
	is_int(lsc_segment_discard(&s, &err), 0, "discarded");
	ok(!exists("r.part") && !exists("r"), "nothing is left");
	is_int(lsc_segment_wait(&user, 0, 2, 1000), -EPIPE, "who waits is told");
	ok(is_piece(&user, 1), "what is mapped stays");
	lsc_segment_close(&user);
	lsc_segment_close(&s);
}

/* The receiver is killed with a piece marked; its lock goes with it, and the mark stays. */
static void test_killed(void)
{
	struct lsc_segment s = LSC_SEGMENT_INIT;
	int fds[2], status;
	char byte;
	pid_t pid;

	if (pipe(fds) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		create(&s, "k", manifest);
		receive(&s, 9);
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	if (read(fds[0], &byte, 1) != 1)
		abort();
	is_int(create(&s, "k", manifest), -EBUSY, "another process receives it");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	is_int(create(&s, "k", manifest), 0, "it was killed, and is succeeded");
	ok(lsc_segment_count(&s) == 1 && lsc_segment_has(&s, 9, 1) && is_piece(&s, 9),
	   "with the piece that had come");
	lsc_segment_discard(&s, &err);
	lsc_segment_close(&s);
	close(fds[0]);
	close(fds[1]);
}

static struct lsc_segment shared = LSC_SEGMENT_INIT;

/* Waits for each piece in turn and checks its bytes, from a mapping of its own. */
static void *wait_for_all(void *arg)
{
	struct lsc_segment user = LSC_SEGMENT_INIT;
	long *good = arg;

	if (lsc_segment_open(&user, dir, "t", NULL) < 0)
		return NULL;
	for (uint32_t i = 0; i < PIECES; i++)
		if (lsc_segment_wait(&user, i, 1, 10000) == 0 && is_piece(&user, i))
			++*good;
	lsc_segment_close(&user);
	return NULL;
}

static void test_threads(void)
{
	pthread_t threads[3];
	long good[3] = {0};
	uint64_t start = lsc_clock_ns();

	create(&shared, "t", manifest);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, wait_for_all, &good[i]);
	for (uint32_t i = 0; i < PIECES; i++) {
		if (i % 16 == 0)
			usleep(1000);
		receive(&shared, (i * 37) % PIECES);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ok(good[0] == PIECES && good[1] == PIECES && good[2] == PIECES,
	   "three who wait see every piece with its bytes (%ld %ld %ld)", good[0], good[1],
	   good[2]);
	ok(lsc_clock_ns() - start < 5000000000u, "and are woken in time");
	lsc_segment_discard(&shared, &err);
	lsc_segment_close(&shared);
}

static void test_refusals(void)
{
	static const char *const names[] = {"",       ".",    "..",   ".hidden", "a/b",
					    "x.part", "/abs", "a\nb", "\x7f",    ".part"};
	struct lsc_segment s = LSC_SEGMENT_INIT;
	char path[PATH_MAX + 64];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		is_int(create(&s, names[i], manifest), -EINVAL, "name %u is refused", i);
	is_int(lsc_segment_create(&s, dir, "huge", manifest, 1, INT64_MAX / 2, 1, &err) < 0 &&
		       (err.code == ENOSPC || err.code == EFBIG),
	       1, "an image that cannot fit: %s", err.text);
	ok(!exists("huge.part") && !exists("huge"), "leaves nothing");
	snprintf(path, sizeof(path), "%s/b.part", dir);
	mkdir(path, 0777);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/b.part/%s", dir,
			 (const char *[]){"manifest", "image", "arrivals"}[i]);
		lsc_file_write(path,
			       "garbage that is longer than the head of the table of "
			       "arrivals, which has seventy-two bytes",
			       90, &err);
	}
	is_int(lsc_segment_open(&s, dir, "b", &err), -EBADMSG, "garbage: %s", err.text);
	is_int(create(&s, "b", manifest), 0, "a receiver starts afresh over it");
	is_int(lsc_segment_count(&s), 0, "with no piece");
	lsc_segment_discard(&s, &err);
	lsc_segment_close(&s);
	is_int(lsc_segment_create(&s, dir, "empty", manifest, 1, 0, 0, &err), 0, "an empty image");
	is_int(lsc_segment_commit(&s, &err), 0, "has arrived at once");
	lsc_segment_close(&s);
}

/* A large image is allocated in parts, and is not to be seen before the last. */
static void test_steps(void)
{
	const uint64_t bytes = (2ull << 28) + 4096;
	struct lsc_segment s = LSC_SEGMENT_INIT, user = LSC_SEGMENT_INIT;
	int parts = 0, r;

	r = lsc_segment_begin(&s, dir, "large", manifest, strlen(manifest), bytes, 1, &err);
	if (r == -ENOSPC) {
		skip("%s", err.text);
		return;
	}
	is_int(r, 0, "a large one is begun");
	is_int(lsc_segment_grow(&s, &err), 1, "it is not done at once");
	is_int(lsc_segment_open(&user, dir, "large", &err), -ENOENT, "nobody sees it");
	while ((r = lsc_segment_grow(&s, &err)) > 0)
		parts++;
	ok(r == 0 && parts == 1 && s.bytes == bytes && s.data, "it is, after three parts");
	is_int(lsc_segment_open(&user, dir, "large", &err), 0, "now it is seen");
	is_int(user.bytes, bytes, "at its full size");
	lsc_segment_close(&user);
	lsc_segment_discard(&s, &err);
	lsc_segment_close(&s);

	lsc_segment_begin(&s, dir, "large", manifest, strlen(manifest), bytes, 1, &err);
	lsc_segment_grow(&s, &err);
	lsc_segment_close(&s);
	is_int(create(&s, "large", manifest), 0, "one that was left half-way is taken up");
	is_int(s.bytes, BYTES, "by another of its name");
	lsc_segment_discard(&s, &err);
	lsc_segment_close(&s);
}

int main(void)
{
	snprintf(dir, sizeof(dir), "%s/seg", scratch());
	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		return 1;
	test_arrival();
	test_parts();
	test_take_up();
	test_killed();
	test_threads();
	test_refusals();
	test_steps();
	return done_testing();
}
