/* hop - links to next stages */
#include "stage/hop.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_HOPS 1024 /* routes come from outside; more stages than this are no cluster of ours */

struct passed { /* the last run of a request that went over a hop */
	struct passed *next;
	struct lsc_client_id client;
	uint64_t request;
	uint32_t pos;
};

struct lsc_hop {
	struct lsc_hop *next;
	struct lsc_hops *hops;
	char endpoint[LSC_FRAME_ENDPOINT];
	struct lsc_link *link;
	struct lsc_jobs sending; /* in the order of their sends */
	struct passed *passed;
};

static bool same_client(const struct lsc_client_id *a, const struct lsc_client_id *b)
{
	return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* --- what passed --- */

static int remember(struct lsc_hop *hop, const struct lsc_run_frame *run)
{
	struct passed *passed = hop->passed;

	while (passed &&
	       !(passed->request == run->request && same_client(&passed->client, &run->client)))
		passed = passed->next;
	if (!passed) {
		passed = calloc(1, sizeof(*passed));
		if (!passed)
			return -ENOMEM;
		passed->client = run->client;
		passed->request = run->request;
		passed->next = hop->passed;
		hop->passed = passed;
	}
	passed->pos = run->pos;
	return 0;
}

static void forget(struct lsc_hop *hop, const struct lsc_client_id *client, const uint64_t *request)
{
	struct passed **at = &hop->passed, *passed;

	while ((passed = *at)) {
		if ((request && passed->request != *request) ||
		    (client && !same_client(&passed->client, client))) {
			at = &passed->next;
			continue;
		}
		*at = passed->next;
		free(passed);
	}
}

void lsc_hops_forget(struct lsc_hops *hops, const struct lsc_client_id *client,
		     const uint64_t *request)
{
	for (struct lsc_hop *hop = hops->first; hop; hop = hop->next)
		forget(hop, client, request);
}

/* --- a hop's link --- */

static void hop_free(struct lsc_hop *hop)
{
	lsc_link_close(hop->link);
	lsc_jobs_release(&hop->sending);
	forget(hop, NULL, NULL);
	free(hop);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	(void)data;
	(void)link;
	(void)body_len;
	(void)ret_body;
	return lsc_err_set(err, EPROTO, "a stage sent '%.*s' to the one before it",
			   (int)record->type_len, record->type);
}

static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	struct lsc_hop *hop = data;

	(void)link;
	(void)cookie;
	hop->hops->on_done(hop->hops->data, lsc_jobs_take(&hop->sending));
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_hop *hop = data, **at = &hop->hops->first;
	struct lsc_hops *hops = hop->hops;
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_job *job;

	(void)link;
	lsc_err_set(&why, EHOSTDOWN, "next stage %s: %s", hop->endpoint,
		    err->code ? err->text : "closed its link");
	while (*at != hop)
		at = &(*at)->next;
	*at = hop->next;
	for (const struct passed *passed = hop->passed; passed; passed = passed->next)
		hops->on_lost(hops->data, &passed->client, passed->request, passed->pos, &why);
	while ((job = lsc_jobs_take(&hop->sending)))
		hops->on_done(hops->data, job);
	hop_free(hop);
}

static const struct lsc_link_events hop_events = {
	.on_record = on_record, .on_sent = on_sent, .on_close = on_close};

static int hop_open(struct lsc_hops *hops, const char *endpoint, struct lsc_hop **ret_hop,
		    struct lsc_err *err)
{
	const struct lsc_link_options options = {.kind = "exec",
						 .key = hops->access ? hops->access->key : NULL};
	struct lsc_endpoint peer;
	struct lsc_hop *hop;
	int r = lsc_endpoint_parse(&peer, endpoint, err);

	if (r == 0 && hops->access)
		r = lsc_access_check(hops->access, &peer, err);
	if (r < 0)
		return r;
	hop = calloc(1, sizeof(*hop));
	if (!hop)
		return lsc_err_set(err, ENOMEM, "no memory for a link");
	hop->hops = hops;
	strncat(hop->endpoint, endpoint, sizeof(hop->endpoint) - 1);
	r = lsc_link_connect(&hop->link, hops->loop, &peer, &options, &hop_events, hop, err);
	if (r < 0) {
		free(hop);
		return r;
	}
	hop->next = hops->first;
	hops->first = hop;
	*ret_hop = hop;
	return 0;
}

static int hop_find(struct lsc_hops *hops, const char *endpoint, struct lsc_hop **ret_hop,
		    struct lsc_err *err)
{
	struct lsc_hop *hop = hops->first;
	unsigned n = 0;

	for (; hop && strcmp(hop->endpoint, endpoint); n++)
		hop = hop->next;
	if (!hop && n >= MAX_HOPS)
		return lsc_err_set(err, ENOBUFS, "more than %d next stages", MAX_HOPS);
	if (!hop)
		return hop_open(hops, endpoint, ret_hop, err);
	*ret_hop = hop;
	return 0;
}

int lsc_hops_forward(struct lsc_hops *hops, struct lsc_job *job, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_run_frame *run = &job->run;
	struct lsc_hop *hop = NULL;
	int r = hop_find(hops, run->route[run->stage + 1].endpoint, &hop, err);

	if (r < 0)
		return r;
	run->stage++;
	r = lsc_frame_pack_run(&pack, run, job->out_len);
	run->stage--;
	if (r == 0)
		r = remember(hop, run);
	if (r == 0)
		r = lsc_link_send(hop->link, &pack, job->out, job->out_len, job);
	if (r < 0)
		return lsc_err_set(err, -r, "next stage %s: %m", hop->endpoint);
	lsc_jobs_add(&hop->sending, job);
	return 0;
}

void lsc_hops_release(struct lsc_hops *hops)
{
	struct lsc_hop *hop;

	while ((hop = hops->first)) {
		hops->first = hop->next;
		hop_free(hop);
	}
}
