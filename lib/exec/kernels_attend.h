/* Attention over pages of keys and values; included by kernels_X.c.
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

LANES uint32_t seen_from(const struct lsc_attend *job, uint32_t n)
{
	return job->window && n > job->window ? n - job->window : 0;
}

/* Scores of one page for `heads` queries: lanes are positions, so that a key is read once for all
 * of them and nothing has to be summed across lanes. */
LANES void page_scores(const struct queries *queries, const float *keys, const float *next,
		       uint32_t first, uint32_t t, const int heads)
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
		lanes k0 = lanes_load(keys + d * LSC_PAGE_POSITIONS);
		lanes k1 = lanes_load(keys + d * LSC_PAGE_POSITIONS + 16);

		__builtin_prefetch(next + d * LSC_PAGE_POSITIONS, 0, 2);
		__builtin_prefetch(next + d * LSC_PAGE_POSITIONS + 16, 0, 2);
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
LANES void page_values(const struct queries *queries, const float *values, const float *next,
		       uint32_t first, uint32_t t, uint32_t n, uint32_t element, const int heads,
		       const int vectors)
{
	const struct lsc_attend *job = queries->job;
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
			b[v] = lanes_load(values + element + 16 * v);
			__builtin_prefetch(next + element + 16 * v, 0, 2);
		}
		UNROLL for (int h = 0; h < heads; h++)
		{
			lanes a = lanes_set(p[h][k]);

			UNROLL for (int v = 0; v < vectors; v++) acc[h][v] =
				lanes_fma(a, b[v], acc[h][v]);
		}
		values += job->value_stride;
		next += job->value_stride;
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
		       const int heads)
{
	const struct lsc_attend *job = queries->job;
	const float *page = job->pages[t / LSC_PAGE_POSITIONS];
	const float *next = first == 0 && t + LSC_PAGE_POSITIONS < queries->most
				    ? job->pages[t / LSC_PAGE_POSITIONS + 1]
				    : page;
	const uint32_t n = LSC_MIN(queries->most - t, LSC_PAGE_POSITIONS);
	uint32_t e = 0;

	if (!values) {
		page_scores(queries, page + job->keys, next + job->keys, first, t, heads);
		return;
	}
	for (; e + 16 * TILE_VECTORS <= job->head_dim; e += 16 * TILE_VECTORS)
		page_values(queries, page + job->values, next + job->values, first, t, n, e, heads,
			    TILE_VECTORS);
	for (; e < job->head_dim; e += 16)
		page_values(queries, page + job->values, next + job->values, first, t, n, e, heads,
			    1);
}

#define DEFINE_ATTEND(name, heads)                                                                 \
	TARGET __attribute__((noinline)) static void name(const struct queries *queries,           \
							  uint32_t first, uint32_t t, bool values) \
	{                                                                                          \
		attend_page(queries, first, t, values, heads);                                     \
	}

DEFINE_ATTEND(attend_tile, TILE_HEADS)
DEFINE_ATTEND(attend_three, TILE_HEADS > 3 ? 3 : 1)
DEFINE_ATTEND(attend_two, TILE_HEADS > 2 ? 2 : 1)
DEFINE_ATTEND(attend_one, 1)

TARGET static void attend_pages(const struct queries *queries, bool values)
{
	for (uint32_t t = 0; t < queries->most; t += LSC_PAGE_POSITIONS) {
		uint32_t i = 0, left;

		for (; i + TILE_HEADS <= queries->n; i += TILE_HEADS)
			attend_tile(queries, i, t, values);
		left = queries->n - i;
		if (TILE_HEADS > 3 && left == 3)
			attend_three(queries, i, t, values);
		else if (TILE_HEADS > 2 && left == 2)
			attend_two(queries, i, t, values);
		else if (left)
			attend_one(queries, i, t, values);
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
