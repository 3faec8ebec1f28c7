/* gpu - the row of CUDA: an image's decoder on one device
 *
 * Opening checks the tensors, and takes streams and handles; weights come with
 * lsc_backend_ops.load, buffers with reserve.
 */
#include "cuda/gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "exec/device.h"
#include "model/q8.h"

#define BLAS_BYTES (32ull << 20)  /* what cuBLAS likes to have on the newest */
#define LOST_BYTES (512ull << 20) /* of the device, for buffers and what the runtime takes */

/* --- tensors --- */

struct loader {
	const struct lsc_gpu *gpu;
	int r; /* of the first that failed */
	struct lsc_err *err;
};

static int format_of(enum lsc_dtype dtype, enum lsc_cuda_format *ret_format)
{
	switch (dtype) {
	case LSC_DTYPE_F32:
		*ret_format = LSC_CUDA_F32;
		return 0;
	case LSC_DTYPE_F16:
		*ret_format = LSC_CUDA_F16;
		return 0;
	case LSC_DTYPE_BF16:
		*ret_format = LSC_CUDA_BF16;
		return 0;
	case LSC_DTYPE_Q8:
		*ret_format = LSC_CUDA_Q8;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void check_tensor(struct loader *from, uint32_t unit, enum lsc_tensor_role role,
			 uint32_t rows, uint32_t cols, struct lsc_gpu_tensor *ret)
{
	const struct lsc_image *image = from->gpu->image;
	const struct lsc_tensor *tensor = lsc_image_tensor(image, unit, role);
	const uint32_t parts = role == LSC_TENSOR_GATE_UP ? 2 : 1;
	struct lsc_gpu_tensor found = {.matrix = {.rows = rows, .cols = cols}, .is_there = true};

	if (!tensor)
		from->r = lsc_err_set(from->err, EBADMSG, "image has no tensor %u of unit %u", role,
				      unit);
	else if (format_of(tensor->dtype, &found.matrix.format) < 0)
		from->r = lsc_err_set(from->err, EOPNOTSUPP,
				      "tensor %u of unit %u: format %s does not run on a GPU", role,
				      unit, lsc_dtype_name(tensor->dtype));
	if (from->r < 0)
		return;
	found.offset = tensor->offset;
	found.block = lsc_cuda_weights_block(from->gpu->weights, tensor->offset, tensor->bytes);
	if (tensor->rows != rows || tensor->cols != cols || tensor->offset % 16 ||
	    tensor->bytes <
		    parts * lsc_cuda_matrix_bytes(found.matrix.format, rows / parts, cols) ||
	    found.block == UINT32_MAX)
		from->r = lsc_err_set(from->err, EBADMSG, "tensor %u of unit %u is not %u x %u",
				      role, unit, rows, cols);
	else
		*ret = found;
}

static void matrix(struct loader *from, uint32_t unit, enum lsc_tensor_role role, uint32_t rows,
		   uint32_t cols, struct lsc_gpu_tensor *ret)
{
	if (from->r == 0)
		check_tensor(from, unit, role, rows, cols, ret);
}

static void vector(struct loader *from, uint32_t unit, enum lsc_tensor_role role, uint32_t n,
		   struct lsc_gpu_tensor *ret)
{
	matrix(from, unit, role, 1, n, ret);
	if (from->r == 0 && ret->matrix.format != LSC_CUDA_F32)
		from->r = lsc_err_set(from->err, EBADMSG, "tensor %u of unit %u is not f32", role,
				      unit);
}

/* Tiles of 16 rows that hold the end of gate hold nothing of up: two matrices then. */
static void split_gate_up(struct lsc_gpu_layer *layer, uint32_t ffn)
{
	struct lsc_gpu_tensor *gate = &layer->gate_up;

	if (gate->matrix.format != LSC_CUDA_Q8 || ffn % LSC_Q8_ROWS == 0)
		return;
	gate->matrix.rows = ffn;
	layer->up = *gate;
	layer->up.offset += lsc_cuda_matrix_bytes(LSC_CUDA_Q8, ffn, gate->matrix.cols);
}

static int find_tensors(struct lsc_gpu *gpu, struct lsc_err *err)
{
	const struct lsc_model_config *config = gpu->config;
	const uint32_t hidden = config->hidden, heads = config->heads * config->head_dim;
	const uint32_t last = config->layers + 1, dim = config->head_dim;
	struct loader from = {gpu, 0, err};

	for (uint32_t i = 0; i < config->layers && from.r == 0; i++) {
		struct lsc_gpu_layer *layer = &gpu->layers[i];
		const uint32_t unit = i + 1;

		vector(&from, unit, LSC_TENSOR_ATTN_NORM, hidden, &layer->attn_norm);
		matrix(&from, unit, LSC_TENSOR_QKV, gpu->qkv_rows, hidden, &layer->qkv);
		if (config->qkv_bias)
			vector(&from, unit, LSC_TENSOR_QKV_BIAS, gpu->qkv_rows, &layer->qkv_bias);
		if (config->qk_norm) {
			vector(&from, unit, LSC_TENSOR_Q_NORM, dim, &layer->q_norm);
			vector(&from, unit, LSC_TENSOR_K_NORM, dim, &layer->k_norm);
		}
		matrix(&from, unit, LSC_TENSOR_O, hidden, heads, &layer->o);
		vector(&from, unit, LSC_TENSOR_FFN_NORM, hidden, &layer->ffn_norm);
		matrix(&from, unit, LSC_TENSOR_GATE_UP, 2 * config->ffn, hidden, &layer->gate_up);
		split_gate_up(layer, config->ffn);
		matrix(&from, unit, LSC_TENSOR_DOWN, hidden, config->ffn, &layer->down);
	}
	vector(&from, last, LSC_TENSOR_FINAL_NORM, hidden, &gpu->final_norm);
	matrix(&from, lsc_image_tensor(gpu->image, 0, LSC_TENSOR_EMBED) ? 0 : last,
	       LSC_TENSOR_EMBED, config->vocab, hidden, &gpu->embed);
	if (config->tied)
		gpu->head = gpu->embed;
	else
		matrix(&from, last, LSC_TENSOR_HEAD, config->vocab, hidden, &gpu->head);
	return from.r;
}

/* --- opening --- */

static size_t stride_of(uint32_t n)
{
	return lsc_align_up(n, 32);
}

static int set_shape(struct lsc_gpu *gpu, bool exact, struct lsc_err *err)
{
	const struct lsc_model_config *config = gpu->config;

	if (config->experts)
		return lsc_err_set(err, EOPNOTSUPP, "layers with experts do not run on a GPU");
	if (config->head_dim > LSC_CUDA_MAX_HEAD || config->head_dim % 2)
		return lsc_err_set(err, EOPNOTSUPP, "heads of %u elements do not run on a GPU",
				   config->head_dim);
	gpu->shape = (struct lsc_cuda_shape){
		.heads = config->heads,
		.kv_heads = config->kv_heads,
		.head_dim = config->head_dim,
		.head_stride = (uint32_t)lsc_align_up(config->head_dim, 8),
		.max_pages = (uint32_t)lsc_div_up(config->context, LSC_PAGE_POSITIONS),
		.eps = config->norm_eps,
	};
	if (format_of(gpu->image->dtype, &gpu->shape.half) < 0 || gpu->shape.half == LSC_CUDA_Q8)
		gpu->shape.half = LSC_CUDA_BF16; /* what q8 is expanded to */
	if (exact && gpu->shape.half != LSC_CUDA_F32)
		return lsc_err_set(err, EOPNOTSUPP,
				   "activations are rounded here where weights are %s",
				   lsc_dtype_name(gpu->image->dtype));
	gpu->qkv_rows = (config->heads + 2 * config->kv_heads) * config->head_dim;
	gpu->hidden_stride = stride_of(config->hidden);
	gpu->qkv_stride = stride_of(gpu->qkv_rows);
	gpu->att_stride = stride_of(config->heads * config->head_dim);
	gpu->gate_up_stride = stride_of(2 * config->ffn);
	gpu->ffn_stride = stride_of(config->ffn);
	gpu->vocab_stride = stride_of(config->vocab);
	return 0;
}

static int open_device(struct lsc_gpu *gpu, struct lsc_err *err)
{
	const int index = (int)gpu->index;
	int shared = 0, r;
	cudaError_t e = cudaSetDevice(index);

	if (e == cudaSuccess)
		e = cudaDeviceGetAttribute(&gpu->cores, cudaDevAttrMultiProcessorCount, index);
	if (e == cudaSuccess)
		e = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
	if (e == cudaSuccess)
		e = cudaStreamCreateWithFlags(&gpu->stream, cudaStreamNonBlocking);
	r = lsc_cuda_check(e, "cannot open the device", err);
	if (r == 0 && lsc_cuda_tile_shared(&gpu->shape) <= (size_t)shared)
		gpu->tile_rows = lsc_cuda_tile_rows(&gpu->shape);
	if (r == 0)
		r = lsc_cuda_check_blas(cublasCreate(&gpu->blas), "cannot open cuBLAS", err);
	if (r == 0)
		r = lsc_cuda_zeros(&gpu->blas_room, BLAS_BYTES, gpu->stream, err);
	if (r == 0)
		r = lsc_cuda_check_blas(cublasSetStream(gpu->blas, gpu->stream),
					"cannot open cuBLAS", err);
	if (r == 0) /* after the stream, which takes back what was set */
		r = lsc_cuda_check_blas(cublasSetWorkspace(gpu->blas, gpu->blas_room, BLAS_BYTES),
					"cannot open cuBLAS", err);
	return r;
}

static int open_pages(struct lsc_gpu *gpu, struct lsc_kv *kv, uint64_t limit, struct lsc_err *err)
{
	const struct lsc_cuda_shape *shape = &gpu->shape;
	const uint64_t page = 2ull * shape->kv_heads * LSC_PAGE_POSITIONS * shape->head_stride *
			      lsc_cuda_half_bytes(shape->half);
	const uint64_t table = (uint64_t)gpu->config->layers * shape->max_pages * sizeof(void *);

	return lsc_cuda_pages_open(&gpu->pages, kv, lsc_align_up(page, 256), table, limit,
				   gpu->image->bytes + LOST_BYTES, gpu->stream, err);
}

/* Activations, and what comes with them. */
static void free_buffers(struct lsc_gpu *gpu)
{
	void **all[] = {&gpu->x,
			&gpu->normed,
			&gpu->qkv,
			&gpu->att,
			&gpu->gate_up,
			&gpu->act,
			&gpu->logits,
			&gpu->partial,
			&gpu->expanded,
			(void **)&gpu->step_device,
			(void **)&gpu->tokens};

	lsc_gpu_drop_graphs(gpu);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(all); i++) {
		cudaFree(*all[i]);
		*all[i] = NULL;
	}
	cudaFreeHost(gpu->step_host);
	cudaFreeHost(gpu->tokens_host);
	gpu->step_host = NULL;
	gpu->tokens_host = NULL;
	gpu->max_rows = 0;
}

static void gpu_close(void *self)
{
	struct lsc_gpu *gpu = self;

	if (!gpu)
		return;
	cudaSetDevice((int)gpu->index);
	if (gpu->stream)
		cudaStreamSynchronize(gpu->stream);
	lsc_cuda_weights_close(gpu->weights);
	free_buffers(gpu);
	lsc_cuda_pages_close(&gpu->pages);
	cudaFree(gpu->rope_table);
	lsc_rope_release(&gpu->rope);
	if (gpu->blas)
		cublasDestroy(gpu->blas);
	cudaFree(gpu->blas_room);
	if (gpu->stream)
		cudaStreamDestroy(gpu->stream);
	free(gpu->layers);
	free(gpu);
}

static int open_all(struct lsc_gpu *gpu, const uint8_t *data, struct lsc_kv *kv,
		    const struct lsc_engine_options *options, struct lsc_err *err)
{
	int r = set_shape(gpu, options->exact, err);

	if (r == 0)
		r = open_device(gpu, err);
	if (r == 0)
		r = lsc_cuda_weights_open(&gpu->weights, gpu->image, data, gpu->index, err);
	if (r == 0)
		r = find_tensors(gpu, err);
	if (r == 0)
		r = lsc_rope_init(&gpu->rope, gpu->config, err);
	if (r == 0)
		r = open_pages(gpu, kv, options->kv_bytes, err);
	return r;
}

static int gpu_open(void **ret_self, const struct lsc_image *image, const uint8_t *data,
		    struct lsc_kv *kv, const struct lsc_engine_options *options,
		    struct lsc_err *err)
{
	struct lsc_gpu *gpu = calloc(1, sizeof(*gpu));
	int r;

	if (gpu)
		gpu->layers = calloc(image->config.layers, sizeof(*gpu->layers));
	if (!gpu || !gpu->layers) {
		free(gpu);
		return lsc_err_set(err, ENOMEM, "no memory for a decoder");
	}
	gpu->image = image;
	gpu->config = &image->config;
	gpu->index = options->device ? options->device->index : 0;
	r = open_all(gpu, data, kv, options, err);
	if (r < 0) {
		gpu_close(gpu);
		return lsc_err_prefix(err, "cuda: ");
	}
	*ret_self = gpu;
	return 0;
}

/* --- what the engine calls --- */

static int gpu_load(void *self, uint32_t first, uint32_t last, struct lsc_err *err)
{
	struct lsc_gpu *gpu = self;
	int r = lsc_cuda_check(cudaSetDevice((int)gpu->index), "cannot use the device", err);

	if (r == 0)
		r = lsc_cuda_weights_load(gpu->weights, first, last, err);
	return r < 0 ? lsc_err_prefix(err, "cuda: ") : 0;
}

/* Parts of attention: as many as any number of rows up to `rows` is cut into. */
static size_t partial_floats(const struct lsc_gpu *gpu, uint32_t rows)
{
	size_t most = 0;

	for (uint32_t n = 1; n <= rows; n++) {
		const size_t splits = lsc_gpu_splits(gpu, n);

		most = LSC_MAX(most, splits > 1 ? n * splits : 0);
	}
	return LSC_MAX(most, 1u) * gpu->config->heads * (gpu->config->head_dim + 2ul);
}

/* The most that is expanded at once, of the matrices that are. */
static size_t expanded_bytes(const struct lsc_gpu *gpu)
{
	const struct lsc_gpu_layer *layer = &gpu->layers[0];
	const struct lsc_gpu_tensor *of[] = {&layer->qkv, &layer->o, &layer->gate_up, &layer->down,
					     &gpu->head};
	const size_t half = lsc_cuda_half_bytes(gpu->shape.half);
	size_t most = 0;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(of); i++) {
		const size_t row = of[i]->matrix.cols * half;
		const size_t all = row * of[i]->matrix.rows;

		if (of[i]->matrix.format != gpu->shape.half)
			most = LSC_MAX(most, LSC_MIN(all, LSC_MAX(LSC_GPU_EXPAND_BYTES, 16 * row)));
	}
	return most;
}

static int reserve_rows(struct lsc_gpu *gpu, uint32_t want, struct lsc_err *err)
{
	const size_t half = lsc_cuda_half_bytes(gpu->shape.half), f = sizeof(float);
	uint32_t rows = LSC_GPU_GRAPH_ROWS;
	int r = 0;

	if (want <= gpu->max_rows)
		return 0;
	while (rows < want)
		rows *= 2;
	free_buffers(gpu);
	const struct {
		void **at;
		size_t bytes;
	} all[] = {
		{&gpu->x, rows * gpu->hidden_stride * f},
		{&gpu->normed, rows * gpu->hidden_stride * half},
		{&gpu->qkv, rows * gpu->qkv_stride * f},
		{&gpu->att, rows * gpu->att_stride * half},
		{&gpu->gate_up, rows * gpu->gate_up_stride * f},
		{&gpu->act, rows * gpu->ffn_stride * half},
		{&gpu->logits, LSC_GPU_HEAD_ROWS * gpu->vocab_stride * f},
		{&gpu->partial, partial_floats(gpu, rows) * f},
		{&gpu->expanded, expanded_bytes(gpu)},
		{(void **)&gpu->step_device, lsc_gpu_step_bytes(gpu, rows)},
		{(void **)&gpu->tokens, rows * sizeof(uint32_t)},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(all) && r == 0; i++)
		if (all[i].bytes)
			r = lsc_cuda_zeros(all[i].at, all[i].bytes, gpu->stream, err);
	if (r == 0)
		r = lsc_cuda_check(cudaHostAlloc((void **)&gpu->step_host,
						 lsc_gpu_step_bytes(gpu, rows),
						 cudaHostAllocDefault),
				   "no pinned memory", err);
	if (r == 0)
		r = lsc_cuda_check(cudaHostAlloc((void **)&gpu->tokens_host,
						 rows * sizeof(*gpu->tokens_host),
						 cudaHostAllocDefault),
				   "no pinned memory", err);
	if (r < 0)
		free_buffers(gpu);
	else
		gpu->max_rows = rows;
	return r;
}

/* The table of angles, which the CPU computes, once for twice the positions so far. */
static int reserve_rope(struct lsc_gpu *gpu, uint32_t positions, struct lsc_err *err)
{
	const size_t row = (size_t)gpu->rope.half * 2 * sizeof(float);
	uint64_t want = LSC_MAX(positions, LSC_MIN(2ull * gpu->rope_len, gpu->config->context));
	int r;

	if (positions <= gpu->rope_len)
		return 0;
	if (lsc_rope_reach(&gpu->rope, (uint32_t)want) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for %u positions", positions);
	lsc_gpu_drop_graphs(gpu);
	cudaFree(gpu->rope_table);
	gpu->rope_table = NULL;
	gpu->rope_len = 0;
	r = lsc_cuda_zeros(&gpu->rope_table, gpu->rope.len * row, gpu->stream, err);
	if (r == 0)
		r = lsc_cuda_check(cudaMemcpyAsync(gpu->rope_table, gpu->rope.table,
						   gpu->rope.len * row, cudaMemcpyHostToDevice,
						   gpu->stream),
				   "cannot copy positions", err);
	if (r == 0) /* the table may move when it grows */
		r = lsc_cuda_check(cudaStreamSynchronize(gpu->stream), "cannot copy positions",
				   err);
	if (r == 0)
		gpu->rope_len = gpu->rope.len;
	return r;
}

static int gpu_reserve(void *self, uint32_t rows, uint32_t positions, struct lsc_err *err)
{
	struct lsc_gpu *gpu = self;
	int r = lsc_cuda_check(cudaSetDevice((int)gpu->index), "cannot use the device", err);

	if (r == 0)
		r = reserve_rows(gpu, rows, err);
	if (r == 0)
		r = reserve_rope(gpu, positions, err);
	return r < 0 ? lsc_err_prefix(err, "cuda: ") : 0;
}

static int gpu_run(void *self, const struct lsc_chunk *chunk, struct lsc_err *err)
{
	int r = lsc_gpu_run(self, chunk, err);

	return r < 0 ? lsc_err_prefix(err, "cuda: ") : 0;
}

static const struct lsc_backend_ops gpu_ops = {
	.name = "cuda",
	.max_rows = LSC_GPU_MAX_ROWS,
	.probe = lsc_cuda_probe,
	.open = gpu_open,
	.close = gpu_close,
	.load = gpu_load,
	.reserve = gpu_reserve,
	.run = gpu_run,
};

extern const struct lsc_backend_plugin lsc_backend_plugin;

__attribute__((visibility("default"))) const struct lsc_backend_plugin lsc_backend_plugin = {
	.abi = LSC_BACKEND_ABI,
	.sizes = LSC_BACKEND_SIZES,
	.ops = &gpu_ops,
};
