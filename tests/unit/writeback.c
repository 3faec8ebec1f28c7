/* writeback: what is whole goes to the disk by itself, and what is missing does not */
#include "tap.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "mem/writeback.h"

#define MIB   (1ull << 20)
#define BYTES (21 * MIB + 5)

static int file(void)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/file", scratch());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	if (fd < 0 || ftruncate(fd, (off_t)BYTES) < 0)
		abort();
	unlink(path);
	return fd;
}

static uint64_t wait_for(struct lsc_writeback *w, uint64_t bytes)
{
	uint64_t until = lsc_clock_ns() + 5000000000u;

	while (lsc_writeback_done(w) < bytes && lsc_clock_ns() < until)
		usleep(1000);
	return lsc_writeback_done(w);
}

int main(void)
{
	int fd = file();
	struct lsc_writeback *w = lsc_writeback_start(fd, BYTES);

	lsc_writeback_add(NULL, 0, 1);
	lsc_writeback_stop(NULL);
	is_int(lsc_writeback_done(NULL), 0, "none at all takes every call");
	if (!w) {
		skip("no disk under %s", scratch());
		return done_testing();
	}
	lsc_writeback_add(w, 0, 9 * MIB - 1);
	wait_for(w, 8 * MIB);
	usleep(20000);
	is_int(lsc_writeback_done(w), 8 * MIB, "whole chunks go out, the broken one does not");
	lsc_writeback_add(w, 10 * MIB, 7 * MIB);
	usleep(50000);
	is_int(lsc_writeback_done(w), 8 * MIB, "a batch is waited for");
	lsc_writeback_add(w, 9 * MIB - 1, MIB + 1);
	is_int(wait_for(w, 16 * MIB), 16 * MIB, "a gap is closed");
	lsc_writeback_add(w, 0, 16 * MIB);
	lsc_writeback_add(w, 17 * MIB, BYTES - 17 * MIB);
	is_int(wait_for(w, BYTES), BYTES, "at the end what is left goes, a part of a chunk too");
	lsc_writeback_add(w, BYTES, 1);
	lsc_writeback_add(w, UINT64_MAX, UINT64_MAX);
	is_int(lsc_writeback_done(w), BYTES, "what lies behind the end is nothing");
	lsc_writeback_stop(w);

	w = lsc_writeback_start(fd, BYTES);
	lsc_writeback_add(w, 0, BYTES);
	lsc_writeback_stop(w);
	ok(fcntl(fd, F_GETFD) >= 0, "stopped at work, it leaves the descriptor alone");
	is_int(close(fd), 0, "which is still its owner's");
	return done_testing();
}
