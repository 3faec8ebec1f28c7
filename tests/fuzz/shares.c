/* shares - any bytes as the table of what an image has in files of others
 *
 * The corpus has tables without their last line, which holds their hash: it is added here, or
 * nothing that was changed would come further than that.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/shares.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void parse(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_shares_release) struct lsc_shares shares = LSC_SHARES_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf again = LSC_BUF_INIT;
	uint64_t end = 0;

	if (lsc_shares_parse(&shares, data, len, NULL) < 0)
		return;
	for (uint32_t i = 0; i < shares.n; i++) {
		const struct lsc_share *row = &shares.rows[i];

		if (row->offset < end || row->bytes > shares.bytes - row->offset ||
		    row->file >= LSC_SHARES_MAX_FILES || lsc_shares_at(&shares, row->offset) != row)
			abort();
		end = row->offset + row->bytes;
	}
	if (lsc_shares_format(&shares, &again) == 0 &&
	    (again.len != len || memcmp(again.data, data, len)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf whole = LSC_BUF_INIT;
	struct lsc_hash hash = lsc_hash_of(data, len);
	char hex[LSC_HASH_TEXT];

	parse(data, len);
	if (lsc_buf_add(&whole, data, len) == 0 &&
	    lsc_buf_printf(&whole, "xxh3-128 %s\n", lsc_hash_text(&hash, hex)) == 0)
		parse(whole.data, whole.len);
	return 0;
}
