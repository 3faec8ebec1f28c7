/* segment_tier - a segment of memory that a tier lends */
#include "mem/segment_tier.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/runs.h"
#include "mem/claims.h"
#include "mem/lender.h"
#include "mem/marks.h"

#define MAX_CELLS      65536
#define MAX_MANIFEST   (256u << 20)
#define GROW_MS        5
#define AGAIN_TRIES    100
#define AGAIN_PAUSE_NS 50000000

/* A cell as it is lent. */
struct leased {
	struct lsc_run run; /* its descriptor: the lease; -1 where it is not kept */
	bool written;       /* it is ours to fill */
};

struct lsc_loan {
	struct lsc_lender lender;
	struct leased *cells; /* the receiver's */
	uint32_t n_cells;
	bool receives;
};

static struct lsc_loan *loan_new(void)
{
	struct lsc_loan *loan = calloc(1, sizeof(*loan));

	if (loan)
		loan->lender = (struct lsc_lender)LSC_LENDER_INIT;
	return loan;
}

void lsc_segment_tier_close(struct lsc_segment *segment)
{
	struct lsc_loan *loan = segment->loan;

	if (!loan)
		return;
	for (uint32_t i = 0; i < loan->n_cells; i++)
		if (loan->cells[i].run.fd >= 0)
			close(loan->cells[i].run.fd);
	free(loan->cells);
	lsc_lender_close(&loan->lender);
	free(loan);
	segment->loan = NULL;
}

/* --- what is lent --- */

static int wrong(struct lsc_err *err)
{
	return lsc_err_set(err, EPROTO, "the tier lends what makes no image");
}

static int map_whole(int fd, uint64_t max, int prot, void **ret, size_t *ret_len)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		return -EPROTO;
	at = mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	*ret = at;
	*ret_len = (size_t)st.st_size;
	return 0;
}

/* The manifest, and the table of arrivals, with the answer itself. */
static int map_tables(struct lsc_segment *segment, bool whole, struct lsc_err *err)
{
	struct lsc_packet *packet = &segment->loan->lender.packet;
	LSC_CLEANUP_FD int manifest = lsc_packet_take(packet, 0, err);
	LSC_CLEANUP_FD int marks = -1;
	void *at = NULL;
	int r;

	if (manifest < 0)
		return manifest;
	r = map_whole(manifest, MAX_MANIFEST, PROT_READ, &at, &segment->manifest_len);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map a manifest: %m");
	segment->manifest = at;
	if (whole)
		return 0;
	marks = lsc_packet_take(packet, 1, err);
	if (marks < 0)
		return marks;
	r = map_whole(marks, UINT32_MAX,
		      segment->loan->receives ? PROT_READ | PROT_WRITE : PROT_READ, &at,
		      &segment->arrivals_len);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map a table of arrivals: %m");
	segment->arrivals = at;
	if (segment->loan->receives) { /* for its lock */
		segment->lock_fd = marks;
		marks = -1;
	}
	r = lsc_marks_check(at, segment->arrivals_len, segment->dir, err);
	if (r < 0)
		return r;
	segment->n_pieces = lsc_marks_pieces(at);
	/* Who may not open the table by itself does without: then a disk may bring the same. */
	if (segment->loan->receives && lsc_marks_blocks(at))
		lsc_claims_open(&segment->claims, at, segment->lock_fd, LSC_CLAIM_CAST, NULL);
	return 0;
}

/* One that is shorter than it should be would be a SIGBUS later. */
static bool has_bytes(int fd, uint64_t bytes)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size >= bytes;
}

/* An array of [offset, bytes, whether it is to be filled], and a descriptor for each; two for what
 * is to be filled. */
static int take_cell(struct lsc_segment *segment, const msgpack_object *item, unsigned *fd_at,
		     struct lsc_err *err)
{
	struct lsc_packet *packet = &segment->loan->lender.packet;
	const msgpack_object *values = item->via.array.ptr;
	struct leased cell = {.run.fd = -1};
	LSC_CLEANUP_FD int write_fd = -1;
	int r;

	if (item->type != MSGPACK_OBJECT_ARRAY || item->via.array.size < 3 ||
	    values[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    values[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    values[2].type != MSGPACK_OBJECT_BOOLEAN)
		return wrong(err);
	cell.run.offset = values[0].via.u64;
	cell.run.bytes = values[1].via.u64;
	cell.written = values[2].via.boolean;
	cell.run.fd = lsc_packet_take(packet, (*fd_at)++, err);
	if (cell.run.fd < 0)
		return cell.run.fd;
	if (cell.written)
		write_fd = lsc_packet_take(packet, (*fd_at)++, err);
	segment->loan->cells[segment->loan->n_cells++] = cell;
	if (cell.written && write_fd < 0)
		return write_fd;
	if (lsc_runs_check(&cell.run, 1, segment->bytes, err) < 0 ||
	    !has_bytes(cell.run.fd, cell.run.bytes))
		return wrong(err);
	r = lsc_runs_put(segment->data, &cell.run, PROT_READ);
	if (r == 0 && cell.written) {
		struct lsc_run run = cell.run;

		run.fd = write_fd;
		r = lsc_runs_put(segment->data, &run, PROT_READ | PROT_WRITE);
	}
	return r < 0 ? lsc_err_set(err, -r, "cannot map a block: %m") : 0;
}

static int take_cells(struct lsc_segment *segment, uint32_t n, struct lsc_err *err)
{
	struct lsc_loan *loan = segment->loan;
	uint64_t covered = 0;

	while (loan->n_cells < n) {
		const msgpack_object *items;
		unsigned fd_at = 0;
		uint32_t n_items;
		int r = lsc_lender_next(&loan->lender, err);

		if (r == 0)
			r = lsc_record_array(&loan->lender.packet.record, "runs", n - loan->n_cells,
					     &items, &n_items, err);
		for (uint32_t i = 0; r == 0 && i < n_items; i++)
			r = take_cell(segment, &items[i], &fd_at, err);
		if (r < 0)
			return r;
		if (n_items == 0)
			return wrong(err);
	}
	for (uint32_t i = 0; i < n; i++)
		covered += loan->cells[i].run.offset == covered ? loan->cells[i].run.bytes : 0;
	return covered == segment->bytes ? 0 : wrong(err);
}

/* Leases that are mapped need no descriptor, unless another mapping is to take their place first.
 */
static void close_leases(struct lsc_loan *loan)
{
	for (uint32_t i = 0; i < loan->n_cells; i++)
		if (!loan->cells[i].written && loan->cells[i].run.fd >= 0) {
			close(loan->cells[i].run.fd);
			loan->cells[i].run.fd = -1;
		}
}

/* Makes the segment of the answer, `lent` and what follows it, or `cold`. */
static int take(struct lsc_segment *segment, struct lsc_err *err)
{
	struct lsc_loan *loan = segment->loan;
	const struct lsc_record *record = &loan->lender.packet.record;
	bool cold = lsc_record_is(record, "cold"), whole = cold;
	char name[LSC_SEGMENT_NAME];
	uint64_t n_cells = 0;
	int r;

	if (!cold && !lsc_record_is(record, "lent"))
		return wrong(err);
	r = lsc_record_text(record, "name", name, sizeof(name), err);
	if (r == 0)
		r = lsc_record_uint(record, "bytes", INT64_MAX, &segment->bytes, err);
	if (r == 0 && !cold)
		r = lsc_record_uint(record, "cells", MAX_CELLS, &n_cells, err);
	if (r == 0 && !cold)
		r = lsc_record_bool_or(record, "whole", false, &whole, err);
	if (r == 0)
		r = map_tables(segment, whole, err);
	if (r < 0)
		return r;
	free(segment->name);
	segment->name = strdup(name);
	loan->cells = calloc(n_cells + 1, sizeof(*loan->cells));
	if (!segment->name || !loan->cells)
		return lsc_err_set(err, ENOMEM, "no memory for '%s'", name);
	if (cold)
		return 0;
	r = lsc_runs_reserve(segment->bytes, &segment->data);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map '%s': %m", name);
	r = take_cells(segment, (uint32_t)n_cells, err);
	if (r < 0)
		return r;
	madvise(segment->data, segment->bytes, MADV_HUGEPAGE);
	close_leases(loan);
	return 0;
}

/* --- the user --- */

static int connect_to(struct lsc_segment *segment, const char *dir, struct lsc_err *err)
{
	segment->loan = loan_new();
	segment->dir = strdup(dir);
	if (!segment->loan || !segment->dir)
		return lsc_err_set(err, ENOMEM, "no memory for an image");
	return lsc_lender_open(&segment->loan->lender, dir, err);
}

int lsc_segment_tier_open(struct lsc_segment *segment, const char *dir, const char *name,
			  const struct lsc_hash *id, bool load, struct lsc_err *err)
{
	struct lsc_lender *lender;
	int r;

	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	r = connect_to(segment, dir, err);
	if (r == 0) {
		lender = &segment->loan->lender;
		lsc_pack_begin(&lender->pack, "open");
		if (id)
			lsc_pack_bin(&lender->pack, "id", id->bytes, LSC_HASH_BYTES);
		else
			lsc_pack_str(&lender->pack, "name", name);
		if (!load)
			lsc_pack_bool(&lender->pack, "load", false);
		lsc_pack_end(&lender->pack);
		r = lsc_lender_ask(lender, NULL, 0, err);
	}
	if (r == 0)
		r = take(segment, err);
	if (r < 0)
		lsc_segment_close(segment);
	return r;
}

int lsc_segment_tier_each(const char *dir, int (*fn)(void *data, const char *name, bool arriving),
			  void *data, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	char name[LSC_SEGMENT_NAME];
	bool whole;
	int r = lsc_lender_open(&lender, dir, err);

	if (r < 0)
		return r;
	lsc_pack_begin(&lender.pack, "list");
	lsc_pack_end(&lender.pack);
	r = lsc_lender_ask(&lender, NULL, 0, err);
	while (r == 0 && lsc_record_is(&lender.packet.record, "image")) {
		const struct lsc_record *record = &lender.packet.record;

		r = lsc_record_text(record, "name", name, sizeof(name), err);
		if (r == 0)
			r = lsc_record_bool_or(record, "whole", true, &whole, err);
		if (r == 0)
			r = fn(data, name, !whole);
		if (r == 0)
			r = lsc_lender_next(&lender, err);
	}
	return r;
}

/* --- the receiver --- */

static int make_manifest(const void *manifest, size_t len, struct lsc_err *err)
{
	int fd = memfd_create("lsc-manifest", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot make memory: %m");
	r = lsc_write_full(fd, manifest, len);
	if (r < 0) {
		close(fd);
		return lsc_err_set(err, -r, "no memory for a manifest: %m");
	}
	return fd;
}

int lsc_segment_tier_begin(struct lsc_segment *segment, const char *dir, const char *name,
			   const void *manifest, size_t manifest_len, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = make_manifest(manifest, manifest_len, err);
	struct lsc_lender *lender;
	int r = fd;

	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	if (r >= 0)
		r = connect_to(segment, dir, err);
	if (r == 0) {
		segment->loan->receives = true;
		lender = &segment->loan->lender;
		lsc_pack_begin(&lender->pack, "receive");
		lsc_pack_str(&lender->pack, "name", name);
		lsc_pack_end(&lender->pack);
		r = lsc_lender_send(lender, &fd, 1, err);
	}
	if (r < 0)
		lsc_segment_close(segment);
	return r;
}

int lsc_segment_tier_grow(struct lsc_segment *segment, struct lsc_err *err)
{
	struct pollfd fd = {.fd = segment->loan->lender.fd, .events = POLLIN};
	int r = poll(&fd, 1, GROW_MS);

	if (r == 0 || (r < 0 && errno == EINTR))
		return 1;
	r = lsc_lender_next(&segment->loan->lender, err);
	if (r == 0)
		r = take(segment, err);
	if (r < 0)
		lsc_segment_close(segment);
	return r;
}

static int try_again(struct lsc_segment *segment, struct lsc_err *err)
{
	lsc_lender_close(&segment->loan->lender);
	return lsc_lender_open(&segment->loan->lender, segment->dir, err);
}

/* A daemon that was killed is there again in a moment.  It knows the image then, and not who
 * receives it: that is proven by the table of arrivals, which is locked by this description. */
static int come_again(struct lsc_segment *segment, struct lsc_err *err)
{
	struct lsc_lender *lender = &segment->loan->lender;
	const struct timespec pause = {0, AGAIN_PAUSE_NS};
	int r;

	for (int i = 0; (r = try_again(segment, err)) < 0 && i < AGAIN_TRIES; i++) {
		if (r != -ENOENT && r != -ECONNREFUSED && r != -EPIPE && r != -ECONNRESET)
			return r;
		nanosleep(&pause, NULL);
	}
	if (r < 0)
		return r;
	lsc_pack_begin(&lender->pack, "again");
	lsc_pack_str(&lender->pack, "name", segment->name);
	lsc_pack_end(&lender->pack);
	return lsc_lender_ask(lender, &segment->lock_fd, 1, err);
}

static int ask(struct lsc_lender *lender, const char *what, struct lsc_err *err)
{
	lsc_pack_begin(&lender->pack, what);
	lsc_pack_end(&lender->pack);
	return lsc_lender_ask(lender, NULL, 0, err);
}

/* Asks what has no answer but `done`. */
static int settle(struct lsc_segment *segment, const char *what, struct lsc_err *err)
{
	int r = ask(&segment->loan->lender, what, err);

	if (r != -EPIPE && r != -ECONNRESET)
		return r;
	r = come_again(segment, err);
	if (r == -EALREADY) /* it was done, and the daemon killed before it could say so */
		return strcmp(what, "commit") == 0 ? 0 : lsc_err_set(err, EEXIST, "it is whole");
	return r < 0 ? r : ask(&segment->loan->lender, what, err);
}

int lsc_segment_tier_commit(struct lsc_segment *segment, struct lsc_err *err)
{
	struct lsc_loan *loan = segment->loan;

	for (uint32_t i = 0; i < loan->n_cells; i++) {
		struct leased *cell = &loan->cells[i];
		int r;

		if (!cell->written)
			continue;
		r = lsc_runs_put(segment->data, &cell->run, PROT_READ);
		if (r < 0)
			return lsc_err_set(err, -r, "cannot map a block: %m");
		cell->written = false;
	}
	close_leases(loan);
	return settle(segment, "commit", err);
}

int lsc_segment_tier_discard(struct lsc_segment *segment, struct lsc_err *err)
{
	return settle(segment, "discard", err);
}
