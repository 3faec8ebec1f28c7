/* lsc-node - one node's processes from one command: a stage worker and a cast server
 *
 * The worker comes first: the server tells casts where it is.  A child that ends before both were
 * ready once ends all of it, with the child's status, as it said why.  One that ends later is
 * started again, after a pause that doubles while it keeps ending early.  SIGTERM ends both, with
 * SIGKILL for one that does not follow; a supervisor that is killed takes its children along.  A
 * key that comes on standard input goes on to theirs.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "net/access.h"
#include "net/loop.h"
#include "net/tls.h"

#define READY_NS  15000000000ull
#define GRACE_NS  5000000000ull /* beside the time that the worker has to leave */
#define DRAIN_S   20.0
#define PAUSE_MIN 500000000ull
#define PAUSE_MAX 30000000000ull
#define STEADY_NS 10000000000ull /* who ran as long starts again without a longer pause */
#define READY_FD  3
#define MAX_ARGS  20
#define ADDRESS   320

struct options {
	const char *dir, *listen, *exec, *host, *threads, *drain;
	double drain_s;
	struct lsc_access access; /* for the children, who read the key */
	int ready_fd;
	bool exit_with_stdin;
};

enum { EXEC, CAST, CHILDREN };

struct child {
	struct node *node;
	const char *tool;
	pid_t pid; /* 0: not running */
	uint64_t started_ns, pause_ns;
	int ready_fd; /* where it says its address; -1 once it did */
	struct lsc_watch *ready_watch;
	struct lsc_timer *timer; /* running: to be ready; else: to be started again */
	char address[ADDRESS];   /* where it listens; a restart takes the same */
	char name[ADDRESS];      /* the same, as others know it */
};

struct node {
	struct options opt;
	struct lsc_loop *loop;
	struct child children[CHILDREN];
	struct lsc_timer *grace;
	struct lsc_watch *input; /* --exit-with-stdin */
	struct lsc_buf key_line; /* of standard input, for the children's */
	bool ready;              /* both were, once */
	bool stopping;
	int status; /* to end with */
	pid_t self;
};

enum { KEY_DRAIN = 0x1000, KEY_HOST, KEY_STDIN };

static const struct argp_option table[] = {
	{"dir", 'd', "DIR", 0, "Receive images into DIR and run those in it", 0},
	{"listen", 'l', "HOST:PORT", 0, "Take part in casts there (default 127.0.0.1:7000)", 0},
	LSC_ACCESS_ROWS,
	{"exec", 'x', "HOST:PORT", 0, "Execute stages there (default 127.0.0.1:7001)", 0},
	{"drain-timeout", KEY_DRAIN, "TIME", 0, "Finish requests for so long at most (default 20s)",
	 0},
	{"exit-with-stdin", KEY_STDIN, NULL, 0, "End when standard input does", 0},
	{"host", KEY_HOST, "HOST", 0,
	 "Others reach this node as HOST; listen at all of its addresses then", 0},
	{"threads", 't', "N", 0, "Compute with N threads (default: the CPUs there are)", 0},
	{"ready-fd", 'R', "N", 0, "Write both addresses to descriptor N once ready", 0},
	{0},
};

/* A host that has colons is an address of version 6. */
static void settle_addresses(struct options *opt)
{
	bool v6 = opt->host && strchr(opt->host, ':');

	if (!opt->listen)
		opt->listen = v6 ? "[::]:7000" : opt->host ? "0.0.0.0:7000" : "127.0.0.1:7000";
	if (!opt->exec)
		opt->exec = v6 ? "[::]:7001" : opt->host ? "0.0.0.0:7001" : "127.0.0.1:7001";
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t number;

	switch (key) {
	case 'd':
		opt->dir = arg;
		return 0;
	case 'l':
		opt->listen = arg;
		return 0;
	case 'x':
		opt->exec = arg;
		return 0;
	case KEY_DRAIN:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->drain_s, &err), &err);
		opt->drain = arg;
		return 0;
	case KEY_HOST:
		opt->host = arg;
		return 0;
	case KEY_STDIN:
		opt->exit_with_stdin = true;
		return 0;
	case 't':
		lsc_tool_check(state, lsc_parse_uint(arg, 1, 1024, &number, &err), &err);
		opt->threads = arg;
		return 0;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &number, &err), &err);
		opt->ready_fd = (int)number;
		return 0;
	case ARGP_KEY_END:
		if (!opt->dir)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is missing");
		settle_addresses(opt);
		return 0;
	default:
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

/* --- children --- */

/* The tool beside our own program, else the one on PATH. */
static void find_tool(const char *name, char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	if (slash) {
		snprintf(slash + 1, PATH_MAX - (size_t)(slash + 1 - path), "%s", name);
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, PATH_MAX, "%s", name);
}

/* The key is written before anyone reads: a pipe holds it. */
static int give_key(const struct lsc_buf *line)
{
	int ends[2], r = pipe2(ends, O_CLOEXEC);

	if (r == 0)
		r = lsc_write_full(ends[1], line->data, line->len);
	if (r == 0)
		r = dup2(ends[0], STDIN_FILENO);
	return r;
}

static void run_child(struct child *child, char **argv, int ready)
{
	const struct lsc_buf *line = &child->node->key_line;
	char path[PATH_MAX];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != child->node->self)
		_exit(0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (ready == READY_FD ? fcntl(ready, F_SETFD, 0) < 0 : dup2(ready, READY_FD) < 0)
		_exit(LSC_EXIT_SYSTEM);
	if (line->len && give_key(line) < 0)
		_exit(LSC_EXIT_SYSTEM);
	find_tool(child->tool, path);
	execvp(path, argv);
	fprintf(stderr, "lsc-node: cannot run '%s': %s\n", path, strerror(errno));
	_exit(errno == ENOENT ? LSC_EXIT_NOT_FOUND : LSC_EXIT_CANNOT_RUN);
}

static unsigned arguments(struct child *child, char **argv)
{
	struct node *node = child->node;
	bool exec = child == &node->children[EXEC];
	const char *listen = child->address[0] ? child->address
			     : exec            ? node->opt.exec
					       : node->opt.listen;
	const char *args[MAX_ARGS] = {child->tool, "serve", "--dir",      node->opt.dir,
				      "--listen",  listen,  "--ready-fd", "3"};
	unsigned n = 8;

	if (!exec) {
		args[n++] = "--exec";
		args[n++] = node->children[EXEC].name;
	}
	if (exec && node->opt.threads) {
		args[n++] = "--threads";
		args[n++] = node->opt.threads;
	}
	if (exec && node->opt.drain) {
		args[n++] = "--drain-timeout";
		args[n++] = node->opt.drain;
	}
	if (node->opt.access.key_file) {
		args[n++] = "--key-file";
		args[n++] = node->opt.access.key_file;
	}
	if (node->opt.access.insecure)
		args[n++] = "--insecure";
	if (lsc_log_is_on(LSC_LOG_INFO))
		args[n++] = "-v";
	memcpy(argv, args, sizeof(args));
	return n;
}

static void stop(struct node *node, int status);
static int say_ready(const struct node *node, struct lsc_err *err)
{
	char both[2 * ADDRESS + 1];

	snprintf(both, sizeof(both), "%s %s", node->children[CAST].name, node->children[EXEC].name);
	return lsc_serve_ready(node->opt.ready_fd, both, err);
}

static void forget_ready(struct child *child)
{
	lsc_watch_remove(child->ready_watch);
	child->ready_watch = NULL;
	if (child->ready_fd >= 0)
		close(child->ready_fd);
	child->ready_fd = -1;
}

static void start_child(struct child *child);

/* Once the worker is ready the server is started; once that is, both are. */
static void go_on(struct node *node, struct child *child)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (node->ready) {
		lsc_notice("%s serve runs again at %s", child->tool, child->address);
		return;
	}
	if (child == &node->children[EXEC]) {
		start_child(&node->children[CAST]);
		return;
	}
	node->ready = true;
	if (say_ready(node, &err) < 0) {
		lsc_error("%s", err.text);
		stop(node, lsc_tool_status(err.code));
	}
}

/* With --host, only the port is of what it says. */
static void take_address(struct child *child, const char *line)
{
	const char *host = child->node->opt.host, *colon = strrchr(line, ':');

	snprintf(child->address, sizeof(child->address), "%s", line);
	if (host && colon)
		snprintf(child->name, sizeof(child->name), strchr(host, ':') ? "[%s]%s" : "%s%s",
			 host, colon);
	else
		snprintf(child->name, sizeof(child->name), "%s", line);
}

/* A child that ends instead is told of by SIGCHLD. */
static void on_ready(void *data, uint32_t events)
{
	struct child *child = data;
	char line[ADDRESS];
	ssize_t n = read(child->ready_fd, line, sizeof(line) - 1);

	(void)events;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	forget_ready(child);
	if (n <= 1 || child->node->stopping)
		return;
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	take_address(child, line);
	lsc_timer_disarm(child->timer);
	go_on(child->node, child);
}

static int spawn(struct child *child, struct lsc_err *err)
{
	char *argv[MAX_ARGS] = {NULL};
	int ready[2];

	arguments(child, argv);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return lsc_err_set(err, errno, "cannot make a pipe: %m");
	child->started_ns = lsc_clock_ns();
	child->pid = fork();
	if (child->pid == 0)
		run_child(child, argv, ready[1]);
	close(ready[1]);
	child->ready_fd = ready[0];
	if (child->pid < 0) {
		child->pid = 0;
		forget_ready(child);
		return lsc_err_set(err, errno, "cannot start %s: %m", child->tool);
	}
	return lsc_loop_watch(child->node->loop, ready[0], EPOLLIN, on_ready, child,
			      &child->ready_watch, err);
}

static void start_child(struct child *child)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (spawn(child, &err) < 0) {
		lsc_error("%s", err.text);
		stop(child->node, LSC_EXIT_SYSTEM);
		return;
	}
	lsc_timer_arm(child->timer, READY_NS);
}

static void pause_child(struct child *child)
{
	bool steady = lsc_clock_ns() - child->started_ns > STEADY_NS;

	child->pause_ns =
		steady || !child->pause_ns ? PAUSE_MIN : LSC_MIN(2 * child->pause_ns, PAUSE_MAX);
	lsc_timer_arm(child->timer, child->pause_ns);
}

static void on_timer(void *data)
{
	struct child *child = data;

	if (child->node->stopping)
		return;
	if (!child->pid) {
		start_child(child);
		return;
	}
	lsc_warning("%s serve is not ready after %d s, killing it", child->tool,
		    (int)(READY_NS / 1000000000));
	kill(child->pid, SIGKILL);
}

/* --- ends --- */

static void kill_children(struct node *node, int number)
{
	for (int i = 0; i < CHILDREN; i++)
		if (node->children[i].pid)
			kill(node->children[i].pid, number);
}

static void stop_if_alone(struct node *node)
{
	if (node->stopping && !node->children[EXEC].pid && !node->children[CAST].pid)
		lsc_loop_stop(node->loop, node->status);
}

static void stop(struct node *node, int status)
{
	if (!node->stopping)
		node->status = status;
	node->stopping = true;
	kill_children(node, SIGTERM);
	lsc_timer_arm(node->grace, GRACE_NS + (uint64_t)(node->opt.drain_s * 1e9));
	stop_if_alone(node);
}

static void grace_over(void *data)
{
	kill_children(data, SIGKILL);
}

static void on_end(struct child *child, int status)
{
	struct node *node = child->node;
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	const char *what = WIFSIGNALED(status) ? "signal" : "status";

	child->pid = 0;
	forget_ready(child);
	if (node->stopping)
		return;
	if (node->ready) {
		lsc_warning("%s serve ended (%s %d): starting it again", child->tool, what, number);
		pause_child(child);
		return;
	}
	if (WIFEXITED(status) && number) { /* it said why */
		stop(node, number);
		return;
	}
	lsc_error("%s serve ended (%s %d) before it was ready", child->tool, what, number);
	stop(node, LSC_EXIT_IO);
}

static void reap(struct node *node)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < CHILDREN; i++)
			if (node->children[i].pid == pid)
				on_end(&node->children[i], status);
	stop_if_alone(node);
}

static void on_signal(void *data, int number)
{
	if (number == SIGCHLD)
		reap(data);
	else
		stop(data, 0);
}

/* --- the whole --- */

/* Whoever started us is there as long as our standard input is. */
static void on_stdin(void *data, uint32_t events)
{
	struct node *node = data;
	char nothing[256];
	ssize_t n = read(STDIN_FILENO, nothing, sizeof(nothing));

	(void)events;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	lsc_watch_remove(node->input);
	node->input = NULL;
	lsc_info("ends with standard input");
	stop(node, 0);
}

/* The key, if it comes there, and who waits for its end. */
static int open_input(struct node *node, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_key_erase) struct lsc_key key = {0};
	const char *path = node->opt.access.key_file;
	int r = 0;

	if (path && !strcmp(path, "-") && (r = lsc_tls_check(err)) == 0 &&
	    (r = lsc_key_read_line(&key, STDIN_FILENO, "standard input", err)) == 0 &&
	    (r = lsc_key_line(&key, &node->key_line)) < 0)
		r = lsc_err_set(err, -r, "cannot take the key: %m");
	if (r == 0 && node->opt.exit_with_stdin)
		r = lsc_loop_watch(node->loop, STDIN_FILENO, EPOLLIN, on_stdin, node, &node->input,
				   err);
	return r;
}

static int run(struct node *node, struct lsc_err *err)
{
	static const char *const tools[CHILDREN] = {"lsc-exec", "lsc-cast"};
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	int r;

	node->self = getpid();
	/* Whoever waits for its end must not wait for the children's. */
	if (node->opt.ready_fd >= 0 && fcntl(node->opt.ready_fd, F_SETFD, FD_CLOEXEC) < 0)
		return lsc_err_set(err, errno, "cannot write to descriptor %d: %m",
				   node->opt.ready_fd);
	if ((r = lsc_loop_new(&node->loop, err)) < 0 ||
	    (r = lsc_loop_signals(node->loop, signals, LSC_ARRAY_SIZE(signals), on_signal, node,
				  err)) < 0 ||
	    (r = lsc_timer_new(node->loop, grace_over, node, &node->grace, err)) < 0 ||
	    (r = open_input(node, err)) < 0)
		return r;
	for (int i = 0; i < CHILDREN && r == 0; i++) {
		node->children[i] = (struct child){.node = node, .tool = tools[i], .ready_fd = -1};
		r = lsc_timer_new(node->loop, on_timer, &node->children[i],
				  &node->children[i].timer, err);
	}
	if (r < 0)
		return r;
	start_child(&node->children[EXEC]);
	return lsc_loop_run(node->loop, err);
}

/* The loop ends when no child is left, unless it fails itself. */
static void release(struct node *node)
{
	kill_children(node, SIGKILL);
	for (int i = 0; i < CHILDREN; i++) {
		if (!node->children[i].node)
			continue;
		if (node->children[i].pid)
			waitpid(node->children[i].pid, NULL, 0);
		forget_ready(&node->children[i]);
		lsc_timer_free(node->children[i].timer);
	}
	lsc_timer_free(node->grace);
	lsc_watch_remove(node->input);
	lsc_key_line_erase(&node->key_line);
	lsc_loop_free(node->loop);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		table, parse, NULL, "Run one node: take part in casts, and execute what arrives.",
		NULL,  NULL,  NULL};
	struct node node = {.opt = {.ready_fd = -1, .drain_s = DRAIN_S}};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &node.opt);
	r = run(&node, &err);
	release(&node);
	return lsc_tool_finish(r, &err);
}
