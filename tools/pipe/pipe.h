/* What the parts of lsc-pipe share: streams in and out around one router. */
#ifndef LSC_TOOLS_PIPE_PIPE_H
#define LSC_TOOLS_PIPE_PIPE_H

#include <jansson.h>

#include "model/image.h"
#include "model/tokenizer.h"
#include "net/access.h"
#include "net/loop.h"
#include "route/intake.h"
#include "route/query.h"
#include "route/router.h"
#include "stream/record.h"

struct options {
	const char *image;
	const char *arrivals;
	enum lsc_cover_sources sources;
	enum lsc_switching switching;
	double timeout_s;
	double stage_s; /* 0: by the timeout */
	bool text;
	bool whole;
	const char *listen; /* NULL: requests come from standard input */
	uint64_t queue, keep;
	int ready_fd;
	struct lsc_access access;
};

/* Since the beginning. */
struct pipe_totals {
	uint64_t requests, failed, cancelled;
	uint64_t prompt_tokens, cached_tokens, tokens;
	uint64_t routes, switches;
};

struct client; /* a connection */

/* An answer of a client, among its others. */
struct client_place {
	struct client *client; /* NULL: of standard input */
	struct client_place *next, **previous;
	struct lsc_router_request *request;
	json_t *id;
};

struct pipe {
	const struct options *opt;
	struct lsc_image image;
	struct lsc_tokenizer *tokenizer;
	struct lsc_loop *loop;
	struct lsc_router router;
	bool routing;
	int arrivals_fd;
	bool greeted; /* the arrivals' hello came */
	struct lsc_reader arrivals;
	struct lsc_timer *poll; /* of a plain file */
	struct lsc_timer *read_on;
	struct lsc_watch *arrivals_watch, *input_watch;
	struct lsc_intake input;
	bool input_is_file;
	bool input_at_end; /* nothing more comes in */
	bool input_ended;  /* and all of it was taken */
	uint32_t pending;  /* requests */
	int status;        /* LSC_EXIT_NO: some request failed */
	int broken;        /* errno of standard output */
	struct lsc_listener *listener;
	struct client *clients;
	struct pipe_totals totals;
	struct lsc_pack pack;             /* what is being sent to a client */
	struct lsc_router_request *probe; /* finds out what way a request would take, */
	uint64_t probe_stamp;             /* with nodes such as these */
};

/* --- answer.c --- */

extern const struct lsc_router_events pipe_answer_events;

/* Gives a request somebody to answer to; takes the query's stop strings over. */
int pipe_answer_begin(struct pipe *pipe, struct client *client, struct lsc_router_request *request,
		      json_t *id, struct lsc_query *query, struct lsc_err *err);

/* There is no answer; code: of the record. */
void pipe_answer_refuse(struct pipe *pipe, struct client *client, json_t *id, const char *code,
			const char *why);

/* The code for what is wrong with a request. */
const char *pipe_answer_code(const struct lsc_err *err);

/* --- client.c --- */

int pipe_listen(struct pipe *pipe, struct lsc_err *err);

/* Before the router ends. */
void pipe_listen_end(struct pipe *pipe);

void pipe_client_enter(struct client *client, struct client_place *place);
void pipe_client_leave(struct client_place *place);

/* Sends pipe->pack, which holds a record; no client: it is not sent. */
void pipe_client_send(struct client *client);

/* Sends a line of answers as a record. */
void pipe_client_put(struct client *client, const json_t *line);

/* Begins a record in pipe->pack with id and time. */
void pipe_client_begin(struct client *client, const char *type, const json_t *id);

/* --- status.c --- */

/* Fill pipe->pack. */
void pipe_pack_model(struct pipe *pipe);
void pipe_pack_status(struct pipe *pipe);

/* Requests that have no route. */
uint32_t pipe_count_waiting(const struct pipe *pipe);

/* --- lsc-pipe.c --- */

/* A request is over: there is room for another. */
void pipe_request_done(struct pipe *pipe);

/* A request's JSON, from a client or (NULL) from standard input. */
void pipe_take_request(struct pipe *pipe, struct client *client, const char *text, size_t len);

#endif
