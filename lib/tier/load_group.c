/* load_group - pieces that are read together, and held against their hashes by who read them
 *
 * The next group's pages are made while the disk is busy with those before.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macros.h"
#include "tier/load_own.h"

#define GROUP_BYTES (1u << 20)

/* --- in the reader's threads --- */

static bool is_good(const struct lsc_load_options *o, uint32_t piece)
{
	struct lsc_hash hash;

	if (o->blind)
		return true;
	hash = lsc_hash_of(o->data + lsc_image_piece_offset(o->image, piece),
			   lsc_image_piece_bytes(o->image, piece));
	return lsc_hash_equal(&hash, &o->image->pieces[piece]);
}

/* A piece that someone else has marked meanwhile, because we were slow, had been good till then. */
static void check_pieces(struct lsc_load_group *group, bool read)
{
	const struct lsc_load_options *o = &group->load->o;

	for (uint32_t i = group->first; i < group->first + group->n; i++) {
		bool marked = lsc_marks_has(o->marks, i);

		if (!read && !marked)
			continue;
		if (!is_good(o, i)) {
			group->first_bad = group->bad++ ? group->first_bad : i;
			group->damaged = group->damaged || marked;
		} else if (read) {
			lsc_marks_set(o->marks, i);
		}
	}
}

static void hand_over(struct lsc_load_group *group)
{
	struct lsc_load *load = group->load;

	pthread_mutex_lock(&load->lock);
	group->next = load->done;
	load->done = group;
	pthread_cond_signal(&load->more);
	pthread_mutex_unlock(&load->lock);
}

static void on_read(void *data, struct lsc_read *read)
{
	struct lsc_load_group *group = data;

	if (read->result < 0)
		atomic_store(&group->result, read->result);
	if (atomic_fetch_sub(&group->left, 1) > 1)
		return;
	check_pieces(group, atomic_load(&group->result) == 0);
	hand_over(group);
}

/* --- in the load's thread --- */

/* The run that holds an offset, or the first behind it. */
static size_t find_run(const struct lsc_load *load, uint64_t offset)
{
	size_t low = 0, high = load->o.n_runs;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct lsc_run *run = &load->o.runs[mid];

		if (run->offset + run->bytes <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The reads of a range, put into reads unless that is NULL: how many, -ENODATA where a part of it
 * lies nowhere. */
static int cut_reads(const struct lsc_load *load, uint64_t offset, uint64_t bytes,
		     struct lsc_read *reads)
{
	size_t i = find_run(load, offset);
	int n = 0;

	for (; bytes; i++, n++) {
		const struct lsc_run *run = &load->o.runs[i];
		uint64_t part;

		if (i == load->o.n_runs || run->offset > offset)
			return -ENODATA;
		part = LSC_MIN(bytes, run->offset + run->bytes - offset);
		if (reads)
			reads[n] = (struct lsc_read){
				.fd = run->fd,
				.offset = run->fd_offset + (offset - run->offset),
				.to = load->o.data + offset,
				.bytes = part,
				.fn = on_read,
			};
		offset += part;
		bytes -= part;
	}
	return n;
}

/* Its pages are made in one go, while the disk is busy with those before. */
static void make_pages(const struct lsc_load *load, uint64_t offset, uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = offset / page * page;

	madvise(load->o.data + first, offset + bytes - first, MADV_POPULATE_WRITE);
}

static int read_group(struct lsc_load *load, uint32_t block, uint32_t first, uint32_t n)
{
	uint64_t offset = lsc_image_piece_offset(load->o.image, first);
	uint64_t bytes = lsc_image_piece_offset(load->o.image, first + n - 1) - offset +
			 lsc_image_piece_bytes(load->o.image, first + n - 1);
	int n_reads = cut_reads(load, offset, bytes, NULL), r = 0;
	struct lsc_load_group *group;

	if (n_reads < 0)
		return n_reads;
	group = calloc(1, sizeof(*group) + (size_t)n_reads * sizeof(group->reads[0]));
	if (!group)
		return -ENOMEM;
	group->load = load;
	group->block = block;
	group->first = first;
	group->n = n;
	group->bytes = bytes;
	atomic_store(&group->left, (unsigned)n_reads);
	cut_reads(load, offset, bytes, group->reads);
	make_pages(load, offset, bytes);
	load->blocks[block].groups++;
	load->groups++;
	load->on_their_way += bytes;
	for (int i = 0; i < n_reads; i++) {
		group->reads[i].data = group;
		if (r == 0)
			r = lsc_reader_add(load->reader, &group->reads[i]);
		if (r < 0) { /* as one that failed */
			group->reads[i].result = r;
			on_read(group, &group->reads[i]);
		}
	}
	return 0;
}

/* One that cannot even be asked for. */
void lsc_load_read(struct lsc_load *load, uint32_t block, uint32_t first, uint32_t n)
{
	int r = read_group(load, block, first, n);

	for (uint32_t i = first; r < 0 && i < first + n; i++) {
		int one = n > 1 ? read_group(load, block, i, 1) : r;

		if (one < 0)
			lsc_load_note_bad(load, block, i, 1, one);
	}
}

uint32_t lsc_load_group_from(const struct lsc_load *load, uint32_t piece, uint32_t end)
{
	uint64_t bytes = 0;
	uint32_t n = 0;

	while (piece + n < end && !lsc_marks_has(load->o.marks, piece + n) &&
	       (n == 0 || bytes < GROUP_BYTES))
		bytes += lsc_image_piece_bytes(load->o.image, piece + n++);
	return n;
}
