/* router - the link to the router: opened again whenever it is lost, and what comes of tickets
 *
 * A ticket's id is its place in a table and how often that place was given away, so that what still
 * comes for one that is over finds nobody.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "gate.h"
#include "gate/news.h"

#define AGAIN_NS    250000000ull
#define EVERY_S     0.25 /* it tells how it stands */
#define MAX_TICKETS 65536u
#define UNSENT_MAX  (64u << 20)

struct ticket {
	struct exchange *exchange; /* NULL: free */
	uint32_t choice;
	uint64_t serial;
	uint32_t next_free;
};

struct gate_router {
	struct gate *gate;
	struct lsc_endpoint at;
	struct lsc_link *link;
	struct lsc_timer *again;
	bool open, told; /* told: people, that it is not there */
	uint64_t opened;
	struct ticket *tickets;
	uint32_t n, first_free;
	struct lsc_pack pack;
};

/* --- tickets --- */

static bool grow(struct gate_router *router)
{
	uint32_t n = router->n ? 2 * router->n : 256;
	struct ticket *tickets;

	if (router->n == MAX_TICKETS)
		return false;
	tickets = realloc(router->tickets, n * sizeof(*tickets));
	if (!tickets)
		return false;
	for (uint32_t i = router->n; i < n; i++)
		tickets[i] = (struct ticket){.next_free = i + 1};
	router->first_free = router->n;
	router->tickets = tickets;
	router->n = n;
	return true;
}

uint64_t gate_ticket_take(struct gate *gate, struct exchange *exchange, uint32_t choice)
{
	struct gate_router *router = gate->router;
	uint32_t place = router->first_free;
	struct ticket *ticket;

	if (place == router->n && !grow(router))
		return 0;
	place = router->first_free;
	ticket = &router->tickets[place];
	router->first_free = ticket->next_free;
	ticket->exchange = exchange;
	ticket->choice = choice;
	ticket->serial++;
	return ticket->serial * MAX_TICKETS + place;
}

static struct ticket *find_ticket(struct gate_router *router, uint64_t id)
{
	uint64_t place = id % MAX_TICKETS;
	struct ticket *ticket = place < router->n ? &router->tickets[place] : NULL;

	return ticket && ticket->exchange && ticket->serial == id / MAX_TICKETS ? ticket : NULL;
}

void gate_ticket_drop(struct gate *gate, uint64_t id)
{
	struct ticket *ticket = find_ticket(gate->router, id);

	if (!ticket)
		return;
	ticket->exchange = NULL;
	ticket->next_free = gate->router->first_free;
	gate->router->first_free = (uint32_t)(id % MAX_TICKETS);
}

/* --- sending --- */

bool gate_router_is_up(const struct gate *gate)
{
	return gate->router->open && gate->cluster.known;
}

int gate_router_send(struct gate *gate, const struct lsc_pack *pack)
{
	struct gate_router *router = gate->router;

	if (!router->open || lsc_link_queued(router->link) > UNSENT_MAX)
		return -EPIPE;
	return lsc_link_send(router->link, pack, NULL, 0, NULL);
}

void gate_router_cancel(struct gate *gate, uint64_t id)
{
	struct gate_router *router = gate->router;

	if (!router->open)
		return;
	lsc_pack_begin(&router->pack, "cancel");
	lsc_pack_uint(&router->pack, "id", id);
	if (lsc_pack_end(&router->pack) == 0)
		lsc_link_send(router->link, &router->pack, NULL, 0, NULL);
}

/* --- what comes --- */

static void on_open(void *data, struct lsc_link *link)
{
	struct gate_router *router = data;

	router->open = true;
	router->told = false;
	router->gate->meter.reconnects += router->opened++ > 0;
	lsc_pack_begin(&router->pack, "watch");
	lsc_pack_real(&router->pack, "every", EVERY_S);
	if (lsc_pack_end(&router->pack) == 0)
		lsc_link_send(link, &router->pack, NULL, 0, NULL);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct gate_router *router = data;
	struct gate *gate = router->gate;
	struct ticket *ticket;
	uint64_t id;

	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (lsc_news_id(record, &id) > 0) {
		ticket = find_ticket(router, id);
		return ticket ? exchange_on_record(ticket->exchange, ticket->choice, record, err)
			      : 0;
	}
	if (lsc_record_is(record, "status"))
		return lsc_cluster_status(&gate->cluster, record, err);
	if (!lsc_record_is(record, "model"))
		return 0;
	if (lsc_cluster_model(&gate->cluster, record, err) < 0)
		return -err->code;
	gate->meter.up = true;
	lsc_notice("the router at %s serves %s", gate->opt->router, gate->cluster.name);
	return 0;
}

/* What was under way there is lost. */
static void fail_all(struct gate_router *router)
{
	struct lsc_fault fault;

	lsc_fault_set(&fault, 503, NULL, "router_lost", "the router went away");
	fault.retry_s = 1;
	for (uint32_t i = 0; i < router->n; i++)
		if (router->tickets[i].exchange)
			exchange_fail(router->tickets[i].exchange, &fault);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct gate_router *router = data;

	if (router->open || !router->told)
		lsc_warning("router: %s; trying again",
			    err->code ? err->text : "closed the connection");
	router->told = true;
	router->open = router->gate->meter.up = false;
	lsc_link_close(link);
	router->link = NULL;
	lsc_cluster_release(&router->gate->cluster);
	fail_all(router);
	lsc_timer_arm(router->again, AGAIN_NS);
}

static const struct lsc_link_events link_events = {
	.on_open = on_open, .on_record = on_record, .on_close = on_close};

/* --- life --- */

static void on_again(void *data)
{
	struct gate_router *router = data;
	const struct gate *gate = router->gate;
	const struct lsc_link_options options = {.kind = "requests", .key = gate->opt->access.key};
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_link_connect(&router->link, gate->loop, &router->at, &options, &link_events, router,
			     &err) == 0)
		return;
	lsc_error("%s", err.text);
	lsc_timer_arm(router->again, AGAIN_NS);
}

int gate_router_start(struct gate *gate, struct lsc_err *err)
{
	struct gate_router *router = calloc(1, sizeof(*router));
	int r;

	if (!router)
		return lsc_err_set(err, ENOMEM, "no memory for a link");
	gate->router = router;
	router->gate = gate;
	if ((r = lsc_endpoint_parse(&router->at, gate->opt->router, err)) < 0 ||
	    (r = lsc_access_check(&gate->opt->access, &router->at, err)) < 0 ||
	    (r = lsc_timer_new(gate->loop, on_again, router, &router->again, err)) < 0)
		return r;
	if (router->at.kind != LSC_ENDPOINT_UNIX && router->at.kind != LSC_ENDPOINT_TCP)
		return lsc_err_set(err, EINVAL,
				   "'%s' is no router's address: want unix:PATH or "
				   "HOST:PORT",
				   gate->opt->router);
	lsc_timer_arm(router->again, 0);
	return 0;
}

void gate_router_stop(struct gate *gate)
{
	struct gate_router *router = gate->router;

	if (!router)
		return;
	lsc_timer_free(router->again);
	lsc_link_close(router->link);
	lsc_pack_release(&router->pack);
	free(router->tickets);
	free(router);
	gate->router = NULL;
}
