/* Attention over pages of keys and values, and what stores them; included by kernels_X.c.
 *
 * A query is one head of one row.  Up to LSC_ATTEND_QUERIES of them pass over a page while it lies
 * in the first-level cache, TILE_HEADS at a time in registers; the next page is fetched meanwhile,
 * since pages lie anywhere.  What a query sees and in which order it is added up is its own:
 * weights of positions that only others see are zero.
 */
struct queries {
	const struct lsc_attend *job;
	uint32_t n;    /* of them */
	uint32_t most; /* positions that the last one sees */
	const float *q[LSC_ATTEND_QUERIES];
	float *out[LSC_ATTEND_QUERIES];
	float *weights[LSC_ATTEND_QUERIES]; /* scores, then weights: of each position */
	float sum[LSC_ATTEND_QUERIES];
};

/* Pages are of f32 or of f16: which is known where these are compiled. */
LANES lanes lanes_load_kv(const void *page, size_t at, const bool half)
{
	return half ? lanes_load_f16((const uint16_t *)page + at)
		    : lanes_load((const float *)page + at);
}

LANES void prefetch_kv(const void *page, size_t at, const bool half)
{
	__builtin_prefetch((const char *)page + at * (half ? 2 : 4), 0, 2);
}

LANES uint32_t seen_from(const struct lsc_attend *job, uint32_t n)
{
	return job->window && n > job->window ? n - job->window : 0;
}

/* Scores of one page for `heads` queries: lanes are positions, so that a key is read once for all
 * of them and nothing has to be summed across lanes. */
LANES void page_scores(const struct queries *queries, const void *page, const void *next,
		       uint32_t first, uint32_t t, const int heads, const bool half)
{
	const struct lsc_attend *job = queries->job;
	lanes sum[TILE_HEADS][2], scale = lanes_set(job->scale);
	const float *q[TILE_HEADS];

	UNROLL for (int h = 0; h < heads; h++)
	{
		q[h] = queries->q[first + (uint32_t)h];
		sum[h][0] = sum[h][1] = lanes_set(0);
	}
	for (uint32_t d = 0; d < job->head_dim; d++) {
		const size_t at = job->keys + d * LSC_PAGE_POSITIONS;
		lanes k0 = lanes_load_kv(page, at, half);
		lanes k1 = lanes_load_kv(page, at + 16, half);

		prefetch_kv(next, at, half);
		if (!half)
			prefetch_kv(next, at + 16, half);
		UNROLL for (int h = 0; h < heads; h++)
		{
			lanes v = lanes_set(q[h][d]);

			sum[h][0] = lanes_fma(v, k0, sum[h][0]);
			sum[h][1] = lanes_fma(v, k1, sum[h][1]);
		}
	}
	UNROLL for (int h = 0; h < heads; h++)
	{
		float *to = queries->weights[first + (uint32_t)h] + t;

		lanes_store(to, lanes_mul(sum[h][0], scale));
		lanes_store(to + 16, lanes_mul(sum[h][1], scale));
	}
}

/* Adds 16 x vectors elements of a page's n values, from position t on, for `heads` queries:
 * positions in order. */
LANES void page_values(const struct queries *queries, const void *page, const void *next,
		       uint32_t first, uint32_t t, uint32_t n, uint32_t element, const int heads,
		       const int vectors, const bool half)
{
	const struct lsc_attend *job = queries->job;
	size_t at = job->values + element;
	const bool whole = job->head_dim - element >= 16 * (uint32_t)vectors;
	lanes acc[TILE_HEADS][TILE_VECTORS];
	const float *p[TILE_HEADS];

	UNROLL for (int h = 0; h < heads; h++)
	{
		const float *out = queries->out[first + (uint32_t)h] + element;

		p[h] = queries->weights[first + (uint32_t)h] + t;
		UNROLL for (int v = 0; v < vectors; v++) acc[h][v] =
			whole ? lanes_load(out + 16 * v)
			      : lanes_load_n(out, job->head_dim - element);
	}
	for (uint32_t k = 0; k < n; k++) {
		lanes b[TILE_VECTORS];

		UNROLL for (int v = 0; v < vectors; v++)
		{
			b[v] = lanes_load_kv(page, at + 16 * (size_t)v, half);
			if (!half || v % 2 == 0)
				prefetch_kv(next, at + 16 * (size_t)v, half);
		}
		UNROLL for (int h = 0; h < heads; h++)
		{
			lanes a = lanes_set(p[h][k]);

			UNROLL for (int v = 0; v < vectors; v++) acc[h][v] =
				lanes_fma(a, b[v], acc[h][v]);
		}
		at += job->value_stride;
	}
	UNROLL for (int h = 0; h < heads; h++)
	{
		float *out = queries->out[first + (uint32_t)h] + element;

		UNROLL for (int v = 0; v < vectors; v++) if (whole)
			lanes_store(out + 16 * v, acc[h][v]);
		else lanes_store_n(out, acc[h][v], job->head_dim - element);
	}
}

/* One page for `heads` queries: their scores, or their sums of values. */
LANES void attend_page(const struct queries *queries, uint32_t first, uint32_t t, bool values,
		       const int heads, const bool half)
{
	const struct lsc_attend *job = queries->job;
	const void *page = job->pages[t / LSC_PAGE_POSITIONS];
	const void *next = first == 0 && t + LSC_PAGE_POSITIONS < queries->most
				   ? job->pages[t / LSC_PAGE_POSITIONS + 1]
				   : page;
	const uint32_t n = LSC_MIN(queries->most - t, LSC_PAGE_POSITIONS);
	uint32_t e = 0;

	if (!values) {
		page_scores(queries, page, next, first, t, heads, half);
		return;
	}
	for (; e + 16 * TILE_VECTORS <= job->head_dim; e += 16 * TILE_VECTORS)
		page_values(queries, page, next, first, t, n, e, heads, TILE_VECTORS, half);
	for (; e < job->head_dim; e += 16)
		page_values(queries, page, next, first, t, n, e, heads, 1, half);
}

typedef void attend_fn(const struct queries *queries, uint32_t first, uint32_t t, bool values);

#define DEFINE_ATTEND(name, heads, half)                                                           \
	TARGET __attribute__((noinline)) static void name(const struct queries *queries,           \
							  uint32_t first, uint32_t t, bool values) \
	{                                                                                          \
		attend_page(queries, first, t, values, heads, half);                               \
	}

/* By the number of queries that pass together. */
#define DEFINE_ATTENDS(kind, half)                                                                 \
	DEFINE_ATTEND(attend_##kind##_one, 1, half)                                                \
	DEFINE_ATTEND(attend_##kind##_two, TILE_HEADS > 2 ? 2 : 1, half)                           \
	DEFINE_ATTEND(attend_##kind##_three, TILE_HEADS > 3 ? 3 : 1, half)                         \
	DEFINE_ATTEND(attend_##kind##_tile, TILE_HEADS, half)                                      \
	static attend_fn *const attend_##kind[] = {attend_##kind##_tile, attend_##kind##_one,      \
						   attend_##kind##_two, attend_##kind##_three}

DEFINE_ATTENDS(f32, false);
DEFINE_ATTENDS(f16, true);

TARGET static void attend_pages(const struct queries *queries, bool values)
{
	attend_fn *const *attend = queries->job->half ? attend_f16 : attend_f32;

	for (uint32_t t = 0; t < queries->most; t += LSC_PAGE_POSITIONS) {
		uint32_t i = 0;

		for (; i + TILE_HEADS <= queries->n; i += TILE_HEADS)
			attend[0](queries, i, t, values);
		if (i < queries->n)
			attend[queries->n - i](queries, i, t, values);
	}
}

/* Weights of query i from its scores; its sum of values begins at zero. */
TARGET static void weigh(struct queries *queries, uint32_t i, uint32_t n)
{
	const struct lsc_attend *job = queries->job;
	const uint32_t from = seen_from(job, n);
	float *weights = queries->weights[i];

	queries->sum[i] = softmax(weights + from, n - from);
	memset(weights, 0, from * sizeof(*weights));
	memset(weights + n, 0, (queries->most - n) * sizeof(*weights));
	memset(queries->out[i], 0, job->head_dim * sizeof(float));
}

TARGET static void divide(float *x, float by, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		x[i] /= by;
}

/* n queries from first on, counted row by row. */
TARGET static void attend_some(const struct lsc_attend *job, uint32_t first, uint32_t n)
{
	struct queries queries = {
		.job = job, .n = n, .most = job->n + (first + n - 1) / job->group};

	for (uint32_t i = 0; i < n; i++) {
		const size_t row = (first + i) / job->group, head = (first + i) % job->group;

		queries.q[i] = job->q + row * job->q_stride + head * job->head_dim;
		queries.out[i] = job->out + row * job->out_stride + head * job->head_dim;
		queries.weights[i] = job->scores + i * job->score_stride;
	}
	attend_pages(&queries, false);
	for (uint32_t i = 0; i < n; i++)
		weigh(&queries, i, job->n + (first + i) / job->group);
	attend_pages(&queries, true);
	for (uint32_t i = 0; i < n; i++)
		divide(queries.out[i], queries.sum[i], job->head_dim);
}

TARGET static void attend(const struct lsc_attend *job)
{
	const uint32_t n = job->rows * job->group;

	for (uint32_t first = 0; first < n; first += LSC_ATTEND_QUERIES)
		attend_some(job, first, LSC_MIN(n - first, LSC_ATTEND_QUERIES));
}

/* --- f16 --- */

/* What is not a number stays that. */
LANES lanes bound_f16(lanes v)
{
	return lanes_max(lanes_set(-65504), lanes_min(lanes_set(65504), v));
}

TARGET static void halve(uint16_t *out, const float *x, uint32_t n)
{
	uint16_t rest[16];

	for (; n >= 16; n -= 16, out += 16, x += 16)
		lanes_store_f16(out, bound_f16(lanes_load(x)));
	if (n == 0)
		return;
	lanes_store_f16(rest, bound_f16(lanes_load_n(x, n)));
	memcpy(out, rest, n * sizeof(*out));
}

TARGET static void widen(float *out, const uint16_t *x, uint32_t n)
{
	for (; n >= 16; n -= 16, out += 16, x += 16)
		lanes_store(out, lanes_load_f16(x));
	if (n > 0)
		lanes_store_n(out, lanes_load_f16_n(x, n), n);
}
