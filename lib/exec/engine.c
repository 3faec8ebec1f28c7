/* engine - batches of works over a backend
 *
 * Works with the same units become one batch of rows, cut into chunks of at most the backend's
 * max_rows; a chunk passes all its units before the next begins, so that chunks of one prompt find
 * the keys of those before.  All pages and buffers are reserved before the first row is computed:
 * once a batch runs, nothing in it can fail but the device.
 */
#include "exec/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "exec/backend.h"
#include "exec/device.h"
#include "exec/kv.h"

#define DEFAULT_KV_BYTES (1ull << 30)

struct lsc_engine {
	const struct lsc_image *image;
	struct lsc_kv kv;
	const struct lsc_backend_ops *ops;
	void *backend;
	uint64_t batch;          /* number of the last one */
	struct lsc_work **works; /* of the batch */
	unsigned works_cap;
	struct lsc_row *rows; /* of the chunk: [max_rows], as are all below */
	uint32_t *heads;      /* rows that want logits, and where to */
	float **logits;
	struct lsc_draw **draws;
};

static int open_backend(struct lsc_engine *engine, const uint8_t *data,
			const struct lsc_engine_options *options, struct lsc_err *err)
{
	const struct lsc_device *device = options->device;
	size_t n;

	engine->ops = device && device->ops ? device->ops : &lsc_backend_cpu;
	n = engine->ops->max_rows;
	engine->rows = calloc(n, sizeof(*engine->rows));
	engine->heads = calloc(n, sizeof(*engine->heads));
	engine->logits = calloc(n, sizeof(*engine->logits));
	engine->draws = calloc(n, sizeof(*engine->draws));
	if (!engine->rows || !engine->heads || !engine->logits || !engine->draws)
		return lsc_err_set(err, ENOMEM, "no memory for %zu rows", n);
	return engine->ops->open(&engine->backend, engine->image, data, &engine->kv, options, err);
}

int lsc_engine_open(struct lsc_engine **ret_engine, const struct lsc_image *image,
		    const uint8_t *data, const struct lsc_engine_options *options,
		    struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	struct lsc_engine *engine;
	int r = lsc_model_config_check(config, err);

	if (r < 0)
		return r;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return lsc_err_set(err, ENOMEM, "no memory for an engine");
	engine->image = image;
	r = lsc_kv_init(&engine->kv, config, !options->exact && image->dtype != LSC_DTYPE_F32,
			options->kv_bytes ? options->kv_bytes : DEFAULT_KV_BYTES, err);
	if (r == 0)
		r = open_backend(engine, data, options, err);
	if (r < 0) {
		lsc_engine_close(engine);
		return r;
	}
	*ret_engine = engine;
	return 0;
}

void lsc_engine_close(struct lsc_engine *engine)
{
	if (!engine)
		return;
	lsc_kv_release(&engine->kv); /* whose pages may be the backend's */
	if (engine->backend)
		engine->ops->close(engine->backend);
	free(engine->works);
	free(engine->rows);
	free(engine->heads);
	free(engine->logits);
	free(engine->draws);
	free(engine);
}

void lsc_engine_drop(struct lsc_engine *engine, const struct lsc_request_key *key)
{
	lsc_kv_drop(&engine->kv, key);
}

int lsc_engine_load(struct lsc_engine *engine, uint32_t first, uint32_t last, struct lsc_err *err)
{
	return engine->ops->load ? engine->ops->load(engine->backend, first, last, err) : 0;
}

struct lsc_kv *lsc_engine_kv(struct lsc_engine *engine)
{
	return &engine->kv;
}

void lsc_engine_prepare(struct lsc_engine *engine)
{
	lsc_kv_prepare(&engine->kv);
}

uint64_t lsc_engine_kv_used(const struct lsc_engine *engine)
{
	return engine->kv.used_pages * engine->kv.page_bytes;
}

/* --- what a work needs before it runs --- */

static uint32_t head_unit(const struct lsc_engine *engine)
{
	return lsc_model_head_unit(&engine->image->config);
}

/* Layers first .. *ret_end - 1 of a work, counted from 0. */
static uint32_t layers_of(const struct lsc_engine *engine, const struct lsc_work *work,
			  uint32_t *ret_end)
{
	uint32_t first;

	lsc_model_layers(&engine->image->config, work->first, work->last, &first, ret_end);
	return first;
}

static int check(const struct lsc_engine *engine, const struct lsc_work *work)
{
	const struct lsc_model_config *config = &engine->image->config;

	if (work->first > work->last || work->last > head_unit(engine) || work->n == 0)
		return -EINVAL;
	if (!lsc_model_may_begin(config, work->first) || !lsc_model_may_end(config, work->last))
		return -EINVAL;
	if ((!work->out && work->last != head_unit(engine)) ||
	    (work->first ? !work->in : !work->ids))
		return -EINVAL;
	if (work->n > config->context || work->pos > config->context - work->n)
		return -ERANGE;
	for (uint32_t i = 0; work->first == 0 && i < work->n; i++)
		if (work->ids[i] >= config->vocab)
			return -EINVAL;
	return 0;
}

/* The work's request, with pages for its positions in all its layers. */
static int reserve(struct lsc_engine *engine, const struct lsc_work *work,
		   struct lsc_kv_request **ret_request)
{
	uint32_t end, first = layers_of(engine, work, &end);
	struct lsc_kv_request *request = lsc_kv_find(&engine->kv, &work->key);
	const bool known = request != NULL;
	int r = 0;

	if (!lsc_kv_reaches(request, &engine->image->config, first, end, work->pos))
		return -ESTALE;
	request = lsc_kv_request(&engine->kv, &work->key);
	if (!request)
		return -ENOMEM;
	for (uint32_t layer = first; layer < end; layer++)
		lsc_kv_cut(&engine->kv, request, layer, work->pos);
	for (uint32_t layer = first; layer < end && r == 0; layer++)
		r = lsc_kv_reserve(&engine->kv, request, layer, work->pos + work->n);
	for (uint32_t layer = first; layer < end && r < 0; layer++)
		lsc_kv_cut(&engine->kv, request, layer, work->pos);
	if (r < 0 && !known)
		lsc_kv_drop(&engine->kv, &work->key);
	*ret_request = request;
	return r;
}

/* Takes a work into the batch, or settles its result. */
static bool admit(struct lsc_engine *engine, struct lsc_work *work)
{
	uint32_t end, first = layers_of(engine, work, &end);
	struct lsc_kv_request *request = NULL;

	work->result = check(engine, work);
	if (work->result == 0 && first < end)
		work->result = reserve(engine, work, &request);
	if (work->result < 0)
		return false;
	if (request)
		request->batch = engine->batch;
	return true;
}

/* --- running a batch --- */

struct cursor { /* where in the batch's works the next chunk begins */
	unsigned work, n_works;
	uint32_t row; /* of that work */
};

/* Puts one row of a work into the chunk at index. */
static void take_row(struct lsc_engine *engine, const struct lsc_work *work,
		     struct lsc_kv_request *request, uint32_t row, uint32_t index)
{
	size_t at = (size_t)row * engine->image->config.hidden;

	engine->rows[index] = (struct lsc_row){
		.request = request,
		.pos = work->pos + row,
		.id = work->first ? 0 : work->ids[row],
		.in = work->first ? work->in + at : NULL,
		.out = work->last == head_unit(engine) ? NULL : work->out + at,
	};
}

/* What the chunk's row at index wants of the head. */
static void want_logits(struct lsc_engine *engine, const struct lsc_work *work, uint32_t row,
			uint32_t index, uint32_t *n_heads)
{
	size_t at = (size_t)row * engine->image->config.vocab;

	if (work->last != head_unit(engine) ||
	    (!work->all_logits && (!work->out || row + 1 < work->n)))
		return;
	engine->heads[*n_heads] = index;
	engine->draws[*n_heads] = work->all_logits ? NULL : work->draw;
	engine->logits[(*n_heads)++] = work->all_logits ? work->all_logits + at : work->out;
}

static int run_chunk(struct lsc_engine *engine, struct cursor *cursor, struct lsc_err *err)
{
	struct lsc_chunk chunk = {
		.first = engine->works[0]->first,
		.last = engine->works[0]->last,
		.rows = engine->rows,
		.heads = engine->heads,
		.logits = engine->logits,
		.draws = engine->draws,
	};
	const uint32_t max_rows = engine->ops->max_rows;

	while (cursor->work < cursor->n_works && chunk.n < max_rows) {
		const struct lsc_work *work = engine->works[cursor->work];
		struct lsc_kv_request *request = lsc_kv_find(&engine->kv, &work->key);

		for (; cursor->row < work->n && chunk.n < max_rows; cursor->row++, chunk.n++) {
			take_row(engine, work, request, cursor->row, chunk.n);
			want_logits(engine, work, cursor->row, chunk.n, &chunk.n_heads);
		}
		if (cursor->row == work->n) {
			cursor->work++;
			cursor->row = 0;
		}
	}
	return engine->ops->run(engine->backend, &chunk, err);
}

/* A finished work: its KV reaches further, and the last of all logits is the answer. */
static void settle(struct lsc_engine *engine, struct lsc_work *work)
{
	uint32_t end, layer = layers_of(engine, work, &end), vocab = engine->image->config.vocab;
	struct lsc_kv_request *request = layer < end ? lsc_kv_find(&engine->kv, &work->key) : NULL;

	for (; layer < end; layer++) {
		const uint32_t pos = work->pos + work->n;
		uint32_t from = lsc_model_sees_from(&engine->image->config, layer, pos);

		request->layers[layer].len = pos;
		/* A page more, for a step that has to be done again. */
		if (from > LSC_PAGE_POSITIONS)
			lsc_kv_slide(&engine->kv, request, layer, from - LSC_PAGE_POSITIONS);
	}
	if (work->all_logits && work->out && work->last == head_unit(engine))
		memcpy(work->out, work->all_logits + (size_t)(work->n - 1) * vocab,
		       vocab * sizeof(float));
}

static int run_batch(struct lsc_engine *engine, unsigned n_works, struct lsc_err *err)
{
	struct cursor cursor = {0, n_works, 0};
	uint64_t rows = 0;
	uint32_t reach = 0;
	int r;

	for (unsigned i = 0; i < n_works; i++) {
		rows += engine->works[i]->n;
		if (engine->works[i]->draw)
			engine->works[i]->draw->drawn = false;
		reach = LSC_MAX(reach, engine->works[i]->pos + engine->works[i]->n);
	}
	r = engine->ops->reserve(engine->backend, (uint32_t)LSC_MIN(rows, engine->ops->max_rows),
				 reach, err);
	if (r == 0)
		r = lsc_engine_load(engine, engine->works[0]->first, engine->works[0]->last, err);
	while (r == 0 && cursor.work < n_works)
		r = run_chunk(engine, &cursor, err);
	for (unsigned i = 0; r == 0 && i < n_works; i++)
		settle(engine, engine->works[i]);
	return r;
}

/* --- making batches of works --- */

#define WAITING 1 /* a result while it has none */

/* A request that is in the batch already waits for the next: its KV must be in order. */
static bool is_in_batch(struct lsc_engine *engine, const struct lsc_work *work)
{
	struct lsc_kv_request *request = lsc_kv_find(&engine->kv, &work->key);

	return request && request->batch == engine->batch;
}

static unsigned gather(struct lsc_engine *engine, struct lsc_work *works, unsigned n)
{
	const struct lsc_work *like = NULL;
	unsigned count = 0;

	engine->batch++;
	for (unsigned i = 0; i < n; i++) {
		struct lsc_work *work = &works[i];

		if (work->result != WAITING ||
		    (like && (work->first != like->first || work->last != like->last)) ||
		    is_in_batch(engine, work) || !admit(engine, work))
			continue;
		if (!like)
			like = work;
		engine->works[count++] = work;
	}
	return count;
}

int lsc_engine_run(struct lsc_engine *engine, struct lsc_work *works, unsigned n,
		   struct lsc_err *err)
{
	unsigned count;
	int r = 0;

	if (n > engine->works_cap) {
		struct lsc_work **grown = reallocarray(engine->works, n, sizeof(*grown));

		if (!grown)
			return lsc_err_set(err, ENOMEM, "no memory for %u works", n);
		engine->works = grown;
		engine->works_cap = n;
	}
	for (unsigned i = 0; i < n; i++)
		works[i].result = WAITING;
	while (r == 0 && (count = gather(engine, works, n)) > 0)
		r = run_batch(engine, count, err);
	for (unsigned i = 0; i < n && r < 0; i++)
		works[i].result = works[i].result == WAITING ? r : works[i].result;
	return r;
}
