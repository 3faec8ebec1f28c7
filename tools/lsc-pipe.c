/* lsc-pipe - the router: arrivals and requests in, tokens out
 *
 * What it decides is in lib/route/router.h, what a request is in lib/route/query.h, and what is
 * printed in pipe/answer.c; here are the streams that come in: arrival records from a file or pipe,
 * and requests on standard input.  Those that come over connections are pipe/client.c's.
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "pipe/pipe.h"

#define READ_BYTES  65536
#define MAX_PENDING 1024        /* requests at once; the others wait where they come from */
#define POLL_NS     50000000ull /* of a file that grows: files cannot be watched for it */

#define QUEUE 1024 /* of connections, by default */

enum {
	KEY_TEXT = 0x1000,
	KEY_TIMEOUT,
	KEY_QUEUE,
	KEY_STAGE,
	KEY_SWITCH,
	KEY_KEEP,
	KEY_WHOLE,
};

static const struct argp_option table[] = {
	{"arrivals", 'a', "FILE", 0, "Read arrival records from FILE or a named pipe", 0},
	LSC_ACCESS_ROWS,
	{"keep", KEY_KEEP, "N", 0,
	 "Requests that are over are kept for others that begin like them (default 32; 0: none)",
	 0},
	{"listen", 'l', "ADDRESS", 0, "Take requests from connections there", 0},
	{"no-pipelines", KEY_WHOLE, NULL, 0,
	 "Use no node before it holds all of IMAGE: load, then run", 0},
	{"queue", KEY_QUEUE, "N", 0, "How many requests may wait (default 1024)", 0},
	{"ready-fd", 'R', "N", 0, "Write the address to descriptor N once listening", 0},
	{"sources", 's', "HOW", 0,
	 "Sources assist (default), serve by themselves too, or never take part", 0},
	{"stage-timeout", KEY_STAGE, "TIME", 0,
	 "Leave a worker that is silent, or stands still, for so long (default 5s)", 0},
	{"switch", KEY_SWITCH, "HOW", 0,
	 "Requests in flight go to a node that is complete the sooner way (auto, the default), "
	 "recompute, move their keys and values, or never",
	 0},
	{"text", KEY_TEXT, NULL, 0, "Print the answers' text alone", 0},
	{"timeout", KEY_TIMEOUT, "TIME", 0,
	 "Give a request up that gets nowhere for so long (default 30s)", 0},
	{0},
};

/* The index of a word of a list, or a usage error. */
static unsigned choose(struct argp_state *state, const char *const *words, unsigned n,
		       const char *word, const char *want)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return i;
	argp_failure(state, LSC_EXIT_USAGE, 0, "%s", want);
	return 0;
}

/* Requests, arrivals and a key may all come from standard input, but not two of them. */
static void check_streams(struct argp_state *state, struct options *opt)
{
	if (opt->listen && !opt->arrivals)
		opt->arrivals = "-";
	if (!opt->image || !opt->arrivals)
		argp_failure(state, LSC_EXIT_USAGE, 0, "want IMAGE and --arrivals");
	else if (!opt->listen && !strcmp(opt->arrivals, "-"))
		argp_failure(state, LSC_EXIT_USAGE, 0,
			     "standard input has the requests: '--arrivals -' wants --listen");
	else if (opt->listen && opt->text)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--listen and --text exclude each other");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const sources[] = {"assist", "serve", "never"};
	static const char *const ways[] = {"auto", "recompute", "move", "never"};
	struct options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t fd;

	switch (key) {
	case 'a':
		opt->arrivals = arg;
		return 0;
	case 's':
		opt->sources = choose(state, sources, LSC_ARRAY_SIZE(sources), arg,
				      "--sources wants assist, serve or never");
		return 0;
	case KEY_SWITCH:
		opt->switching = choose(state, ways, LSC_ARRAY_SIZE(ways), arg,
					"--switch wants auto, recompute, move or never");
		return 0;
	case 'l':
		opt->listen = arg;
		return 0;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &fd, &err), &err);
		opt->ready_fd = (int)fd;
		return 0;
	case KEY_QUEUE:
		lsc_tool_check(state, lsc_parse_uint(arg, 1, 1 << 20, &opt->queue, &err), &err);
		return 0;
	case KEY_KEEP:
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 16, &opt->keep, &err), &err);
		return 0;
	case KEY_TEXT:
		opt->text = true;
		return 0;
	case KEY_WHOLE:
		opt->whole = true;
		return 0;
	case KEY_STAGE:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->stage_s, &err), &err);
		return 0;
	case KEY_TIMEOUT:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->timeout_s, &err), &err);
		return 0;
	case ARGP_KEY_ARG:
		if (opt->image)
			return ARGP_ERR_UNKNOWN;
		opt->image = arg;
		return 0;
	case ARGP_KEY_END:
		check_streams(state, opt);
		return 0;
	default:
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

/* --- requests --- */

static int check_length(struct pipe *pipe, const struct lsc_tokens *ids, struct lsc_err *err)
{
	if (ids->n == 0 || ids->n > pipe->image.config.context)
		return lsc_err_set(err, ids->n ? EMSGSIZE : EBADMSG,
				   "the prompt has %zu tokens: want 1 to %u", ids->n,
				   pipe->image.config.context);
	return 0;
}

static int make_ids(struct pipe *pipe, struct lsc_query *query, struct lsc_tokens *ids,
		    struct lsc_err *err)
{
	unsigned flags = LSC_ENCODE_BOS | (query->special ? LSC_ENCODE_SPECIAL : 0);

	if (!query->encoded)
		return lsc_tokenizer_encode(pipe->tokenizer, (const char *)query->text.data,
					    query->text.len, flags, ids, err);
	for (size_t i = 0; i < query->ids.n; i++)
		if (query->ids.ids[i] >= pipe->image.config.vocab)
			return lsc_err_set(err, EBADMSG,
					   "the prompt holds the id %u: want below %u",
					   query->ids.ids[i], pipe->image.config.vocab);
	*ids = query->ids;
	query->ids = (struct lsc_tokens)LSC_TOKENS_INIT;
	return 0;
}

static void stop_if_done(struct pipe *pipe)
{
	if (pipe->input_ended && !pipe->pending)
		lsc_loop_stop(pipe->loop, pipe->status);
}

void pipe_request_done(struct pipe *pipe)
{
	if (pipe->pending-- == MAX_PENDING && pipe->read_on)
		lsc_timer_arm(pipe->read_on, 0);
	stop_if_done(pipe);
}

/* A request for the router, or NULL. */
static struct lsc_router_request *make_request(struct pipe *pipe, struct client *client,
					       struct lsc_query *query, json_t *id,
					       struct lsc_err *err)
{
	struct lsc_router_request *request = calloc(1, sizeof(*request));
	int r;

	if (!request) {
		lsc_err_set(err, ENOMEM, "no memory for a request");
		return NULL;
	}
	r = make_ids(pipe, query, &request->ids, err);
	if (r == 0)
		r = check_length(pipe, &request->ids, err);
	if (r == 0)
		r = pipe_answer_begin(pipe, client, request, id, query, err);
	if (r < 0) {
		lsc_tokens_release(&request->ids);
		free(request);
		return NULL;
	}
	request->limit = query->limit;
	request->sampling = query->sampling;
	request->stop_ids = query->stop_ids;
	query->stop_ids = (struct lsc_tokens)LSC_TOKENS_INIT;
	return request;
}

/* The first that a client hears of a request. */
static void accept_request(struct pipe *pipe, struct client *client,
			   const struct lsc_router_request *request, const json_t *id)
{
	pipe->totals.requests++;
	pipe->totals.prompt_tokens += request->ids.n;
	if (!client)
		return;
	pipe_client_begin(client, "accepted", id);
	lsc_pack_uint(&pipe->pack, "prompt_tokens", request->ids.n);
	lsc_pack_end(&pipe->pack);
	pipe_client_send(client);
}

/* Of those that came a moment ago some may have a route at once. */
static bool is_full(struct pipe *pipe)
{
	if (pipe_count_waiting(pipe) < pipe->opt->queue)
		return false;
	lsc_router_turn(&pipe->router);
	return pipe_count_waiting(pipe) >= pipe->opt->queue;
}

void pipe_take_request(struct pipe *pipe, struct client *client, const char *text, size_t len)
{
	LSC_CLEANUP(lsc_query_release) struct lsc_query query = LSC_QUERY_INIT;
	struct lsc_router_request *request = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_query_parse(&query, text, len, &pipe->image.chat, &err);
	json_t *id = query.id ? json_loads(query.id, JSON_DECODE_ANY, NULL) : NULL;

	if (r > 0 && client && is_full(pipe))
		r = lsc_err_set(&err, EBUSY, "%llu requests wait already",
				(unsigned long long)pipe->opt->queue);
	if (r > 0)
		request = make_request(pipe, client, &query, id, &err);
	if (request) {
		pipe->pending++;
		accept_request(pipe, client, request, id);
		lsc_router_submit(&pipe->router, request);
	} else if (r != 0) {
		pipe_answer_refuse(pipe, client, id, pipe_answer_code(&err), err.text);
	}
	json_decref(id);
}

/* Takes what has come in, as long as there is room. */
static void take_requests(struct pipe *pipe)
{
	struct lsc_err err = LSC_ERR_INIT;
	const char *text;
	size_t len;
	int r = !pipe->input_ended;

	while (r != 0 && pipe->pending < MAX_PENDING) {
		r = lsc_intake_next(&pipe->input, pipe->input_at_end, &text, &len, &err);
		if (r > 0) {
			pipe_take_request(pipe, NULL, text, len);
		} else if (r == -EMSGSIZE) {
			pipe_answer_refuse(pipe, NULL, NULL, "too_long", err.text);
		} else if (r < 0) {
			lsc_error("standard input: %s", err.text);
			pipe->status = lsc_tool_status(err.code);
			pipe->input_at_end = pipe->input_ended = true;
			lsc_loop_stop(pipe->loop, pipe->status);
			return;
		}
	}
	if (r == 0 && pipe->input_at_end && !pipe->input_ended) {
		pipe->input_ended = true;
		stop_if_done(pipe);
	}
}

/* One read; whether more may come. */
static bool read_input(struct pipe *pipe)
{
	uint8_t *room = lsc_intake_room(&pipe->input, READ_BYTES);
	ssize_t n = room ? read(STDIN_FILENO, room, READ_BYTES) : -1;

	if (n < 0 && room && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n < 0) {
		pipe->status = lsc_tool_status(errno);
		lsc_error("cannot read standard input: %s", strerror(errno));
	}
	if (n > 0)
		lsc_intake_came(&pipe->input, (size_t)n);
	pipe->input_at_end = n <= 0;
	take_requests(pipe);
	return n > 0;
}

static void watch_input(struct pipe *pipe, bool want);

static void on_input(void *data, uint32_t events)
{
	struct pipe *pipe = data;

	(void)events;
	watch_input(pipe, read_input(pipe) && pipe->pending < MAX_PENDING);
}

static void watch_input(struct pipe *pipe, bool want)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (want == (pipe->input_watch != NULL))
		return;
	if (!want) {
		lsc_watch_remove(pipe->input_watch);
		pipe->input_watch = NULL;
	} else if (lsc_loop_watch(pipe->loop, STDIN_FILENO, EPOLLIN, on_input, pipe,
				  &pipe->input_watch, &err) < 0) {
		lsc_error("%s", err.text);
		lsc_loop_stop(pipe->loop, LSC_EXIT_SYSTEM);
	}
}

/* There is room again.  What is no pipe and no socket is read as it lies. */
static void on_read_on(void *data)
{
	struct pipe *pipe = data;

	take_requests(pipe);
	while (pipe->input_is_file && !pipe->input_at_end && pipe->pending < MAX_PENDING)
		read_input(pipe);
	watch_input(pipe,
		    !pipe->input_is_file && !pipe->input_at_end && pipe->pending < MAX_PENDING);
}

static int open_input(struct pipe *pipe, struct lsc_err *err)
{
	struct stat st;

	if (fstat(STDIN_FILENO, &st) < 0)
		return lsc_err_set(err, errno, "cannot read standard input: %m");
	pipe->input_is_file =
		!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !isatty(STDIN_FILENO);
	if (lsc_timer_new(pipe->loop, on_read_on, pipe, &pipe->read_on, err) < 0)
		return -ENOMEM;
	lsc_timer_arm(pipe->read_on, 0);
	return 0;
}

/* --- arrivals --- */

static void end_arrivals(struct pipe *pipe)
{
	if (!pipe->router.fleet.ended)
		lsc_warning("the arrivals end before the cast does");
	lsc_watch_remove(pipe->arrivals_watch);
	pipe->arrivals_watch = NULL;
	lsc_fleet_end(&pipe->router.fleet);
}

static int take_arrival(struct pipe *pipe, struct lsc_err *err)
{
	const struct lsc_record *record = &pipe->arrivals.record;

	if (pipe->greeted)
		return lsc_fleet_record(&pipe->router.fleet, record, err);
	pipe->greeted = true;
	return lsc_record_hello(record, "arrivals", err);
}

/* One read: how much came, or negative errno. */
static ssize_t read_arrivals(struct pipe *pipe, struct lsc_err *err)
{
	ssize_t n = lsc_reader_fill(&pipe->arrivals, err);
	int r;

	if (n <= 0)
		return n;
	while ((r = lsc_reader_parse(&pipe->arrivals, err)) > 0)
		if ((r = take_arrival(pipe, err)) < 0)
			break;
	return r < 0 ? r : n;
}

static void give_up(struct pipe *pipe, const struct lsc_err *err)
{
	lsc_error("'%s': %s", pipe->opt->arrivals, err->text);
	lsc_loop_stop(pipe->loop, lsc_tool_status(err->code));
}

static void on_arrivals(void *data, uint32_t events)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct pipe *pipe = data;
	ssize_t n = read_arrivals(pipe, &err);

	(void)events;
	if (n < 0 && n != -EAGAIN)
		give_up(pipe, &err);
	else if (n == 0)
		end_arrivals(pipe);
}

/* A plain file may still grow, until its end record. */
static void on_poll(void *data)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct pipe *pipe = data;
	ssize_t n;

	do
		n = read_arrivals(pipe, &err);
	while (n > 0 && !pipe->router.fleet.ended);
	if (n < 0)
		give_up(pipe, &err);
	else if (!pipe->router.fleet.ended)
		lsc_timer_arm(pipe->poll, POLL_NS);
}

static int open_arrivals(struct pipe *pipe, struct lsc_err *err)
{
	const char *path = pipe->opt->arrivals;
	struct stat st;

	if (pipe->arrivals_fd == STDIN_FILENO)
		path = "standard input";
	if (fstat(pipe->arrivals_fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	lsc_reader_init(&pipe->arrivals, pipe->arrivals_fd);
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) {
		fcntl(pipe->arrivals_fd, F_SETFL, O_RDONLY | O_NONBLOCK);
		return lsc_loop_watch(pipe->loop, pipe->arrivals_fd, EPOLLIN, on_arrivals, pipe,
				      &pipe->arrivals_watch, err);
	}
	if (lsc_timer_new(pipe->loop, on_poll, pipe, &pipe->poll, err) < 0)
		return -ENOMEM;
	lsc_timer_arm(pipe->poll, 0);
	return 0;
}

/* --- the whole --- */

/* Whoever still waits for an answer is told that none comes. */
static void on_signal(void *data, int number)
{
	struct pipe *pipe = data;

	lsc_info("ended by signal %d", number);
	lsc_loop_stop(pipe->loop, pipe->pending && !pipe->opt->listen ? LSC_EXIT_NO : pipe->status);
}

static int open_image(struct pipe *pipe, struct lsc_err *err)
{
	int r = lsc_image_open(&pipe->image, pipe->opt->image, err);

	if (r < 0)
		return r;
	if (!pipe->image.tokenizer_len)
		return lsc_err_set(err, EOPNOTSUPP, "'%s' has no tokenizer", pipe->opt->image);
	return lsc_tokenizer_open(&pipe->tokenizer, pipe->image.data, pipe->image.tokenizer_len,
				  err);
}

static int open_file(struct pipe *pipe, struct lsc_err *err)
{
	const char *path = pipe->opt->arrivals;

	pipe->arrivals_fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	return pipe->arrivals_fd < 0 ? lsc_err_set(err, errno, "cannot open '%s': %m", path) : 0;
}

/* Opening a named pipe waits for its writer, so signals are caught after that. */
static int run(struct pipe *pipe, struct lsc_err *err)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	const struct options *opt = pipe->opt;
	int r = open_image(pipe, err);

	if (r < 0)
		return r;
	if ((r = open_file(pipe, err)) < 0)
		return r;
	if ((r = lsc_loop_new(&pipe->loop, err)) < 0 ||
	    (r = lsc_loop_signals(pipe->loop, signals, LSC_ARRAY_SIZE(signals), on_signal, pipe,
				  err)) < 0 ||
	    (r = lsc_router_init(&pipe->router, &pipe->image, pipe->loop, opt->sources,
				 (uint64_t)(opt->timeout_s * 1e9), (uint64_t)(opt->stage_s * 1e9),
				 &pipe_answer_events, err)) < 0)
		return r;
	pipe->routing = true;
	pipe->router.fleet.access = &opt->access;
	pipe->router.switching = opt->switching;
	pipe->router.rests.most = (uint32_t)opt->keep;
	pipe->router.whole = opt->whole;
	if ((r = open_arrivals(pipe, err)) < 0 ||
	    (r = opt->listen ? pipe_listen(pipe, err) : open_input(pipe, err)) < 0)
		return r;
	r = lsc_loop_run(pipe->loop, err);
	return pipe->broken ? lsc_err_set(err, pipe->broken, "cannot write an answer: %m") : r;
}

static void release(struct pipe *pipe)
{
	pipe_listen_end(pipe);
	if (pipe->routing)
		lsc_router_release(&pipe->router);
	lsc_watch_remove(pipe->arrivals_watch);
	lsc_watch_remove(pipe->input_watch);
	lsc_timer_free(pipe->poll);
	lsc_timer_free(pipe->read_on);
	lsc_reader_release(&pipe->arrivals);
	if (pipe->arrivals_fd >= 0)
		close(pipe->arrivals_fd);
	lsc_loop_free(pipe->loop);
	lsc_tokenizer_close(pipe->tokenizer);
	lsc_image_close(&pipe->image);
	lsc_intake_release(&pipe->input);
	lsc_pack_release(&pipe->pack);
	free(pipe->probe);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		table,   parse,
		"IMAGE", "Route requests over nodes that hold, or still receive, an image.",
		NULL,    NULL,
		NULL};
	struct options opt = {.queue = QUEUE, .keep = LSC_RESTS_MOST, .ready_fd = -1};
	struct pipe pipe = {.opt = &opt, .arrivals_fd = -1};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = lsc_access_open(&opt.access, &err);
	if (r == 0)
		r = run(&pipe, &err);
	release(&pipe);
	lsc_access_close(&opt.access);
	return lsc_tool_finish(r, &err);
}
