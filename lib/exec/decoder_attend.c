/* decoder_attend - a layer's attention: queries and keys are turned, keys and values kept, and each
 * row attends to what it sees */
#include "exec/decoder.h"
#include "exec/decoder_own.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "exec/rows.h"

struct batch {
	struct lsc_decoder *decoder;
	const struct lsc_layer *weights;
	uint32_t layer;
	const struct lsc_row *rows;
	uint32_t spans[LSC_DECODER_MAX_ROWS + 1]; /* first rows of those that share keys, and n */
};

static void store_f32(const struct lsc_kv *kv, float *keys, float *values, const float *key,
		      const float *value)
{
	for (uint32_t d = 0; d < kv->head_dim; d++)
		keys[(size_t)d * LSC_PAGE_POSITIONS] = key[d];
	memcpy(values, value, kv->head_dim * sizeof(*value));
}

static void store_f16(const struct lsc_decoder *decoder, uint16_t *keys, uint16_t *values,
		      const float *key, const float *value)
{
	const uint32_t n = decoder->kv->head_dim;
	uint16_t some[64];

	for (uint32_t d = 0; d < n; d++) {
		if (d % LSC_ARRAY_SIZE(some) == 0)
			decoder->kernels->halve(some, key + d,
						LSC_MIN(n - d, LSC_ARRAY_SIZE(some)));
		keys[(size_t)d * LSC_PAGE_POSITIONS] = some[d % LSC_ARRAY_SIZE(some)];
	}
	decoder->kernels->halve(values, value, n);
}

static void store_kv(const struct lsc_decoder *decoder, void *page, uint32_t slot, uint32_t kv_head,
		     const float *key, const float *value)
{
	const struct lsc_kv *kv = decoder->kv;
	void *keys = lsc_kv_at(kv, page, lsc_kv_keys(kv, kv_head) + slot);
	void *values =
		lsc_kv_at(kv, page, lsc_kv_values(kv, kv_head) + (size_t)slot * kv->value_stride);

	if (kv->half)
		store_f16(decoder, keys, values, key, value);
	else
		store_f32(kv, keys, values, key, value);
}

/* Norms and turns a row's queries and keys, and puts its keys and values into their page. */
static void run_prepare(void *data, uint32_t index, unsigned thread)
{
	const struct batch *batch = data;
	struct lsc_decoder *decoder = batch->decoder;
	const struct lsc_model_config *config = decoder->config;
	const struct lsc_row *row = &batch->rows[index];
	float *qkv = decoder->qkv + (size_t)index * decoder->qkv_stride;
	void *page = row->request->layers[batch->layer].pages[row->pos / LSC_PAGE_POSITIONS];

	(void)thread;
	for (uint32_t h = 0; h < config->heads + config->kv_heads; h++) {
		float *head = qkv + (size_t)h * config->head_dim;

		if (config->qk_norm)
			decoder->kernels->rms_norm(head, head,
						   h < config->heads ? batch->weights->q_norm
								     : batch->weights->k_norm,
						   config->head_dim, config->norm_eps);
		lsc_rope_turn(&decoder->rope, row->pos, head);
	}
	for (uint32_t h = 0; h < config->kv_heads; h++) {
		const float *key = qkv + (size_t)(config->heads + h) * config->head_dim;

		store_kv(decoder, page, row->pos % LSC_PAGE_POSITIONS, h, key,
			 key + (size_t)config->kv_heads * config->head_dim);
	}
}

/* Rows from index on that share keys: of one request, at consecutive positions, as many as are
 * worked on together. */
static uint32_t count_alike(const struct batch *batch, uint32_t index, uint32_t n)
{
	const struct lsc_model_config *config = batch->decoder->config;
	const struct lsc_row *first = &batch->rows[index];
	uint32_t most = LSC_MAX(LSC_ATTEND_QUERIES / (config->heads / config->kv_heads), 1);
	uint32_t count = 1;

	while (count < most && index + count < n && first[count].request == first->request &&
	       first[count].pos == first->pos + count)
		count++;
	return count;
}

/* One task: rows that share keys, and one kv head with the query heads that share it. */
static void run_attend(void *data, uint32_t task, unsigned thread)
{
	const struct batch *batch = data;
	struct lsc_decoder *decoder = batch->decoder;
	const struct lsc_model_config *config = decoder->config;
	const uint32_t kv_head = task % config->kv_heads;
	const uint32_t index = batch->spans[task / config->kv_heads];
	const uint32_t group = config->heads / config->kv_heads;
	const size_t head = (size_t)kv_head * group * config->head_dim;
	const struct lsc_row *row = &batch->rows[index];
	const uint32_t page =
		lsc_model_sees_from(config, batch->layer, row->pos) / LSC_PAGE_POSITIONS;
	struct lsc_attend job = {
		.q = decoder->qkv + (size_t)index * decoder->qkv_stride + head,
		.out = decoder->att + (size_t)index * decoder->att_stride + head,
		.q_stride = decoder->qkv_stride,
		.out_stride = decoder->att_stride,
		.rows = batch->spans[task / config->kv_heads + 1] - index,
		.group = group,
		.head_dim = config->head_dim,
		.n = row->pos + 1 - page * LSC_PAGE_POSITIONS,
		.window = batch->layer >= config->window_first ? config->window : 0,
		.half = decoder->kv->half,
		.pages = (const void *const *)row->request->layers[batch->layer].pages + page,
		.keys = lsc_kv_keys(decoder->kv, kv_head),
		.values = lsc_kv_values(decoder->kv, kv_head),
		.value_stride = decoder->kv->value_stride,
		.scale = 1.0f / sqrtf((float)config->head_dim),
		.scores = decoder->scores +
			  (size_t)thread * LSC_ATTEND_QUERIES * decoder->score_stride,
		.score_stride = decoder->score_stride,
	};

	decoder->kernels->attend(&job);
}

static void share_attend(struct lsc_decoder *decoder, struct batch *batch, uint32_t n)
{
	const struct lsc_model_config *config = decoder->config;
	uint64_t seen = 0;
	uint32_t spans = 0;

	for (uint32_t i = 0; i < n; i++)
		seen += batch->rows[i].pos + 1 -
			lsc_model_sees_from(config, batch->layer, batch->rows[i].pos);
	for (uint32_t i = 0; i < n; i += count_alike(batch, i, n))
		batch->spans[spans++] = i;
	batch->spans[spans] = n;
	/* A few microseconds of work are not worth sharing. */
	if (seen * config->heads * config->head_dim < 1 << 15) {
		for (uint32_t task = 0; task < spans * config->kv_heads; task++)
			run_attend(batch, task, 0);
		return;
	}
	lsc_pool_run(decoder->pool, run_attend, batch, spans * config->kv_heads);
}

void lsc_decoder_attend(struct lsc_decoder *decoder, uint32_t layer, const struct lsc_row *rows,
			uint32_t n)
{
	struct batch batch;

	batch.decoder = decoder;
	batch.weights = &decoder->layers[layer];
	batch.layer = layer;
	batch.rows = rows;
	lsc_rows_each(decoder->pool, run_prepare, &batch, n);
	share_attend(decoder, &batch, n);
}
