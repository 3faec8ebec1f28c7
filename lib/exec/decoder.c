/* decoder - units over a batch of rows
 *
 * A layer is five jobs for the pool: the three products into heads (qkv), attention, the product
 * back (o), gate and up with their activation, and down; or experts (experts.c) for the last two.
 * What is small (norms, rotary embedding, writing keys and values, packing activations) is done by
 * the caller alone while there are few rows, because handing it over would take longer than doing
 * it.
 */
#include "exec/decoder.h"
#include "exec/decoder_own.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "exec/rows.h"

#define HEAD_ROWS       16 /* rows of logits computed at once */
#define FIRST_POSITIONS 32768

int lsc_decoder_init(struct lsc_decoder *decoder, const struct lsc_image *image,
		     const uint8_t *data, struct lsc_kv *kv,
		     const struct lsc_engine_options *options, struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	uint32_t heads = config->heads * config->head_dim;
	int r;

	*decoder = (struct lsc_decoder){
		.config = config,
		.kernels = options->kernels ? options->kernels : lsc_kernels(),
		.exact = options->exact,
		.kv = kv,
		.progress = options->progress,
		.hidden_stride = (uint32_t)lsc_align_up(config->hidden, LSC_LANES),
		.qkv_stride = (uint32_t)lsc_align_up(
			heads + 2 * config->kv_heads * config->head_dim, LSC_LANES),
		.att_stride = (uint32_t)lsc_align_up(heads, LSC_LANES),
		.ffn_stride = config->experts ? 0 : (uint32_t)lsc_align_up(config->ffn, LSC_LANES),
	};
	r = options->kernels ? 0 : lsc_kernels_check(err);
	if (r < 0)
		return r;
	decoder->layers = calloc(config->layers, sizeof(*decoder->layers));
	if (!decoder->layers)
		return lsc_err_set(err, ENOMEM, "no memory for %u layers", config->layers);
	r = lsc_decoder_load(decoder, image, data, err);
	if (r == 0)
		r = lsc_rope_init(&decoder->rope, config, err);
	if (r == 0)
		r = lsc_pool_new(&decoder->pool, options->threads, err);
	if (r == 0)
		r = lsc_experts_init(&decoder->experts, image, data, decoder->kernels,
				     decoder->pool, decoder->exact, err);
	return r;
}

void lsc_decoder_release(struct lsc_decoder *decoder)
{
	lsc_experts_release(&decoder->experts);
	lsc_pool_free(decoder->pool);
	lsc_rope_release(&decoder->rope);
	free(decoder->layers);
	free(decoder->x);
	free(decoder->normed);
	free(decoder->qkv);
	free(decoder->att);
	free(decoder->gate_up);
	free(decoder->packed);
	free(decoder->scores);
	free(decoder->logits);
	*decoder = (struct lsc_decoder)LSC_DECODER_INIT;
}

/* --- buffers --- */

static float *floats(float **old, uint64_t n)
{
	free(*old);
	*old = lsc_rows_new(n, sizeof(**old));
	return *old;
}

/* What the widest activations take for any format of weights. */
static size_t most_packed(const struct lsc_decoder *decoder)
{
	const struct lsc_packing *all[] = {&decoder->kernels->brain, &decoder->kernels->q8};
	uint32_t widest =
		LSC_MAX(decoder->hidden_stride, LSC_MAX(decoder->att_stride, decoder->ffn_stride));
	size_t most = 0, bytes;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(all); i++) {
		bytes = lsc_packed_stride(all[i], widest);
		most = LSC_MAX(most, bytes);
	}
	return most;
}

static int reserve_rows(struct lsc_decoder *decoder, uint32_t rows)
{
	uint64_t n = lsc_align_up(rows, LSC_ARRANGED);

	if (rows <= decoder->max_rows)
		return 0;
	decoder->max_rows = 0;
	if (!floats(&decoder->x, n * decoder->hidden_stride) ||
	    !floats(&decoder->normed, n * decoder->hidden_stride) ||
	    !floats(&decoder->qkv, n * decoder->qkv_stride) ||
	    !floats(&decoder->att, n * decoder->att_stride) ||
	    !floats(&decoder->gate_up, LSC_MAX(n * 2 * decoder->ffn_stride, 1)) ||
	    lsc_experts_reserve(&decoder->experts, (uint32_t)n) < 0)
		return -ENOMEM;
	free(decoder->packed);
	decoder->packed = aligned_alloc(64, n * most_packed(decoder));
	if (!decoder->packed)
		return -ENOMEM;
	decoder->max_rows = (uint32_t)n;
	return 0;
}

/* Scratch, written before it is read.  There is room for FIRST_POSITIONS from the beginning, of
 * which the kernel gives what is used.  A cache line more keeps queries apart in the cache. */
static int reserve_scores(struct lsc_decoder *decoder, uint32_t positions)
{
	uint64_t stride = LSC_MAX(decoder->score_stride, FIRST_POSITIONS);
	uint64_t queries = (uint64_t)lsc_pool_threads(decoder->pool) * LSC_ATTEND_QUERIES;

	if (decoder->score_stride >= lsc_align_up(positions, LSC_PAGE_POSITIONS))
		return 0;
	while (stride < positions)
		stride *= 2;
	stride = lsc_align_up(stride, LSC_PAGE_POSITIONS) + LSC_LANES;
	free(decoder->scores);
	decoder->score_stride = 0;
	decoder->scores = aligned_alloc(64, queries * stride * sizeof(float));
	if (!decoder->scores)
		return -ENOMEM;
	decoder->score_stride = (uint32_t)stride;
	return 0;
}

int lsc_decoder_reserve(struct lsc_decoder *decoder, uint32_t rows, uint32_t positions)
{
	int r = reserve_rows(decoder, rows);

	if (r == 0)
		r = lsc_rope_reach(&decoder->rope, positions);
	return r < 0 ? r : reserve_scores(decoder, positions);
}

float *lsc_decoder_x(const struct lsc_decoder *decoder, uint32_t row)
{
	return decoder->x + (size_t)row * decoder->hidden_stride;
}

/* --- steps that the pool shares out --- */

struct product {
	const struct lsc_kernels *kernels;
	struct lsc_matmul job;
	lsc_matmul_fn *matmul;
	uint32_t rows;      /* of the matrix */
	uint32_t task;      /* rows in a task */
	uint32_t up_offset; /* gate and up: from a gate to its up in y */
};

static void run_product(void *data, uint32_t task, unsigned thread)
{
	const struct product *product = data;
	uint32_t first = task * product->task;

	(void)thread;
	product->matmul(&product->job, first, LSC_MIN(product->task, product->rows - first));
}

static void run_gate_up(void *data, uint32_t task, unsigned thread)
{
	const struct product *product = data;
	uint32_t first = task * product->task;

	(void)thread;
	lsc_rows_gate_up(product->kernels, product->matmul, &product->job, product->rows,
			 product->up_offset, first, LSC_MIN(product->task, product->rows - first));
}

struct pack {
	const struct lsc_packing *packing;
	const struct lsc_matmul *job;
	uint8_t *to;
};

static void run_pack(void *data, uint32_t row, unsigned thread)
{
	const struct pack *pack = data;
	const struct lsc_matmul *job = pack->job;

	(void)thread;
	pack->packing->pack(job->x + row * job->x_stride, job->cols,
			    pack->to + row * job->packed_stride);
}

/* So many rows, arranged. */
static void run_arrange(void *data, uint32_t group, unsigned thread)
{
	const struct pack *pack = data;
	const struct lsc_matmul *job = pack->job;
	const uint32_t first = group * LSC_ARRANGED;

	for (uint32_t row = first; row < LSC_MIN(first + LSC_ARRANGED, job->m); row++)
		run_pack(data, row, thread);
	pack->packing->arrange(pack->to + first * job->packed_stride, job->packed_stride,
			       job->cols);
}

/* Chooses how a product is computed, and packs its activations where that is faster. */
static void prepare_product(struct lsc_decoder *decoder, struct product *product)
{
	struct lsc_matmul *job = &product->job;
	struct pack pack = {lsc_kernels_packing(decoder->kernels, job->dtype), job,
			    decoder->packed};
	uint32_t groups = (uint32_t)lsc_div_up(job->m, LSC_ARRANGED);

	product->kernels = decoder->kernels;
	product->matmul = decoder->kernels->matmul;
	if (decoder->exact || !pack.packing)
		return;
	product->matmul = pack.packing->matmul;
	job->packed = decoder->packed;
	job->packed_stride = lsc_packed_stride(pack.packing, job->cols);
	if (job->m > 1 && pack.packing->arrange) {
		job->arranged = groups * LSC_ARRANGED;
		lsc_pool_run(decoder->pool, run_arrange, &pack, groups);
	} else {
		lsc_rows_each(decoder->pool, run_pack, &pack, job->m);
	}
}

static void share_product(struct lsc_decoder *decoder, struct product *product, lsc_pool_fn *fn)
{
	prepare_product(decoder, product);
	product->task = lsc_rows_in_task(decoder->pool, 1, product->rows);
	lsc_pool_run(decoder->pool, fn, product,
		     (uint32_t)lsc_div_up(product->rows, product->task));
}

/* y (+)= matrix x, for n rows of activations. */
static void multiply(struct lsc_decoder *decoder, const struct lsc_matrix *matrix, const float *x,
		     size_t x_stride, float *y, size_t y_stride, uint32_t n, bool add)
{
	struct product product = {
		.job = {matrix->dtype, matrix->data, matrix->cols, n, x, x_stride, y, y_stride, add,
			NULL, 0, 0},
		.rows = matrix->rows,
	};

	share_product(decoder, &product, run_product);
}

struct norm {
	struct lsc_decoder *decoder;
	const float *weight;
};

static void run_norm(void *data, uint32_t row, unsigned thread)
{
	const struct norm *norm = data;
	struct lsc_decoder *decoder = norm->decoder;
	size_t at = (size_t)row * decoder->hidden_stride;

	(void)thread;
	decoder->kernels->rms_norm(decoder->normed + at, decoder->x + at, norm->weight,
				   decoder->config->hidden, decoder->config->norm_eps);
}

static void normalise(struct lsc_decoder *decoder, const float *weight, uint32_t n)
{
	struct norm norm = {decoder, weight};

	lsc_rows_each(decoder->pool, run_norm, &norm, n);
}

/* --- units --- */

void lsc_decoder_embed(struct lsc_decoder *decoder, const struct lsc_row *rows, uint32_t n)
{
	const struct lsc_matrix *embed = &decoder->embed;

	for (uint32_t i = 0; i < n; i++)
		lsc_dtype_matrix_row(embed->dtype, embed->data, rows[i].id, embed->cols,
				     lsc_decoder_x(decoder, i));
}

void lsc_decoder_layer(struct lsc_decoder *decoder, uint32_t index, const struct lsc_row *rows,
		       uint32_t n)
{
	const struct lsc_layer *layer = &decoder->layers[index];
	struct product gate_up = {
		.job = {layer->gate_up.dtype, layer->gate_up.data, layer->gate_up.cols, n,
			decoder->normed, decoder->hidden_stride, decoder->gate_up,
			2 * (size_t)decoder->ffn_stride, false, NULL, 0, 0},
		.rows = decoder->config->ffn,
		.up_offset = decoder->ffn_stride,
	};

	normalise(decoder, layer->attn_norm, n);
	for (uint32_t i = 0; layer->qkv_bias && i < n; i++)
		memcpy(decoder->qkv + (size_t)i * decoder->qkv_stride, layer->qkv_bias,
		       layer->qkv.rows * sizeof(float));
	multiply(decoder, &layer->qkv, decoder->normed, decoder->hidden_stride, decoder->qkv,
		 decoder->qkv_stride, n, layer->qkv_bias != NULL);
	lsc_decoder_attend(decoder, index, rows, n);
	multiply(decoder, &layer->o, decoder->att, decoder->att_stride, decoder->x,
		 decoder->hidden_stride, n, true);
	normalise(decoder, layer->ffn_norm, n);
	if (decoder->config->experts) {
		lsc_experts_run(&decoder->experts, index, decoder->normed, decoder->x, n);
		return;
	}
	share_product(decoder, &gate_up, run_gate_up);
	multiply(decoder, &layer->down, decoder->gate_up, 2 * (size_t)decoder->ffn_stride,
		 decoder->x, decoder->hidden_stride, n, true);
}

/* Up to HEAD_ROWS logits, in decoder->normed order. */
static void head_rows(struct lsc_decoder *decoder, const uint32_t *index, float *const *out,
		      uint32_t n)
{
	const struct lsc_model_config *config = decoder->config;
	float *logits = n == 1 ? out[0] : decoder->logits;

	for (uint32_t i = 0; i < n; i++)
		decoder->kernels->rms_norm(decoder->normed + (size_t)i * decoder->hidden_stride,
					   lsc_decoder_x(decoder, index[i]), decoder->final_norm,
					   config->hidden, config->norm_eps);
	multiply(decoder, &decoder->head, decoder->normed, decoder->hidden_stride, logits,
		 config->vocab, n, false);
	for (uint32_t i = 0; n > 1 && i < n; i++)
		memcpy(out[i], logits + (size_t)i * config->vocab, config->vocab * sizeof(float));
}

/* Without memory for several rows of logits they are computed one by one. */
void lsc_decoder_head(struct lsc_decoder *decoder, const uint32_t *index, float *const *out,
		      uint32_t n)
{
	uint32_t step = HEAD_ROWS;

	if (n > 1 && !decoder->logits)
		floats(&decoder->logits, (uint64_t)HEAD_ROWS * decoder->config->vocab);
	if (!decoder->logits)
		step = 1;
	for (uint32_t i = 0; i < n; i += step)
		head_rows(decoder, index + i, out + i, LSC_MIN(step, n - i));
}
