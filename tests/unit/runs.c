/* runs: parts of files as one range of memory, and what is no such range */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/macros.h"
#include "base/runs.h"

#define PAGE  ((uint64_t)sysconf(_SC_PAGESIZE))
#define LARGE LSC_RUNS_ALIGN

static struct lsc_err err;
static sigjmp_buf back;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

/* Whether a byte can be read. */
static bool is_there(const uint8_t *at)
{
	if (sigsetjmp(back, 1))
		return false;
	(void)*(const volatile uint8_t *)at;
	return true;
}

/* A file of pages that are filled with their numbers. */
static int numbered(unsigned pages)
{
	int fd = memfd_create("runs", MFD_CLOEXEC);

	for (unsigned i = 0; i < pages; i++) {
		uint8_t page[65536];

		memset(page, (int)i + 1, PAGE);
		if (pwrite(fd, page, PAGE, (off_t)(i * PAGE)) != (ssize_t)PAGE)
			abort();
	}
	return fd;
}

static void test_map(void)
{
	int a = numbered(4), b = numbered(8);
	uint64_t bytes = 5 * PAGE + 100;
	struct lsc_run runs[] = {
		{0, PAGE, a, 3 * PAGE},
		{PAGE, 2 * PAGE, b, 6 * PAGE},
		{4 * PAGE, PAGE + 100, a, 0},
	};
	uint8_t *data;

	is_int(lsc_runs_map(runs, 3, bytes, PROT_READ, &data, &err), 0, "mapped");
	ok((uintptr_t)data % LARGE == 0, "where large pages can begin");
	ok(data[0] == 4 && data[PAGE] == 7 && data[3 * PAGE - 1] == 8, "parts lie side by side");
	ok(data[4 * PAGE] == 1 && data[bytes - 1] == 2, "to the last byte");
	ok(!is_there(data + 3 * PAGE) && !is_there(data + 4 * PAGE - 1), "a gap is not there");
	ok(!is_there(data + 6 * PAGE), "nor is what is behind");
	close(a);
	close(b);
	is_int(data[PAGE], 7, "it needs no descriptors");
	lsc_runs_unmap(data, bytes);
	ok(!is_there(data) && !is_there(data + 4 * PAGE), "all of it is gone at once");
}

static void test_shared(void)
{
	int fd = numbered(2);
	struct lsc_run runs[] = {{0, PAGE, fd, PAGE}, {PAGE, PAGE, fd, 0}, {2 * PAGE, PAGE, fd, 0}};
	uint8_t *data, byte = 0;

	is_int(lsc_runs_map(runs, 3, 3 * PAGE, PROT_READ | PROT_WRITE, &data, &err), 0,
	       "a part may be there twice");
	data[PAGE] = 77;
	ok(data[2 * PAGE] == 77 && pread(fd, &byte, 1, 0) == 1 && byte == 77,
	   "what is written is the file's");
	lsc_runs_unmap(data, 3 * PAGE);
	close(fd);
}

static void test_none(void)
{
	uint8_t *data = (uint8_t *)&data;

	is_int(lsc_runs_map(NULL, 0, 0, PROT_READ, &data, &err), 0, "nothing can be mapped");
	ok(data == NULL, "to nowhere");
	lsc_runs_unmap(NULL, 0);
	is_int(lsc_runs_map(NULL, 0, PAGE, PROT_READ, &data, &err), 0, "and a gap alone");
	ok(!is_there(data), "which is not there");
	lsc_runs_unmap(data, PAGE);
	is_int(lsc_runs_map(&(struct lsc_run){0, PAGE, -1, 0}, 1, PAGE, PROT_READ, &data, &err),
	       -EBADF, "no file: %s", err.text);
}

/* Other mappings of the process are not touched. */
static void test_neighbours(void)
{
	int fd = numbered(3);
	uint8_t *data[64];
	bool good = true;

	for (unsigned i = 0; i < 64; i++) {
		uint64_t bytes = (i % 3 + 1) * PAGE;
		struct lsc_run run = {0, bytes, fd, 0};

		good = good && lsc_runs_map(&run, 1, bytes, PROT_READ, &data[i], &err) == 0;
	}
	for (unsigned i = 0; i < 64; i += 2)
		lsc_runs_unmap(data[i], (i % 3 + 1) * PAGE);
	for (unsigned i = 1; i < 64; i += 2)
		good = good && data[i][0] == 1 && data[i][(i % 3 + 1) * PAGE - 1] == i % 3 + 1;
	ok(good, "of many ranges each ends by itself");
	for (unsigned i = 1; i < 64; i += 2)
		lsc_runs_unmap(data[i], (i % 3 + 1) * PAGE);
	close(fd);
}

static void test_check(void)
{
	static const struct {
		const char *what;
		uint64_t runs[2][3]; /* offset, bytes, offset in the file, in pages */
		uint64_t bytes;
		int part, whole;
	} cases[] = {
		{"two that follow each other", {{0, 1, 9}, {1, 2, 0}}, 3, 0, 0},
		{"a gap between two", {{0, 1, 0}, {2, 1, 0}}, 3, 0, -EBADMSG},
		{"a gap before both", {{1, 1, 0}, {2, 1, 0}}, 3, 0, -EBADMSG},
		{"a gap behind both", {{0, 1, 0}, {1, 1, 0}}, 3, 0, -EBADMSG},
		{"one over the other", {{0, 2, 0}, {1, 2, 0}}, 3, -EBADMSG, -EBADMSG},
		{"another order", {{1, 2, 0}, {0, 1, 0}}, 3, -EBADMSG, -EBADMSG},
		{"more than there is", {{0, 1, 0}, {1, 3, 0}}, 3, -EBADMSG, -EBADMSG},
		{"behind the end", {{0, 1, 0}, {4, 1, 0}}, 3, -EBADMSG, -EBADMSG},
		{"nothing", {{0, 3, 0}, {3, 0, 0}}, 3, -EBADMSG, -EBADMSG},
		{"so much that it wraps",
		 {{0, 1, 0}, {1, UINT64_MAX / 4096, 0}},
		 3,
		 -EBADMSG,
		 -EBADMSG},
		{"so far that it wraps",
		 {{0, 1, 0}, {1, 2, INT64_MAX / 4096}},
		 3,
		 -EBADMSG,
		 -EBADMSG},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		struct lsc_run runs[2];

		for (int k = 0; k < 2; k++)
			runs[k] = (struct lsc_run){cases[i].runs[k][0] * PAGE,
						   cases[i].runs[k][1] * PAGE, 0,
						   cases[i].runs[k][2] * PAGE};
		is_int(lsc_runs_check(runs, 2, cases[i].bytes * PAGE, NULL), cases[i].part, "%s",
		       cases[i].what);
		is_int(lsc_runs_check_whole(runs, 2, cases[i].bytes * PAGE, NULL), cases[i].whole,
		       "%s, and no gap", cases[i].what);
	}
}

static void test_pages(void)
{
	struct lsc_run odd[] = {{0, PAGE - 1, 0, 0}, {PAGE, PAGE, 0, 0}};
	struct lsc_run late = {0, PAGE, 0, 5}, off = {5, PAGE, 0, 0};

	is_int(lsc_runs_check(odd, 2, 2 * PAGE, &err), -EBADMSG, "a part of a page: %s", err.text);
	is_int(lsc_runs_check(odd, 1, PAGE - 1, &err), 0, "but for the last");
	is_int(lsc_runs_check(&late, 1, PAGE, &err), -EBADMSG, "not at a page of its file");
	is_int(lsc_runs_check(&off, 1, 2 * PAGE, &err), -EBADMSG, "not at a page of the range");
	is_int(lsc_runs_check(NULL, 0, UINT64_MAX, &err), -EBADMSG, "no such memory: %s", err.text);
	is_int(lsc_runs_check_whole(NULL, 0, 0, &err), 0, "of nothing nothing is left out");
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_fault};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	test_map();
	test_shared();
	test_none();
	test_neighbours();
	test_check();
	test_pages();
	return done_testing();
}
