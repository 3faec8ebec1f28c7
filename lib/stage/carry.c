/* carry - keys and values in and out */
#include "stage/carry.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "exec/kv_rows.h"
#include "stage/room.h"

static struct lsc_request_key key_of(const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_request_key key = {.request = request};

	memcpy(key.client, client->bytes, sizeof(key.client));
	return key;
}

/* The image, and its pages where they can be got at. */
static int find_kv(struct lsc_queue *queue, const struct lsc_hash *id,
		   struct lsc_store_image **ret_image, struct lsc_kv **ret_kv, struct lsc_err *err)
{
	int r = lsc_store_find(&queue->store, id, ret_image, err);

	if (r < 0)
		return r;
	*ret_kv = lsc_engine_kv((*ret_image)->engine);
	if (!lsc_kv_is_readable(*ret_kv))
		return lsc_err_set(err, EOPNOTSUPP, "keys and values stay on this worker's device");
	if (4 * (uint64_t)lsc_kv_row_floats(*ret_kv) > LSC_KV_MAX_BYTES)
		return lsc_err_set(err, EOPNOTSUPP, "a position takes more than a frame holds");
	return 0;
}

/* --- out --- */

static int give(struct lsc_queue *queue, struct lsc_job *job, struct lsc_err *err)
{
	const struct lsc_fetch_frame *fetch = &job->fetch;
	struct lsc_request_key key = key_of(&fetch->client, fetch->request);
	struct lsc_store_image *image;
	struct lsc_kv_request *request;
	struct lsc_kv *kv;
	uint64_t bytes;
	int r = find_kv(queue, &fetch->image, &image, &kv, err);

	if (r < 0)
		return r;
	bytes = 4 * (uint64_t)lsc_kv_row_floats(kv) * fetch->n;
	if (fetch->layer >= kv->layers || bytes > LSC_KV_MAX_BYTES)
		return lsc_err_set(err, EINVAL, "%u positions of layer %u are not to be had",
				   fetch->n, fetch->layer);
	request = lsc_kv_find(kv, &key);
	job->out = request ? malloc(bytes) : NULL;
	if (request && !job->out)
		return lsc_err_set(err, ENOMEM, "no memory for %u positions", fetch->n);
	if (!request ||
	    lsc_kv_read_rows(kv, request, fetch->layer, fetch->pos, fetch->n, job->out) < 0)
		return lsc_err_set(err, ESTALE, "the KV here does not reach position %u",
				   fetch->pos + fetch->n);
	job->out_len = (uint32_t)bytes;
	return 0;
}

/* --- in --- */

static int check(const struct lsc_job *job, const struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	const struct lsc_run_frame *run = &job->run;
	const uint32_t *ids = job->body;

	for (uint32_t i = 0; i < run->n_stages; i++)
		if (!lsc_model_may_begin(config, run->route[i].first) ||
		    !lsc_model_may_end(config, run->route[i].last))
			return lsc_err_set(err, EINVAL,
					   "units %u to %u part a layer from its experts",
					   run->route[i].first, run->route[i].last);
	if (run->route[run->n_stages - 1].last != lsc_model_head_unit(config))
		return lsc_err_set(err, EINVAL, "a route that does not end with unit %u",
				   lsc_model_head_unit(config));
	if (run->n > config->context || run->reach > config->context)
		return lsc_err_set(err, ERANGE, "%u positions are more than the model's context",
				   run->n > run->reach ? run->n : run->reach);
	for (uint32_t i = 0; i < job->body_len / sizeof(*ids); i++)
		if (ids[i] >= config->vocab)
			return lsc_err_set(err, EINVAL, "a token outside the vocabulary");
	return 0;
}

static struct lsc_move_plan *
make_plan(const struct lsc_job *job, const struct lsc_model_config *config, const struct lsc_kv *kv)
{
	const struct lsc_run_frame *run = &job->run;
	struct lsc_move_plan *plan =
		calloc(1, sizeof(*plan) + config->layers * sizeof(plan->of[0]));

	if (!plan)
		return NULL;
	plan->layers = config->layers;
	plan->row_bytes = 4 * lsc_kv_row_floats(kv);
	for (uint32_t s = 0; s < run->n_stages; s++) {
		uint32_t layer, end;

		lsc_model_layers(config, run->route[s].first, run->route[s].last, &layer, &end);
		for (; layer < end; layer++) {
			plan->of[layer].stage = s;
			plan->of[layer].from = lsc_kv_needs_from(config, layer, run->n);
		}
	}
	return plan;
}

/* Layers that are here as those of the request that goes; which is over here with that. */
static void take_over(struct lsc_queue *queue, const struct lsc_job *job, struct lsc_kv *kv,
		      const struct lsc_model_config *config, struct lsc_kv_request *to,
		      struct lsc_move_plan *plan)
{
	const struct lsc_err err = {ECANCELED, "moved"};
	struct lsc_guest *guest = lsc_roster_find(&queue->roster, &job->run.client, job->from);
	struct lsc_kv_request *from = guest ? lsc_kv_find(kv, &guest->entry.key) : NULL;

	for (uint32_t layer = 0; from && layer < plan->layers; layer++) {
		if (!lsc_kv_reaches(from, config, layer, layer + 1, job->run.n))
			continue;
		lsc_kv_cut(kv, from, layer, job->run.n);
		lsc_kv_hand_over(from, to, layer);
		plan->of[layer].stage = UINT32_MAX;
	}
	if (guest)
		lsc_queue_refuse(queue, guest, &err);
}

/* Pages for all layers that are still to come; where none is, the request is there. */
static int expect(struct lsc_kv *kv, struct lsc_kv_request *request,
		  const struct lsc_move_plan *plan, uint32_t n, struct lsc_err *err)
{
	bool all = true;
	int r = 0;

	for (uint32_t layer = 0; layer < plan->layers && r == 0; layer++) {
		if (plan->of[layer].stage == UINT32_MAX)
			continue;
		all = false;
		r = lsc_kv_expect_rows(kv, request, layer, plan->of[layer].from, n);
	}
	if (r < 0)
		return lsc_err_set(err, -r, "no room for the KV of %u positions", n);
	if (all)
		lsc_kv_fill(kv, request, n);
	return 0;
}

/* What is set up for a guest that is there; a failure leaves it to be forgotten. */
static int settle_in(struct lsc_queue *queue, struct lsc_job *job, struct lsc_guest *guest,
		     struct lsc_kv *kv, void (*evict)(void *data, struct lsc_guest *guest),
		     void *data, struct lsc_err *err)
{
	const struct lsc_model_config *config = &guest->image->image.config;
	struct lsc_kv_request *request = lsc_kv_request(kv, &guest->entry.key);
	struct lsc_run_frame *run = &job->run;
	uint64_t taken = 0;
	int r;

	job->plan = make_plan(job, config, kv);
	if (!request || !job->plan)
		return lsc_err_set(err, ENOMEM, "no memory for a request");
	take_over(queue, job, kv, config, request, job->plan);
	run->route[0] = (struct lsc_frame_stage){.last = lsc_model_head_unit(config)};
	run->n_stages = 1;
	lsc_guest_follow(guest, run);
	guest->decodes = false; /* not yet */
	r = lsc_room_make(&queue->roster, guest, job, run->n, &taken, evict, data, err);
	if (r == 0)
		r = expect(kv, request, job->plan, run->n, err);
	if (r == 0 && job->body_len && lsc_guest_remember(guest, job->body, 0, run->n) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for %u tokens", run->n);
	return r;
}

static int adopt(struct lsc_queue *queue, struct lsc_job *job,
		 void (*evict)(void *data, struct lsc_guest *guest), void *data,
		 struct lsc_err *err)
{
	struct lsc_run_frame *run = &job->run;
	struct lsc_store_image *image;
	struct lsc_guest *guest;
	struct lsc_kv *kv;
	int r = find_kv(queue, &run->image, &image, &kv, err);

	if (r == 0)
		r = check(job, &image->image, err);
	if (r == 0 && lsc_roster_find(&queue->roster, &run->client, run->request))
		r = lsc_err_set(err, EINVAL, "that request is here already");
	if (r == 0)
		r = lsc_roster_take(&queue->roster, run, &guest, err);
	if (r < 0)
		return r;
	guest->image = image;
	guest->turn = queue->visit;
	guest->seen_ns = lsc_clock_ns();
	r = settle_in(queue, job, guest, kv, evict, data, err);
	if (r < 0)
		lsc_queue_refuse(queue, guest, err);
	return r;
}

static int take(struct lsc_queue *queue, struct lsc_job *job, struct lsc_err *err)
{
	const struct lsc_fetch_frame *fetch = &job->fetch;
	const struct lsc_run_frame *run = &job->run;
	struct lsc_guest *guest = lsc_roster_find(&queue->roster, &run->client, run->request);
	struct lsc_kv *kv = guest && guest->image ? lsc_engine_kv(guest->image->engine) : NULL;
	struct lsc_kv_request *request = kv ? lsc_kv_find(kv, &guest->entry.key) : NULL;
	int r;

	if (!request || fetch->layer >= kv->layers)
		return lsc_err_set(err, ESTALE, "the request is not here any more");
	r = lsc_kv_write_rows(kv, request, fetch->layer, fetch->pos, fetch->n, job->body);
	if (r == -EBADMSG)
		return lsc_err_set(err, EBADMSG, "keys or values that are no numbers");
	if (r < 0)
		return lsc_err_set(err, -r, "no pages for position %u", fetch->pos);
	guest->seen_ns = lsc_clock_ns();
	if (job->last)
		lsc_kv_fill(kv, request, run->n);
	return 0;
}

void lsc_carry(struct lsc_queue *queue, struct lsc_job *job,
	       void (*evict)(void *data, struct lsc_guest *guest), void *data)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	if (job->kind == LSC_JOB_FETCH)
		r = give(queue, job, &err);
	else if (job->kind == LSC_JOB_PAGES)
		r = take(queue, job, &err);
	else
		r = adopt(queue, job, evict, data, &err);
	if (r < 0)
		job->err = err;
	lsc_jobs_add(&queue->over, job);
}
