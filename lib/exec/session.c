/* session - one answer computed on this node */
#include "exec/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "exec/arrival.h"

int lsc_session_init(struct lsc_session *session, const struct lsc_image *image,
		     struct lsc_segment *segment, struct lsc_engine *engine,
		     const struct lsc_session_options *options, struct lsc_err *err)
{
	uint32_t vocab = image->config.vocab;

	*session = (struct lsc_session){
		.image = image, .segment = segment, .engine = engine, .options = *options};
	session->logits = malloc(vocab * sizeof(*session->logits));
	session->candidates = malloc(vocab * sizeof(*session->candidates));
	if (!session->logits || !session->candidates)
		return lsc_err_set(err, ENOMEM, "no memory for %u logits", vocab);
	return 0;
}

void lsc_session_release(struct lsc_session *session)
{
	if (session->engine)
		lsc_engine_drop(session->engine, &session->key);
	free(session->logits);
	free(session->candidates);
	*session = (struct lsc_session)LSC_SESSION_INIT;
}

static int run(struct lsc_session *session, struct lsc_work *work, struct lsc_err *err)
{
	int r = lsc_engine_run(session->engine, work, 1, err);

	if (r < 0)
		return r;
	switch (work->result) {
	case 0:
		return 0;
	case -ERANGE:
		return lsc_err_set(err, ERANGE, "the model's context of %u positions is full",
				   session->image->config.context);
	case -ENOSPC:
		return lsc_err_set(err, ENOMEM, "no room for the KV of position %u", work->pos);
	default:
		return lsc_err_set(err, -work->result, "units %u to %u at position %u: %m",
				   work->first, work->last, work->pos);
	}
}

/* Waits for a unit; where that takes long, somebody wants to know what for. */
static int await_unit(struct lsc_session *session, uint32_t unit, struct lsc_err *err)
{
	const struct lsc_session_options *options = &session->options;
	int timeout_ms = options->timeout_ms, r;

	if (options->on_wait && !session->waited &&
	    (timeout_ms < 0 || timeout_ms > LSC_ARRIVAL_LONG_MS)) {
		r = lsc_arrival_wait(session->image, session->segment, unit, LSC_ARRIVAL_LONG_MS,
				     err);
		if (r != -ETIMEDOUT)
			return r;
		session->waited = true;
		options->on_wait(options->data, unit);
		timeout_ms -= timeout_ms < 0 ? 0 : LSC_ARRIVAL_LONG_MS;
	}
	return lsc_arrival_wait(session->image, session->segment, unit, timeout_ms, err);
}

/* Waits for a unit, and for those that run with it alone. */
static int await_layer(struct lsc_session *session, uint32_t unit, struct lsc_err *err)
{
	int r = await_unit(session, unit, err);

	while (r == 0 && !lsc_model_may_end(&session->image->config, unit))
		r = await_unit(session, ++unit, err);
	return r;
}

/* Runs as many units as have arrived, again and again; activations wait between them. */
static int run_arriving(struct lsc_session *session, struct lsc_work *work, struct lsc_err *err)
{
	const struct lsc_image *image = session->image;
	const uint32_t last = work->last;
	LSC_CLEANUP_FREE float *x = NULL;
	float *logits = work->out;
	int r = 0;

	x = malloc((size_t)work->n * image->config.hidden * sizeof(*x));
	if (!x)
		return lsc_err_set(err, ENOMEM, "no memory for %u positions", work->n);
	for (uint32_t unit = 0; unit <= last && r == 0; unit = work->last + 1) {
		r = await_layer(session, unit, err);
		if (r < 0)
			return r;
		work->first = unit;
		work->last = unit + lsc_arrival_ready(image, session->segment, unit, last) - 1;
		while (!lsc_model_may_end(&image->config, work->last))
			work->last--; /* the last layer that is whole */
		work->in = x;         /* the engine takes it all in before it gives anything out */
		work->out = work->last == last ? logits : x;
		r = run(session, work, err);
	}
	return r;
}

int lsc_session_feed(struct lsc_session *session, const uint32_t *ids, uint32_t n,
		     uint32_t *ret_token, struct lsc_err *err)
{
	const struct lsc_image *image = session->image;
	struct lsc_draw draw = {.temp = session->options.temp,
				.top_p = session->options.top_p,
				.seed = session->options.seed,
				.pos = session->pos + n};
	struct lsc_work work = {.key = session->key,
				.last = lsc_model_head_unit(&image->config),
				.pos = session->pos,
				.n = n,
				.ids = ids,
				.out = session->logits,
				.all_logits = session->all_logits,
				.draw = session->all_logits ? NULL : &draw};
	int r;

	if (!session->complete)
		session->complete =
			lsc_arrival_ready(image, session->segment, 0, work.last) == image->n_units;
	r = session->complete ? run(session, &work, err) : run_arriving(session, &work, err);
	if (r < 0)
		return r;
	session->pos += n;
	*ret_token = draw.drawn ? draw.token
				: lsc_sample(session->logits, image->config.vocab, draw.temp,
					     draw.top_p, draw.seed, draw.pos, session->candidates);
	return 0;
}
