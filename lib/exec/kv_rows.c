/* kv_rows - pages as rows of positions, and back */
#include "exec/kv_rows.h"

#include <string.h>

#include "base/macros.h"
#include "exec/kernels.h"

bool lsc_kv_is_readable(const struct lsc_kv *kv)
{
	return !kv->memory.take;
}

uint32_t lsc_kv_row_floats(const struct lsc_kv *kv)
{
	return 2 * kv->kv_heads * kv->head_dim;
}

uint32_t lsc_kv_needs_from(const struct lsc_model_config *config, uint32_t layer, uint32_t n)
{
	uint32_t from = lsc_model_sees_from(config, layer, n);

	return from - from % LSC_PAGE_POSITIONS;
}

/* Whether pages of all these positions are there. */
static bool has_pages(const struct lsc_kv_layer *layer, uint32_t pos, uint32_t n)
{
	return pos / LSC_PAGE_POSITIONS >= layer->first &&
	       (uint64_t)pos + n <= (uint64_t)layer->n_pages * LSC_PAGE_POSITIONS;
}

/* So many of n positions from pos on lie in one page. */
static uint32_t run_length(uint32_t pos, uint32_t n)
{
	return LSC_MIN(n, LSC_PAGE_POSITIONS - pos % LSC_PAGE_POSITIONS);
}

/* n numbers of a page from `at` on. */
static void get(const struct lsc_kv *kv, void *page, size_t at, float *to, uint32_t n)
{
	const void *from = lsc_kv_at(kv, page, at);

	if (kv->half)
		lsc_kernels()->widen(to, from, n);
	else
		memcpy(to, from, n * sizeof(*to));
}

static void put(const struct lsc_kv *kv, void *page, size_t at, const float *from, uint32_t n)
{
	void *to = lsc_kv_at(kv, page, at);

	if (kv->half)
		lsc_kernels()->halve(to, from, n);
	else
		memcpy(to, from, n * sizeof(*from));
}

static void read_page(const struct lsc_kv *kv, void *page, uint32_t slot, uint32_t n, float *rows)
{
	const size_t stride = lsc_kv_row_floats(kv), dim = kv->head_dim;
	float key[LSC_PAGE_POSITIONS];

	for (uint32_t head = 0; head < kv->kv_heads; head++) {
		const size_t keys = lsc_kv_keys(kv, head) + slot;
		const size_t values = lsc_kv_values(kv, head) + (size_t)slot * kv->value_stride;
		float *to = rows + head * dim;

		for (size_t d = 0; d < dim; d++) {
			get(kv, page, keys + d * LSC_PAGE_POSITIONS, key, n);
			for (uint32_t i = 0; i < n; i++)
				to[i * stride + d] = key[i];
		}
		to += kv->kv_heads * dim;
		for (uint32_t i = 0; i < n; i++)
			get(kv, page, values + (size_t)i * kv->value_stride, to + i * stride,
			    kv->head_dim);
	}
}

static void write_page(const struct lsc_kv *kv, void *page, uint32_t slot, uint32_t n,
		       const float *rows)
{
	const size_t stride = lsc_kv_row_floats(kv), dim = kv->head_dim;
	float key[LSC_PAGE_POSITIONS];

	for (uint32_t head = 0; head < kv->kv_heads; head++) {
		const size_t keys = lsc_kv_keys(kv, head) + slot;
		const size_t values = lsc_kv_values(kv, head) + (size_t)slot * kv->value_stride;
		const float *from = rows + head * dim;

		for (size_t d = 0; d < dim; d++) {
			for (uint32_t i = 0; i < n; i++)
				key[i] = from[i * stride + d];
			put(kv, page, keys + d * LSC_PAGE_POSITIONS, key, n);
		}
		from += kv->kv_heads * dim;
		for (uint32_t i = 0; i < n; i++)
			put(kv, page, values + (size_t)i * kv->value_stride, from + i * stride,
			    kv->head_dim);
	}
}

int lsc_kv_read_rows(const struct lsc_kv *kv, const struct lsc_kv_request *request, uint32_t layer,
		     uint32_t pos, uint32_t n, float *ret_rows)
{
	const struct lsc_kv_layer *of = &request->layers[layer];

	if ((uint64_t)pos + n > of->len || !has_pages(of, pos, n))
		return -ESTALE;
	while (n) {
		uint32_t some = run_length(pos, n);

		read_page(kv, of->pages[pos / LSC_PAGE_POSITIONS], pos % LSC_PAGE_POSITIONS, some,
			  ret_rows);
		ret_rows += (size_t)some * lsc_kv_row_floats(kv);
		pos += some;
		n -= some;
	}
	return 0;
}

int lsc_kv_expect_rows(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer,
		       uint32_t from, uint32_t n)
{
	struct lsc_kv_layer *of = &request->layers[layer];
	int r;

	of->first = of->n_pages = from / LSC_PAGE_POSITIONS;
	r = lsc_kv_reserve(kv, request, layer, n);
	if (r < 0)
		lsc_kv_cut(kv, request, layer, 0);
	return r;
}

/* Neither infinite nor no number at all; without a branch, as there are millions. */
static bool all_finite(const float *x, size_t n)
{
	uint32_t bad = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, x + i, sizeof(bits));
		bad |= (bits & 0x7f800000) == 0x7f800000;
	}
	return !bad;
}

int lsc_kv_write_rows(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer,
		      uint32_t pos, uint32_t n, const float *rows)
{
	struct lsc_kv_layer *of = &request->layers[layer];

	if (!has_pages(of, pos, n))
		return -ESTALE;
	if (!all_finite(rows, (size_t)n * lsc_kv_row_floats(kv)))
		return -EBADMSG;
	while (n) {
		uint32_t some = run_length(pos, n);

		write_page(kv, of->pages[pos / LSC_PAGE_POSITIONS], pos % LSC_PAGE_POSITIONS, some,
			   rows);
		rows += (size_t)some * lsc_kv_row_floats(kv);
		pos += some;
		n -= some;
	}
	return 0;
}

void lsc_kv_fill(const struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t n)
{
	for (uint32_t layer = 0; layer < kv->layers; layer++)
		request->layers[layer].len = n;
}

/* The tables of pages are parts of their requests: what they say is copied, and forgotten. */
void lsc_kv_hand_over(struct lsc_kv_request *from, struct lsc_kv_request *to, uint32_t layer)
{
	struct lsc_kv_layer *of = &from->layers[layer], *at = &to->layers[layer];

	memcpy(at->pages, of->pages, of->n_pages * sizeof(*of->pages));
	at->n_pages = of->n_pages;
	at->first = of->first;
	to->pages += of->n_pages - of->first;
	from->pages -= of->n_pages - of->first;
	of->n_pages = of->first = of->len = 0;
}
