/* Keys and values as rows: what is read at one place and written at another is the same there, also
 * of a window, and where they are kept as f16; what cannot be is refused and leaves no page behind.
 */
#include "exec/kv_rows.h"

#include <errno.h>
#include <math.h>

#include "model/dtype.h"
#include "tap.h"

#define LEN (5 * LSC_PAGE_POSITIONS + 7)

static struct lsc_kv here, there;
static struct lsc_model_config config = {.layers = 3,
					 .kv_heads = 2,
					 .head_dim = 20, /* values are padded inside */
					 .context = 1000,
					 .window = 64,
					 .window_first = 1};
static const struct lsc_request_key key = {{'c'}, 1}, other = {{'c'}, 2};
static float rows[LEN * 80], got[LEN * 80];

static float at(uint32_t layer, uint32_t pos, uint32_t i)
{
	return (float)(1000 * layer + pos) + (float)i / 128; /* 17 bits */
}

static const float *make_rows(uint32_t layer, uint32_t pos, uint32_t n)
{
	for (uint32_t r = 0; r < n; r++)
		for (uint32_t i = 0; i < 80; i++)
			rows[r * 80 + i] = at(layer, pos + r, i);
	return rows;
}

/* A request with all its positions; layers that see a window keep the end of them. */
static struct lsc_kv_request *fill(struct lsc_kv *kv, const struct lsc_request_key *name)
{
	struct lsc_kv_request *request = lsc_kv_request(kv, name);
	bool good = true;

	for (uint32_t layer = 0; layer < config.layers; layer++) {
		uint32_t from = lsc_kv_needs_from(&config, layer, LEN);

		good = good && lsc_kv_expect_rows(kv, request, layer, from, LEN) == 0;
		for (uint32_t pos = from; pos < LEN && good; pos += 11) { /* across pages */
			uint32_t n = LEN - pos < 11 ? LEN - pos : 11;

			good = lsc_kv_write_rows(kv, request, layer, pos, n,
						 make_rows(layer, pos, n)) == 0;
		}
	}
	ok(good && !lsc_kv_reaches(request, &config, 0, 3, LEN), "rows make no reach");
	lsc_kv_fill(kv, request, LEN);
	ok(lsc_kv_reaches(request, &config, 0, 3, LEN), "before they are all there");
	return request;
}

static bool holds(const struct lsc_kv *kv, const struct lsc_kv_request *request, uint32_t layer)
{
	uint32_t from = lsc_kv_needs_from(&config, layer, LEN), n = LEN - from;

	if (lsc_kv_read_rows(kv, request, layer, from, n, got) < 0)
		return false;
	make_rows(layer, from, n);
	for (uint32_t i = 0; kv->half && i < n * 80; i++) {
		uint16_t half;

		lsc_dtype_from_f32(LSC_DTYPE_F16, &rows[i], &half, 1);
		lsc_dtype_to_f32(LSC_DTYPE_F16, &half, &rows[i], 1);
	}
	return !memcmp(got, rows, n * 80 * sizeof(float));
}

static void test_half(void)
{
	struct lsc_kv_request *request;
	const float large = 1e30f;
	float row[80] = {0};

	ok(lsc_kv_init(&here, &config, true, 1 << 21, NULL) == 0, "a cache of f16");
	request = fill(&here, &key);
	ok(holds(&here, request, 0) && holds(&here, request, 1) && holds(&here, request, 2),
	   "what was written is read, rounded");
	row[79] = large;
	ok(lsc_kv_write_rows(&here, request, 0, 0, 1, row) == 0 &&
		   lsc_kv_read_rows(&here, request, 0, 0, 1, got) == 0 && got[79] == 65504,
	   "what is too large is the largest");
	lsc_kv_release(&here);
}

int main(void)
{
	struct lsc_kv_request *request, *second;
	uint64_t used;

	test_half();
	ok(lsc_kv_init(&here, &config, false, 1 << 22, NULL) == 0 &&
		   lsc_kv_init(&there, &config, false, 1 << 18, NULL) == 0,
	   "two caches");
	ok(lsc_kv_is_readable(&here), "in memory");
	is_int(lsc_kv_row_floats(&here), 80, "floats in a row");
	is_int(lsc_kv_needs_from(&config, 0, LEN), 0, "what sees all needs all");
	is_int(lsc_kv_needs_from(&config, 1, LEN), 3 * LSC_PAGE_POSITIONS,
	       "what sees a window needs its pages");
	request = fill(&here, &key);
	ok(holds(&here, request, 0) && holds(&here, request, 1) && holds(&here, request, 2),
	   "what was written is read");
	is_int(lsc_kv_read_rows(&here, request, 1, 3 * LSC_PAGE_POSITIONS - 1, 2, got), -ESTALE,
	       "not before a window");
	is_int(lsc_kv_read_rows(&here, request, 0, LEN - 1, 2, got), -ESTALE, "nor behind the end");
	is_int(lsc_kv_read_rows(&here, request, 0, UINT32_MAX - 1, 2, got), -ESTALE,
	       "nor far behind it");

	used = here.used_pages;
	second = lsc_kv_request(&here, &other);
	lsc_kv_hand_over(request, second, 0);
	lsc_kv_hand_over(request, second, 1);
	lsc_kv_fill(&here, second, LEN);
	ok(holds(&here, second, 0) && holds(&here, second, 1) && here.used_pages == used,
	   "layers are handed over as they lie");
	ok(!lsc_kv_reaches(request, &config, 0, 1, 1) && holds(&here, request, 2),
	   "and are not where they were");
	lsc_kv_drop(&here, &key);
	ok(holds(&here, second, 0) && here.used_pages == second->pages, "whose end they outlive");
	lsc_kv_drop(&here, &other);
	is_int(here.used_pages, 0, "all is given back");

	request = lsc_kv_request(&there, &key);
	is_int(lsc_kv_write_rows(&there, request, 0, 0, 1, rows), -ESTALE, "no pages, no rows");
	is_int(lsc_kv_expect_rows(&there, request, 0, 0, 40), 0, "pages for some");
	is_int(lsc_kv_write_rows(&there, request, 0, 60, 10, rows), -ESTALE, "are not for others");
	make_rows(0, 0, 4);
	rows[99] = NAN;
	is_int(lsc_kv_write_rows(&there, request, 0, 0, 4, rows), -EBADMSG, "no number");
	rows[99] = INFINITY;
	is_int(lsc_kv_write_rows(&there, request, 0, 0, 4, rows), -EBADMSG, "nor without end");
	rows[99] = -3e38f;
	is_int(lsc_kv_write_rows(&there, request, 0, 0, 4, rows), 0, "but a large one");
	lsc_kv_cut(&there, request, 0, 0);
	is_int(there.used_pages, 0, "pages without rows are given back as well");
	is_int(lsc_kv_expect_rows(&there, request, 0, 0, 1000), -ENOSPC, "no room for all");
	is_int(there.used_pages, 0, "takes none");
	lsc_kv_release(&here);
	lsc_kv_release(&there);
	return done_testing();
}
