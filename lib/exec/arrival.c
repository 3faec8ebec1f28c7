/* arrival - which units of an image have arrived in its segment */
#include "exec/arrival.h"

#include "base/macros.h"

int lsc_arrival_check(const struct lsc_image *image, const struct lsc_segment *segment,
		      struct lsc_err *err)
{
	if (segment->bytes != image->bytes)
		return lsc_err_set(err, EBADMSG, "it has %llu bytes where its manifest says %llu",
				   (unsigned long long)segment->bytes,
				   (unsigned long long)image->bytes);
	if (segment->arrivals && segment->n_pieces != image->n_pieces)
		return lsc_err_set(err, EBADMSG,
				   "its arrivals are of %u pieces where its manifest says %u",
				   segment->n_pieces, image->n_pieces);
	return 0;
}

/* The pieces of a need, which are a run because its blocks are. */
static uint32_t pieces_of(const struct lsc_image *image, const struct lsc_need *need,
			  uint32_t *ret_n)
{
	*ret_n = 0;
	for (uint32_t i = 0; i < need->n; i++)
		*ret_n += image->blocks[need->first + i].n_pieces;
	return need->n ? image->blocks[need->first].first_piece : 0;
}

static bool has_unit(const struct lsc_image *image, const struct lsc_segment *segment,
		     uint32_t unit)
{
	for (int i = 0; i < 2; i++) {
		uint32_t n, first = pieces_of(image, &image->units[unit].needs[i], &n);

		if (n && !lsc_segment_has(segment, first, n))
			return false;
	}
	return true;
}

static bool same_needs(const struct lsc_image *image, uint32_t a, uint32_t b)
{
	const struct lsc_need *x = image->units[a].needs, *y = image->units[b].needs;

	return x[0].first == y[0].first && x[0].n == y[0].n && x[1].first == y[1].first &&
	       x[1].n == y[1].n;
}

uint32_t lsc_arrival_ready(const struct lsc_image *image, const struct lsc_segment *segment,
			   uint32_t first, uint32_t last)
{
	uint32_t unit = first;

	if (!segment->arrivals)
		return last - first + 1;
	/* What needs the blocks of the unit before is there with it: experts are many. */
	while (unit <= last && ((unit > first && same_needs(image, unit - 1, unit)) ||
				has_unit(image, segment, unit)))
		unit++;
	return unit - first;
}

static int wait_pieces(struct lsc_segment *segment, uint32_t first, uint32_t n, int timeout_ms,
		       struct lsc_err *err)
{
	int r = n && segment->arrivals ? lsc_segment_wait(segment, first, n, timeout_ms) : 0;

	if (r == -ETIMEDOUT)
		return lsc_err_set(err, ETIMEDOUT, "did not arrive in time");
	if (r < 0)
		return lsc_err_set(err, -r, "will not arrive: '%s' is gone", segment->name);
	return 0;
}

int lsc_arrival_wait(const struct lsc_image *image, struct lsc_segment *segment, uint32_t unit,
		     int timeout_ms, struct lsc_err *err)
{
	for (int i = 0; i < 2; i++) {
		uint32_t n, first = pieces_of(image, &image->units[unit].needs[i], &n);
		int r = wait_pieces(segment, first, n, timeout_ms, err);

		if (r < 0)
			return lsc_err_prefix(err, "unit %u ", unit);
	}
	return 0;
}

int lsc_arrival_wait_tokenizer(const struct lsc_image *image, struct lsc_segment *segment,
			       int timeout_ms, struct lsc_err *err)
{
	uint32_t n = (uint32_t)lsc_div_up(image->tokenizer_len, image->piece_bytes);
	int r = wait_pieces(segment, 0, n, timeout_ms, err);

	return r < 0 ? lsc_err_prefix(err, "the tokenizer ") : 0;
}
