/* lsc-gate - the OpenAI API over HTTP, for a router that listens
 *
 * gate/http.c and its parts know HTTP, gate/router.c the router, and gate/exchange.c what is
 * between; what a request means and an answer looks like is in lib/gate.  Here are the options and
 * how it begins and ends.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "gate/door.h"
#include "gate/gate.h"

#define COMFORT_NS 5000000000ull
#define LINGER_NS  200000000ull

enum {
	KEY_ROUTER = 0x1000,
	KEY_API_KEYS,
	KEY_CORS,
	KEY_MODEL,
	KEY_BODY,
	KEY_HEADERS,
	KEY_CONNECTIONS,
	KEY_QUEUE,
	KEY_TIMEOUT,
};

static const struct argp_option table[] = {
	{"api-key-file", KEY_API_KEYS, "FILE", 0, "Answer those who have a key of FILE alone", 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "Connections at once (default 1024)", 0},
	{"cors", KEY_CORS, "ORIGIN", 0, "Let pages of ORIGIN, or *, see answers", 0},
	LSC_ACCESS_ROWS,
	{"max-body", KEY_BODY, "SIZE", 0, "Of a request, at most (default 1M)", 0},
	{"max-headers", KEY_HEADERS, "SIZE", 0, "Of a request, at most (default 32K)", 0},
	{"model", KEY_MODEL, "NAME", 0, "Name the model so (default: as the router does)", 0},
	{"queue", KEY_QUEUE, "N", 0, "Answers that may wait for a token (default 1024)", 0},
	{"ready-fd", 'R', "N", 0, "Write the address to descriptor N once listening", 0},
	{"router", KEY_ROUTER, "ADDRESS", 0, "The router: unix:PATH or HOST:PORT", 0},
	{"timeout", KEY_TIMEOUT, "TIME", 0, "For a client to send or to read (default 60s)", 0},
	{0},
};

static void add_origin(struct argp_state *state, struct gate_options *opt, const char *origin)
{
	if (opt->n_origins == GATE_MAX_ORIGINS)
		argp_failure(state, LSC_EXIT_USAGE, 0, "more than %d times --cors",
			     GATE_MAX_ORIGINS);
	else if (strcmp(origin, "*") && !strstr(origin, "://"))
		argp_failure(state, LSC_EXIT_USAGE, 0,
			     "--cors wants *, or an origin such as https://example.org");
	else
		opt->origins[opt->n_origins++] = origin;
}

/* Numbers with bounds; false: it is none of them. */
static bool parse_number(int key, const char *arg, struct argp_state *state,
			 struct gate_options *opt)
{
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t fd = 0;

	switch (key) {
	case KEY_BODY:
		lsc_tool_check(state, lsc_parse_size(arg, &opt->max_body, &err), &err);
		if (opt->max_body == 0 || opt->max_body > GATE_MAX_BODY)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--max-body wants 1 to 1M");
		return true;
	case KEY_HEADERS:
		lsc_tool_check(state, lsc_parse_size(arg, &opt->max_headers, &err), &err);
		if (opt->max_headers < 4096 || opt->max_headers > 1 << 20)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--max-headers wants 4K to 1M");
		return true;
	case KEY_CONNECTIONS:
		lsc_tool_check(state, lsc_parse_uint(arg, 1, 1 << 20, &opt->connections, &err),
			       &err);
		return true;
	case KEY_QUEUE:
		lsc_tool_check(state, lsc_parse_uint(arg, 1, 1 << 20, &opt->queue, &err), &err);
		return true;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &fd, &err), &err);
		opt->ready_fd = (int)fd;
		return true;
	case KEY_TIMEOUT:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->timeout_s, &err), &err);
		return true;
	default:
		return false;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct gate_options *opt = state->input;

	switch (key) {
	case KEY_ROUTER:
		opt->router = arg;
		return 0;
	case KEY_API_KEYS:
		opt->api_key_file = arg;
		return 0;
	case KEY_CORS:
		add_origin(state, opt, arg);
		return 0;
	case KEY_MODEL:
		opt->model = arg;
		return 0;
	case LSC_KEY_INSECURE:
		opt->insecure = true;
		return 0;
	case ARGP_KEY_ARG:
		if (opt->listen)
			return ARGP_ERR_UNKNOWN;
		opt->listen = arg;
		return 0;
	case ARGP_KEY_END:
		if (!opt->listen || !opt->router)
			argp_failure(state, LSC_EXIT_USAGE, 0, "want ADDRESS and --router");
		return 0;
	default:
		if (parse_number(key, arg, state, opt))
			return 0;
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

const char *gate_model(const struct gate *gate)
{
	return gate->opt->model ? gate->opt->model : gate->cluster.name;
}

/* --- the end --- */

void gate_idle(struct gate *gate)
{
	if (gate->draining)
		lsc_timer_arm(gate->linger, LINGER_NS);
}

static void on_linger(void *data)
{
	struct gate *gate = data;

	if (gate->draining && !gate->exchanges)
		lsc_loop_stop(gate->loop, 0);
}

/* The first signal lets those who are being answered have their answers; a second one does not. */
static void on_signal(void *data, int number)
{
	struct gate *gate = data;

	if (gate->draining) {
		lsc_loop_stop(gate->loop, 0);
		return;
	}
	lsc_info("ends by signal %d, once what is being answered is", number);
	gate->draining = true;
	if (!gate->exchanges)
		gate_idle(gate);
}

/* --- the beginning --- */

/* Where clients of other machines come in, they need keys, or somebody has to say that they do
 * not. */
static int check_door(const struct gate *gate, struct lsc_err *err)
{
	const struct gate_options *opt = gate->opt;
	struct lsc_endpoint at;
	int r = gate_door_parse(opt->listen, &at, err);

	if (r < 0 || lsc_access_is_local(&at) || gate->keys.n || opt->insecure)
		return r;
	return lsc_err_set(err, EINVAL,
			   "'%s' is not on this machine: give --api-key-file, or --insecure",
			   opt->listen);
}

static void on_comfort(void *data)
{
	struct gate *gate = data;

	exchange_comfort(gate);
	lsc_timer_arm(gate->comfort, COMFORT_NS);
}

static int start(struct gate *gate, struct lsc_err *err)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	int r;

	if ((r = gate_http_check(err)) < 0 ||
	    (r = gate_keys_read(&gate->keys, gate->opt->api_key_file, err)) < 0 ||
	    (r = check_door(gate, err)) < 0 || (r = lsc_loop_new(&gate->loop, err)) < 0 ||
	    (r = lsc_loop_signals(gate->loop, signals, LSC_ARRAY_SIZE(signals), on_signal, gate,
				  err)) < 0 ||
	    (r = lsc_timer_new(gate->loop, on_comfort, gate, &gate->comfort, err)) < 0 ||
	    (r = lsc_timer_new(gate->loop, on_linger, gate, &gate->linger, err)) < 0 ||
	    (r = gate_router_start(gate, err)) < 0)
		return r;
	lsc_timer_arm(gate->comfort, COMFORT_NS);
	return gate_http_start(gate, err);
}

static int run(struct gate *gate, struct lsc_err *err)
{
	int r = start(gate, err);

	if (r < 0)
		return r;
	lsc_info("answering at http://%s/", gate_http_address(gate));
	if (!gate->keys.n)
		lsc_serve_warn(gate_http_address(gate), "have requests answered, without a key");
	r = lsc_serve_ready(gate->opt->ready_fd, gate_http_address(gate), err);
	return r < 0 ? r : lsc_loop_run(gate->loop, err);
}

static void release(struct gate *gate)
{
	gate_http_stop(gate);
	gate_router_stop(gate);
	lsc_timer_free(gate->comfort);
	lsc_timer_free(gate->linger);
	lsc_loop_free(gate->loop);
	lsc_cluster_release(&gate->cluster);
	gate_keys_erase(&gate->keys);
}

/* --insecure is about clients; about the router it says something where there is no key for it. */
static int open_access(struct gate_options *opt, struct lsc_err *err)
{
	const char *path = getenv("LSC_KEY_FILE");

	opt->access.insecure = opt->insecure && !opt->access.key_file && !(path && *path);
	return lsc_access_open(&opt->access, err);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		table,     parse,
		"ADDRESS", "Answer the OpenAI API over HTTP, with what a router answers.",
		NULL,      NULL,
		NULL};
	struct gate_options opt = {.max_body = GATE_MAX_BODY,
				   .max_headers = 32 << 10,
				   .connections = 1024,
				   .queue = 1024,
				   .timeout_s = 60,
				   .ready_fd = -1};
	struct gate gate = {.opt = &opt};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	gate.started_s = (uint64_t)lsc_clock_wall_s();
	r = open_access(&opt, &err);
	if (r == 0)
		r = run(&gate, &err);
	release(&gate);
	lsc_access_close(&opt.access);
	return lsc_tool_finish(r, &err);
}
