/* measure - how fast an engine is, and how fast the weights can be read */
#include "exec/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "exec/pool.h"

/* --- reading --- */

#define READ_TASKS 64
#define READ_TIMES 7

typedef uint64_t vector __attribute__((vector_size(64), aligned(8)));

struct reading {
	const uint8_t *data;
	uint64_t part; /* bytes of a task, a multiple of 256 */
	struct {
		_Alignas(64) vector sum;
	} threads[LSC_POOL_MAX_THREADS];
};

/* Four streams of 64 bytes each: as many loads in flight as a core takes. */
static void read_part(void *data, uint32_t task, unsigned thread)
{
	struct reading *reading = data;
	const vector *at = (const vector *)(reading->data + task * reading->part);
	vector a = {0}, b = {0}, c = {0}, d = {0};

	for (uint64_t i = 0; i < reading->part / sizeof(vector); i += 4) {
		a += at[i];
		b += at[i + 1];
		c += at[i + 2];
		d += at[i + 3];
	}
	reading->threads[thread].sum += a + b + c + d;
}

int lsc_measure_reading(const uint8_t *data, uint64_t bytes, unsigned threads, double *ret_bytes_s,
			struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct reading *reading = aligned_alloc(64, sizeof(*reading));
	struct lsc_pool *pool;
	double best = INFINITY;
	int r;

	if (!reading)
		return lsc_err_set(err, ENOMEM, "no memory to measure reading");
	memset(reading, 0, sizeof(*reading));
	reading->data = data;
	reading->part = bytes / READ_TASKS & ~(uint64_t)255;
	if (!reading->part)
		return lsc_err_set(err, EINVAL, "%llu bytes are too few to measure reading",
				   (unsigned long long)bytes);
	r = lsc_pool_new(&pool, threads, err);
	if (r < 0)
		return r;
	for (int i = 0; i < READ_TIMES; i++) {
		uint64_t start = lsc_clock_ns();

		lsc_pool_run(pool, read_part, reading, READ_TASKS);
		best = fmin(best, (double)(lsc_clock_ns() - start) / 1e9);
	}
	lsc_pool_free(pool);
	*ret_bytes_s = (double)(reading->part * READ_TASKS) / best;
	return 0;
}

/* --- what a pass costs --- */

/* Whether a pass reads all of a tensor: of an embedding that is not the head too it reads a row. */
static bool is_read(const struct lsc_image *image, const struct lsc_tensor *tensor)
{
	return tensor->role != LSC_TENSOR_EMBED || image->config.tied;
}

/* What of an amount is an expert's, were all used alike. */
static uint64_t used_of(const struct lsc_image *image, const struct lsc_tensor *tensor,
			uint64_t amount)
{
	const struct lsc_model_config *config = &image->config;

	if (lsc_model_may_begin(config, tensor->unit))
		return amount;
	return amount * config->experts_used / config->experts;
}

uint64_t lsc_measure_weights(const struct lsc_image *image)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < image->n_tensors; i++)
		if (is_read(image, &image->tensors[i]))
			bytes += used_of(image, &image->tensors[i], image->tensors[i].bytes);
	return bytes;
}

/* Products of n rows of which heads want logits; seen: positions they attend to, together. */
static uint64_t flop_of(const struct lsc_image *image, uint64_t n, uint64_t heads, uint64_t seen)
{
	const struct lsc_model_config *config = &image->config;
	uint64_t flop = 4 * seen * config->layers * config->heads * config->head_dim;

	for (uint32_t i = 0; i < image->n_tensors; i++) {
		const struct lsc_tensor *tensor = &image->tensors[i];
		const bool ends = tensor->unit == 0 || tensor->unit == lsc_model_head_unit(config);
		uint64_t each = 2 * (uint64_t)tensor->rows * tensor->cols;

		if (tensor->rows > 1 && is_read(image, tensor))
			flop += used_of(image, tensor, (ends ? heads : n) * each);
	}
	return flop;
}

/* --- runs --- */

struct trial {
	struct lsc_engine *engine;
	const struct lsc_image *image;
	uint32_t batch;
	struct lsc_work *works; /* [batch] */
	uint32_t *ids;          /* [n]: as many as one work has at most */
	float *logits;          /* [batch][vocab] */
	double *rates;          /* [runs]: passes a second */
};

static void trial_release(struct trial *trial)
{
	for (uint32_t i = 0; trial->works && i < trial->batch; i++)
		lsc_engine_drop(trial->engine, &trial->works[i].key);
	free(trial->works);
	free(trial->ids);
	free(trial->logits);
	free(trial->rates);
}

static int trial_init(struct trial *trial, uint32_t batch, uint64_t n_ids, unsigned runs,
		      struct lsc_err *err)
{
	const struct lsc_model_config *config = &trial->image->config;

	if (n_ids > config->context)
		return lsc_err_set(err, EINVAL, "%llu positions are asked for, the context has %u",
				   (unsigned long long)n_ids, config->context);
	trial->batch = batch;
	trial->works = calloc(batch, sizeof(*trial->works));
	trial->ids = calloc(n_ids, sizeof(*trial->ids));
	trial->logits = calloc((size_t)batch * config->vocab, sizeof(*trial->logits));
	trial->rates = calloc(runs + 1, sizeof(*trial->rates));
	if (!trial->works || !trial->ids || !trial->logits || !trial->rates)
		return lsc_err_set(err, ENOMEM, "no memory for a batch of %u", batch);
	for (uint64_t i = 0; i < n_ids; i++)
		trial->ids[i] = (uint32_t)((i * 2654435761u + 12345) % config->vocab);
	for (uint32_t i = 0; i < batch; i++)
		trial->works[i] = (struct lsc_work){
			.key = {.client = "measure", .request = i},
			.last = lsc_model_head_unit(config),
			.out = trial->logits + (size_t)i * config->vocab,
		};
	return 0;
}

static int run_works(struct trial *trial, struct lsc_work *works, uint32_t n, struct lsc_err *err)
{
	int r = lsc_engine_run(trial->engine, works, n, err);

	for (uint32_t i = 0; i < n && r == 0; i++)
		if (works[i].result < 0)
			r = lsc_err_set(err, works[i].result == -ENOSPC ? ENOMEM : -works[i].result,
					"position %u of request %u: %s", works[i].pos, i,
					works[i].result == -ENOSPC ? "no room for its KV" : "%m");
	return r;
}

/* The first run warmed up. */
static void summarise(const struct trial *trial, unsigned runs, double tokens, uint64_t flop,
		      struct lsc_measured *ret)
{
	double sum = 0, squares = 0;

	for (unsigned i = 1; i <= runs; i++)
		sum += trial->rates[i];
	for (unsigned i = 1; i <= runs; i++)
		squares += pow(trial->rates[i] - sum / runs, 2);
	*ret = (struct lsc_measured){
		.tokens_s = sum / runs * tokens,
		.deviation_s = runs > 1 ? sqrt(squares / (runs - 1)) * tokens : 0,
		.passes_s = sum / runs,
		.flop = flop,
	};
}

int lsc_measure_prompt(struct lsc_engine *engine, const struct lsc_image *image, uint32_t n,
		       unsigned runs, struct lsc_measured *ret, struct lsc_err *err)
{
	LSC_CLEANUP(trial_release) struct trial trial = {.engine = engine, .image = image};
	int r = trial_init(&trial, 1, n, runs, err);

	for (unsigned run = 0; run <= runs && r == 0; run++) {
		uint64_t start = lsc_clock_ns();

		trial.works[0].ids = trial.ids;
		trial.works[0].n = n;
		r = run_works(&trial, trial.works, 1, err);
		trial.rates[run] = 1e9 / (double)(lsc_clock_ns() - start);
	}
	if (r == 0 && runs)
		summarise(&trial, runs, n, flop_of(image, n, 1, (uint64_t)n * (n + 1) / 2), ret);
	return r;
}

/* What the requests have behind them; each alone, so that any batch fits. */
static int fill(struct trial *trial, uint32_t depth, struct lsc_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < trial->batch && r == 0; i++) {
		trial->works[i].ids = trial->ids;
		trial->works[i].n = depth + i * LSC_MEASURE_STEP;
		if (trial->works[i].n)
			r = run_works(trial, &trial->works[i], 1, err);
	}
	return r;
}

/* Passes a second of n passes; the KV is cut back to where it was. */
static int generate(struct trial *trial, uint32_t depth, uint32_t n, double *ret_rate,
		    struct lsc_err *err)
{
	uint64_t start = lsc_clock_ns();
	int r = 0;

	for (uint32_t token = 0; token < n && r == 0; token++) {
		for (uint32_t i = 0; i < trial->batch; i++) {
			struct lsc_work *work = &trial->works[i];

			work->pos = depth + i * LSC_MEASURE_STEP + token;
			work->ids = trial->ids + work->pos;
			work->n = 1;
		}
		r = run_works(trial, trial->works, trial->batch, err);
	}
	*ret_rate = n * 1e9 / (double)(lsc_clock_ns() - start);
	return r;
}

uint64_t lsc_measure_reach(uint32_t batch, uint32_t depth, uint32_t n)
{
	return depth + (uint64_t)(batch - 1) * LSC_MEASURE_STEP + n;
}

int lsc_measure_tokens(struct lsc_engine *engine, const struct lsc_image *image, uint32_t batch,
		       uint32_t depth, uint32_t n, unsigned runs, struct lsc_measured *ret,
		       struct lsc_err *err)
{
	LSC_CLEANUP(trial_release) struct trial trial = {.engine = engine, .image = image};
	uint64_t reach = lsc_measure_reach(batch, depth, n);
	uint64_t seen = (uint64_t)batch * (depth + n / 2 + (batch - 1) * LSC_MEASURE_STEP / 2);
	int r = trial_init(&trial, batch, reach, runs, err);

	if (r == 0)
		r = fill(&trial, depth, err);
	for (unsigned run = 0; run <= runs && r == 0; run++)
		r = generate(&trial, depth, n, &trial.rates[run], err);
	if (r == 0 && runs)
		summarise(&trial, runs, batch, flop_of(image, batch, batch, seen), ret);
	return r;
}
