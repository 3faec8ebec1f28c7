/* survey - a control link to each node, with an offer that only asks */
#include "send/survey.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "cast/message.h"
#include "mem/segment.h"
#include "net/link.h"
#include "stream/json.h"

struct asked {
	struct lsc_survey *survey;
	uint32_t index;
	struct lsc_link *link; /* NULL: it is over */
	bool answered;
	uint64_t heard_ns;
	size_t queued; /* at the last tick */
};

struct lsc_survey {
	struct lsc_survey_options o;
	struct lsc_loop *loop;
	struct asked *nodes;
	uint32_t n_answers, n_good;
	struct lsc_timer *tick;
	struct lsc_pack pack;
};

static void answer(struct asked *node, const struct lsc_check_result *result,
		   const struct lsc_err *err)
{
	struct lsc_survey *s = node->survey;

	if (node->answered)
		return;
	node->answered = true;
	s->n_answers++;
	s->n_good += result && result->state == LSC_CHECK_GOOD;
	s->o.on_answer(s->o.data, node->index, result, err);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct asked *node = data;
	struct lsc_survey *s = node->survey;
	struct lsc_check_result result;
	struct lsc_failed failed;
	int r = 0;

	(void)body_len;
	(void)ret_body;
	if (node->answered) /* and is to close its link */
		return 0;
	node->heard_ns = lsc_clock_ns();
	if (lsc_record_is(record, "failed")) {
		r = lsc_failed_parse(record, &failed, err);
		if (r == 0)
			r = lsc_err_set(err, failed.code, "%s", failed.why);
	} else if (lsc_record_is(record, "checked")) {
		r = lsc_checked_parse(record, &result, err);
		if (r < 0)
			return lsc_err_set(err, EPROTO, "%s", err->text);
		answer(node, &result, NULL);
		lsc_pack_begin(&s->pack, "end");
		r = lsc_pack_end(&s->pack);
		if (r == 0)
			r = lsc_link_send(link, &s->pack, NULL, 0, NULL);
	}
	return r;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct asked *node = data;
	struct lsc_err named = *err;

	if (!err->code)
		lsc_err_set(&named, ECONNRESET, "left without an answer");
	lsc_link_close(link);
	node->link = NULL;
	answer(node, NULL, &named);
}

static const struct lsc_link_events events = {.on_record = on_record, .on_close = on_close};

static bool is_silent(struct asked *node, uint64_t now)
{
	size_t queued = lsc_link_queued(node->link);

	if (queued != node->queued)
		node->heard_ns = now;
	node->queued = queued;
	return now - LSC_MIN(node->heard_ns, now) >= node->survey->o.timeout_ns;
}

/* Ends what has said nothing for too long, and the survey when every link is closed. */
static void on_tick(void *data)
{
	struct lsc_survey *s = data;
	uint64_t now = lsc_clock_ns();
	uint32_t open = 0;

	for (uint32_t i = 0; i < s->o.n_nodes; i++) {
		struct asked *node = &s->nodes[i];
		struct lsc_err err = LSC_ERR_INIT;

		if (node->link && is_silent(node, now)) {
			lsc_err_set(&err, ETIMEDOUT, "nothing heard for %.1f s",
				    (double)s->o.timeout_ns / 1e9);
			lsc_link_close(node->link);
			node->link = NULL;
			answer(node, NULL, &err);
		}
		open += node->link != NULL;
	}
	if (open)
		lsc_timer_arm(s->tick, LSC_CAST_PROGRESS_NS / 4);
	else
		s->o.on_done(s->o.data, s->n_good);
}

void lsc_survey_free(struct lsc_survey *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; s->nodes && i < s->o.n_nodes; i++)
		lsc_link_close(s->nodes[i].link);
	lsc_timer_free(s->tick);
	lsc_pack_release(&s->pack);
	free(s->nodes);
	free(s);
}

static int ask(struct asked *node, struct lsc_err *err)
{
	struct lsc_survey *s = node->survey;
	const char *name = s->o.nodes[node->index];
	const struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = s->o.timeout_ns,
		.key = s->o.key,
	};
	uint32_t len = (uint32_t)s->o.image->manifest_len;
	struct lsc_offer offer = {.check = true};
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, name, err);

	if (r == 0 && endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port == 0)
		r = lsc_err_set(err, EINVAL, "'%s' has no port to connect to", name);
	if (r == 0)
		r = lsc_link_connect(&node->link, s->loop, &endpoint, &options, &events, node, err);
	if (r < 0)
		return r;
	if (getrandom(offer.cast.bytes, sizeof(offer.cast.bytes), 0) != sizeof(offer.cast.bytes))
		return lsc_err_set(err, EIO, "cannot draw random bytes: %m");
	strcpy(offer.name, s->o.name);
	node->heard_ns = lsc_clock_ns();
	r = lsc_offer_pack(&s->pack, &offer, len);
	if (r == 0)
		r = lsc_link_send(node->link, &s->pack, s->o.image->manifest, len, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot ask a node: %m") : 0;
}

int lsc_survey_start(struct lsc_survey **ret_survey, struct lsc_loop *loop,
		     const struct lsc_survey_options *options, struct lsc_err *err)
{
	struct lsc_survey *s;
	int r = lsc_segment_check_name(options->name, err);

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	s->o = *options;
	s->loop = loop;
	s->nodes = calloc(options->n_nodes + (size_t)1, sizeof(s->nodes[0]));
	if (!s->nodes)
		r = lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	if (r == 0)
		r = lsc_timer_new(loop, on_tick, s, &s->tick, err);
	for (uint32_t i = 0; r == 0 && i < options->n_nodes; i++) {
		s->nodes[i] = (struct asked){.survey = s, .index = i};
		r = ask(&s->nodes[i], err);
	}
	if (r < 0) {
		lsc_survey_free(s);
		return r;
	}
	lsc_timer_arm(s->tick, 0);
	*ret_survey = s;
	return 0;
}

/* --- in words --- */

int lsc_survey_tell(const char *node, const struct lsc_check_result *result,
		    const struct lsc_err *err, bool json, struct lsc_buf *line)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const char *state = result ? lsc_check_state_name(result->state) : "unknown";
	const char *why = !result ? err->text : result->state == LSC_CHECK_GOOD ? "" : result->why;
	size_t len = strlen(node);
	int r;

	if (!strncmp(why, node, len) && !strncmp(why + len, ": ", 2)) /* words of its link */
		why += len + 2;
	if (!json)
		return lsc_buf_printf(line, "%s %s%s%s\n", node, state, *why ? ": " : "", why);
	lsc_pack_begin(&pack, "checked");
	lsc_pack_str(&pack, "name", node);
	lsc_pack_str(&pack, "state", state);
	lsc_pack_str(&pack, "why", why);
	r = lsc_pack_end(&pack);
	if (r == 0)
		r = lsc_json_write(pack.buf.data, pack.buf.len, line, NULL);
	return r == 0 ? lsc_buf_add_str(line, "\n") : r;
}
