/* forward - the units of a step, put into the stream one kernel after another */
#include "base/macros.h"
#include "cuda/gpu.h"

#define Q8_MATVEC_ROWS 32u /* up to this many, reading q8 again beats expanding it */

/* Calls go on after one has failed, which is the one that counts: the stream is given up then. */
struct queue {
	struct lsc_gpu *gpu;
	const struct lsc_gpu_step *step;
	struct lsc_err *err;
	int r;
};

static void note(struct queue *queue, cudaError_t e, const char *what)
{
	if (queue->r == 0)
		queue->r = lsc_cuda_check(e, what, queue->err);
}

static struct lsc_cuda_matrix matrix_at(const struct lsc_gpu *gpu,
					const struct lsc_gpu_tensor *tensor)
{
	struct lsc_cuda_matrix matrix = tensor->matrix;

	matrix.data = lsc_cuda_weights_at(gpu->weights, tensor->block, tensor->offset);
	return matrix;
}

static const float *vector_at(const struct lsc_gpu *gpu, const struct lsc_gpu_tensor *tensor)
{
	return tensor->is_there ? matrix_at(gpu, tensor).data : NULL;
}

/* Where things of the step are on the device. */
static const void *step_at(const struct queue *queue, size_t offset)
{
	return queue->gpu->step_device + offset;
}

/* --- products --- */

static cudaDataType type_of(enum lsc_cuda_format half)
{
	return half == LSC_CUDA_F16 ? CUDA_R_16F : half == LSC_CUDA_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* y (+)= matrix x of a matrix that is of the activations' own format.  Row-major y = x W^T is
 * column-major y^T = W x^T. */
static void gemm(struct queue *queue, const struct lsc_cuda_matrix *matrix, const void *x,
		 size_t x_stride, uint32_t n, float *y, size_t y_stride, bool add)
{
	const float one = 1, keep = add ? 1 : 0;
	const cudaDataType type = type_of(queue->gpu->shape.half);
	cublasStatus_t s =
		cublasGemmEx(queue->gpu->blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)matrix->rows, (int)n,
			     (int)matrix->cols, &one, matrix->data, type, (int)matrix->cols, x,
			     type, (int)x_stride, &keep, y, CUDA_R_32F, (int)y_stride,
			     CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);

	if (queue->r == 0)
		queue->r = lsc_cuda_check_blas(s, "cannot multiply", queue->err);
}

/* Rows of a matrix from row `first` on, a multiple of 16. */
static struct lsc_cuda_matrix rows_of(const struct lsc_cuda_matrix *matrix, uint32_t first,
				      uint32_t rows)
{
	return (struct lsc_cuda_matrix){
		matrix->format, rows, matrix->cols,
		(const uint8_t *)matrix->data +
			lsc_cuda_matrix_bytes(matrix->format, first, matrix->cols)};
}

/* The same of any format: some rows at a time in the format of the activations. */
static void gemm_expanded(struct queue *queue, const struct lsc_cuda_matrix *matrix, const void *x,
			  size_t x_stride, uint32_t n, float *y, size_t y_stride, bool add)
{
	const struct lsc_gpu *gpu = queue->gpu;
	const uint64_t row_bytes = matrix->cols * lsc_cuda_half_bytes(gpu->shape.half);
	const uint32_t most = (uint32_t)LSC_MAX(LSC_GPU_EXPAND_BYTES / row_bytes & ~15ull, 16u);

	for (uint32_t row = 0; row < matrix->rows; row += most) {
		const struct lsc_cuda_matrix part =
			rows_of(matrix, row, LSC_MIN(most, matrix->rows - row));
		const struct lsc_cuda_matrix expanded = {gpu->shape.half, part.rows, part.cols,
							 gpu->expanded};

		note(queue, lsc_cuda_expand(gpu->stream, gpu->shape.half, &part, gpu->expanded),
		     "cannot expand a matrix");
		gemm(queue, &expanded, x, x_stride, n, y + row, y_stride, add);
	}
}

static void multiply(struct queue *queue, const struct lsc_gpu_tensor *tensor, const void *x,
		     size_t x_stride, uint32_t n, float *y, size_t y_stride, bool add)
{
	const struct lsc_gpu *gpu = queue->gpu;
	const struct lsc_cuda_matrix matrix = matrix_at(gpu, tensor);
	const size_t bytes = lsc_cuda_half_bytes(gpu->shape.half);
	const bool same = matrix.format == gpu->shape.half;

	if (n > LSC_CUDA_MATVEC_ROWS && same) {
		gemm(queue, &matrix, x, x_stride, n, y, y_stride, add);
		return;
	}
	if (n > LSC_CUDA_MATVEC_ROWS && n > Q8_MATVEC_ROWS) {
		gemm_expanded(queue, &matrix, x, x_stride, n, y, y_stride, add);
		return;
	}
	for (uint32_t i = 0; i < n; i += LSC_CUDA_MATVEC_ROWS)
		note(queue,
		     lsc_cuda_matvec(gpu->stream, gpu->shape.half, &matrix,
				     (const uint8_t *)x + i * x_stride * bytes, x_stride,
				     LSC_MIN(LSC_CUDA_MATVEC_ROWS, n - i), y + i * y_stride,
				     y_stride, add),
		     "cannot multiply");
}

/* --- units --- */

static void normalise(struct queue *queue, const struct lsc_gpu_tensor *weight,
		      const uint32_t *index, uint32_t n)
{
	const struct lsc_gpu *gpu = queue->gpu;

	note(queue,
	     lsc_cuda_norm(gpu->stream, gpu->shape.half, gpu->x, gpu->hidden_stride, index,
			   vector_at(gpu, weight), gpu->config->hidden, gpu->shape.eps, n,
			   gpu->normed, gpu->hidden_stride),
	     "cannot normalise");
}

static void attend(struct queue *queue, const struct lsc_gpu_layer *layer, uint32_t index)
{
	const struct lsc_gpu *gpu = queue->gpu;
	const struct lsc_gpu_step *step = queue->step;
	const struct lsc_cuda_attend job = {
		.shape = gpu->shape,
		.rows = step_at(queue, step->rows),
		.n = step->padded,
		.layer = index,
		.window = index >= gpu->config->window_first ? gpu->config->window : 0,
		.now = (void *const *)step_at(queue, step->now) + (size_t)index * step->padded,
		.qkv = gpu->qkv,
		.qkv_stride = gpu->qkv_stride,
		.out = gpu->att,
		.out_stride = gpu->att_stride,
	};

	note(queue,
	     lsc_cuda_prepare(gpu->stream, &job, vector_at(gpu, &layer->q_norm),
			      vector_at(gpu, &layer->k_norm), gpu->rope_table),
	     "cannot store keys");
	if (step->n_singles)
		note(queue,
		     lsc_cuda_attend_rows(gpu->stream, &job, step_at(queue, step->singles),
					  step->n_singles, step->splits, gpu->partial),
		     "cannot attend");
	if (step->n_tiles)
		note(queue,
		     lsc_cuda_attend_tiles(gpu->stream, &job, step_at(queue, step->tiles),
					   step->n_tiles),
		     "cannot attend");
}

static void run_layer(struct queue *queue, uint32_t index)
{
	const struct lsc_gpu *gpu = queue->gpu;
	const struct lsc_gpu_layer *layer = &gpu->layers[index];
	const uint32_t n = queue->step->padded, ffn = gpu->config->ffn;

	normalise(queue, &layer->attn_norm, NULL, n);
	if (layer->qkv_bias.is_there)
		note(queue,
		     lsc_cuda_bias(gpu->stream, vector_at(gpu, &layer->qkv_bias), gpu->qkv_rows, n,
				   gpu->qkv, gpu->qkv_stride),
		     "cannot add biases");
	multiply(queue, &layer->qkv, gpu->normed, gpu->hidden_stride, n, gpu->qkv, gpu->qkv_stride,
		 layer->qkv_bias.is_there);
	attend(queue, layer, index);
	multiply(queue, &layer->o, gpu->att, gpu->att_stride, n, gpu->x, gpu->hidden_stride, true);
	normalise(queue, &layer->ffn_norm, NULL, n);
	multiply(queue, &layer->gate_up, gpu->normed, gpu->hidden_stride, n, gpu->gate_up,
		 gpu->gate_up_stride, false);
	if (layer->up.is_there)
		multiply(queue, &layer->up, gpu->normed, gpu->hidden_stride, n,
			 (float *)gpu->gate_up + ffn, gpu->gate_up_stride, false);
	note(queue,
	     lsc_cuda_swiglu(gpu->stream, gpu->shape.half, gpu->gate_up, gpu->gate_up_stride, ffn,
			     n, gpu->act, gpu->ffn_stride),
	     "cannot activate");
	multiply(queue, &layer->down, gpu->act, gpu->ffn_stride, n, gpu->x, gpu->hidden_stride,
		 true);
}

static void run_embed(struct queue *queue)
{
	const struct lsc_gpu *gpu = queue->gpu;
	const struct lsc_cuda_matrix embed = matrix_at(gpu, &gpu->embed);

	note(queue,
	     lsc_cuda_embed(gpu->stream, &embed, step_at(queue, queue->step->rows),
			    queue->step->padded, gpu->x, gpu->hidden_stride),
	     "cannot embed");
}

/* Capturing, a stream takes no events from outside: all blocks were waited for before. */
static void await(struct queue *queue, uint32_t unit)
{
	struct lsc_gpu *gpu = queue->gpu;

	if (queue->r == 0)
		queue->r = lsc_cuda_weights_await(gpu->weights, unit, gpu->stream, queue->err);
}

int lsc_gpu_forward(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, struct lsc_err *err)
{
	struct queue queue = {gpu, step, err, 0};
	const uint32_t layers = gpu->config->layers;

	for (uint32_t unit = step->first; unit <= step->last && queue.r == 0; unit++) {
		await(&queue, unit);
		if (queue.r < 0)
			break;
		if (unit == 0)
			run_embed(&queue);
		else if (unit <= layers)
			run_layer(&queue, unit - 1);
	}
	return queue.r;
}

int lsc_gpu_head(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, uint32_t at, uint32_t n,
		 struct lsc_err *err)
{
	struct queue queue = {gpu, step, err, 0};

	normalise(&queue, &gpu->final_norm, (const uint32_t *)step_at(&queue, step->heads) + at, n);
	multiply(&queue, &gpu->head, gpu->normed, gpu->hidden_stride, n, gpu->logits,
		 gpu->vocab_stride, false);
	if (step->draws)
		note(&queue,
		     lsc_cuda_sample(gpu->stream, gpu->logits, gpu->vocab_stride,
				     gpu->config->vocab,
				     (const struct lsc_cuda_draw *)step_at(&queue, step->draw) + at,
				     n, gpu->tokens + at),
		     "cannot draw");
	return queue.r;
}
