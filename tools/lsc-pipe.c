/* lsc-pipe - the router: arrivals and requests in, tokens out
 *
 * What it decides is in lib/route/router.h; here are the streams: arrival records from a file or
 * pipe, requests as JSON lines on standard input, answers as JSON lines on standard output.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"
#include "cli/tool.h"
#include "route/router.h"

#define MAX_LINE (16u << 20)
#define POLL_NS  50000000ull /* of a file that grows: files cannot be watched for it */

struct options {
	const char *image;
	const char *arrivals;
	enum lsc_cover_sources sources;
	bool text;
};

enum { KEY_TEXT = 0x1000 };

static const struct argp_option table[] = {
	{"arrivals", 'a', "FILE", 0, "Read arrival records from FILE or a named pipe", 0},
	{"sources", 's', "HOW", 0,
	 "Sources assist (default), serve like others, or never take part", 0},
	{"text", KEY_TEXT, NULL, 0, "Print the answers' text alone", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const char *const names[] = {"assist", "serve", "never"};
	struct options *opt = state->input;

	switch (key) {
	case 'a':
		opt->arrivals = arg;
		return 0;
	case 's':
		for (unsigned i = 0; i < LSC_ARRAY_SIZE(names); i++) {
			if (!strcmp(arg, names[i])) {
				opt->sources = i;
				return 0;
			}
		}
		argp_failure(state, LSC_EXIT_USAGE, 0, "--sources wants assist, serve or never");
		return 0;
	case KEY_TEXT:
		opt->text = true;
		return 0;
	case ARGP_KEY_ARG:
		if (opt->image)
			return ARGP_ERR_UNKNOWN;
		opt->image = arg;
		return 0;
	case ARGP_KEY_END:
		if (!opt->image || !opt->arrivals)
			argp_failure(state, LSC_EXIT_USAGE, 0, "want IMAGE and --arrivals");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct pipe {
	const struct options *opt;
	struct lsc_image image;
	struct lsc_tokenizer *tokenizer;
	struct lsc_loop *loop;
	struct lsc_router router;
	bool routing;
	int arrivals_fd;
	struct lsc_reader arrivals;
	struct lsc_timer *poll; /* of a plain file */
	struct lsc_watch *arrivals_watch, *input_watch;
	struct lsc_buf input;
	bool input_ended;
	bool some_failed;
};

/* What a request is for us. */
struct answer {
	struct pipe *pipe;
	json_t *id;
	struct lsc_detokenizer detokenizer;
	struct lsc_buf text;
};

/* --- answers --- */

static void print_object(struct pipe *pipe, const char *type, json_t *id, json_t *more)
{
	json_t *line = json_object();
	double t = lsc_fleet_now(&pipe->router.fleet);

	json_object_set_new(line, "type", json_string(type));
	json_object_set_new(line, "t", json_real((double)(long)(t * 1e6) / 1e6));
	json_object_set(line, "id", id);
	json_object_update(line, more);
	if (!pipe->opt->text) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
	}
	json_decref(line);
	json_decref(more);
}

static void on_route(struct lsc_router_request *request)
{
	struct answer *answer = request->user;
	json_t *stages = json_array();

	for (uint32_t i = 0; i < request->cover.n; i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];

		json_array_append_new(stages,
				      json_pack("{s:i, s:s, s:i, s:i}", "node", stage->node, "name",
						request->router->fleet.nodes[stage->node]->name,
						"first", stage->first, "last", stage->last));
	}
	print_object(answer->pipe, "route", answer->id, json_pack("{s:o}", "stages", stages));
}

static void on_switch(struct lsc_router_request *request, uint32_t node)
{
	struct answer *answer = request->user;

	print_object(answer->pipe, "switch", answer->id,
		     json_pack("{s:s, s:s, s:i}", "from", "pipeline", "to", "local", "node", node));
}

static void on_token(struct lsc_router_request *request, uint32_t token)
{
	struct answer *answer = request->user;
	size_t before = answer->text.len;
	const char *text;

	lsc_detokenizer_add(&answer->detokenizer, token, &answer->text, NULL);
	text = answer->text.len ? (const char *)answer->text.data + before : "";
	if (answer->pipe->opt->text) {
		fputs(text, stdout);
		fflush(stdout);
	}
	print_object(answer->pipe, "token", answer->id,
		     json_pack("{s:I, s:I, s:s%}", "pos", (json_int_t)request->ids.n - 1, "token",
			       (json_int_t)token, "text", text, answer->text.len - before));
}

static void stop_if_done(struct pipe *pipe)
{
	if (pipe->routing && pipe->input_ended && !pipe->router.requests)
		lsc_loop_stop(pipe->loop, pipe->some_failed ? LSC_EXIT_NO : 0);
}

static void on_done(struct lsc_router_request *request, const char *reason, const char *why)
{
	struct answer *answer = request->user;
	struct pipe *pipe = answer->pipe;

	lsc_detokenizer_end(&answer->detokenizer, &answer->text);
	if (pipe->opt->text && reason)
		putchar('\n');
	if (reason)
		print_object(pipe, "done", answer->id,
			     json_pack("{s:s, s:s%, s:i, s:i}", "reason", reason, "text",
				       answer->text.len ? (char *)answer->text.data : "",
				       answer->text.len, "tokens",
				       (int)(request->ids.n - request->n_prompt), "prompt_tokens",
				       (int)request->n_prompt));
	else
		print_object(pipe, "fail", answer->id, json_pack("{s:s}", "why", why));
	pipe->some_failed |= !reason;
	json_decref(answer->id);
	lsc_buf_release(&answer->text);
	free(answer);
	stop_if_done(pipe);
}

static const struct lsc_router_events router_events = {on_route, on_switch, on_token, on_done};

/* --- requests --- */

static int read_chat(struct pipe *pipe, const json_t *messages, struct lsc_buf *prompt,
		     struct lsc_err *err)
{
	size_t n = json_array_size(messages);
	LSC_CLEANUP_FREE struct lsc_chat_message *list = calloc(n + 1, sizeof(*list));

	if (!list)
		return lsc_err_set(err, ENOMEM, "%m");
	for (size_t i = 0; i < n; i++) {
		const json_t *message = json_array_get(messages, i);

		list[i].role = json_string_value(json_object_get(message, "role"));
		list[i].content = json_string_value(json_object_get(message, "content"));
		if (!list[i].role || !list[i].content)
			return lsc_err_set(err, EBADMSG, "message %zu has no role or no content",
					   i);
	}
	return lsc_chat_render(&pipe->image.chat, list, n, prompt, err);
}

static int read_ids(struct pipe *pipe, const json_t *root, struct lsc_tokens *ids,
		    struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf chat = LSC_BUF_INIT;
	const json_t *prompt = json_object_get(root, "prompt");
	const json_t *messages = json_object_get(root, "messages");
	int r;

	if (json_is_string(prompt))
		return lsc_tokenizer_encode(pipe->tokenizer, json_string_value(prompt),
					    json_string_length(prompt), LSC_ENCODE_BOS, ids, err);
	if (!json_is_array(messages))
		return lsc_err_set(err, EBADMSG, "a request has a prompt or messages");
	r = read_chat(pipe, messages, &chat, err);
	return r < 0 ? r
		     : lsc_tokenizer_encode(pipe->tokenizer, (char *)chat.data, chat.len,
					    LSC_ENCODE_BOS | LSC_ENCODE_SPECIAL, ids, err);
}

static int read_sampling(const json_t *root, struct lsc_router_request *request,
			 struct lsc_err *err)
{
	const json_t *n = json_object_get(root, "n"), *temp = json_object_get(root, "temp");
	const json_t *top_p = json_object_get(root, "top_p");
	const json_t *seed = json_object_get(root, "seed");

	if ((n && (!json_is_integer(n) || json_integer_value(n) < 1)) ||
	    (temp && !(json_number_value(temp) >= 0 && json_is_number(temp))) ||
	    (top_p && !(json_number_value(top_p) > 0 && json_number_value(top_p) <= 1)) ||
	    (seed && !json_is_integer(seed)))
		return lsc_err_set(err, EBADMSG, "n, temp, top_p or seed is out of range");
	request->limit = n ? (uint32_t)LSC_MIN(json_integer_value(n), UINT32_MAX) : UINT32_MAX;
	request->sampling = (struct lsc_sampling){
		.temp = temp ? (float)json_number_value(temp) : 0,
		.top_p = top_p ? (float)json_number_value(top_p) : 1,
		.seed = seed ? (uint64_t)json_integer_value(seed) : 0,
	};
	return 0;
}

static int check_length(struct pipe *pipe, const struct lsc_tokens *ids, struct lsc_err *err)
{
	size_t most = LSC_MIN(pipe->image.config.context, LSC_FRAME_MAX_TOKENS);

	if (ids->n == 0 || ids->n > most)
		return lsc_err_set(err, EBADMSG, "the prompt has %zu tokens: want 1 to %zu", ids->n,
				   most);
	return 0;
}

static void take_request(struct pipe *pipe, const char *line, size_t len)
{
	json_error_t error;
	json_t *root = json_loadb(line, len, 0, &error);
	json_t *id = json_incref(json_object_get(root, "id"));
	struct lsc_router_request *request = calloc(1, sizeof(*request));
	struct answer *answer = calloc(1, sizeof(*answer));
	struct lsc_err err = LSC_ERR_INIT;
	int r = 0;

	if (!request || !answer)
		r = lsc_err_set(&err, ENOMEM, "%m");
	else if (!root)
		r = lsc_err_set(&err, EBADMSG, "a request is no JSON: %s", error.text);
	else if (!json_is_string(id) && !json_is_integer(id))
		r = lsc_err_set(&err, EBADMSG, "a request has no id");
	if (r == 0 && (r = read_sampling(root, request, &err)) == 0 &&
	    (r = read_ids(pipe, root, &request->ids, &err)) == 0)
		r = check_length(pipe, &request->ids, &err);
	json_decref(root);
	if (r < 0) {
		print_object(pipe, "fail", id, json_pack("{s:s}", "why", err.text));
		lsc_warning("%s", err.text);
		pipe->some_failed = true;
		json_decref(id);
		if (request)
			lsc_tokens_release(&request->ids);
		free(request);
		free(answer);
		return;
	}
	*answer = (struct answer){.pipe = pipe, .id = id};
	lsc_detokenizer_init(&answer->detokenizer, pipe->tokenizer);
	request->user = answer;
	lsc_router_submit(&pipe->router, request);
}

static void take_lines(struct pipe *pipe)
{
	struct lsc_buf *input = &pipe->input;
	uint8_t *end;

	while (input->len && (end = memchr(input->data, '\n', input->len))) {
		size_t len = (size_t)(end - input->data);

		if (strspn((char *)input->data, " \t\r") < len)
			take_request(pipe, (char *)input->data, len);
		lsc_buf_consume(input, len + 1);
	}
}

static void on_input(void *data, uint32_t events)
{
	struct pipe *pipe = data;
	ssize_t n = -1;

	(void)events;
	if (pipe->input.len < MAX_LINE && lsc_buf_reserve(&pipe->input, 65536) == 0)
		n = read(STDIN_FILENO, pipe->input.data + pipe->input.len, 65536);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0) {
		pipe->input.len += (size_t)n;
		take_lines(pipe);
		return;
	}
	if (pipe->input.len && lsc_buf_add(&pipe->input, "\n", 1) == 0)
		take_lines(pipe);
	pipe->input_ended = true;
	lsc_watch_remove(pipe->input_watch);
	pipe->input_watch = NULL;
	stop_if_done(pipe);
}

/* --- arrivals --- */

static void end_arrivals(struct pipe *pipe)
{
	lsc_watch_remove(pipe->arrivals_watch);
	pipe->arrivals_watch = NULL;
	lsc_fleet_end(&pipe->router.fleet);
}

static void on_arrivals(void *data, uint32_t events)
{
	struct pipe *pipe = data;
	struct lsc_err err = LSC_ERR_INIT;
	ssize_t n;
	int r;

	(void)events;
	n = lsc_reader_fill(&pipe->arrivals, &err);
	while (n > 0 && (r = lsc_reader_parse(&pipe->arrivals, &err)) != 0) {
		if (r > 0)
			r = lsc_record_is(&pipe->arrivals.record, "hello")
				    ? lsc_record_hello(&pipe->arrivals.record, "arrivals", &err)
				    : lsc_fleet_record(&pipe->router.fleet, &pipe->arrivals.record,
						       &err);
		if (r < 0) {
			lsc_error("%s", err.text);
			lsc_loop_stop(pipe->loop, lsc_tool_status(err.code));
			return;
		}
	}
	if (n == 0 && !pipe->poll)
		end_arrivals(pipe);
}

/* A plain file may still grow, until its end record. */
static void on_poll(void *data)
{
	struct pipe *pipe = data;

	on_arrivals(pipe, 0);
	if (!pipe->router.fleet.ended)
		lsc_timer_arm(pipe->poll, POLL_NS);
}

static int open_arrivals(struct pipe *pipe, struct lsc_err *err)
{
	const char *path = pipe->opt->arrivals;
	struct stat st;

	pipe->arrivals_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pipe->arrivals_fd < 0 || fstat(pipe->arrivals_fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	lsc_reader_init(&pipe->arrivals, pipe->arrivals_fd);
	if (!S_ISREG(st.st_mode)) {
		fcntl(pipe->arrivals_fd, F_SETFL, O_RDONLY | O_NONBLOCK);
		return lsc_loop_watch(pipe->loop, pipe->arrivals_fd, EPOLLIN, on_arrivals, pipe,
				      &pipe->arrivals_watch, err);
	}
	if (lsc_timer_new(pipe->loop, on_poll, pipe, &pipe->poll, err) < 0)
		return -ENOMEM;
	lsc_timer_arm(pipe->poll, 0);
	return 0;
}

static int open_input(struct pipe *pipe, struct lsc_err *err)
{
	struct stat st;

	if (fstat(STDIN_FILENO, &st) < 0)
		return lsc_err_set(err, errno, "cannot read standard input: %m");
	if (!S_ISREG(st.st_mode))
		return lsc_loop_watch(pipe->loop, STDIN_FILENO, EPOLLIN, on_input, pipe,
				      &pipe->input_watch, err);
	while (!pipe->input_ended)
		on_input(pipe, EPOLLIN);
	return 0;
}

static int run(struct pipe *pipe, struct lsc_err *err)
{
	int r;

	if ((r = lsc_image_open(&pipe->image, pipe->opt->image, err)) < 0)
		return r;
	if (!pipe->image.tokenizer)
		return lsc_err_set(err, EOPNOTSUPP, "'%s' has no tokenizer", pipe->opt->image);
	if ((r = lsc_tokenizer_open(&pipe->tokenizer, pipe->image.tokenizer,
				    pipe->image.tokenizer_len, err)) < 0 ||
	    (r = lsc_loop_new(&pipe->loop, err)) < 0 ||
	    (r = lsc_router_init(&pipe->router, &pipe->image, pipe->loop, pipe->opt->sources,
				 &router_events, err)) < 0)
		return r;
	pipe->routing = true;
	if ((r = open_arrivals(pipe, err)) < 0 || (r = open_input(pipe, err)) < 0)
		return r;
	if (pipe->input_ended && !pipe->router.requests)
		return pipe->some_failed ? LSC_EXIT_NO : 0;
	return lsc_loop_run(pipe->loop, err);
}

static void release(struct pipe *pipe)
{
	if (pipe->routing)
		lsc_router_release(&pipe->router);
	lsc_watch_remove(pipe->arrivals_watch);
	lsc_watch_remove(pipe->input_watch);
	lsc_timer_free(pipe->poll);
	lsc_reader_release(&pipe->arrivals);
	if (pipe->arrivals_fd >= 0)
		close(pipe->arrivals_fd);
	lsc_loop_free(pipe->loop);
	lsc_tokenizer_close(pipe->tokenizer);
	lsc_image_close(&pipe->image);
	lsc_buf_release(&pipe->input);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		table,   parse,
		"IMAGE", "Route requests over nodes that hold, or still receive, an image.",
		NULL,    NULL,
		NULL};
	struct options opt = {0};
	struct pipe pipe = {.opt = &opt, .arrivals_fd = -1};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = run(&pipe, &err);
	release(&pipe);
	return lsc_tool_finish(r, &err);
}
