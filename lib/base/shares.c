/* shares - the table of what an image has in files of others
 *
 *	lsc-shares 1
 *	bytes 5242880
 *	0 2097152 0 4194304
 *	xxh3-128 0123456789abcdef0123456789abcdef
 *
 * A row is: offset, bytes, N of share.N, offset in it.
 */
#include "base/shares.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/macros.h"

#define FIRST     "lsc-shares 1\n"
#define FIRST_ANY "lsc-shares "
#define LAST      "xxh3-128 "
#define PAGE      4096u

void lsc_shares_release(struct lsc_shares *shares)
{
	if (!shares)
		return;
	free(shares->rows);
	*shares = (struct lsc_shares)LSC_SHARES_INIT;
}

int lsc_shares_add(struct lsc_shares *shares, const struct lsc_share *row)
{
	struct lsc_share *more;

	if (shares->n >= LSC_SHARES_MAX_ROWS)
		return -EFBIG;
	if ((shares->n & (shares->n - 1)) == 0) { /* it is full at powers of two */
		more = realloc(shares->rows, LSC_MAX(shares->n * 2, 1u) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		shares->rows = more;
	}
	shares->rows[shares->n++] = *row;
	return 0;
}

/* --- reading --- */

struct cursor {
	const char *at, *end;
};

/* Takes a text, or nothing. */
static bool take(struct cursor *cursor, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(cursor->end - cursor->at) < len || memcmp(cursor->at, text, len))
		return false;
	cursor->at += len;
	return true;
}

/* Takes a number of at most 18 digits, as it is written here: without zeros before it. */
static bool take_number(struct cursor *cursor, uint64_t *ret_value)
{
	const char *start = cursor->at;
	uint64_t value = 0;

	while (cursor->at < cursor->end && cursor->at - start < 18 && *cursor->at >= '0' &&
	       *cursor->at <= '9')
		value = value * 10 + (uint64_t)(*cursor->at++ - '0');
	*ret_value = value;
	return cursor->at > start && (*start != '0' || cursor->at == start + 1);
}

static bool take_row(struct cursor *cursor, struct lsc_share *row)
{
	uint64_t file;
	bool good = take_number(cursor, &row->offset) && take(cursor, " ") &&
		    take_number(cursor, &row->bytes) && take(cursor, " ") &&
		    take_number(cursor, &file) && take(cursor, " ") &&
		    take_number(cursor, &row->file_offset) && take(cursor, "\n");

	if (!good || file >= LSC_SHARES_MAX_FILES)
		return false;
	row->file = (uint32_t)file;
	return true;
}

/* Numbers have 18 digits at most, so that none of these sums wraps. */
static bool is_in_place(const struct lsc_shares *shares, const struct lsc_share *row)
{
	const struct lsc_share *before = shares->n ? &shares->rows[shares->n - 1] : NULL;
	uint64_t end = row->offset + row->bytes;

	return row->bytes > 0 && end <= shares->bytes && row->offset % PAGE == 0 &&
	       row->file_offset % PAGE == 0 && (end % PAGE == 0 || end == shares->bytes) &&
	       (!before || before->offset + before->bytes <= row->offset);
}

static int check_hash(const char *text, const char *last, struct cursor *cursor,
		      struct lsc_err *err)
{
	struct lsc_hash hash = lsc_hash_of(text, (size_t)(last - text));
	char hex[LSC_HASH_TEXT];

	if (!take(cursor, lsc_hash_text(&hash, hex)) || !take(cursor, "\n") ||
	    cursor->at != cursor->end)
		return lsc_err_set(err, EBADMSG, "it is damaged: its hash is another");
	return 0;
}

static int parse(struct lsc_shares *shares, const char *text, size_t len, struct lsc_err *err)
{
	struct cursor cursor = {text, text + len};

	if (len > LSC_SHARES_MAX_BYTES)
		return lsc_err_set(err, EFBIG, "it is larger than %u bytes", LSC_SHARES_MAX_BYTES);
	if (!take(&cursor, FIRST))
		return take(&cursor, FIRST_ANY)
			       ? lsc_err_set(err, EPROTO, "it is of another version than 1")
			       : lsc_err_set(err, EBADMSG, "it is no table of shares");
	if (!take(&cursor, "bytes ") || !take_number(&cursor, &shares->bytes) ||
	    !take(&cursor, "\n"))
		return lsc_err_set(err, EBADMSG, "it does not say how large the image is");
	for (;;) {
		const char *line = cursor.at;
		struct lsc_share row;
		int r;

		if (take(&cursor, LAST))
			return check_hash(text, line, &cursor, err);
		if (!take_row(&cursor, &row) || !is_in_place(shares, &row))
			return lsc_err_set(err, EBADMSG, "row %u is no row", shares->n);
		r = lsc_shares_add(shares, &row);
		if (r < 0)
			return lsc_err_set(err, -r, "it has too many rows: %m");
	}
}

int lsc_shares_parse(struct lsc_shares *shares, const void *text, size_t len, struct lsc_err *err)
{
	int r;

	*shares = (struct lsc_shares)LSC_SHARES_INIT;
	r = parse(shares, text, len, err);
	if (r < 0)
		lsc_shares_release(shares);
	return r;
}

const struct lsc_share *lsc_shares_at(const struct lsc_shares *shares, uint64_t offset)
{
	uint32_t low = 0, high = shares->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct lsc_share *row = &shares->rows[middle];

		if (offset < row->offset)
			high = middle;
		else if (offset - row->offset >= row->bytes)
			low = middle + 1;
		else
			return row;
	}
	return NULL;
}

/* --- writing --- */

int lsc_shares_format(const struct lsc_shares *shares, struct lsc_buf *buf)
{
	size_t start = buf->len;
	char hex[LSC_HASH_TEXT];
	struct lsc_hash hash;
	int r = lsc_buf_printf(buf, FIRST "bytes %llu\n", (unsigned long long)shares->bytes);

	for (uint32_t i = 0; r == 0 && i < shares->n; i++) {
		const struct lsc_share *row = &shares->rows[i];

		r = lsc_buf_printf(buf, "%llu %llu %u %llu\n", (unsigned long long)row->offset,
				   (unsigned long long)row->bytes, row->file,
				   (unsigned long long)row->file_offset);
	}
	if (r < 0)
		return r;
	hash = lsc_hash_of(buf->data + start, buf->len - start);
	return lsc_buf_printf(buf, LAST "%s\n", lsc_hash_text(&hash, hex));
}
