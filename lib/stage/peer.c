/* peer - the links that a stage worker was called on */
#include "stage/peer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"

#define DROPPED 1024 /* requests of a client that are remembered to be over: lsc-wire(5) */

struct lsc_peer *lsc_peers_add(struct lsc_peers *peers, struct lsc_link *link, void *owner)
{
	struct lsc_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->owner = owner;
	peer->link = link;
	peer->tag = ++peers->tags;
	peer->next = peers->first;
	peers->first = peer;
	return peer;
}

void lsc_peers_remove(struct lsc_peers *peers, struct lsc_peer *peer)
{
	struct lsc_peer **at = &peers->first;

	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	lsc_link_close(peer->link);
	free(peer->dropped);
	free(peer);
}

struct lsc_peer *lsc_peers_find(const struct lsc_peers *peers, const struct lsc_client_id *client)
{
	struct lsc_peer *peer = peers->first;

	while (peer && !(peer->is_client && !memcmp(&peer->client, client, sizeof(*client))))
		peer = peer->next;
	return peer;
}

struct lsc_peer *lsc_peers_find_tag(const struct lsc_peers *peers, uint64_t tag)
{
	struct lsc_peer *peer = peers->first;

	while (peer && peer->tag != tag)
		peer = peer->next;
	return peer;
}

int lsc_peer_name(struct lsc_peer *peer, const struct lsc_client_id *client, struct lsc_err *err)
{
	if (peer->is_client && memcmp(client, &peer->client, sizeof(*client)))
		return lsc_err_set(err, EPROTO, "a client changed its name");
	if (!peer->dropped)
		peer->dropped = calloc(DROPPED, sizeof(*peer->dropped));
	if (!peer->dropped)
		return lsc_err_set(err, ENOMEM, "no memory for a client");
	peer->client = *client;
	peer->is_client = true;
	return 0;
}

/* --- drops --- */

void lsc_peers_drop(struct lsc_peers *peers, const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_peer *peer = lsc_peers_find(peers, client);

	if (peer)
		peer->dropped[peer->n_dropped++ % DROPPED] = request;
}

bool lsc_peers_have_dropped(const struct lsc_peers *peers, const struct lsc_client_id *client,
			    uint64_t request)
{
	const struct lsc_peer *peer = lsc_peers_find(peers, client);

	for (uint32_t i = 0; peer && i < LSC_MIN(peer->n_dropped, DROPPED); i++)
		if (peer->dropped[i] == request)
			return true;
	return false;
}

/* --- what clients are told --- */

static void send_to(const struct lsc_peers *peers, const struct lsc_client_id *client,
		    const struct lsc_pack *pack, const char *what)
{
	struct lsc_peer *peer = lsc_peers_find(peers, client);
	int r = peer ? lsc_link_send(peer->link, pack, NULL, 0, NULL) : -ENOTCONN;

	if (r < 0)
		lsc_debug("stage", "%s for a client without a link, dropping it", what);
}

void lsc_peers_send_fail(const struct lsc_peers *peers, const struct lsc_client_id *client,
			 uint64_t request, uint32_t pos, const struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fail_frame fail = {.request = request, .pos = pos, .code = err->code};

	lsc_debug("stage", "request %llu at %u: %s", (unsigned long long)request, pos, err->text);
	memcpy(fail.why, err->text, LSC_MIN(strlen(err->text), sizeof(fail.why) - 1));
	if (lsc_frame_pack_fail(&pack, &fail) == 0)
		send_to(peers, client, &pack, "a failure");
}

void lsc_peers_send_token(const struct lsc_peers *peers, const struct lsc_job *job)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_token_frame token = {.request = job->run.request,
					.pos = job->run.pos + job->run.n,
					.drawn = job->drawn,
					.logprobs = job->run.sampling.logprobs};

	if (lsc_frame_pack_token(&pack, &token) == 0)
		send_to(peers, &job->run.client, &pack, "a token");
}

void lsc_peers_send_moved(const struct lsc_peers *peers, const struct lsc_client_id *client,
			  const struct lsc_moved_frame *moved)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	if (lsc_frame_pack_moved(&pack, moved) == 0)
		send_to(peers, client, &pack, "a moved request");
}

int lsc_peer_send_pages(struct lsc_peer *peer, struct lsc_job *job)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_pages_frame pages = {.of = job->fetch, .code = job->err.code};
	int r;

	memcpy(pages.why, job->err.text, strnlen(job->err.text, sizeof(pages.why) - 1));
	r = lsc_frame_pack_pages(&pack, &pages, job->out_len);
	if (r == 0 && pages.code)
		return lsc_link_send(peer->link, &pack, NULL, 0, NULL);
	if (r == 0)
		r = lsc_link_send(peer->link, &pack, job->out, job->out_len, job);
	if (r == 0)
		lsc_jobs_add(&peer->sending, job);
	return r;
}

int lsc_peer_send_pong(struct lsc_peer *peer, const struct lsc_pong_frame *pong,
		       struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = lsc_frame_pack_pong(&pack, pong);

	if (r == 0)
		r = lsc_link_send(peer->link, &pack, NULL, 0, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot answer a ping: %m") : 0;
}

void lsc_peer_send_leave(struct lsc_peer *peer, double within_s)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	/* Who does not hear it, finds out. */
	if (peer->is_client && lsc_frame_pack_leave(&pack, within_s) == 0)
		lsc_link_send(peer->link, &pack, NULL, 0, NULL);
}

void lsc_peers_send_leave(const struct lsc_peers *peers, double within_s)
{
	for (struct lsc_peer *peer = peers->first; peer; peer = peer->next)
		lsc_peer_send_leave(peer, within_s);
}
