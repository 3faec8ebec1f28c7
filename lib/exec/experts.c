/* experts - rows to experts and back
 *
 * Rows that take the same expert lie together, in slots: an expert's matrices are read once for all
 * of them, as a layer's are without experts.  All experts' products of one kind are one job for the
 * pool, because for a single position they are many and small.
 */
#include "exec/experts.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "exec/decoder.h"
#include "exec/rows.h"

#define PART_SLOTS 2048 /* at once: 256 rows with 8 experts each */

/* --- weights --- */

static int load_expert(struct lsc_experts *experts, const struct lsc_image *image,
		       const uint8_t *data, uint32_t unit, struct lsc_expert *ret_expert,
		       struct lsc_err *err)
{
	const struct lsc_model_config *config = experts->config;
	const struct lsc_tensor *gate_up, *down;
	int r = lsc_decoder_find(image, unit, LSC_TENSOR_GATE_UP, 2 * config->expert_ffn,
				 config->hidden, &gate_up, err);

	if (r == 0)
		r = lsc_decoder_find(image, unit, LSC_TENSOR_DOWN, config->hidden,
				     config->expert_ffn, &down, err);
	if (r < 0)
		return r;
	if (ret_expert == experts->weights) {
		experts->gate_up_type = gate_up->dtype;
		experts->down_type = down->dtype;
	}
	if (gate_up->dtype != experts->gate_up_type || down->dtype != experts->down_type)
		return lsc_err_set(err, EBADMSG, "unit %u: experts of different types", unit);
	*ret_expert = (struct lsc_expert){data + gate_up->offset, data + down->offset};
	return 0;
}

static int load_layer(struct lsc_experts *experts, const struct lsc_image *image,
		      const uint8_t *data, uint32_t layer, struct lsc_err *err)
{
	const struct lsc_model_config *config = experts->config;
	uint32_t unit = lsc_model_layer_unit(config, layer);
	const struct lsc_tensor *router;
	int r = lsc_decoder_find(image, unit, LSC_TENSOR_ROUTER, config->experts, config->hidden,
				 &router, err);

	if (r == 0 && router->dtype != LSC_DTYPE_F32)
		r = lsc_err_set(err, EBADMSG, "the router of unit %u is not f32", unit);
	if (r < 0)
		return r;
	experts->routers[layer] = (const float *)(data + router->offset);
	for (uint32_t i = 0; r == 0 && i < config->experts; i++)
		r = load_expert(experts, image, data, unit + 1 + i,
				&experts->weights[(size_t)layer * config->experts + i], err);
	return r;
}

int lsc_experts_init(struct lsc_experts *experts, const struct lsc_image *image,
		     const uint8_t *data, const struct lsc_kernels *kernels, struct lsc_pool *pool,
		     bool exact, struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	int r = 0;

	*experts = (struct lsc_experts){
		.config = config,
		.kernels = kernels,
		.pool = pool,
		.exact = exact,
		.hidden_stride = (uint32_t)lsc_align_up(config->hidden, LSC_LANES),
		.ffn_stride = (uint32_t)lsc_align_up(config->expert_ffn, LSC_LANES),
		.router_stride = (uint32_t)lsc_align_up(config->experts, LSC_LANES),
	};
	if (config->experts == 0)
		return 0;
	experts->routers = calloc(config->layers, sizeof(*experts->routers));
	experts->weights =
		calloc((size_t)config->layers * config->experts, sizeof(*experts->weights));
	experts->first = calloc((size_t)config->experts + 1, sizeof(*experts->first));
	experts->active = calloc(config->experts, sizeof(*experts->active));
	if (!experts->routers || !experts->weights || !experts->first || !experts->active)
		return lsc_err_set(err, ENOMEM, "no memory for %u layers of %u experts",
				   config->layers, config->experts);
	for (uint32_t layer = 0; r == 0 && layer < config->layers; layer++)
		r = load_layer(experts, image, data, layer, err);
	return r;
}

/* How activations are packed for weights of a type; NULL: not at all. */
static const struct lsc_packing *packing_for(const struct lsc_experts *experts,
					     enum lsc_dtype dtype)
{
	return experts->exact ? NULL : lsc_kernels_packing(experts->kernels, dtype);
}

/* The products of one kind: packed, where that is faster. */
static void choose_product(const struct lsc_experts *experts, enum lsc_dtype dtype,
			   struct lsc_matmul *job, uint32_t slot, lsc_matmul_fn **ret_matmul)
{
	const struct lsc_packing *packing = packing_for(experts, dtype);

	job->dtype = dtype;
	job->packed = experts->packed + slot * experts->packed_stride;
	job->packed_stride = experts->packed_stride;
	job->arranged = packing && packing->arrange ? job->m / LSC_ARRANGED * LSC_ARRANGED : 0;
	*ret_matmul = packing ? packing->matmul : experts->kernels->matmul;
}

static size_t packed_bytes(const struct lsc_experts *experts, enum lsc_dtype dtype, uint32_t cols)
{
	const struct lsc_packing *packing = packing_for(experts, dtype);

	return packing ? lsc_packed_stride(packing, cols) : 0;
}

static void free_buffers(struct lsc_experts *experts)
{
	free(experts->logits);
	free(experts->shares);
	free(experts->chosen);
	free(experts->slots);
	free(experts->x);
	free(experts->gate_up);
	free(experts->out);
	free(experts->packed);
	experts->packed = NULL;
	experts->logits = experts->shares = experts->x = experts->gate_up = experts->out = NULL;
	experts->chosen = experts->slots = NULL;
	experts->max_rows = 0;
}

void lsc_experts_release(struct lsc_experts *experts)
{
	free_buffers(experts);
	free(experts->routers);
	free(experts->weights);
	free(experts->first);
	free(experts->active);
	*experts = (struct lsc_experts)LSC_EXPERTS_INIT;
}

/* Rows that run at once at most. */
static uint32_t part_rows(const struct lsc_experts *experts)
{
	return LSC_MAX(PART_SLOTS / experts->config->experts_used, 1);
}

int lsc_experts_reserve(struct lsc_experts *experts, uint32_t rows)
{
	const struct lsc_model_config *config = experts->config;
	uint64_t slots;

	if (config->experts == 0)
		return 0;
	rows = LSC_MIN(rows, part_rows(experts));
	if (rows <= experts->max_rows)
		return 0;
	free_buffers(experts);
	slots = (uint64_t)rows * config->experts_used;
	experts->logits = lsc_rows_new((uint64_t)rows * experts->router_stride, sizeof(float));
	experts->shares = lsc_rows_new(slots, sizeof(float));
	experts->chosen = lsc_rows_new(slots, sizeof(uint32_t));
	experts->slots = lsc_rows_new(slots, sizeof(uint32_t));
	experts->packed_stride =
		LSC_MAX(packed_bytes(experts, experts->gate_up_type, config->hidden),
			packed_bytes(experts, experts->down_type, config->expert_ffn));
	if (experts->packed_stride)
		experts->packed = aligned_alloc(64, slots * experts->packed_stride);
	if (!packing_for(experts, experts->gate_up_type))
		experts->x = lsc_rows_new(slots * experts->hidden_stride, sizeof(float));
	experts->gate_up = lsc_rows_new(slots * 2 * experts->ffn_stride, sizeof(float));
	experts->out = lsc_rows_new(slots * experts->hidden_stride, sizeof(float));
	if (!experts->logits || !experts->shares || !experts->chosen || !experts->slots ||
	    (experts->packed_stride ? !experts->packed : !experts->x) || !experts->gate_up ||
	    !experts->out) {
		free_buffers(experts);
		return -ENOMEM;
	}
	experts->max_rows = rows;
	return 0;
}

/* --- steps that the pool shares out --- */

struct run {
	struct lsc_experts *experts;
	uint32_t layer;
	const float *x; /* rows as they come */
	float *y;
	uint32_t n, n_active;
	uint32_t rows;  /* of the matrix at hand */
	uint32_t task;  /* of these in a task */
	uint32_t tasks; /* of each matrix */
};

static void each_row(struct run *run, lsc_pool_fn *fn)
{
	lsc_rows_each(run->experts->pool, fn, run, run->n);
}

/* fn for the rows of n matrices, some at a time. */
static void each_task(struct run *run, lsc_pool_fn *fn, uint32_t n, uint32_t rows)
{
	run->rows = rows;
	run->task = lsc_rows_in_task(run->experts->pool, n, rows);
	run->tasks = (uint32_t)lsc_div_up(rows, run->task);
	lsc_pool_run(run->experts->pool, fn, run, n * run->tasks);
}

static void run_router(void *data, uint32_t task, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	uint32_t first = task * run->task;
	const struct lsc_matmul job = {
		.dtype = LSC_DTYPE_F32,
		.w = experts->routers[run->layer],
		.cols = experts->config->hidden,
		.m = run->n,
		.x = run->x,
		.x_stride = experts->hidden_stride,
		.y = experts->logits,
		.y_stride = experts->router_stride,
	};

	(void)thread;
	experts->kernels->matmul(&job, first, LSC_MIN(run->task, run->rows - first));
}

/* The greatest, of equals the first. */
static uint32_t greatest(const float *values, uint32_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		if (values[i] > values[best])
			best = i;
	return best;
}

/* Chooses a row's experts.  What was taken is put below all others, which are exp()s. */
static void run_choose(void *data, uint32_t row, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	const struct lsc_model_config *config = experts->config;
	const uint32_t used = config->experts_used;
	float *logits = experts->logits + (size_t)row * experts->router_stride;
	float *shares = experts->shares + (size_t)row * used;
	uint32_t *chosen = experts->chosen + (size_t)row * used;
	float all = experts->kernels->softmax(logits, config->experts), sum = 0;

	(void)thread;
	for (uint32_t i = 0; i < used; i++) {
		chosen[i] = greatest(logits, config->experts);
		shares[i] = logits[chosen[i]];
		logits[chosen[i]] = -1;
		sum += shares[i];
	}
	for (uint32_t i = 0; i < used; i++)
		shares[i] /= config->norm_topk ? sum : all;
}

/* Gives every row its slots: counting, then placing. */
static void place(struct run *run)
{
	struct lsc_experts *experts = run->experts;
	const uint32_t n = run->n * experts->config->experts_used, all = experts->config->experts;
	uint32_t *first = experts->first;

	memset(first, 0, ((size_t)all + 1) * sizeof(*first));
	for (uint32_t i = 0; i < n; i++)
		first[experts->chosen[i] + 1]++;
	run->n_active = 0;
	for (uint32_t i = 0; i < all; i++) {
		if (first[i + 1])
			experts->active[run->n_active++] = i;
		first[i + 1] += first[i];
	}
	for (uint32_t i = 0; i < n; i++)
		experts->slots[i] = first[experts->chosen[i]]++;
	memmove(first + 1, first, all * sizeof(*first)); /* they moved on to the next one's */
	first[0] = 0;
}

static void run_gather(void *data, uint32_t row, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	const struct lsc_packing *packing = packing_for(experts, experts->gate_up_type);
	const uint32_t used = experts->config->experts_used, hidden = experts->config->hidden;
	const uint32_t *slots = experts->slots + (size_t)row * used;
	const float *x = run->x + (size_t)row * experts->hidden_stride;
	uint8_t *packed = experts->packed + slots[0] * experts->packed_stride;

	(void)thread;
	if (packing)
		packing->pack(x, hidden, packed);
	for (uint32_t i = 0; i < used; i++)
		if (!packing)
			memcpy(experts->x + (size_t)slots[i] * experts->hidden_stride, x,
			       hidden * sizeof(float));
		else if (i > 0)
			memcpy(experts->packed + slots[i] * experts->packed_stride, packed,
			       lsc_packed_stride(packing, hidden));
}

/* What came of gate and up, of all of a row's experts. */
static void run_pack(void *data, uint32_t row, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	const struct lsc_packing *packing = packing_for(experts, experts->down_type);
	const uint32_t used = experts->config->experts_used;

	(void)thread;
	for (uint32_t i = 0; i < used; i++) {
		const uint32_t slot = experts->slots[(size_t)row * used + i];

		packing->pack(experts->gate_up + (size_t)slot * 2 * experts->ffn_stride,
			      experts->config->expert_ffn,
			      experts->packed + slot * experts->packed_stride);
	}
}

struct arrange {
	const struct run *run;
	const struct lsc_packing *packing;
	uint32_t cols;
};

/* What an expert has packed, as far as it fills groups. */
static void run_arrange(void *data, uint32_t index, unsigned thread)
{
	const struct arrange *arrange = data;
	const struct lsc_experts *experts = arrange->run->experts;
	const uint32_t *first = experts->first + experts->active[index];

	(void)thread;
	for (uint32_t slot = first[0]; slot + LSC_ARRANGED <= first[1]; slot += LSC_ARRANGED)
		arrange->packing->arrange(experts->packed + slot * experts->packed_stride,
					  experts->packed_stride, arrange->cols);
}

static void arrange(const struct run *run, enum lsc_dtype dtype, uint32_t cols)
{
	struct arrange data = {run, packing_for(run->experts, dtype), cols};

	if (data.packing && data.packing->arrange)
		lsc_pool_run(run->experts->pool, run_arrange, &data, run->n_active);
}

/* The expert a task is of, its slots, and the rows of its matrix. */
static const struct lsc_expert *task_of(const struct run *run, uint32_t task, uint32_t *ret_slot,
					uint32_t *ret_n, uint32_t *ret_first, uint32_t *ret_rows)
{
	const struct lsc_experts *experts = run->experts;
	uint32_t expert = experts->active[task / run->tasks];

	*ret_slot = experts->first[expert];
	*ret_n = experts->first[expert + 1] - *ret_slot;
	*ret_first = task % run->tasks * run->task;
	*ret_rows = LSC_MIN(run->task, run->rows - *ret_first);
	return &experts->weights[(size_t)run->layer * experts->config->experts + expert];
}

static void run_gate_up(void *data, uint32_t task, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	const size_t stride = experts->ffn_stride;
	uint32_t slot, n, first, rows;
	const struct lsc_expert *expert = task_of(run, task, &slot, &n, &first, &rows);
	struct lsc_matmul gate = {
		.w = expert->gate_up,
		.cols = experts->config->hidden,
		.m = n,
		.x = experts->x ? experts->x + (size_t)slot * experts->hidden_stride : NULL,
		.x_stride = experts->hidden_stride,
		.y = experts->gate_up + slot * 2 * stride,
		.y_stride = 2 * stride,
	};
	lsc_matmul_fn *matmul;

	(void)thread;
	choose_product(experts, experts->gate_up_type, &gate, slot, &matmul);
	lsc_rows_gate_up(experts->kernels, matmul, &gate, run->rows, stride, first, rows);
}

static void run_down(void *data, uint32_t task, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	uint32_t slot, n, first, rows;
	const struct lsc_expert *expert = task_of(run, task, &slot, &n, &first, &rows);
	struct lsc_matmul job = {
		.w = expert->down,
		.cols = experts->config->expert_ffn,
		.m = n,
		.x = experts->gate_up + (size_t)slot * 2 * experts->ffn_stride,
		.x_stride = 2 * (size_t)experts->ffn_stride,
		.y = experts->out + (size_t)slot * experts->hidden_stride,
		.y_stride = experts->hidden_stride,
	};
	lsc_matmul_fn *matmul;

	(void)thread;
	choose_product(experts, experts->down_type, &job, slot, &matmul);
	matmul(&job, first, rows);
}

/* The weighted sum is made where the first expert's output lies. */
static void run_combine(void *data, uint32_t row, unsigned thread)
{
	const struct run *run = data;
	const struct lsc_experts *experts = run->experts;
	const uint32_t used = experts->config->experts_used, hidden = experts->config->hidden;
	const uint32_t *slots = experts->slots + (size_t)row * used;
	const float *shares = experts->shares + (size_t)row * used;
	float *sum = experts->out + (size_t)slots[0] * experts->hidden_stride;
	float *y = run->y + (size_t)row * experts->hidden_stride;

	(void)thread;
	for (uint32_t c = 0; c < hidden; c++)
		sum[c] *= shares[0];
	for (uint32_t i = 1; i < used; i++) {
		const float *out = experts->out + (size_t)slots[i] * experts->hidden_stride;

		for (uint32_t c = 0; c < hidden; c++)
			sum[c] += shares[i] * out[c];
	}
	for (uint32_t c = 0; c < hidden; c++)
		y[c] += sum[c];
}

static void run_part(struct run *run)
{
	const struct lsc_model_config *config = run->experts->config;

	each_task(run, run_router, 1, config->experts);
	each_row(run, run_choose);
	place(run);
	each_row(run, run_gather);
	arrange(run, run->experts->gate_up_type, config->hidden);
	each_task(run, run_gate_up, run->n_active, config->expert_ffn);
	if (packing_for(run->experts, run->experts->down_type))
		each_row(run, run_pack);
	arrange(run, run->experts->down_type, config->expert_ffn);
	each_task(run, run_down, run->n_active, config->hidden);
	each_row(run, run_combine);
}

void lsc_experts_run(struct lsc_experts *experts, uint32_t layer, const float *x, float *y,
		     uint32_t n)
{
	const uint32_t most = part_rows(experts);

	for (uint32_t at = 0; at < n; at += most) {
		const size_t offset = (size_t)at * experts->hidden_stride;
		struct run run = {
			.experts = experts,
			.layer = layer,
			.x = x + offset,
			.y = y + offset,
			.n = LSC_MIN(n - at, most),
		};

		run_part(&run);
	}
}
