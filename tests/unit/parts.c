/* parts: an image's bytes in its own file and in those of others; tables that are no good */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "base/parts.h"
#include "base/shares.h"

#define PAGE 4096u

static struct lsc_err err;
static char dir[PATH_MAX];

static const char *in(const char *name)
{
	static char path[8][PATH_MAX + 64];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

/* A file of pages that are filled with first, first + 1, ..., and some bytes of another. */
static void make(const char *name, int first, unsigned pages, unsigned more)
{
	uint8_t data[16 * PAGE];
	int fd = open(in(name), O_RDWR | O_CREAT | O_TRUNC, 0600);

	for (unsigned i = 0; i < pages + 1; i++)
		memset(data + i * PAGE, first + (int)i, PAGE);
	if (lsc_write_full(fd, data, pages * PAGE + more) < 0)
		abort();
	close(fd);
}

static void put_table(uint64_t bytes, const struct lsc_share *rows, unsigned n)
{
	LSC_CLEANUP(lsc_shares_release) struct lsc_shares shares = {.bytes = bytes};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;

	for (unsigned i = 0; i < n; i++)
		lsc_shares_add(&shares, &rows[i]);
	if (lsc_shares_format(&shares, &text) < 0 ||
	    lsc_file_write(in("shares"), text.data, text.len, NULL) < 0)
		abort();
}

static int reopen(struct lsc_parts *parts)
{
	lsc_parts_close(parts);
	return lsc_parts_open(parts, dir, &err);
}

static void test_plain(void)
{
	struct lsc_parts parts = LSC_PARTS_INIT;
	uint8_t byte;

	make("image", 1, 3, 100);
	is_int(reopen(&parts), 0, "an image of its own %s", err.text);
	ok(parts.n == 1 && parts.bytes == 3 * PAGE + 100, "is one run");
	ok(lsc_parts_fd(&parts) >= 0, "and a file");
	is_int(lsc_parts_read(&parts, &byte, 1, 3 * PAGE + 99), 0, "read to its end");
	is_int(byte, 4, "the last byte");
	is_int(lsc_parts_read(&parts, &byte, 1, 3 * PAGE + 100), -EIO, "and no further");
	make("image", 1, 0, 0);
	ok(reopen(&parts) == 0 && parts.n == 0 && parts.bytes == 0, "one of nothing is no run");
	lsc_parts_close(&parts);
}

static void test_shared(void)
{
	struct lsc_share rows[] = {{PAGE, 2 * PAGE, 1, PAGE}, {4 * PAGE, 50, 0, 0}};
	struct lsc_parts parts = LSC_PARTS_INIT;
	uint8_t data[5 * PAGE], *map;

	make("image", 1, 6, 0);
	make("share.0", 31, 1, 0);
	make("share.1", 41, 4, 0);
	put_table(4 * PAGE + 50, rows, 2);
	is_int(reopen(&parts), 0, "an image of three files %s", err.text);
	is_int(parts.n, 4, "is runs");
	is_int(lsc_parts_fd(&parts), -1, "and no file");
	is_int(lsc_runs_check_whole(parts.runs, parts.n, parts.bytes, &err), 0, "all of it");
	is_int(lsc_parts_read(&parts, data, 4 * PAGE + 50, 0), 0, "read over all");
	ok(data[0] == 1 && data[PAGE] == 42 && data[3 * PAGE - 1] == 43 && data[3 * PAGE] == 4 &&
		   data[4 * PAGE + 49] == 31,
	   "each part from where it lies");
	is_int(lsc_runs_map(parts.runs, parts.n, parts.bytes, PROT_READ, &map, &err), 0, "mapped");
	lsc_parts_close(&parts);
	ok(!memcmp(map, data, 4 * PAGE + 50), "the same, and the files are closed");
	lsc_runs_unmap(map, 4 * PAGE + 50);
	unlink(in("share.0"));
	is_int(reopen(&parts), -ENOENT, "one is gone: %s", err.text);
	make("share.0", 31, 0, 49);
	is_int(reopen(&parts), -EBADMSG, "one was cut: %s", err.text);
	unlink(in("share.0"));
	ok(symlink("share.1", in("share.0")) == 0, "one is a link");
	is_int(reopen(&parts), -ELOOP, "which is not followed: %s", err.text);
	unlink(in("share.0"));
	lsc_parts_close(&parts);
}

static void test_tables(void)
{
	static const struct {
		const char *what, *text;
		int want;
	} cases[] = {
		{"empty", "", -EBADMSG},
		{"of another version", "lsc-shares 2\n", -EPROTO},
		{"without a size", "lsc-shares 1\n0 4096 0 0\n", -EBADMSG},
		{"with a row that is none", "lsc-shares 1\nbytes 9\n0 4096\n", -EBADMSG},
		{"with a row behind the end", "lsc-shares 1\nbytes 4096\n4096 4096 0 0\n",
		 -EBADMSG},
		{"with a row within a page", "lsc-shares 1\nbytes 8192\n1 4096 0 0\n", -EBADMSG},
		{"with a row of nothing", "lsc-shares 1\nbytes 8192\n0 0 0 0\n", -EBADMSG},
		{"with a file that is too many", "lsc-shares 1\nbytes 8192\n0 4096 1024 0\n",
		 -EBADMSG},
		{"with numbers that wrap", "lsc-shares 1\nbytes 8192\n0 18446744073709551615 0 0\n",
		 -EBADMSG},
		{"without an end", "lsc-shares 1\nbytes 8192\n0 4096 0 0\n", -EBADMSG},
		{"with another hash",
		 "lsc-shares 1\nbytes 8192\nxxh3-128 00000000000000000000000000000000\n", -EBADMSG},
	};
	struct lsc_parts parts = LSC_PARTS_INIT;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		lsc_file_write(in("shares"), cases[i].text, strlen(cases[i].text), NULL);
		is_int(reopen(&parts), cases[i].want, "a table %s: %s", cases[i].what, err.text);
	}
	unlink(in("shares"));
}

static atomic_bool stop;

/* Moves page 1 between `image` and two others, taking each away when the table says where else. */
static void *move_about(void *arg)
{
	struct lsc_share rows[] = {{PAGE, PAGE, 0, 0}, {PAGE, PAGE, 1, 0}};

	(void)arg;
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		make(i % 2 ? "share.1" : "share.0", 2, 1, 0);
		put_table(3 * PAGE, &rows[i % 2], 1);
		unlink(in(i % 2 ? "share.0" : "share.1"));
	}
	return NULL;
}

static void test_changing(void)
{
	struct lsc_share row = {PAGE, PAGE, 1, 0};
	struct lsc_parts parts = LSC_PARTS_INIT;
	bool good = true;
	pthread_t mover;

	make("image", 1, 3, 0);
	make("share.1", 2, 1, 0);
	put_table(3 * PAGE, &row, 1);
	pthread_create(&mover, NULL, move_about, NULL);
	for (unsigned i = 0; i < 300; i++) {
		uint8_t data[3 * PAGE];
		int r = reopen(&parts);

		if (r == -EAGAIN)
			continue;
		if (r == 0)
			r = lsc_parts_read(&parts, data, sizeof(data), 0);
		if (r < 0 || data[0] != 1 || data[PAGE] != 2 || data[2 * PAGE] != 3) {
			printf("# %d: %d %d %d\n", r, data[0], data[PAGE], data[2 * PAGE]);
			good = false;
		}
	}
	ok(good, "a directory that changes is opened as it was or as it is: %s", err.text);
	atomic_store(&stop, true);
	pthread_join(mover, NULL);
	lsc_parts_close(&parts);
}

int main(void)
{
	snprintf(dir, sizeof(dir), "%s/parts", scratch());
	mkdir(dir, 0700);
	test_plain();
	test_shared();
	test_tables();
	test_changing();
	return done_testing();
}
