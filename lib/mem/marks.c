/* marks - a bit a piece, a count, and a futex
 *
 * Marks outlive the receiver's process, since the page cache does, but not the machine's: after
 * another boot nobody knows which pages reached the disk, so such marks are not trusted.
 */
#include "mem/marks.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"

#define MAGIC      "lscarrv"
#define VERSION    1
#define BOOT_BYTES 40

struct lsc_marks {
	char magic[8];
	uint32_t version;
	uint32_t n_pieces;
	char boot[BOOT_BYTES]; /* of the machine that set the marks */
	_Atomic uint32_t state;
	_Atomic uint32_t generation; /* a futex */
	_Atomic uint32_t count;
	uint32_t reserved;
	_Atomic uint64_t bits[];
};

_Static_assert(sizeof(struct lsc_marks) == 72, "a layout that processes share");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "shared without locks");

size_t lsc_marks_bytes(uint32_t n_pieces)
{
	return sizeof(struct lsc_marks) + lsc_div_up(n_pieces, 64) * sizeof(uint64_t);
}

/* --- the receiver --- */

static void read_boot(char boot[BOOT_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(boot, 0, BOOT_BYTES);
	if (fd < 0)
		return; /* then all boots are one: marks are trusted */
	if (lsc_read_full(fd, boot, BOOT_BYTES - 1) < 0)
		boot[0] = 0;
	close(fd);
}

void lsc_marks_start(struct lsc_marks *marks, uint32_t n_pieces)
{
	memset(marks, 0, lsc_marks_bytes(n_pieces));
	memcpy(marks->magic, MAGIC, sizeof(marks->magic));
	marks->version = VERSION;
	marks->n_pieces = n_pieces;
	read_boot(marks->boot);
}

bool lsc_marks_take_up(struct lsc_marks *marks, uint32_t n_pieces)
{
	char boot[BOOT_BYTES];
	uint32_t count = 0;

	read_boot(boot);
	if (memcmp(marks->magic, MAGIC, sizeof(marks->magic)) || marks->version != VERSION ||
	    marks->n_pieces != n_pieces || memcmp(marks->boot, boot, sizeof(boot)) ||
	    atomic_load(&marks->state) != LSC_MARKS_ARRIVING)
		return false;
	/* The count may lag behind the bits where a receiver was killed between the two. */
	for (uint32_t i = 0; i < lsc_div_up(n_pieces, 64); i++)
		count += __builtin_popcountll(atomic_load(&marks->bits[i]));
	atomic_store(&marks->count, count);
	return true;
}

static void wake_all(struct lsc_marks *marks)
{
	atomic_fetch_add_explicit(&marks->generation, 1, memory_order_release);
	syscall(SYS_futex, &marks->generation, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void lsc_marks_set(struct lsc_marks *marks, uint32_t piece)
{
	uint64_t bit = 1ull << (piece % 64);

	if (atomic_fetch_or_explicit(&marks->bits[piece / 64], bit, memory_order_release) & bit)
		return;
	atomic_fetch_add_explicit(&marks->count, 1, memory_order_release);
	wake_all(marks);
}

void lsc_marks_end(struct lsc_marks *marks, enum lsc_marks_state state)
{
	atomic_store(&marks->state, state);
	wake_all(marks);
}

/* --- the user --- */

int lsc_marks_check(const struct lsc_marks *marks, size_t len, const char *dir, struct lsc_err *err)
{
	if (len < sizeof(*marks) || memcmp(marks->magic, MAGIC, sizeof(marks->magic)) ||
	    marks->n_pieces > LSC_MARKS_MAX_PIECES || len < lsc_marks_bytes(marks->n_pieces))
		return lsc_err_set(err, EBADMSG, "'%s/arrivals' is no table of arrivals", dir);
	if (marks->version != VERSION)
		return lsc_err_set(err, EPROTO,
				   "'%s/arrivals' has version %u; this program reads %d", dir,
				   marks->version, VERSION);
	return 0;
}

uint32_t lsc_marks_pieces(const struct lsc_marks *marks)
{
	return marks->n_pieces;
}

bool lsc_marks_has(const struct lsc_marks *marks, uint32_t piece)
{
	return atomic_load_explicit(&marks->bits[piece / 64], memory_order_acquire) >>
		       (piece % 64) &
	       1;
}

uint32_t lsc_marks_count(const struct lsc_marks *marks)
{
	return atomic_load_explicit(&marks->count, memory_order_acquire);
}

uint32_t lsc_marks_generation(const struct lsc_marks *marks)
{
	return atomic_load_explicit(&marks->generation, memory_order_acquire);
}

int lsc_marks_wait(struct lsc_marks *marks, uint32_t seen, int timeout_ms)
{
	uint64_t until = lsc_clock_ns() + (uint64_t)LSC_MAX(timeout_ms, 0) * 1000000;

	while (lsc_marks_generation(marks) == seen) {
		uint64_t now = lsc_clock_ns();
		struct timespec left = {(time_t)((until - now) / 1000000000),
					(long)((until - now) % 1000000000)};

		if (atomic_load(&marks->state) == LSC_MARKS_DISCARDED)
			return -EPIPE;
		if (timeout_ms >= 0 && now >= until)
			return -ETIMEDOUT;
		/* Not the private kind: the mapping is shared between processes. */
		syscall(SYS_futex, &marks->generation, FUTEX_WAIT, seen,
			timeout_ms < 0 ? NULL : &left, NULL, 0);
	}
	return atomic_load(&marks->state) == LSC_MARKS_DISCARDED ? -EPIPE : 0;
}
