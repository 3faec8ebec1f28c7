/* missing - the pieces that nobody has, by the blocks that they are of */
#include "cast/missing.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/bits.h"

#define TEXT 300 /* of a list of blocks */

static uint32_t count(const struct lsc_image *image, const uint64_t *held, uint32_t block)
{
	uint32_t first = image->blocks[block].first_piece, n = 0;

	for (uint32_t i = 0; i < image->blocks[block].n_pieces; i++)
		n += !lsc_bits_has(held, first + i);
	return n;
}

/* Adds "2-5" to the list, as long as it is short: whether it did. */
static bool add_run(char text[TEXT], size_t *len, uint32_t first, uint32_t last)
{
	const char *comma = *len ? ", " : "";
	int n;

	if (*len + 32 > TEXT)
		return false;
	n = first == last ? snprintf(text + *len, TEXT - *len, "%s%u", comma, first)
			  : snprintf(text + *len, TEXT - *len, "%s%u-%u", comma, first, last);
	*len += (size_t)n;
	return true;
}

/* The blocks that are not whole: returns how many, and how many of them the list does not name. */
static uint32_t list(const struct lsc_image *image, const uint64_t *held, char text[TEXT],
		     uint32_t *ret_more)
{
	uint32_t n = 0, more = 0;
	size_t len = 0;

	for (uint32_t i = 0, last; i < image->n_blocks; i = last + 1) {
		for (last = i; last < image->n_blocks && count(image, held, last); last++)
			;
		if (last == i)
			continue;
		n += last - i;
		if (!add_run(text, &len, i, last - 1))
			more += last - i;
	}
	*ret_more = more;
	return n;
}

int lsc_missing_check(const struct lsc_image *image, const uint64_t *held, struct lsc_err *err)
{
	uint32_t first = 0, n = image->n_pieces - lsc_bits_count(held, image->n_pieces);
	char blocks[TEXT] = "", others[32] = "";
	uint32_t n_blocks, more;

	if (!n)
		return 0;
	while (lsc_bits_has(held, first))
		first++;
	n_blocks = list(image, held, blocks, &more);
	if (n == 1)
		return lsc_err_set(err, ENODATA, "piece %u of %u, in block %s, is at no node",
				   first, image->n_pieces, blocks);
	if (more)
		snprintf(others, sizeof(others), " and %u more", more);
	return lsc_err_set(err, ENODATA, "%u of %u pieces, in block%s %s%s of %u, are at no node",
			   n, image->n_pieces, n_blocks == 1 ? "" : "s", blocks, others,
			   image->n_blocks);
}
