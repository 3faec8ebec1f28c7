/* child: programs that write, read, fail, and are ended */
#include "tap.h"

#include <signal.h>
#include <sys/wait.h>

#include "send/child.h"

struct seen {
	char out[256], err[256];
	int status;
	bool ended;
};

static struct lsc_loop *loop;

static void on_out(void *data, char *line)
{
	struct seen *seen = data;

	snprintf(seen->out + strlen(seen->out), 100, "<%.90s>", line);
}

static void on_err(void *data, char *line)
{
	struct seen *seen = data;

	snprintf(seen->err + strlen(seen->err), 100, "<%.90s>", line);
}

static void on_end(void *data, int status)
{
	struct seen *seen = data;

	seen->status = status;
	seen->ended = true;
	lsc_loop_stop(loop, 0);
}

static const struct lsc_child_events events = {on_out, on_err, on_end};

/* Runs a script to its end, with some input. */
static struct seen run(const char *script, const char *variable, const char *input)
{
	struct seen seen = {"", "", -1, false};
	struct lsc_child *child = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	char *const argv[] = {"sh", "-c", (char *)script, NULL};

	if (lsc_child_start(&child, loop, argv, variable, &events, &seen, &err) < 0) {
		ok(false, "%s", err.text);
		return seen;
	}
	lsc_child_write(child, input, strlen(input), &err);
	lsc_child_close_input(child);
	lsc_loop_run(loop, &err);
	lsc_child_free(child);
	return seen;
}

int main(void)
{
	struct lsc_child *child = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	struct seen seen;

	lsc_loop_new(&loop, &err);
	setenv("LSC_NODE", "old", 1);
	seen = run("echo one; echo; printf two; echo three >&2; exit 7", NULL, "");
	is_str(seen.out, "<one><>", "lines, the last of which has an end");
	is_str(seen.err, "<three>", "of both outputs");
	is_int(WEXITSTATUS(seen.status), 7, "and the status");
	seen = run("printf 'no end' >&2", NULL, "");
	is_str(seen.err, "<no end>", "an error counts without one");
	seen = run("cat; echo \"$LSC_NODE\"", "LSC_NODE=n1", "a\nb\n");
	is_str(seen.out, "<a><b><n1>", "input, and a variable");
	seen = run("head -c 100000 /dev/zero; echo; echo end", NULL, "");
	is_str(seen.out, "<end>", "what is no line of text is left out");
	seen = run("(sleep 1 &); kill -TERM $$", NULL, "");
	is_int(WTERMSIG(seen.status), SIGTERM, "a signal, whoever else still has its output");

	seen = (struct seen){"", "", -1, false};
	is_int(lsc_child_start(&child, loop, (char *[]){"/nonexistent/x", NULL}, NULL, &events,
			       &seen, &err),
	       -ENOENT, "%s", err.text);
	lsc_child_start(&child, loop, (char *[]){"sh", "-c", "sleep 62 & wait", NULL}, NULL,
			&events, &seen, &err);
	ok(!lsc_child_has_ended(child), "one that runs");
	lsc_child_signal(child, SIGKILL);
	for (int i = 0; i < 500 && !lsc_child_has_ended(child); i++)
		usleep(10000);
	ok(lsc_child_has_ended(child), "is ended, with its group");
	lsc_child_signal(child, SIGKILL); /* to nobody */
	lsc_child_free(child);
	lsc_loop_free(loop);
	return done_testing();
}
