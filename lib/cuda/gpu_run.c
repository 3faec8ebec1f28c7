/* gpu_run - one chunk: rows to the device, units, results back
 *
 * Decoding is the same few hundred kernels for each token.  Where all blocks are there and rows
 * stand alone they are captured the second time, for each power of two of rows, and then started as
 * a graph: what differs from token to token is in the step, which lies in one place.  A token costs
 * two copies and one wait then, and nothing is allocated for it.
 */
#include <string.h>

#include "base/macros.h"
#include "cuda/gpu.h"

/* --- graphs --- */

static bool is_alone(const struct lsc_chunk *chunk)
{
	for (uint32_t i = 1; i < chunk->n; i++)
		if (chunk->rows[i].request && chunk->rows[i].request == chunk->rows[i - 1].request)
			return false;
	return true;
}

/* Whether a chunk is one of those that come again and again. */
static bool is_for_graph(const struct lsc_gpu *gpu, const struct lsc_chunk *chunk)
{
	const bool head = chunk->last == gpu->config->layers + 1;

	return chunk->n <= LSC_GPU_GRAPH_ROWS && (!head || chunk->n_heads == chunk->n) &&
	       is_alone(chunk) &&
	       lsc_cuda_weights_are_there(gpu->weights, chunk->first, chunk->last);
}

void lsc_gpu_drop_graphs(struct lsc_gpu *gpu)
{
	for (int i = 0; i < LSC_GPU_GRAPHS; i++) {
		if (gpu->graphs[i].exec)
			cudaGraphExecDestroy(gpu->graphs[i].exec);
		gpu->graphs[i] = (struct lsc_gpu_graph){NULL, false, 0, 0};
	}
}

/* A graph draws for every row, those that want no token say so. */
static int put_all(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, struct lsc_err *err)
{
	struct lsc_gpu_step all = *step;
	int r = lsc_gpu_forward(gpu, step, err);

	all.draws = true;
	if (r == 0 && step->last == gpu->config->layers + 1)
		r = lsc_gpu_head(gpu, &all, 0, step->padded, err);
	return r;
}

static int capture(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, cudaGraphExec_t *ret_exec,
		   struct lsc_err *err)
{
	cudaGraph_t graph = NULL;
	cudaError_t e = cudaStreamBeginCapture(gpu->stream, cudaStreamCaptureModeThreadLocal);
	int r;

	if (e != cudaSuccess)
		return lsc_cuda_check(e, "cannot capture a graph", err);
	r = put_all(gpu, step, err);
	e = cudaStreamEndCapture(gpu->stream, &graph);
	if (r == 0)
		r = lsc_cuda_check(e, "cannot capture a graph", err);
	if (r == 0)
		r = lsc_cuda_check(cudaGraphInstantiate(ret_exec, graph, 0), "cannot make a graph",
				   err);
	if (graph)
		cudaGraphDestroy(graph);
	return r;
}

static int run_graph(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, struct lsc_err *err)
{
	struct lsc_gpu_graph *graph = &gpu->graphs[__builtin_ctz(step->padded)];
	int r = 0;

	if (!graph->warm || graph->first != step->first || graph->last != step->last) {
		if (graph->exec)
			cudaGraphExecDestroy(graph->exec);
		*graph = (struct lsc_gpu_graph){NULL, true, step->first, step->last};
		return put_all(gpu, step, err);
	}
	if (!graph->exec)
		r = capture(gpu, step, &graph->exec, err);
	return r < 0 ? r
		     : lsc_cuda_check(cudaGraphLaunch(graph->exec, gpu->stream),
				      "cannot start a graph", err);
}

/* --- rows in and out --- */

/* Rows of hidden floats between host and device, neighbours together. */
static cudaError_t copy_rows(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, bool in)
{
	const size_t width = gpu->config->hidden, bytes = width * sizeof(float);
	const size_t pitch = gpu->hidden_stride * sizeof(float);
	cudaError_t e = cudaSuccess;

	for (uint32_t i = 0, n; i < chunk->n && e == cudaSuccess; i += n) {
		const struct lsc_row *row = &chunk->rows[i];
		float *x = (float *)gpu->x + i * gpu->hidden_stride;

		for (n = 1; i + n < chunk->n && (in ? row[n].in == row->in + n * width
						    : row[n].out == row->out + n * width);)
			n++;
		e = in ? cudaMemcpy2DAsync(x, pitch, row->in, bytes, bytes, n,
					   cudaMemcpyHostToDevice, gpu->stream)
		       : cudaMemcpy2DAsync(row->out, bytes, x, pitch, bytes, n,
					   cudaMemcpyDeviceToHost, gpu->stream);
	}
	return e;
}

/* Logits of the rows that want them, from those that the head gave last. */
static cudaError_t give_logits(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, uint32_t at,
			       uint32_t n)
{
	cudaError_t e = cudaSuccess;

	for (uint32_t i = 0; i < n && e == cudaSuccess; i++)
		if (!chunk->draws[at + i])
			e = cudaMemcpyAsync(chunk->logits[at + i],
					    (float *)gpu->logits + i * gpu->vocab_stride,
					    gpu->config->vocab * sizeof(float),
					    cudaMemcpyDeviceToHost, gpu->stream);
	return e;
}

/* --- a chunk --- */

static int run_heads(struct lsc_gpu *gpu, const struct lsc_chunk *chunk,
		     const struct lsc_gpu_step *step, struct lsc_err *err)
{
	int r = 0;

	for (uint32_t at = 0, n; at < chunk->n_heads && r == 0; at += n) {
		n = LSC_MIN(LSC_GPU_HEAD_ROWS, chunk->n_heads - at);
		r = lsc_gpu_head(gpu, step, at, n, err);
		if (r == 0)
			r = lsc_cuda_check(give_logits(gpu, chunk, at, n), "cannot copy logits",
					   err);
	}
	return r;
}

/* Everything of a chunk into the stream. */
static int put_chunk(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, struct lsc_err *err)
{
	const bool graph = is_for_graph(gpu, chunk);
	struct lsc_gpu_step step;
	cudaError_t e;
	int r = lsc_gpu_step_fill(gpu, chunk, graph, &step, err);

	if (r < 0)
		return r;
	e = cudaMemcpyAsync(gpu->step_device, gpu->step_host, step.bytes, cudaMemcpyHostToDevice,
			    gpu->stream);
	if (e == cudaSuccess && chunk->first)
		e = copy_rows(gpu, chunk, true);
	r = lsc_cuda_check(e, "cannot copy rows", err);
	if (r == 0)
		r = graph ? run_graph(gpu, &step, err) : lsc_gpu_forward(gpu, &step, err);
	if (r == 0 && graph)
		r = lsc_cuda_check(give_logits(gpu, chunk, 0, chunk->n_heads), "cannot copy logits",
				   err);
	else if (r == 0)
		r = run_heads(gpu, chunk, &step, err);
	if (r == 0 && step.draws)
		r = lsc_cuda_check(cudaMemcpyAsync(gpu->tokens_host, gpu->tokens,
						   chunk->n_heads * sizeof(*gpu->tokens_host),
						   cudaMemcpyDeviceToHost, gpu->stream),
				   "cannot copy tokens", err);
	if (r == 0 && chunk->last <= gpu->config->layers)
		r = lsc_cuda_check(copy_rows(gpu, chunk, false), "cannot copy rows", err);
	return r;
}

/* The stream is empty afterwards, whatever happened: what it would read may be gone by then. */
int lsc_gpu_run(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, struct lsc_err *err)
{
	int r = put_chunk(gpu, chunk, err);
	cudaError_t e = cudaStreamSynchronize(gpu->stream);

	if (r == 0)
		r = lsc_cuda_check(e, "cannot compute", err);
	for (uint32_t i = 0; r == 0 && i < chunk->n_heads; i++)
		if (chunk->draws[i]) {
			chunk->draws[i]->token = gpu->tokens_host[i];
			chunk->draws[i]->drawn = true;
		}
	return r;
}
