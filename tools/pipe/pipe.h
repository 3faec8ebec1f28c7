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
	struct lsc_access access;
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
};

/* --- answer.c --- */

extern const struct lsc_router_events pipe_answer_events;

/* Gives a request somebody to answer to; takes the query's stop strings over. */
int pipe_answer_begin(struct pipe *pipe, struct lsc_router_request *request, json_t *id,
		      struct lsc_query *query, struct lsc_err *err);

/* There is no answer. */
void pipe_answer_refuse(struct pipe *pipe, json_t *id, const char *why);

/* --- lsc-pipe.c --- */

/* A request is over: there is room for another. */
void pipe_request_done(struct pipe *pipe);

#endif
