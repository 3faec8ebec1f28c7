/* lsc-top - a gate's nodes and requests in a table that changes as they do
 *
 * What is shown, and how it is laid out, is lib/gate/board.h; the gate is asked by top/door.c and
 * the terminal drawn on by top/screen.c.  Which gate it is, if nobody says so, `lsc up` has written
 * down.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "gate/board.h"
#include "top/top.h"

#define LOOK_S 0.05 /* between looks of --wait */

struct options {
	const char *gate, *key_file, *state;
	double interval_s, timeout_s;
	bool once, json, wait;
};

enum { KEY_API_KEYS = 0x100, KEY_INTERVAL, KEY_JSON, KEY_ONCE, KEY_STATE, KEY_TIMEOUT, KEY_WAIT };

static const struct argp_option table[] = {
	{"api-key-file", KEY_API_KEYS, "FILE", 0, "Ask with the first key in FILE", 0},
	{"interval", KEY_INTERVAL, "TIME", 0, "Ask again after so long (default 1s)", 0},
	{"json", KEY_JSON, NULL, 0, "Print an object a line, and draw nothing", 0},
	{"once", KEY_ONCE, NULL, 0, "Print how it stands now, and end", 0},
	{"state", KEY_STATE, "DIR", 0, "Where 'lsc up' keeps what runs (see lsc-up)", 0},
	{"timeout", KEY_TIMEOUT, "TIME", 0, "Wait no longer (default: for ever)", 0},
	{"wait", KEY_WAIT, NULL, 0, "Print nothing, and end once requests have a route", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case KEY_API_KEYS:
		opt->key_file = arg;
		return 0;
	case KEY_INTERVAL:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->interval_s, &err), &err);
		if (opt->interval_s < 0.1 || opt->interval_s > 3600)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--interval wants 100ms to an hour");
		return 0;
	case KEY_JSON:
		opt->json = true;
		return 0;
	case KEY_ONCE:
		opt->once = true;
		return 0;
	case KEY_STATE:
		opt->state = arg;
		return 0;
	case KEY_TIMEOUT:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->timeout_s, &err), &err);
		return 0;
	case KEY_WAIT:
		opt->wait = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_failure(state, LSC_EXIT_USAGE, 0, "one gate at a time");
		opt->gate = arg;
		return 0;
	case ARGP_KEY_END:
		if (opt->wait && (opt->once || opt->json))
			argp_failure(state, LSC_EXIT_USAGE, 0, "--wait prints nothing");
		if (opt->timeout_s > 0 && !opt->wait)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--timeout is for --wait");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- which gate --- */

/* A line of a file of `lsc up`, or "" where there is none; NULL for want of memory. */
static char *read_state(const char *dir, const char *name, const char *file)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP_FREE char *path = NULL;

	if (asprintf(&path, "%s/%s/%s", dir, name, file) < 0)
		return path = NULL;
	if (lsc_file_read(path, 4096, &text, NULL) < 0 || !text.len)
		return strdup("");
	return strndup((char *)text.data, strcspn((char *)text.data, "\n"));
}

/* Where `lsc up` keeps what it started; NULL for want of memory.  /tmp is everybody's: what others
 * put there is not believed. */
static char *state_dir(const struct options *opt, bool *ret_shared)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *own = getenv("LSC_STATE_DIR");
	char *dir = NULL;
	int n;

	*ret_shared = !opt->state && !(own && *own) && !(runtime && *runtime);
	if (opt->state || (own && *own))
		return strdup(opt->state ? opt->state : own);
	if (runtime && *runtime)
		n = asprintf(&dir, "%s/lsc", runtime);
	else
		n = asprintf(&dir, "/tmp/lsc-%u", (unsigned)getuid());
	return n < 0 ? NULL : dir;
}

static int find_gate(const struct options *opt, struct top_door *door, char **ret_keys,
		     struct lsc_err *err)
{
	const char *name = opt->gate ? opt->gate : "default";
	LSC_CLEANUP_FREE char *dir = NULL, *url = NULL;
	bool shared;
	struct stat st;

	if (opt->gate && strchr(opt->gate, ':'))
		return top_door_parse(door, opt->gate, err);
	dir = state_dir(opt, &shared);
	if (dir && shared && lstat(dir, &st) == 0 &&
	    (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
		return lsc_err_set(err, EPERM, "'%s' is not ours", dir);
	url = dir ? read_state(dir, name, "url") : NULL;
	*ret_keys = dir ? read_state(dir, name, "api-key-file") : NULL;
	if (!url || !*ret_keys)
		return lsc_err_set(err, ENOMEM, "no memory");
	if (!*url)
		return lsc_err_set(err, EHOSTUNREACH,
				   "'%s' is not up: there is no '%s/%s/url'; name a gate by "
				   "http://HOST:PORT",
				   name, dir, name);
	return top_door_parse(door, url, err);
}

/* --- asking --- */

/* What there is to draw; negative errno, with words, where the gate does not tell. */
static int ask(const struct top_door *door, struct lsc_board *board, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf cluster = LSC_BUF_INIT, metrics = LSC_BUF_INIT;
	int r = top_door_get(door, "/cluster", &cluster, err);

	if (r == 401)
		return lsc_err_set(err, EACCES, "%s wants a key: give --api-key-file", door->where);
	if (r == 200)
		r = top_door_get(door, "/metrics", &metrics, err);
	if (r < 0)
		return r;
	if (r != 200)
		return lsc_err_set(err, EPROTO, "%s answers with status %d: no lsc-gate",
				   door->where, r);
	r = lsc_board_take(board, (char *)cluster.data, cluster.len,
			   metrics.len ? (char *)metrics.data : "", (double)lsc_clock_ns() / 1e9,
			   err);
	if (r < 0)
		lsc_err_prefix(err, "%s/cluster: ", door->where);
	return r;
}

static int wait_for_route(const struct options *opt, const struct top_door *door,
			  struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf body = LSC_BUF_INIT;
	uint64_t start = lsc_clock_ns();

	for (;;) {
		int r = top_door_get(door, "/health", &body, err);

		if (r == 200)
			return 0;
		if (top_signals_end())
			return 128 + top_signals_end();
		if (r > 0)
			lsc_err_set(err, ETIMEDOUT, "%s: %.200s", door->where,
				    body.len ? (char *)body.data : "");
		if (opt->timeout_s > 0 && (double)(lsc_clock_ns() - start) / 1e9 > opt->timeout_s) {
			err->text[strcspn(err->text, "\n")] = 0;
			return -ETIMEDOUT;
		}
		top_screen_wait(LOOK_S);
	}
}

/* --- showing --- */

/* The table, and above it in words what is wrong, if anything is. */
static void draw(const struct lsc_board *board, const struct top_door *door,
		 const struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	unsigned columns, lines;

	top_screen_size(&columns, &lines);
	if (err->text[0]) {
		lsc_buf_printf(&text, "%.*s\n", (int)columns, err->text);
		if (board->at_s > 0)
			lsc_buf_printf(&text, "%.*s\n", (int)columns, "trying again; last seen:");
		else
			lsc_buf_printf(&text, "%.*s\n", (int)columns, "trying again");
		lines -= lines > 2 ? 2 : 0;
	}
	if (board->at_s > 0)
		lsc_board_draw(board, door->where, columns, lines, &text);
	top_screen_draw(&text);
}

/* One update on standard output, which is no terminal or not to be drawn on. */
static int print(const struct options *opt, const struct lsc_board *board,
		 const struct top_door *door, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	unsigned columns = 512, lines;
	int r;

	if (opt->once && isatty(STDOUT_FILENO))
		top_screen_size(&columns, &lines);
	else if (opt->once)
		columns = 100;
	if (opt->json)
		r = lsc_board_json(board, &text);
	else if (opt->once)
		r = lsc_board_draw(board, door->where, columns, UINT32_MAX, &text);
	else
		r = lsc_board_line(board, &text);
	if (r == 0 && (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout)))
		r = errno ? -errno : -EIO;
	return r < 0 ? lsc_err_set(err, -r, "cannot write: %m") : 0;
}

/* As long as nobody ends it.  A gate that is away is told of once. */
static int show(const struct options *opt, const struct top_door *door, bool terminal,
		struct lsc_err *err)
{
	LSC_CLEANUP(lsc_board_release) struct lsc_board board = LSC_BOARD_INIT;
	bool away = false;

	while (!top_signals_end()) {
		struct lsc_err why = LSC_ERR_INIT;
		int r = ask(door, &board, &why);

		if (top_signals_end())
			break;
		if (r < 0 && opt->once) {
			*err = why;
			return r;
		}
		if (terminal)
			draw(&board, door, &why);
		else if (r == 0 && print(opt, &board, door, err) < 0)
			return -err->code;
		else if (r < 0 && !away)
			lsc_warning("%s; trying again", why.text);
		away = r < 0;
		if (opt->once || top_screen_wait(opt->interval_s))
			return 0;
	}
	return 128 + top_signals_end();
}

static int run(const struct options *opt, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *keys = NULL;
	struct top_door door = {.key = ""};
	const char *term = getenv("TERM");
	bool terminal =
		isatty(STDOUT_FILENO) && !opt->once && !opt->json && term && strcmp(term, "dumb");
	int r = find_gate(opt, &door, &keys, err);

	if (r == 0 && (opt->key_file || (keys && *keys)))
		r = top_door_key(&door, opt->key_file ? opt->key_file : keys, err);
	if (r < 0)
		return r;
	top_signals_catch();
	if (opt->wait)
		return wait_for_route(opt, &door, err);
	if (terminal && (r = top_screen_open(err)) < 0)
		return r;
	r = show(opt, &door, terminal, err);
	top_screen_close();
	return r;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		table,
		parse,
		"[NAME|http://HOST:PORT]",
		"Show a gate's nodes and requests, as they change; q ends it.",
		NULL,
		NULL,
		NULL};
	struct options opt = {.interval_s = 1};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run(&opt, &err), &err);
}
