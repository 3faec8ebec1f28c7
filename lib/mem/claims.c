/* claims - a word a block, and a lock for each who claims
 *
 * A word says what for, in which slot and by which process: kind in its lowest two bits, slot in
 * the next eight, process id in the rest (22 bits, as many as Linux has).  A slot is a byte far
 * behind the end of the table's file, which its owner has locked: an open-file-description lock
 * (fcntl(2)), that ends with the description, however its owner ends.
 *
 * Who finds a slot's lock free takes it before he touches the slot's claims, and gives it back
 * after: so nobody can begin to use the slot in between.  A slot whose claims were not buried yet
 * is not used again.
 */
#include "mem/claims.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "mem/marks.h"

#define SLOTS    250u
#define LOCKS_AT (1ll << 40) /* of slot 0, in the file */

struct lsc_claims {
	struct lsc_marks *marks;
	_Atomic uint32_t *words;
	uint32_t n_blocks;
	int fd; /* a description of its own */
	uint32_t slot, word;
	uint64_t dead_ns[SLOTS]; /* since when its lock is ours, to be buried; 0: it is not */
};

static uint32_t slot_of(uint32_t word)
{
	return word >> 2 & 0xff;
}

/* Locks a slot, or gives it back: whether it could. */
static bool lock_slot(const struct lsc_claims *claims, uint32_t slot, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = LOCKS_AT + slot, .l_len = 1};

	return fcntl(claims->fd, F_OFD_SETLK, &lock) == 0;
}

static bool is_used(const struct lsc_claims *claims, uint32_t slot)
{
	for (uint32_t i = 0; i < claims->n_blocks; i++) {
		uint32_t word = atomic_load_explicit(&claims->words[i], memory_order_acquire);

		if (word && slot_of(word) == slot)
			return true;
	}
	return false;
}

static int find_slot(struct lsc_claims *claims, struct lsc_err *err)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		if (!lock_slot(claims, slot, F_WRLCK)) {
			if (errno != EAGAIN && errno != EACCES && errno != EINTR)
				return lsc_err_set(err, errno,
						   "cannot lock a table of arrivals: %m");
			continue;
		}
		claims->slot = slot;
		if (!is_used(claims, slot))
			return 0;
		lock_slot(claims, slot, F_UNLCK);
	}
	return lsc_err_set(err, EBUSY, "%u others claim blocks already", SLOTS);
}

/* What a table says of itself, read once, and held to its length: whoever fills it may write to it.
 */
static bool find_words(struct lsc_claims *claims, int fd)
{
	uint32_t n_pieces = lsc_marks_pieces(claims->marks);
	struct stat st;

	claims->n_blocks = lsc_marks_blocks(claims->marks);
	claims->words = lsc_marks_claims(claims->marks, n_pieces);
	return n_pieces <= LSC_MARKS_MAX_PIECES && claims->n_blocks <= LSC_MARKS_MAX_BLOCKS &&
	       fstat(fd, &st) == 0 &&
	       (uint64_t)st.st_size >= lsc_marks_bytes(n_pieces, claims->n_blocks);
}

int lsc_claims_open(struct lsc_claims **ret_claims, struct lsc_marks *marks, int fd,
		    enum lsc_claim kind, struct lsc_err *err)
{
	struct lsc_claims *claims;
	char path[40];
	int r;

	if (lsc_marks_blocks(marks) == 0)
		return lsc_err_set(err, EOPNOTSUPP, "a table of arrivals without claims");
	claims = calloc(1, sizeof(*claims));
	if (!claims)
		return lsc_err_set(err, ENOMEM, "cannot claim blocks: %m");
	claims->marks = marks;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	claims->fd = open(path, O_RDWR | O_CLOEXEC);
	if (claims->fd < 0)
		r = lsc_err_set(err, errno, "cannot open a table of arrivals again: %m");
	else if (!find_words(claims, fd))
		r = lsc_err_set(err, EBADMSG, "a table of arrivals is damaged");
	else
		r = find_slot(claims, err);
	if (r < 0) {
		if (claims->fd >= 0)
			close(claims->fd);
		free(claims);
		return r;
	}
	claims->word = kind | claims->slot << 2 | (uint32_t)getpid() << 10;
	*ret_claims = claims;
	return 0;
}

uint32_t lsc_claims_blocks(const struct lsc_claims *claims)
{
	return claims->n_blocks;
}

void lsc_claims_close(struct lsc_claims *claims)
{
	if (!claims)
		return;
	for (uint32_t i = 0; i < claims->n_blocks; i++)
		lsc_claims_drop(claims, i);
	close(claims->fd);
	free(claims);
}

bool lsc_claims_take(struct lsc_claims *claims, uint32_t block)
{
	uint32_t free_word = 0;

	assert(block < claims->n_blocks);
	if (!atomic_compare_exchange_strong_explicit(&claims->words[block], &free_word,
						     claims->word, memory_order_acq_rel,
						     memory_order_acquire))
		return free_word == claims->word;
	lsc_marks_note(claims->marks, false);
	return true;
}

void lsc_claims_seize(struct lsc_claims *claims, uint32_t block)
{
	assert(block < claims->n_blocks);
	atomic_exchange_explicit(&claims->words[block], claims->word, memory_order_acq_rel);
	lsc_marks_note(claims->marks, false);
}

void lsc_claims_drop(struct lsc_claims *claims, uint32_t block)
{
	uint32_t word = claims->word;

	assert(block < claims->n_blocks);
	if (atomic_compare_exchange_strong_explicit(&claims->words[block], &word, 0,
						    memory_order_acq_rel, memory_order_acquire))
		lsc_marks_note(claims->marks, true);
}

bool lsc_claims_has(const struct lsc_claims *claims, uint32_t block)
{
	assert(block < claims->n_blocks);
	return atomic_load_explicit(&claims->words[block], memory_order_acquire) == claims->word;
}

enum lsc_claim lsc_claims_of(struct lsc_marks *marks, uint32_t block, uint32_t *ret_pid)
{
	uint32_t word;

	assert(block < lsc_marks_blocks(marks));
	word = atomic_load_explicit(&lsc_marks_claims(marks, lsc_marks_pieces(marks))[block],
				    memory_order_acquire);
	if (ret_pid)
		*ret_pid = word >> 10;
	return (enum lsc_claim)(word & 3);
}

/* --- the dead --- */

static uint32_t free_all_of(struct lsc_claims *claims, uint32_t slot)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < claims->n_blocks; i++) {
		uint32_t word = atomic_load_explicit(&claims->words[i], memory_order_acquire);

		if (word && slot_of(word) == slot &&
		    atomic_compare_exchange_strong(&claims->words[i], &word, 0))
			n++;
	}
	return n;
}

uint32_t lsc_claims_bury(struct lsc_claims *claims)
{
	uint64_t now = lsc_clock_ns(), looked[(SLOTS + 63) / 64] = {0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < claims->n_blocks; i++) {
		uint32_t word = atomic_load_explicit(&claims->words[i], memory_order_acquire);
		uint32_t slot = slot_of(word);

		if (!word || slot == claims->slot || slot >= SLOTS ||
		    looked[slot / 64] >> (slot % 64) & 1)
			continue;
		looked[slot / 64] |= 1ull << (slot % 64);
		if (!claims->dead_ns[slot]) {
			if (lock_slot(claims, slot, F_WRLCK))
				claims->dead_ns[slot] = now;
		} else if (now - claims->dead_ns[slot] >= LSC_CLAIMS_GRACE_NS) {
			n += free_all_of(claims, slot);
			claims->dead_ns[slot] = 0;
			lock_slot(claims, slot, F_UNLCK);
		}
	}
	if (n)
		lsc_marks_note(claims->marks, true);
	return n;
}
