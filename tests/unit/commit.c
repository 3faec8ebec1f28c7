/* commit: in the background, to its end whoever is left to hear of it */
#include "tap.h"

#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "cast/commit.h"

#define BYTES 65536

static struct lsc_loop *loop;
static struct lsc_err err;
static char dir[4096];
static int calls, last_result;

static struct lsc_segment *receive(const char *name)
{
	struct lsc_segment *segment = malloc(sizeof(*segment));

	if (lsc_segment_create(segment, dir, name, "manifest", 8, BYTES, 1, &err) < 0)
		return NULL;
	memset(segment->data, 7, BYTES);
	lsc_segment_mark(segment, 0);
	return segment;
}

static bool exists(const char *name)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void forget(const char *name)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	lsc_dir_remove(path, NULL);
}

static void on_done(void *data, int result, const struct lsc_err *e)
{
	(void)data;
	(void)e;
	calls++;
	last_result = result;
}

static void wait_for(const char *name)
{
	uint64_t until = lsc_clock_ns() + 5000000000u;

	while (!exists(name) && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 10, NULL);
	lsc_loop_turn(loop, 100, NULL);
}

static void test_done(void)
{
	struct lsc_segment *segment = receive("a");
	struct lsc_commit *commit = NULL;

	is_int(lsc_commit_start(&commit, loop, segment, on_done, NULL, &err), 0, "started");
	wait_for("a");
	ok(calls == 1 && last_result == 0 && exists("a") && !exists("a.part"), "done, and told");
	ok(!lsc_commit_leave(commit), "the segment stays its owner's");
	lsc_segment_close(segment);
	free(segment);
	forget("a");
	ok(!lsc_commit_leave(NULL), "none at all");
}

static void test_left(void)
{
	struct lsc_segment *segment = receive("b");
	struct lsc_commit *commit = NULL;

	calls = 0;
	lsc_commit_start(&commit, loop, segment, on_done, NULL, &err);
	ok(lsc_commit_leave(commit), "left before it is done");
	wait_for("b");
	ok(exists("b") && !exists("b.part") && calls == 0, "it is done, and nobody is called");
	forget("b");

	segment = receive("c");
	lsc_commit_start(&commit, loop, segment, on_done, NULL, &err);
	ok(lsc_commit_leave(commit), "left again");
	lsc_loop_free(loop);
	ok(exists("c") && !exists("c.part"), "the end of the loop waits for it");
	forget("c");
}

int main(void)
{
	snprintf(dir, sizeof(dir), "%s/commit", scratch());
	mkdir(dir, 0777);
	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_done();
	test_left();
	return done_testing();
}
