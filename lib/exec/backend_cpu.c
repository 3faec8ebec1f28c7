/* backend_cpu - the CPU's row: a decoder over the image where it lies */
#include <stdlib.h>
#include <string.h>

#include "exec/backend.h"
#include "exec/decoder.h"
#include "exec/kv.h"
#include "exec/pool.h"

static void cpu_close(void *self)
{
	struct lsc_decoder *decoder = self;

	if (!decoder)
		return;
	lsc_decoder_release(decoder);
	free(decoder);
}

static int cpu_open(void **ret_self, const struct lsc_image *image, const uint8_t *data,
		    struct lsc_kv *kv, const struct lsc_engine_options *options,
		    struct lsc_err *err)
{
	struct lsc_decoder *decoder = calloc(1, sizeof(*decoder));
	int r;

	if (!decoder)
		return lsc_err_set(err, ENOMEM, "no memory for a decoder");
	r = lsc_decoder_init(decoder, image, data, kv, options, err);
	if (r < 0) {
		cpu_close(decoder);
		return r;
	}
	*ret_self = decoder;
	return 0;
}

static int cpu_reserve(void *self, uint32_t rows, uint32_t positions, struct lsc_err *err)
{
	if (lsc_decoder_reserve(self, rows, positions) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for %u positions", positions);
	return 0;
}

static int cpu_run(void *self, const struct lsc_chunk *chunk, struct lsc_err *err)
{
	struct lsc_decoder *decoder = self;
	const struct lsc_model_config *config = decoder->config;
	const uint32_t each = lsc_model_layer_units(config), head = lsc_model_head_unit(config);
	const size_t bytes = config->hidden * sizeof(float);

	(void)err;
	if (chunk->first == 0)
		lsc_decoder_embed(decoder, chunk->rows, chunk->n);
	for (uint32_t i = 0; chunk->first && i < chunk->n; i++)
		memcpy(lsc_decoder_x(decoder, i), chunk->rows[i].in, bytes);
	for (uint32_t unit = chunk->first ? chunk->first : 1; unit < head && unit <= chunk->last;
	     unit += each) {
		lsc_decoder_layer(decoder, (unit - 1) / each, chunk->rows, chunk->n);
		if (decoder->progress)
			__atomic_fetch_add(decoder->progress, 1, __ATOMIC_RELAXED);
	}
	for (uint32_t i = 0; chunk->last < head && i < chunk->n; i++)
		memcpy(chunk->rows[i].out, lsc_decoder_x(decoder, i), bytes);
	if (chunk->n_heads)
		lsc_decoder_head(decoder, chunk->heads, chunk->logits, chunk->n_heads);
	return 0;
}

const struct lsc_backend_ops lsc_backend_cpu = {
	.name = "cpu",
	.max_rows = LSC_DECODER_MAX_ROWS,
	.open = cpu_open,
	.close = cpu_close,
	.reserve = cpu_reserve,
	.run = cpu_run,
};
