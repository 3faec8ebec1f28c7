/* What the parts of lsc-gate share: HTTP on one side, a router on the other, exchanges between.
 *
 * An exchange is one request of a client: what it asks for (gate/wish.h), a ticket at the router
 * for each of its choices, and the answer that is being made (gate/reply.h).  One thread does it
 * all.
 */
#ifndef LSC_TOOLS_GATE_GATE_H
#define LSC_TOOLS_GATE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "gate/wish.h"
#include "gate/cluster.h"
#include "gate/meter.h"
#include "gate/reply.h"
#include "net/access.h"
#include "net/link.h"
#include "net/loop.h"

#define GATE_MAX_ORIGINS 16
#define GATE_MAX_BODY    LSC_RECORD_MAX_BYTES /* what a request makes has to fit a record */

struct gate_options {
	const char *listen;
	const char *router;
	const char *api_key_file;
	const char *model; /* its name; NULL: the router's */
	const char *origins[GATE_MAX_ORIGINS];
	unsigned n_origins;
	uint64_t max_body, max_headers, connections, queue;
	double timeout_s;
	int ready_fd;
	bool insecure; /* clients of other machines without a key */
	struct lsc_access access;
};

struct gate_keys {
	char **keys;
	uint32_t n;
};

struct gate {
	const struct gate_options *opt;
	struct lsc_loop *loop;
	struct gate_keys keys;
	struct lsc_cluster cluster;
	struct lsc_meter meter;
	struct gate_router *router;
	struct gate_http *http;
	struct exchange *exchanges;
	struct lsc_timer *comfort; /* streams in which nothing happens say so */
	struct lsc_timer *linger;  /* the last answers get out before the end */
	uint64_t started_s;
	bool draining;
};

/* The model's name, as clients use it. */
const char *gate_model(const struct gate *gate);

/* All are gone: ends if it is to. */
void gate_idle(struct gate *gate);

/* --- keys.c --- */

/* Reads the file of keys; NULL: there are none. */
int gate_keys_read(struct gate_keys *keys, const char *path, struct lsc_err *err);
void gate_keys_erase(struct gate_keys *keys);

/* header: of Authorization, or NULL. */
bool gate_keys_admit(const struct gate_keys *keys, const char *header);

/* --- router.c: the link to the router --- */

int gate_router_start(struct gate *gate, struct lsc_err *err);
void gate_router_stop(struct gate *gate);

/* Whether requests can be sent there. */
bool gate_router_is_up(const struct gate *gate);

/* A ticket for a choice of an exchange: its id, or 0 where there is none left. */
uint64_t gate_ticket_take(struct gate *gate, struct exchange *exchange, uint32_t choice);
void gate_ticket_drop(struct gate *gate, uint64_t id);

/* Sends a request, or that one is not wanted any more; -EPIPE. */
int gate_router_send(struct gate *gate, const struct lsc_pack *pack);
void gate_router_cancel(struct gate *gate, uint64_t id);

/* --- exchange.c --- */

struct exchange {
	struct gate *gate;
	struct exchange *next, **previous;
	struct lsc_wish wish;
	struct lsc_reply reply;
	struct lsc_fault fault; /* what is answered instead, while nothing else was */
	uint64_t *tickets;      /* one for each choice; 0: over */
	uint64_t *last_ns;      /* when its last token came; 0: none did */
	uint32_t n_accepted, n_open;
	uint64_t began_ns, said_ns;
	struct lsc_buf out; /* what is to be sent, from sent on */
	size_t sent;
	bool begun;  /* a stream: its first events are there */
	bool ready;  /* what is answered is decided */
	bool ended;  /* and all of it is in out */
	bool failed; /* it breaks off */
	bool left;   /* its client did */
	bool counted;

	void *http; /* http.c's */
};

/* An exchange for a request's body.  NULL: fault says why there is none. */
struct exchange *exchange_new(struct gate *gate, bool chat, const char *json, size_t len,
			      struct lsc_fault *fault);

/* Its client is gone, or has everything. */
void exchange_free(struct exchange *exchange);

/* Its client is gone: nothing more is done for it. */
void exchange_leave(struct exchange *exchange);

/* Streams in which nothing happened for long get a comment, so that nobody in between takes them
 * for dead. */
void exchange_comfort(struct gate *gate);

/* What comes of a ticket. */
int exchange_on_record(struct exchange *exchange, uint32_t choice, const struct lsc_record *record,
		       struct lsc_err *err);

/* No more comes. */
void exchange_fail(struct exchange *exchange, const struct lsc_fault *fault);

/* --- http.c --- */

int gate_http_check(struct lsc_err *err);
int gate_http_start(struct gate *gate, struct lsc_err *err);
void gate_http_stop(struct gate *gate);
const char *gate_http_address(const struct gate *gate);

/* There is more of an exchange to send. */
void gate_http_wake(struct exchange *exchange);

#endif
