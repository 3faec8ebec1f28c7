/* child - posix_spawn, three pipes, and a pidfd to hear of the end
 *
 * Whatever else holds the other ends of the pipes (an ssh that stays in the background) does not
 * keep us: the end of the program is what counts, not that of its output.
 */
#include "send/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define MAX_LINE 4096

struct lsc_child {
	const struct lsc_child_events *events;
	void *data;
	pid_t pid; /* 0: it has ended */
	int in, out, err, pidfd;
	struct lsc_watch *out_watch, *err_watch, *end_watch;
	struct lsc_buf out_line, err_line;
};

/* --- what it writes --- */

/* Reads what is there, a line at a time; false at the end. */
static bool take(struct lsc_child *child, int fd, struct lsc_buf *line, void (*fn)(void *, char *))
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
				fn(child->data, (char *)line->data);
			lsc_buf_consume(line, (size_t)(end + 1 - (char *)line->data));
		}
		if (line->len > MAX_LINE) /* no line of ours */
			line->len = 0;
	}
}

static void on_out(void *data, uint32_t events)
{
	struct lsc_child *child = data;

	(void)events;
	if (take(child, child->out, &child->out_line, child->events->on_out))
		return;
	lsc_watch_remove(child->out_watch);
	child->out_watch = NULL;
}

static void on_err(void *data, uint32_t events)
{
	struct lsc_child *child = data;

	(void)events;
	if (take(child, child->err, &child->err_line, child->events->on_err))
		return;
	if (child->err_line.len)
		child->events->on_err(child->data, (char *)child->err_line.data);
	child->err_line.len = 0;
	lsc_watch_remove(child->err_watch);
	child->err_watch = NULL;
}

static void on_end(void *data, uint32_t events)
{
	struct lsc_child *child = data;
	int status = 0;

	(void)events;
	lsc_watch_remove(child->end_watch);
	child->end_watch = NULL;
	if (child->out_watch)
		on_out(child, 0);
	if (child->err_watch)
		on_err(child, 0);
	waitpid(child->pid, &status, 0);
	child->pid = 0;
	child->events->on_end(child->data, status);
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
static int spawn(struct lsc_child *child, char *const argv[], char *const envp[], const int fds[3])
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

/* With our environment and one variable more. */
static int spawn_with(struct lsc_child *child, char *const argv[], const char *variable,
		      const int fds[3])
{
	LSC_CLEANUP_FREE char **envp = NULL;
	size_t n = 0, kept = 0, name = variable ? strcspn(variable, "=") + 1 : 0;

	while (environ[n])
		n++;
	envp = calloc(n + 2, sizeof(envp[0]));
	if (!envp)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!variable || strncmp(environ[i], variable, name))
			envp[kept++] = environ[i];
	envp[kept] = (char *)variable;
	return spawn(child, argv, envp, fds);
}

static int watch(struct lsc_child *child, struct lsc_loop *loop, struct lsc_err *err)
{
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

int lsc_child_start(struct lsc_child **ret_child, struct lsc_loop *loop, char *const argv[],
		    const char *variable, const struct lsc_child_events *events, void *data,
		    struct lsc_err *err)
{
	struct lsc_child *child = calloc(1, sizeof(*child));
	int theirs[3] = {-1, -1, -1}, r;

	if (!child)
		return lsc_err_set(err, ENOMEM, "cannot run %s: %m", argv[0]);
	*child = (struct lsc_child){
		.events = events, .data = data, .in = -1, .out = -1, .err = -1, .pidfd = -1};
	r = make_pipe(&child->in, &theirs[0], true);
	if (r == 0)
		r = make_pipe(&child->out, &theirs[1], false);
	if (r == 0)
		r = make_pipe(&child->err, &theirs[2], false);
	if (r == 0)
		r = spawn_with(child, argv, variable, theirs);
	for (int i = 0; i < 3; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	r = r < 0 ? lsc_err_set(err, -r, "cannot run %s: %m", argv[0]) : watch(child, loop, err);
	if (r < 0) {
		lsc_child_signal(child, SIGKILL);
		if (child->pid)
			waitpid(child->pid, NULL, 0);
		lsc_child_free(child);
		return r;
	}
	*ret_child = child;
	return 0;
}

/* --- life --- */

int lsc_child_write(struct lsc_child *child, const void *data, size_t len, struct lsc_err *err)
{
	ssize_t n = write(child->in, data, len);

	if (n == (ssize_t)len)
		return 0;
	return lsc_err_set(err, n < 0 ? errno : EIO, "cannot write to a program: %m");
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void lsc_child_close_input(struct lsc_child *child)
{
	close_fd(&child->in);
}

void lsc_child_signal(struct lsc_child *child, int number)
{
	if (child->pid)
		kill(-child->pid, number);
}

bool lsc_child_has_ended(struct lsc_child *child)
{
	if (child->pid && waitpid(child->pid, NULL, WNOHANG) != 0) /* ECHILD: SIGCHLD is ignored */
		child->pid = 0;
	return !child->pid;
}

void lsc_child_free(struct lsc_child *child)
{
	if (!child)
		return;
	lsc_watch_remove(child->out_watch);
	lsc_watch_remove(child->err_watch);
	lsc_watch_remove(child->end_watch);
	close_fd(&child->in);
	close_fd(&child->out);
	close_fd(&child->err);
	close_fd(&child->pidfd);
	lsc_buf_release(&child->out_line);
	lsc_buf_release(&child->err_line);
	free(child);
}
