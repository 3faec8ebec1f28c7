/* What http.c and its parts share; MHD's types stay with them. */
#ifndef LSC_TOOLS_GATE_HTTP_H
#define LSC_TOOLS_GATE_HTTP_H

#include <microhttpd.h>

#include "gate.h"

#define CALL_HEADERS 8

/* A connection, from accept to close. */
struct connection {
	struct gate *gate;
	struct connection *next, **previous;
	int fd;
	uint64_t since_ns; /* it owes us a whole request; 0: that came */
};

/* A request on it. */
struct call {
	struct gate *gate;
	struct connection *connection;
	struct MHD_Connection *mhd;
	const struct gate_page *page; /* NULL: fault says why there is none */
	struct lsc_fault fault;
	bool preflight;
	struct lsc_buf body;
	size_t came; /* of the body, kept or not */
	struct exchange *exchange;
	bool suspended, waking;
	struct call *next_wake;
	struct lsc_watch *watch; /* for the end of its client */
};

/* What can be asked for. */
struct gate_page {
	const char *path;
	bool is_post, chat;
	bool needs_key;
	/* Of a GET: the answer, from buf, with a status. */
	unsigned (*make)(struct gate *gate, struct lsc_buf *buf);
	const char *type;
};

/* --- pages.c --- */

/* method: "GET" for HEAD too.  NULL: fault says why. */
const struct gate_page *gate_page_find(const struct gate *gate, const char *method,
				       const char *path, struct lsc_fault *fault);

/* Whether a request's headers let it in; 0, or -1 with why not. */
int gate_page_admit(const struct call *call, const struct gate_page *page, bool has_body,
		    struct lsc_fault *fault);

/* The page for people, with a nonce in it for its own script and style, told in ret_policy. */
int gate_page_home(struct lsc_buf *buf, char *ret_policy, size_t size);

/* --- http_answer.c --- */

/* Each gives the call its answer. */
enum MHD_Result gate_answer_fault(struct call *call, const struct lsc_fault *fault);
enum MHD_Result gate_answer_page(struct call *call);
enum MHD_Result gate_answer_preflight(struct call *call);
enum MHD_Result gate_answer_exchange(struct call *call);

/* Until there is more to send. */
void gate_call_suspend(struct call *call);

#endif
