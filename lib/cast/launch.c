/* launch - programs that start `lsc-cast serve` elsewhere
 *
 * What goes through a shell is quoted here: for the remote one with ssh, for the nodes' with srun,
 * for the local one with a command.  Hosts need no quotes (cast/names.h).
 *
 * With srun there is one program for all nodes.  It puts the number of a task before each line, and
 * a task begins with a line that names its node (on both outputs, which are not in order with each
 * other), and says when its receiver has ended.
 */
#include "cast/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/endpoint.h"
#include "base/log.h"
#include "base/macros.h"
#include "cast/names.h"

#define MAX_LINE    4096
#define END_NS      4000000000u /* to end after standard input did */
#define TERM_NS     1000000000u /* and after SIGTERM */
#define END_LOOK_NS 5000000

struct node {
	char address[LSC_NAMES_MAX_NAME + 8]; /* "": none yet */
	char why[256];                        /* "": none */
	char said[200];                       /* the last line on standard error */
	bool settled;                         /* has an address or a reason */
};

/* A program, and what it writes. */
struct child {
	struct lsc_launch *launch;
	uint32_t first, n; /* its nodes */
	uint32_t n_open;   /* of these, without address and reason */
	pid_t pid;         /* 0: it is not running */
	int in, out, err, pidfd;
	struct lsc_watch *out_watch, *err_watch, *end_watch;
	struct lsc_timer *late;
	struct lsc_buf out_line, err_line;
	uint32_t *nodes; /* of srun, by task; UINT32_MAX: not known yet */
	char said[200];  /* its own last line on standard error */
};

struct lsc_launch {
	struct lsc_launch_options o;
	struct lsc_loop *loop;
	struct node *nodes;
	struct child *children;
	uint32_t n_children, n_started, n_starting;
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

/* Appends text in single quotes; {} becomes host, which may be a shell's word of its own. */
static int add_quoted(struct lsc_buf *buf, const char *text, const char *host)
{
	int r = lsc_buf_add_str(buf, "'");

	for (; r == 0 && *text; text++) {
		if (*text == '\'')
			r = lsc_buf_add_str(buf, "'\\''");
		else if (host && text[0] == '{' && text[1] == '}')
			r = lsc_buf_printf(buf, "'%s'", host), text++;
		else
			r = lsc_buf_add(buf, text, 1);
	}
	return r ? r : lsc_buf_add_str(buf, "'");
}

/* `lsc-cast serve` and its arguments, for a shell. */
static int add_serve(const struct lsc_launch *l, struct lsc_buf *buf, const char *host, bool v6)
{
	int r = add_quoted(buf, l->o.program, NULL);

	if (r == 0)
		r = lsc_buf_printf(buf,
				   " serve --exit-with-stdin --ready-fd 1 --listen %s:%u --dir ",
				   v6 ? "'[::]'" : "0.0.0.0", l->o.port);
	if (r == 0)
		r = add_quoted(buf, l->o.dir, host);
	for (size_t i = 0; r == 0 && i < l->o.n_more; i++) {
		r = lsc_buf_add_str(buf, " ");
		if (r == 0)
			r = add_quoted(buf, l->o.more[i], NULL);
	}
	return r;
}

/* A command for sh, {} in it being the host, and behind it serve. */
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
	return r ? r : add_serve(l, buf, host, v6);
}

static int run(struct child *child, char *const argv[], const char *host, struct lsc_err *err);

/* A host without brackets. */
static void plain_host(const char *host, char plain[LSC_NAMES_MAX_NAME + 1])
{
	size_t len = strlen(host);
	bool brackets = host[0] == '[';

	snprintf(plain, LSC_NAMES_MAX_NAME + 1, "%.*s", (int)(brackets ? len - 2 : len),
		 host + brackets);
}

static int run_one(struct child *child, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf command = LSC_BUF_INIT;
	const struct lsc_launch *l = child->launch;
	const char *host = l->o.hosts[child->first];
	bool is_ssh = !strcmp(l->o.how, "ssh");
	char plain[LSC_NAMES_MAX_NAME + 1];
	int r;

	plain_host(host, plain);
	r = is_ssh ? add_serve(l, &command, plain, *host == '[')
		   : add_command(l, &command, plain, *host == '[');
	if (r < 0)
		return lsc_err_set(err, -r, "cannot launch: %m");
	if (is_ssh)
		return run(child,
			   (char *[]){"ssh", "-T", "-x", "-oBatchMode=yes", "--", plain,
				      (char *)command.data, NULL},
			   plain, err);
	return run(child, (char *[]){"sh", "-c", (char *)command.data, NULL}, plain, err);
}

/* One step with a task on each node. */
static int run_srun(struct child *child, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf script = LSC_BUF_INIT, hosts = LSC_BUF_INIT;
	const struct lsc_launch *l = child->launch;
	char nodes[32], tasks[32];
	int r = lsc_buf_add_str(&hosts, "--nodelist=");

	for (uint32_t i = 0; r == 0 && i < child->n; i++)
		r = lsc_buf_printf(&hosts, "%s%s", i ? "," : "", l->o.hosts[child->first + i]);
	if (r == 0)
		r = lsc_buf_add_str(&script,
				    "echo \"$SLURMD_NODENAME\"; echo \"$SLURMD_NODENAME\" >&2; ");
	if (r == 0)
		r = add_serve(l, &script, "\"$SLURMD_NODENAME\"", false);
	if (r == 0)
		r = lsc_buf_add_str(&script, "; echo ended $? >&2");
	if (r < 0)
		return lsc_err_set(err, -r, "cannot launch: %m");
	snprintf(nodes, sizeof(nodes), "--nodes=%u", child->n);
	snprintf(tasks, sizeof(tasks), "--ntasks=%u", child->n);
	return run(child,
		   (char *[]){"srun", nodes, tasks, "--ntasks-per-node=1", "--overlap", "--label",
			      "--kill-on-bad-exit=0", "--mpi=none", "--job-name=lsc-cast",
			      (char *)hosts.data, "sh", "-c", (char *)script.data, NULL},
		   NULL, err);
}

/* --- what came of it --- */

/* Goes on where a child's nodes are all settled. */
static void settle(struct child *child)
{
	struct lsc_launch *l = child->launch;

	if (child->n_open)
		return;
	lsc_timer_disarm(child->late);
	l->n_starting--;
	lsc_timer_arm(l->next, 0);
}

static void fail_node(struct child *child, uint32_t node, const char *why)
{
	struct node *n = &child->launch->nodes[node];

	if (n->settled)
		return;
	n->settled = true;
	snprintf(n->why, sizeof(n->why), "%s", n->said[0] ? n->said : why);
	child->n_open--;
}

/* Those that have no address yet get none. */
static void give_up(struct child *child, const char *why)
{
	if (!child->n_open)
		return;
	for (uint32_t i = child->first; i < child->first + child->n; i++)
		fail_node(child, i, why);
	settle(child);
}

/* "0.0.0.0:40123"; login scripts may say other things. */
static void take_address(struct child *child, uint32_t node, const char *text)
{
	const char *host = child->launch->o.hosts[node];
	struct node *n = &child->launch->nodes[node];
	struct lsc_endpoint at;

	if (n->settled || lsc_endpoint_parse(&at, text, NULL) < 0 || at.kind != LSC_ENDPOINT_TCP ||
	    at.port == 0 || (strcmp(at.name, "0.0.0.0") && strcmp(at.name, "::")))
		return;
	snprintf(n->address, sizeof(n->address), "%s:%u", host, at.port);
	n->settled = true;
	lsc_info("%s: launched, at %s", host, n->address);
	child->n_open--;
	settle(child);
}

/* A line of srun: the task it is of, and what follows; UINT32_MAX where it is its own. */
static uint32_t task_of(const struct child *child, const char *line, const char **ret_text)
{
	char *end;
	unsigned long task = strtoul(line, &end, 10);

	if (end == line || strncmp(end, ": ", 2) || task >= child->n)
		return UINT32_MAX;
	*ret_text = end + 2;
	return (uint32_t)task;
}

/* Whether the line names the task's node. */
static bool take_name(struct child *child, uint32_t task, const char *name)
{
	for (uint32_t i = child->first; i < child->first + child->n; i++) {
		if (strcmp(child->launch->o.hosts[i], name))
			continue;
		child->nodes[task] = i;
		return true;
	}
	return false;
}

static void take_out(struct child *child, char *line)
{
	const char *text = line;
	uint32_t task, node = child->first;

	if (child->nodes) {
		task = task_of(child, line, &text);
		if (task == UINT32_MAX || take_name(child, task, text) ||
		    child->nodes[task] == UINT32_MAX)
			return;
		node = child->nodes[task];
	}
	take_address(child, node, text);
}

static void take_end(struct child *child, uint32_t node, const char *status)
{
	char why[64];

	if (!child->n_open)
		return;
	snprintf(why, sizeof(why), "ended with status %.8s", status);
	fail_node(child, node, why);
	settle(child);
}

static void take_err(struct child *child, char *line)
{
	const struct lsc_launch *l = child->launch;
	const char *text = line, *who = child->nodes ? l->o.how : l->o.hosts[child->first];
	char *said = child->said;
	size_t len = strlen(line);
	uint32_t task;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		line[--len] = 0;
	if (!len)
		return;
	task = child->nodes ? task_of(child, line, &text) : UINT32_MAX;
	if (task != UINT32_MAX && take_name(child, task, text))
		return;
	if (task != UINT32_MAX && child->nodes[task] != UINT32_MAX) {
		if (!strncmp(text, "ended ", 6)) { /* behind all that it said */
			take_end(child, child->nodes[task], text + 6);
			return;
		}
		said = l->nodes[child->nodes[task]].said;
		who = l->o.hosts[child->nodes[task]];
	}
	snprintf(said, sizeof(child->said), "%s", text);
	lsc_info("%s: %s", who, text);
}

/* Reads what is there, a line at a time; false at the end. */
static bool take(struct child *child, int fd, struct lsc_buf *line,
		 void (*fn)(struct child *, char *))
{
	for (;;) {
		char data[MAX_LINE], *end;
		ssize_t n = read(fd, data, sizeof(data));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0 || lsc_buf_add(line, data, (size_t)n) < 0)
			return false;
		while ((end = memchr(line->data, '\n', line->len))) {
			*end = 0;
			if (!memchr(line->data, 0, (size_t)(end - (char *)line->data)))
				fn(child, (char *)line->data);
			lsc_buf_consume(line, (size_t)(end + 1 - (char *)line->data));
		}
		if (line->len > MAX_LINE) /* no line of ours */
			line->len = 0;
	}
}

static void on_out(void *data, uint32_t events)
{
	struct child *child = data;

	(void)events;
	if (take(child, child->out, &child->out_line, take_out))
		return;
	lsc_watch_remove(child->out_watch);
	child->out_watch = NULL;
}

static void on_err(void *data, uint32_t events)
{
	struct child *child = data;

	(void)events;
	if (take(child, child->err, &child->err_line, take_err))
		return;
	if (child->err_line.len)
		take_err(child, (char *)child->err_line.data);
	child->err_line.len = 0;
	lsc_watch_remove(child->err_watch);
	child->err_watch = NULL;
}

/* It ended.  What it said last may be why. */
static void on_end(void *data, uint32_t events)
{
	struct child *child = data;
	int status = 0;
	char why[256];

	(void)events;
	lsc_watch_remove(child->end_watch);
	child->end_watch = NULL;
	if (child->out_watch)
		on_out(child, 0);
	if (child->err_watch)
		on_err(child, 0);
	waitpid(child->pid, &status, 0);
	child->pid = 0;
	if (child->said[0])
		snprintf(why, sizeof(why), "%s", child->said);
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "ended by signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "ended with status %d", WEXITSTATUS(status));
	give_up(child, why);
}

static void on_late(void *data)
{
	struct child *child = data;
	char why[256];

	snprintf(why, sizeof(why), "did not start within %.0f s%s%s",
		 (double)child->launch->o.timeout_ns / 1e9, child->said[0] ? ": " : "",
		 child->said);
	if (child->n == 1 && child->pid)
		kill(-child->pid, SIGTERM);
	give_up(child, why);
}

/* --- starting --- */

static int make_pipe(int *ours, int *theirs, bool we_write)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[we_write];
	*theirs = fds[!we_write];
	if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* In a process group of its own, with the signals as programs expect them. */
static int spawn(struct child *child, char *const argv[], char *const envp[], const int fds[3])
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, pipe_signal;
	int code;

	sigemptyset(&none);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &pipe_signal);
	code = 0;
	for (int i = 0; code == 0 && i < 3; i++)
		code = posix_spawn_file_actions_adddup2(&actions, fds[i], i);
	if (code == 0)
		code = posix_spawnp(&child->pid, argv[0], &actions, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (code)
		child->pid = 0;
	return -code;
}

/* Our environment with LSC_NODE in it. */
static int spawn_for(struct child *child, char *const argv[], const char *host, const int fds[3])
{
	LSC_CLEANUP_FREE char **envp = NULL;
	char variable[LSC_NAMES_MAX_NAME + 16];
	size_t n = 0, kept = 0;

	while (environ[n])
		n++;
	envp = calloc(n + 2, sizeof(envp[0]));
	if (!envp)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "LSC_NODE=", 9))
			envp[kept++] = environ[i];
	snprintf(variable, sizeof(variable), "LSC_NODE=%s", host ? host : "");
	if (host)
		envp[kept] = variable;
	return spawn(child, argv, envp, fds);
}

static int watch(struct child *child, struct lsc_err *err)
{
	struct lsc_loop *loop = child->launch->loop;
	int r;

	child->pidfd = pidfd_open(child->pid, 0);
	if (child->pidfd < 0)
		return lsc_err_set(err, errno, "cannot watch a program: %m");
	r = lsc_loop_watch(loop, child->out, EPOLLIN, on_out, child, &child->out_watch, err);
	if (r == 0)
		r = lsc_loop_watch(loop, child->err, EPOLLIN, on_err, child, &child->err_watch,
				   err);
	if (r == 0)
		r = lsc_loop_watch(loop, child->pidfd, EPOLLIN, on_end, child, &child->end_watch,
				   err);
	return r;
}

static int run(struct child *child, char *const argv[], const char *host, struct lsc_err *err)
{
	const struct lsc_launch_options *o = &child->launch->o;
	int theirs[3] = {-1, -1, -1};
	int r = make_pipe(&child->in, &theirs[0], true);

	if (r == 0)
		r = make_pipe(&child->out, &theirs[1], false);
	if (r == 0)
		r = make_pipe(&child->err, &theirs[2], false);
	if (r == 0)
		r = spawn_for(child, argv, host, theirs);
	for (int i = 0; i < 3; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot run %s: %m", argv[0]);
	r = watch(child, err);
	if (r < 0)
		return r;
	lsc_timer_arm(child->late, o->timeout_ns);
	if (o->input_len && write(child->in, o->input, o->input_len) != (ssize_t)o->input_len)
		return lsc_err_set(err, EIO, "cannot write to %s", argv[0]);
	return 0;
}

static void on_next(void *data)
{
	struct lsc_launch *l = data;

	while (l->n_started < l->n_children && l->n_starting < LSC_LAUNCH_AT_ONCE) {
		struct child *child = &l->children[l->n_started++];
		struct lsc_err err = LSC_ERR_INIT;

		l->n_starting++;
		if ((strcmp(l->o.how, "srun") ? run_one(child, &err) : run_srun(child, &err)) < 0)
			give_up(child, err.text);
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
	l->children = calloc(n, sizeof(l->children[0]));
	if (!l->nodes || !l->children)
		r = lsc_err_set(err, ENOMEM, "cannot launch: %m");
	for (; r == 0 && l->n_children < n; l->n_children++) {
		struct child *child = &l->children[l->n_children];

		*child = (struct child){.launch = l, .in = -1, .out = -1, .err = -1, .pidfd = -1};
		child->first = l->n_children;
		child->n = child->n_open = is_srun ? options->n : 1;
		if (is_srun)
			child->nodes = malloc(child->n * sizeof(child->nodes[0]));
		if (is_srun && !child->nodes)
			r = lsc_err_set(err, ENOMEM, "cannot launch: %m");
		else if (is_srun)
			memset(child->nodes, 0xff, child->n * sizeof(child->nodes[0]));
		if (r == 0)
			r = lsc_timer_new(loop, on_late, child, &child->late, err);
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

/* Whether all have ended; those that now have are waited for. */
static bool have_ended(struct lsc_launch *l)
{
	bool all = true;

	for (uint32_t i = 0; i < l->n_children; i++) {
		struct child *child = &l->children[i];

		if (child->pid && waitpid(child->pid, NULL, WNOHANG) != 0) /* ECHILD: ignored */
			child->pid = 0;
		all = all && !child->pid;
	}
	return all;
}

static bool wait_for_end(struct lsc_launch *l, uint64_t at_most_ns)
{
	uint64_t start_ns = lsc_clock_ns();

	while (!have_ended(l)) {
		if (lsc_clock_ns() - start_ns > at_most_ns)
			return false;
		nanosleep(&(struct timespec){0, END_LOOK_NS}, NULL);
	}
	return true;
}

static void signal_all(const struct lsc_launch *l, int number)
{
	for (uint32_t i = 0; i < l->n_children; i++)
		if (l->children[i].pid)
			kill(-l->children[i].pid, number);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void lsc_launch_free(struct lsc_launch *l)
{
	if (!l)
		return;
	for (uint32_t i = 0; i < l->n_children; i++) {
		struct child *child = &l->children[i];

		close_fd(&child->in);
		if (child->n_open && child->pid) /* it has not got so far as to read it */
			kill(-child->pid, SIGTERM);
	}
	if (!wait_for_end(l, END_NS)) {
		signal_all(l, SIGTERM);
		if (!wait_for_end(l, TERM_NS))
			signal_all(l, SIGKILL);
		wait_for_end(l, TERM_NS);
	}
	for (uint32_t i = 0; i < l->n_children; i++) {
		struct child *child = &l->children[i];

		lsc_watch_remove(child->out_watch);
		lsc_watch_remove(child->err_watch);
		lsc_watch_remove(child->end_watch);
		lsc_timer_free(child->late);
		close_fd(&child->out);
		close_fd(&child->err);
		close_fd(&child->pidfd);
		lsc_buf_release(&child->out_line);
		lsc_buf_release(&child->err_line);
		free(child->nodes);
	}
	lsc_timer_free(l->next);
	free(l->children);
	free(l->nodes);
	free(l);
}
