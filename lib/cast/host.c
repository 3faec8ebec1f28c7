/* host - accepts links and sorts them: a coordinator's opens a session, a sender's joins one, and
 * who only asks is answered
 *
 * The first record of a link says which it is.  What a session does is in session.c.
 */
#include "cast/host.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cast/lookup.h"
#include "cast/session.h"
#include "mem/segment.h"
#include "net/link.h"

#define PATIENCE_NS      10000000000u
#define MANIFEST_BYTE_NS 10000ull /* 100 KB/s at least */

/* Whoever opened a link to us. */
struct caller {
	struct lsc_host *host;
	struct lsc_link *link;       /* NULL: its session is over */
	struct lsc_timer *deadline;  /* to say who it is, and to send the manifest it offers */
	struct lsc_session *session; /* of a coordinator */
	struct lsc_inlet inlet;      /* of a sender */
	struct lsc_lookup *lookup;   /* of who asked; the manifest lies there while it is sent */
	struct caller *next, *previous;
};

struct lsc_host {
	struct lsc_host_options o;
	struct lsc_loop *loop;
	struct lsc_listener *listener, *rdma; /* the latter for data, where there is a device */
	struct caller *callers;
};

/* --- callers --- */

static void end_lookup(struct caller *caller)
{
	if (!caller->lookup)
		return;
	lsc_lookup_close(caller->lookup);
	free(caller->lookup);
}

static void forget(struct caller *caller)
{
	if (caller->previous)
		caller->previous->next = caller->next;
	else
		caller->host->callers = caller->next;
	if (caller->next)
		caller->next->previous = caller->previous;
	lsc_inlet_close(&caller->inlet);
	lsc_link_close(caller->link);
	end_lookup(caller); /* after what is sent of it */
	lsc_timer_free(caller->deadline);
	free(caller);
}

/* Ends a session: first those who send to its member. */
static void end_session(struct caller *coordinator)
{
	struct lsc_member *member = lsc_session_member(coordinator->session);
	struct caller *c, *next;

	for (c = coordinator->host->callers; c; c = next) {
		next = c->next;
		if (member && c->inlet.member == member)
			forget(c);
	}
	lsc_session_close(coordinator->session);
	coordinator->session = NULL;
}

static struct lsc_member *find_member(struct lsc_host *host, const struct lsc_cast_id *cast)
{
	for (struct caller *c = host->callers; c; c = c->next) {
		struct lsc_member *member = c->session ? lsc_session_member(c->session) : NULL;

		if (member &&
		    !memcmp(lsc_member_cast(member)->bytes, cast->bytes, sizeof(cast->bytes)))
			return member;
	}
	return NULL;
}

/* What plain links have to prove, for one cast or for any that lets them in. */
static const struct lsc_pass *find_proof(void *data, const uint8_t *id)
{
	const struct lsc_host *host = data;

	for (const struct caller *c = host->callers; c; c = c->next) {
		const struct lsc_pass *proof = c->session ? lsc_session_proof(c->session) : NULL;

		if (proof && (!id || !memcmp(proof->id, id, sizeof(proof->id))))
			return proof;
	}
	return NULL;
}

/* A node with a key hears of casts over TLS alone, and over plain links for the one that they
 * proved. */
static int check_plain(const struct caller *caller, const struct lsc_cast_id *cast,
		       const char *what, struct lsc_err *err)
{
	const uint8_t *proved = lsc_link_proved(caller->link);

	if (!caller->host->o.key || lsc_link_key(caller->link))
		return 0;
	if (proved && cast && !memcmp(proved, cast->bytes, sizeof(cast->bytes)))
		return 0;
	return lsc_err_set(err, EKEYREJECTED, "%s over a link that is not encrypted", what);
}

/* Whoever neither takes part nor is about to would hold a descriptor for as long as he likes. */
static void on_deadline(void *data)
{
	struct caller *caller = data;

	if (caller->link)
		lsc_info("%s: took too long to %s", lsc_link_peer(caller->link),
			 caller->session  ? "send a manifest"
			 : caller->lookup ? "take an answer"
					  : "say what it wants");
	if (caller->session)
		end_session(caller);
	forget(caller);
}

/* --- records --- */

/* Says what is here of a name.  The link is only good for the answer then, until it is closed. */
static int answer(struct caller *caller, const struct lsc_record *record, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_lookup *lookup = malloc(sizeof(*lookup));
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_want want;
	uint32_t len = 0;
	int r;

	if (!lookup)
		return lsc_err_set(err, ENOMEM, "cannot answer: %m");
	*lookup = (struct lsc_lookup)LSC_LOOKUP_INIT;
	caller->lookup = lookup;
	r = lsc_want_parse(record, &want, err);
	if (r == 0)
		r = check_plain(caller, NULL, "asks for an image", err);
	if (r < 0)
		return r;
	if (lsc_lookup_open(lookup, caller->host->o.dir, want.name, &why) < 0) {
		r = lsc_absent_pack(&pack, why.text);
	} else {
		len = want.manifest ? (uint32_t)lookup->manifest_len : 0;
		r = lsc_held_pack(&pack, &lookup->held, len);
	}
	if (r == 0)
		r = lsc_link_send(caller->link, &pack, len ? lookup->manifest : NULL, len, NULL);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot answer: %m");
	lsc_timer_arm(caller->deadline, caller->host->o.patience_ns + len * MANIFEST_BYTE_NS);
	return 0;
}

static int first_record(struct caller *caller, const struct lsc_record *record, uint32_t body_len,
			void **ret_body, struct lsc_err *err)
{
	struct lsc_host *host = caller->host;
	struct lsc_member *member;
	struct lsc_cast_id cast;
	uint32_t node;
	int r;

	lsc_timer_disarm(caller->deadline);
	if (lsc_record_is(record, "offer")) {
		r = check_plain(caller, NULL, "offers a cast", err);
		if (r < 0)
			return r;
		r = lsc_session_open(&caller->session, host->loop, host->o.dir, host->o.exec,
				     host->rdma != NULL, caller->link, record, body_len, ret_body,
				     err);
		if (r == 0)
			lsc_timer_arm(caller->deadline,
				      host->o.patience_ns + body_len * MANIFEST_BYTE_NS);
		return r;
	}
	if (lsc_record_is(record, "want"))
		return answer(caller, record, err);
	if (!lsc_record_is(record, "peer"))
		return lsc_err_set(err, EPROTO, "opens with a record '%.*s'", (int)record->type_len,
				   record->type);
	r = lsc_peer_parse(record, &cast, &node, err);
	if (r < 0)
		return r;
	r = check_plain(caller, &cast, "sends for another cast than it proved,", err);
	if (r < 0)
		return r;
	member = find_member(host, &cast);
	if (!member)
		return lsc_err_set(err, EPROTO, "sends for a cast that is not under way here");
	return lsc_inlet_open(&caller->inlet, member, caller->link, node, err);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct caller *caller = data;
	int r;

	(void)link;
	if (caller->inlet.member)
		return lsc_inlet_record(&caller->inlet, record, body_len, ret_body, err);
	if (caller->lookup)
		return 0;
	if (!caller->session)
		return first_record(caller, record, body_len, ret_body, err);
	r = lsc_session_record(caller->session, record, err);
	if (r > 0) { /* over, in good order: unmapping can wait until the last word is sent */
		lsc_link_finish(caller->link);
		caller->link = NULL;
		lsc_timer_arm(caller->deadline, 0);
		r = 0;
	}
	return r;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	struct caller *caller = data;

	(void)link;
	if (caller->inlet.member)
		return lsc_inlet_body(&caller->inlet, err);
	if (!caller->session)
		return 0;
	lsc_timer_disarm(caller->deadline);
	return lsc_session_body(caller->session, err);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct caller *caller = data;

	(void)link;
	if (caller->session) {
		lsc_warning("cast of '%s' abandoned: %s", lsc_session_name(caller->session),
			    err->code ? err->text : "the coordinator went away");
		end_session(caller);
	} else if (caller->inlet.member) {
		lsc_inlet_close(&caller->inlet);
		if (err->code)
			lsc_info("%s", err->text);
	} else if (err->code == EKEYREJECTED) {
		lsc_warning("refused: %s", err->text);
	} else if (err->code) {
		lsc_info("%s", err->text);
	}
	forget(caller);
}

static const struct lsc_link_events events = {
	.on_record = on_record,
	.on_body = on_body,
	.on_close = on_close,
};

static void *on_link(void *data, struct lsc_link *link)
{
	struct lsc_host *host = data;
	struct caller *caller = calloc(1, sizeof(*caller));

	if (!caller)
		return NULL;
	*caller = (struct caller){.host = host, .link = link, .next = host->callers};
	if (lsc_timer_new(host->loop, on_deadline, caller, &caller->deadline, NULL) < 0) {
		free(caller);
		return NULL;
	}
	lsc_timer_arm(caller->deadline, host->o.patience_ns);
	if (host->callers)
		host->callers->previous = caller;
	host->callers = caller;
	return caller;
}

/* --- life --- */

/* At the port of the other one: an address of another kind, or of no device, has none. */
static int listen_rdma(struct lsc_host *host, const struct lsc_link_options *options,
		       struct lsc_err *err)
{
	struct lsc_endpoint at;
	int r = lsc_transport_find_rdma(err);

	if (r == 0)
		r = lsc_endpoint_parse(&at, lsc_listener_address(host->listener), err);
	if (r == 0 && at.kind != LSC_ENDPOINT_TCP)
		r = lsc_err_set(err, EINVAL, "'%s' is no address for RDMA",
				lsc_listener_address(host->listener));
	if (r < 0)
		return r;
	at.kind = LSC_ENDPOINT_RDMA;
	return lsc_listener_open(&host->rdma, host->loop, &at, options, &events, on_link, host,
				 err);
}

/* Without RDMA where it may be without. */
static int listen_at_all(struct lsc_host *host, struct lsc_err *err)
{
	struct lsc_link_options options = {
		.kind = LSC_CAST_KIND, .key = host->o.key, .find_proof = find_proof};
	struct lsc_err why = LSC_ERR_INIT;
	int r = lsc_listener_open(&host->listener, host->loop, &host->o.listen, &options, &events,
				  on_link, host, err);

	if (r < 0 || host->o.transport == LSC_TRANSPORT_TCP)
		return r;
	if (host->o.transport == LSC_TRANSPORT_RDMA)
		return listen_rdma(host, &options, err);
	if (listen_rdma(host, &options, &why) < 0)
		lsc_debug("cast", "no data over RDMA: %s", why.text);
	return 0;
}

int lsc_host_open(struct lsc_host **ret_host, struct lsc_loop *loop,
		  const struct lsc_host_options *options, struct lsc_err *err)
{
	struct lsc_host *host;
	int r;

	r = lsc_segment_check_dir(options->dir, err);
	if (r < 0)
		return r;
	host = calloc(1, sizeof(*host));
	if (!host)
		return lsc_err_set(err, ENOMEM, "cannot serve '%s': %m", options->dir);
	host->o = *options;
	if (!host->o.patience_ns)
		host->o.patience_ns = PATIENCE_NS;
	host->loop = loop;
	r = listen_at_all(host, err);
	if (r < 0) {
		lsc_host_close(host);
		return r;
	}
	*ret_host = host;
	return 0;
}

void lsc_host_close(struct lsc_host *host)
{
	struct caller *c;

	if (!host)
		return;
	lsc_listener_close(host->rdma);
	lsc_listener_close(host->listener);
	for (c = host->callers; c; c = c->next)
		if (c->session)
			end_session(c); /* forgets some of the others, never c itself */
	while (host->callers)
		forget(host->callers);
	free(host);
}

const char *lsc_host_address(const struct lsc_host *host)
{
	return lsc_listener_address(host->listener);
}
