/* marks - a bit a piece, a count, a futex, and a word a block for claims
 *
 * Marks outlive the receiver's process, since the page cache does, but not the machine's: after
 * another boot nobody knows which pages reached the disk, so such marks are not trusted.
 */
#include "mem/marks.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"

#define MAGIC      "lscarrv"
#define VERSION    2 /* 1 where no blocks are claimed */
#define BOOT_BYTES 40

struct lsc_marks {
	char magic[8];
	uint32_t version;
	uint32_t n_pieces;
	char boot[BOOT_BYTES]; /* of the machine that set the marks */
	_Atomic uint32_t state;
	_Atomic uint32_t generation; /* a futex */
	_Atomic uint32_t count;
	uint32_t n_blocks; /* with a claim, a word each behind the bits */
	_Atomic uint64_t bits[];
};

_Static_assert(sizeof(struct lsc_marks) == 72, "a layout that processes share");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "shared without locks");

size_t lsc_marks_bytes(uint32_t n_pieces, uint32_t n_blocks)
{
	return sizeof(struct lsc_marks) + lsc_div_up(n_pieces, 64) * sizeof(uint64_t) +
	       n_blocks * sizeof(uint32_t);
}

static uint32_t version_of(uint32_t n_blocks)
{
	return n_blocks ? VERSION : 1;
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

void lsc_marks_start(struct lsc_marks *marks, uint32_t n_pieces, uint32_t n_blocks)
{
	memset(marks, 0, lsc_marks_bytes(n_pieces, n_blocks));
	memcpy(marks->magic, MAGIC, sizeof(marks->magic));
	marks->version = version_of(n_blocks);
	marks->n_pieces = n_pieces;
	marks->n_blocks = n_blocks;
	read_boot(marks->boot);
}

bool lsc_marks_take_up(struct lsc_marks *marks, uint32_t n_pieces, uint32_t n_blocks)
{
	char boot[BOOT_BYTES];
	uint32_t count = 0;

	read_boot(boot);
	if (memcmp(marks->magic, MAGIC, sizeof(marks->magic)) ||
	    marks->version != version_of(n_blocks) || marks->n_pieces != n_pieces ||
	    marks->n_blocks != n_blocks || memcmp(marks->boot, boot, sizeof(boot)) ||
	    atomic_load(&marks->state) != LSC_MARKS_ARRIVING)
		return false;
	/* The count may lag behind the bits where a receiver was killed between the two. */
	for (uint32_t i = 0; i < lsc_div_up(n_pieces, 64); i++)
		count += __builtin_popcountll(atomic_load(&marks->bits[i]));
	atomic_store(&marks->count, count);
	return true;
}

void lsc_marks_note(struct lsc_marks *marks, bool wake)
{
	atomic_fetch_add_explicit(&marks->generation, 1, memory_order_release);
	if (wake)
		syscall(SYS_futex, &marks->generation, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool lsc_marks_set(struct lsc_marks *marks, uint32_t piece)
{
	uint64_t bit = 1ull << (piece % 64);

	if (atomic_fetch_or_explicit(&marks->bits[piece / 64], bit, memory_order_release) & bit)
		return false;
	atomic_fetch_add_explicit(&marks->count, 1, memory_order_release);
	lsc_marks_note(marks, true);
	return true;
}

void lsc_marks_end(struct lsc_marks *marks, enum lsc_marks_state state)
{
	atomic_store(&marks->state, state);
	lsc_marks_note(marks, true);
}

/* --- the user --- */

int lsc_marks_check(const struct lsc_marks *marks, size_t len, const char *dir, struct lsc_err *err)
{
	if (len < sizeof(*marks) || memcmp(marks->magic, MAGIC, sizeof(marks->magic)) ||
	    marks->n_pieces > LSC_MARKS_MAX_PIECES)
		return lsc_err_set(err, EBADMSG, "'%s/arrivals' is no table of arrivals", dir);
	if (marks->version == 0 || marks->version > VERSION)
		return lsc_err_set(err, EPROTO,
				   "'%s/arrivals' has version %u; this program reads 1 to %d", dir,
				   marks->version, VERSION);
	if (marks->version != version_of(marks->n_blocks) ||
	    marks->n_blocks > LSC_MARKS_MAX_BLOCKS ||
	    len < lsc_marks_bytes(marks->n_pieces, marks->n_blocks))
		return lsc_err_set(err, EBADMSG, "'%s/arrivals' is no table of arrivals", dir);
	return 0;
}

uint32_t lsc_marks_pieces(const struct lsc_marks *marks)
{
	return marks->n_pieces;
}

uint32_t lsc_marks_blocks(const struct lsc_marks *marks)
{
	return marks->n_blocks;
}

enum lsc_marks_state lsc_marks_state(const struct lsc_marks *marks)
{
	return (enum lsc_marks_state)atomic_load(&marks->state);
}

_Atomic uint32_t *lsc_marks_claims(struct lsc_marks *marks, uint32_t n_pieces)
{
	return (_Atomic uint32_t *)&marks->bits[lsc_div_up(n_pieces, 64)];
}

bool lsc_marks_has(const struct lsc_marks *marks, uint32_t piece)
{
	return atomic_load_explicit(&marks->bits[piece / 64], memory_order_acquire) >>
		       (piece % 64) &
	       1;
}

uint64_t lsc_marks_word(const struct lsc_marks *marks, uint32_t word)
{
	return atomic_load_explicit(&marks->bits[word], memory_order_acquire);
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
