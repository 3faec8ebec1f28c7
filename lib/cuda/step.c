/* step - the rows of a chunk as kernels read them */
#include <string.h>

#include "base/macros.h"
#include "cuda/gpu.h"
#include "exec/sample.h"

#define MIN_TILE 4u /* neighbouring positions that are worth a tile of their own */
#define WAVES    2u /* blocks for each multiprocessor */
#define GROUP    8u /* heads that a block of attend.cu serves */

/* How many rows from row i on are neighbouring positions of one request. */
static uint32_t run_length(const struct lsc_chunk *chunk, uint32_t i)
{
	uint32_t n = 1;

	while (i + n < chunk->n && chunk->rows[i + n].request == chunk->rows[i].request &&
	       chunk->rows[i + n].pos == chunk->rows[i].pos + n)
		n++;
	return n;
}

uint32_t lsc_gpu_splits(const struct lsc_gpu *gpu, uint32_t n)
{
	const struct lsc_cuda_shape *shape = &gpu->shape;
	uint64_t blocks =
		(uint64_t)n * shape->kv_heads * lsc_div_up(shape->heads / shape->kv_heads, GROUP);
	uint64_t splits = WAVES * (uint64_t)gpu->cores / LSC_MAX(blocks, 1u);

	return (uint32_t)LSC_MIN(LSC_MAX(splits, 1u), LSC_CUDA_MAX_SPLITS);
}

/* Where things lie, for so many rows. */
static void lay_out(const struct lsc_gpu *gpu, struct lsc_gpu_step *step, uint32_t rows)
{
	const size_t n = rows;

	step->rows = 0;
	step->now = step->rows + n * sizeof(struct lsc_cuda_row);
	step->tiles = step->now + n * gpu->config->layers * sizeof(void *);
	step->draw = step->tiles + n * sizeof(struct lsc_cuda_tile);
	step->singles = step->draw + n * sizeof(struct lsc_cuda_draw);
	step->heads = step->singles + n * sizeof(uint32_t);
	step->bytes = step->heads + n * sizeof(uint32_t);
}

size_t lsc_gpu_step_bytes(const struct lsc_gpu *gpu, uint32_t rows)
{
	struct lsc_gpu_step step;

	lay_out(gpu, &step, rows);
	return step.bytes;
}

/* Each row with its table and, for the layers that run, the page of its position. */
static int fill_rows(struct lsc_gpu *gpu, const struct lsc_chunk *chunk,
		     const struct lsc_gpu_step *step)
{
	struct lsc_cuda_row *rows = (struct lsc_cuda_row *)(gpu->step_host + step->rows);
	void **now = (void **)(gpu->step_host + step->now);
	const uint32_t end = LSC_MIN(chunk->last, gpu->config->layers);
	const uint32_t begin = chunk->first ? chunk->first - 1 : 0;

	for (uint32_t i = 0; i < chunk->n; i++) {
		const struct lsc_row *row = &chunk->rows[i];
		void **table = NULL;

		if (row->request && begin < end) {
			table = lsc_cuda_pages_table(&gpu->pages, row->request);
			if (!table)
				return -ENOMEM;
		}
		rows[i] = (struct lsc_cuda_row){table, row->pos, row->id};
		for (uint32_t layer = begin; table && layer < end; layer++)
			now[(size_t)layer * step->padded + i] =
				row->request->layers[layer].pages[row->pos / LSC_PAGE_POSITIONS];
	}
	for (uint32_t i = chunk->n; i < step->padded; i++)
		rows[i] = (struct lsc_cuda_row){NULL, 0, 0};
	return 0;
}

/* Runs of positions become tiles, the other rows are on their own. */
static void fill_attention(struct lsc_gpu *gpu, const struct lsc_chunk *chunk,
			   struct lsc_gpu_step *step)
{
	struct lsc_cuda_tile *tiles = (struct lsc_cuda_tile *)(gpu->step_host + step->tiles);
	uint32_t *singles = (uint32_t *)(gpu->step_host + step->singles);

	for (uint32_t i = 0, run; i < chunk->n; i += run) {
		run = run_length(chunk, i);
		if (gpu->tile_rows && run >= MIN_TILE)
			for (uint32_t at = 0; at < run; at += gpu->tile_rows)
				tiles[step->n_tiles++] = (struct lsc_cuda_tile){
					i + at, LSC_MIN(gpu->tile_rows, run - at)};
		else
			for (uint32_t at = 0; at < run; at++)
				singles[step->n_singles++] = i + at;
	}
	/* Rows that fill up a graph's batch stand for themselves too. */
	for (uint32_t i = chunk->n; i < step->padded; i++)
		singles[step->n_singles++] = i;
	step->splits = lsc_gpu_splits(gpu, step->n_singles);
}

static void fill_heads(struct lsc_gpu *gpu, const struct lsc_chunk *chunk,
		       struct lsc_gpu_step *step)
{
	struct lsc_cuda_draw *draws = (struct lsc_cuda_draw *)(gpu->step_host + step->draw);
	uint32_t *heads = (uint32_t *)(gpu->step_host + step->heads);

	for (uint32_t i = 0; i < step->padded; i++) {
		const struct lsc_draw *draw = i < chunk->n_heads ? chunk->draws[i] : NULL;

		heads[i] = i < chunk->n_heads ? chunk->heads[i] : i;
		draws[i] = (struct lsc_cuda_draw){.temp = -1};
		if (!draw)
			continue;
		draws[i] = (struct lsc_cuda_draw){draw->temp > 0 ? draw->temp : 0, draw->top_p,
						  lsc_sample_uniform(draw->seed, draw->pos)};
		step->draws = true;
	}
	step->n_heads = chunk->n_heads;
}

int lsc_gpu_step_fill(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, bool graph,
		      struct lsc_gpu_step *step, struct lsc_err *err)
{
	*step = (struct lsc_gpu_step){
		.first = chunk->first, .last = chunk->last, .n = chunk->n, .padded = chunk->n};
	if (graph)
		for (step->padded = 1; step->padded < chunk->n;)
			step->padded *= 2;
	lay_out(gpu, step, step->padded);
	if (fill_rows(gpu, chunk, step) < 0)
		return lsc_err_set(err, ENOMEM, "no GPU memory for a request's table");
	fill_attention(gpu, chunk, step);
	fill_heads(gpu, chunk, step);
	return 0;
}
