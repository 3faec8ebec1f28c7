/* launch - programs that start others elsewhere
 *
 * What goes through a shell is quoted here: for the remote one with ssh, for the nodes' with srun,
 * for the local one with a command.  Hosts need no quotes (cast/names.h).
 *
 * With srun there is one program for all nodes.  It puts the number of a task before each line, and
 * a task begins with a line that names its node (on both outputs, which are not in order with each
 * other), and says when its program has ended.
 */
#include "send/launch.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/endpoint.h"
#include "base/log.h"
#include "base/macros.h"
#include "send/child.h"
#include "send/names.h"

#define END_NS      4000000000u /* to end after standard input did */
#define TERM_NS     1000000000u /* and after SIGTERM */
#define END_LOOK_NS 5000000

struct node {
	char address[LSC_NAMES_MAX_NAME + 8]; /* "": none yet */
	char why[256];                        /* "": none */
	char said[200];                       /* the last line on standard error */
	bool settled;                         /* has an address or a reason */
	bool gone;                            /* its program has ended */
};

/* A program that starts nodes. */
struct starter {
	struct lsc_launch *launch;
	uint32_t first, n;       /* its nodes */
	uint32_t n_open;         /* of these, without address and reason */
	struct lsc_child *child; /* NULL: it was not started */
	struct lsc_timer *late;
	uint32_t *nodes; /* of srun, by task; UINT32_MAX: not known yet */
	char said[200];  /* its own last line on standard error */
};

struct lsc_launch {
	struct lsc_launch_options o;
	struct lsc_loop *loop;
	struct node *nodes;
	struct starter *starters;
	uint32_t n_starters, n_started, n_starting;
	struct lsc_timer *next; /* starts some more, or says that all is done */
	bool done;
};

const char *lsc_launch_address(const struct lsc_launch *l, uint32_t node)
{
	const struct node *n = &l->nodes[node];

	return n->address[0] ? n->address : NULL;
}

const char *lsc_launch_why(const struct lsc_launch *l, uint32_t node)
{
	return l->nodes[node].why;
}

/* --- the command --- */

/* Appends text in single quotes; {} becomes host, which may be a shell's word of its own, and {any}
 * the address that stands for all. */
static int add_quoted(struct lsc_buf *buf, const char *text, const char *host, bool v6)
{
	int r = lsc_buf_add_str(buf, "'");

	while (r == 0 && *text) {
		if (*text == '\'') {
			r = lsc_buf_add_str(buf, "'\\''");
			text++;
		} else if (!strncmp(text, "{}", 2)) {
			r = lsc_buf_printf(buf, "'%s'", host);
			text += 2;
		} else if (!strncmp(text, "{any}", 5)) {
			r = lsc_buf_add_str(buf, v6 ? "[::]" : "0.0.0.0");
			text += 5;
		} else {
			r = lsc_buf_add(buf, text++, 1);
		}
	}
	return r ? r : lsc_buf_add_str(buf, "'");
}

/* The program and its arguments, for a shell. */
static int add_program(const struct lsc_launch *l, struct lsc_buf *buf, const char *host, bool v6)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->o.n_argv; i++) {
		r = i ? lsc_buf_add_str(buf, " ") : 0;
		if (r == 0)
			r = add_quoted(buf, l->o.argv[i], host, v6);
	}
	return r;
}

/* A command for sh, {} in it being the host, and behind it the program. */
static int add_command(const struct lsc_launch *l, struct lsc_buf *buf, const char *host, bool v6)
{
	int r = 0;

	for (const char *at = l->o.how; r == 0 && *at; at++) {
		if (at[0] == '{' && at[1] == '}')
			r = lsc_buf_add_str(buf, host), at++;
		else
			r = lsc_buf_add(buf, at, 1);
	}
	if (r == 0)
		r = lsc_buf_add_str(buf, " ");
	return r ? r : add_program(l, buf, host, v6);
}

static const struct lsc_child_events child_events;

static int run(struct starter *st, char *const argv[], const char *host, struct lsc_err *err)
{
	const struct lsc_launch_options *o = &st->launch->o;
	char variable[LSC_NAMES_MAX_NAME + 16];
	int r;

	snprintf(variable, sizeof(variable), "LSC_NODE=%s", host ? host : "");
	r = lsc_child_start(&st->child, st->launch->loop, argv, host ? variable : NULL,
			    &child_events, st, err);
	if (r == 0 && o->input_len) {
		r = lsc_child_write(st->child, o->input, o->input_len, err);
		if (r == -EPIPE) /* it has ended already, which says more */
			r = 0;
	}
	if (r == 0)
		lsc_timer_arm(st->late, o->timeout_ns);
	return r;
}

/* A host without brackets. */
static void plain_host(const char *host, char plain[LSC_NAMES_MAX_NAME + 1])
{
	size_t len = strlen(host);
	bool brackets = host[0] == '[';

	snprintf(plain, LSC_NAMES_MAX_NAME + 1, "%.*s", (int)(brackets ? len - 2 : len),
		 host + brackets);
}

static int run_one(struct starter *st, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf command = LSC_BUF_INIT;
	const struct lsc_launch *l = st->launch;
	const char *host = l->o.hosts[st->first];
	bool is_ssh = !strcmp(l->o.how, "ssh");
	char plain[LSC_NAMES_MAX_NAME + 1];
	int r;

	plain_host(host, plain);
	r = is_ssh ? add_program(l, &command, plain, *host == '[')
		   : add_command(l, &command, plain, *host == '[');
	if (r < 0)
		return lsc_err_set(err, -r, "cannot launch: %m");
	if (is_ssh)
		return run(st,
			   (char *[]){"ssh", "-T", "-x", "-oBatchMode=yes", "--", plain,
				      (char *)command.data, NULL},
			   plain, err);
	return run(st, (char *[]){"sh", "-c", (char *)command.data, NULL}, plain, err);
}

/* One step with a task on each node. */
static int run_srun(struct starter *st, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf script = LSC_BUF_INIT, hosts = LSC_BUF_INIT;
	const struct lsc_launch *l = st->launch;
	char nodes[32], tasks[32];
	int r = lsc_buf_add_str(&hosts, "--nodelist=");

	for (uint32_t i = 0; r == 0 && i < st->n; i++)
		r = lsc_buf_printf(&hosts, "%s%s", i ? "," : "", l->o.hosts[st->first + i]);
	if (r == 0)
		r = lsc_buf_add_str(&script,
				    "echo \"$SLURMD_NODENAME\"; echo \"$SLURMD_NODENAME\" >&2; ");
	if (r == 0)
		r = add_program(l, &script, "\"$SLURMD_NODENAME\"", false);
	if (r == 0)
		r = lsc_buf_add_str(&script, "; echo ended $? >&2");
	if (r < 0)
		return lsc_err_set(err, -r, "cannot launch: %m");
	snprintf(nodes, sizeof(nodes), "--nodes=%u", st->n);
	snprintf(tasks, sizeof(tasks), "--ntasks=%u", st->n);
	return run(st,
		   (char *[]){"srun", nodes, tasks, "--ntasks-per-node=1", "--overlap", "--label",
			      "--kill-on-bad-exit=0", "--mpi=none", "--job-name=lsc",
			      (char *)hosts.data, "sh", "-c", (char *)script.data, NULL},
		   NULL, err);
}

/* --- what came of it --- */

/* Goes on where a starter's nodes are all settled. */
static void settle(struct starter *st)
{
	struct lsc_launch *l = st->launch;

	if (st->n_open)
		return;
	lsc_timer_disarm(st->late);
	l->n_starting--;
	lsc_timer_arm(l->next, 0);
}

/* It has no address and gets none, or had one and is there no more. */
static void fail_node(struct starter *st, uint32_t node, const char *why)
{
	const struct lsc_launch_options *o = &st->launch->o;
	struct node *n = &st->launch->nodes[node];

	if (n->settled && n->address[0] && !n->gone && o->on_gone)
		o->on_gone(o->data, node, n->said[0] ? n->said : why);
	n->gone = true;
	if (n->settled)
		return;
	n->settled = true;
	snprintf(n->why, sizeof(n->why), "%s", n->said[0] ? n->said : why);
	st->n_open--;
}

/* Those that have no address yet get none; where the starter has ended, so have the others. */
static void give_up(struct starter *st, const char *why, bool ended)
{
	bool was_open = st->n_open;

	for (uint32_t i = st->first; i < st->first + st->n; i++)
		if (ended || !st->launch->nodes[i].settled)
			fail_node(st, i, why);
	if (was_open)
		settle(st);
}

/* The port, where it is an address of this host: its own, or the one that stands for all. */
static uint16_t port_of(const char *text, const char *host)
{
	struct lsc_endpoint at, own;
	char with_port[LSC_NAMES_MAX_NAME + 8];

	snprintf(with_port, sizeof(with_port), "%s:1", host);
	if (lsc_endpoint_parse(&at, text, NULL) < 0 || at.kind != LSC_ENDPOINT_TCP)
		return 0;
	if (strcmp(at.name, "0.0.0.0") && strcmp(at.name, "::") &&
	    (lsc_endpoint_parse(&own, with_port, NULL) < 0 || strcmp(at.name, own.name)))
		return 0;
	return at.port;
}

/* "0.0.0.0:40123", or several; login scripts may say other things. */
static void take_address(struct starter *st, uint32_t node, const char *text)
{
	const char *host = st->launch->o.hosts[node];
	struct node *n = &st->launch->nodes[node];
	char words[512], *word, *rest = words;
	uint16_t port = 0, first = 0;

	if (n->settled || strlen(text) >= sizeof(words))
		return;
	strcpy(words, text);
	while ((word = strsep(&rest, " "))) {
		port = port_of(word, host);
		if (!port)
			return;
		first = first ? first : port;
	}
	snprintf(n->address, sizeof(n->address), "%s:%u", host, first);
	n->settled = true;
	lsc_info("%s: launched, at %s", host, n->address);
	st->n_open--;
	settle(st);
}

/* A line of srun: the task it is of, and what follows; UINT32_MAX where it is its own. */
static uint32_t task_of(const struct starter *st, const char *line, const char **ret_text)
{
	char *end;
	unsigned long task = strtoul(line, &end, 10);

	if (end == line || strncmp(end, ": ", 2) || task >= st->n)
		return UINT32_MAX;
	*ret_text = end + 2;
	return (uint32_t)task;
}

/* Whether the line names the task's node. */
static bool take_name(struct starter *st, uint32_t task, const char *name)
{
	for (uint32_t i = st->first; i < st->first + st->n; i++) {
		if (strcmp(st->launch->o.hosts[i], name))
			continue;
		st->nodes[task] = i;
		return true;
	}
	return false;
}

static void on_out(void *data, char *line)
{
	struct starter *st = data;
	const char *text = line;
	uint32_t task, node = st->first;

	if (st->nodes) {
		task = task_of(st, line, &text);
		if (task == UINT32_MAX || take_name(st, task, text) ||
		    st->nodes[task] == UINT32_MAX)
			return;
		node = st->nodes[task];
	}
	take_address(st, node, text);
}

static void take_end(struct starter *st, uint32_t node, const char *status)
{
	bool was_open = !st->launch->nodes[node].settled;
	char why[64];

	snprintf(why, sizeof(why), "ended with status %.8s", status);
	fail_node(st, node, why);
	if (was_open)
		settle(st);
}

static void on_err(void *data, char *line)
{
	struct starter *st = data;
	const struct lsc_launch *l = st->launch;
	const char *text = line, *who = st->nodes ? l->o.how : l->o.hosts[st->first];
	char *said = st->said;
	size_t len = strlen(line);
	uint32_t task;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		line[--len] = 0;
	if (!len)
		return;
	task = st->nodes ? task_of(st, line, &text) : UINT32_MAX;
	if (task != UINT32_MAX && take_name(st, task, text))
		return;
	if (task != UINT32_MAX && st->nodes[task] != UINT32_MAX) {
		if (!strncmp(text, "ended ", 6)) { /* behind all that it said */
			take_end(st, st->nodes[task], text + 6);
			return;
		}
		said = l->nodes[st->nodes[task]].said;
		who = l->o.hosts[st->nodes[task]];
	}
	snprintf(said, sizeof(st->said), "%s", text);
	lsc_info("%s: %s", who, text);
}

/* It ended.  What it said last may be why. */
static void on_end(void *data, int status)
{
	struct starter *st = data;
	char why[256];

	if (st->said[0])
		snprintf(why, sizeof(why), "%s", st->said);
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "ended by signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "ended with status %d", WEXITSTATUS(status));
	give_up(st, why, true);
}

static const struct lsc_child_events child_events = {on_out, on_err, on_end};

static void on_late(void *data)
{
	struct starter *st = data;
	char why[256];

	snprintf(why, sizeof(why), "did not start within %.0f s%s%s",
		 (double)st->launch->o.timeout_ns / 1e9, st->said[0] ? ": " : "", st->said);
	if (st->n == 1 && st->child)
		lsc_child_signal(st->child, SIGTERM);
	give_up(st, why, false);
}

static void on_next(void *data)
{
	struct lsc_launch *l = data;

	while (l->n_started < l->n_starters && l->n_starting < LSC_LAUNCH_AT_ONCE) {
		struct starter *st = &l->starters[l->n_started++];
		struct lsc_err err = LSC_ERR_INIT;

		l->n_starting++;
		if ((strcmp(l->o.how, "srun") ? run_one(st, &err) : run_srun(st, &err)) < 0)
			give_up(st, err.text, true);
	}
	if (l->n_starting || l->done)
		return;
	l->done = true;
	l->o.on_done(l->o.data);
}

/* --- life --- */

int lsc_launch_start(struct lsc_launch **ret_launch, struct lsc_loop *loop,
		     const struct lsc_launch_options *options, struct lsc_err *err)
{
	struct lsc_launch *l = calloc(1, sizeof(*l));
	bool is_srun = !strcmp(options->how, "srun");
	uint32_t n = is_srun ? 1 : options->n;
	int r = 0;

	if (!l)
		return lsc_err_set(err, ENOMEM, "cannot launch: %m");
	*l = (struct lsc_launch){.o = *options, .loop = loop};
	l->nodes = calloc(options->n, sizeof(l->nodes[0]));
	l->starters = calloc(n, sizeof(l->starters[0]));
	if (!l->nodes || !l->starters)
		r = lsc_err_set(err, ENOMEM, "cannot launch: %m");
	for (; r == 0 && l->n_starters < n; l->n_starters++) {
		struct starter *st = &l->starters[l->n_starters];

		*st = (struct starter){.launch = l};
		st->first = l->n_starters;
		st->n = st->n_open = is_srun ? options->n : 1;
		if (is_srun)
			st->nodes = malloc(st->n * sizeof(st->nodes[0]));
		if (is_srun && !st->nodes)
			r = lsc_err_set(err, ENOMEM, "cannot launch: %m");
		else if (is_srun)
			memset(st->nodes, 0xff, st->n * sizeof(st->nodes[0]));
		if (r == 0)
			r = lsc_timer_new(loop, on_late, st, &st->late, err);
	}
	if (r == 0)
		r = lsc_timer_new(loop, on_next, l, &l->next, err);
	if (r < 0) {
		lsc_launch_free(l);
		return r;
	}
	lsc_timer_arm(l->next, 0);
	*ret_launch = l;
	return 0;
}

static bool wait_for_end(struct lsc_launch *l, uint64_t at_most_ns)
{
	uint64_t start_ns = lsc_clock_ns();
	bool all = false;

	for (;;) {
		all = true;
		for (uint32_t i = 0; i < l->n_starters; i++)
			all = (!l->starters[i].child ||
			       lsc_child_has_ended(l->starters[i].child)) &&
			      all;
		if (all || lsc_clock_ns() - start_ns > at_most_ns)
			return all;
		nanosleep(&(struct timespec){0, END_LOOK_NS}, NULL);
	}
}

static void signal_all(const struct lsc_launch *l, int number)
{
	for (uint32_t i = 0; i < l->n_starters; i++)
		if (l->starters[i].child)
			lsc_child_signal(l->starters[i].child, number);
}

static void tell_to_end(const struct lsc_launch *l)
{
	for (uint32_t i = 0; i < l->n_starters; i++) {
		const struct starter *st = &l->starters[i];

		if (!st->child)
			continue;
		lsc_child_close_input(st->child);
		if (st->n_open) /* it has not got so far as to read it */
			lsc_child_signal(st->child, SIGTERM);
	}
}

void lsc_launch_free(struct lsc_launch *l)
{
	if (!l)
		return;
	tell_to_end(l);
	if (!wait_for_end(l, l->o.end_ns ? l->o.end_ns : END_NS)) {
		signal_all(l, SIGTERM);
		if (!wait_for_end(l, TERM_NS))
			signal_all(l, SIGKILL);
		wait_for_end(l, TERM_NS);
	}
	for (uint32_t i = 0; i < l->n_starters; i++) {
		lsc_child_free(l->starters[i].child);
		lsc_timer_free(l->starters[i].late);
		free(l->starters[i].nodes);
	}
	lsc_timer_free(l->next);
	free(l->starters);
	free(l->nodes);
	free(l);
}
