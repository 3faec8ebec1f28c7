/* screen - the terminal while it is drawn on, and the signals that change or end that
 *
 * Signals are let in only while something is waited for, so a frame is whole when one comes.  The
 * terminal is put back before the program stops or ends.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "top.h"

/* The other screen, no cursor, no line that goes on in the next; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static struct {
	bool open, keys, deaf; /* keys: standard input is a terminal, too; deaf: and has ended */
	struct termios before;
} screen;

static volatile sig_atomic_t ended, stopped;
static sigset_t while_waiting;

/* --- signals --- */

static void on_signal(int number)
{
	if (number == SIGTSTP)
		stopped = 1;
	else if (number != SIGWINCH)
		ended = number;
}

void top_signals_catch(void)
{
	static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
	struct sigaction action = {.sa_handler = on_signal}, before;
	sigset_t block;

	sigemptyset(&block);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(caught); i++) {
		sigaction(caught[i], NULL, &before);
		if (before.sa_handler == SIG_IGN) /* as nohup has it */
			continue;
		sigaddset(&block, caught[i]);
		sigaction(caught[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &block, &while_waiting);
}

int top_signals_end(void)
{
	return ended;
}

int top_wait(int fd, bool writes, double seconds)
{
	struct pollfd poll = {.fd = fd, .events = writes ? POLLOUT : POLLIN};
	struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	int n = ppoll(&poll, 1, &time, &while_waiting);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n;
}

/* --- the terminal --- */

static void enter(void)
{
	struct termios keys;

	screen.keys = tcgetattr(STDIN_FILENO, &screen.before) == 0;
	if (screen.keys) {
		keys = screen.before;
		keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		keys.c_cc[VMIN] = 0;
		keys.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
	}
	lsc_write_full(STDOUT_FILENO, ENTER, strlen(ENTER));
	screen.open = true;
}

int top_screen_open(struct lsc_err *err)
{
	/* In the background nothing is drawn, and the terminal's modes are somebody else's. */
	if (tcgetpgrp(STDOUT_FILENO) != getpgrp())
		return lsc_err_set(err, EINVAL, "in the background: give --once or --json");
	enter();
	return 0;
}

void top_screen_close(void)
{
	if (!screen.open)
		return;
	screen.open = false;
	lsc_write_full(STDOUT_FILENO, LEAVE, strlen(LEAVE));
	if (screen.keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

void top_screen_size(unsigned *ret_columns, unsigned *ret_lines)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*ret_columns = size.ws_col ? size.ws_col : 80;
	*ret_lines = size.ws_row ? size.ws_row : 24;
}

void top_screen_draw(const struct lsc_buf *text)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf frame = LSC_BUF_INIT;
	const char *at = (const char *)text->data, *end;
	int r = lsc_buf_add_str(&frame, "\033[H");

	for (; r == 0 && at && *at; at = end + 1) {
		end = strchr(at, '\n');
		/* No break behind the last line: it may be the terminal's last. */
		r = lsc_buf_printf(&frame, "%s%.*s\033[K", at == (char *)text->data ? "" : "\r\n",
				   (int)(end - at), at);
	}
	if (r == 0)
		r = lsc_buf_add_str(&frame, "\033[J");
	if (r == 0)
		lsc_write_full(STDOUT_FILENO, frame.data, frame.len);
}

/* As the terminal was, until a person lets it go on. */
static void stop(void)
{
	bool was_open = screen.open;

	stopped = 0;
	top_screen_close();
	raise(SIGSTOP);
	if (was_open)
		enter();
}

static bool read_keys(void)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	for (ssize_t i = 0; i < n; i++)
		if (keys[i] == 'q' || keys[i] == 'Q')
			return true;
	screen.deaf = n <= 0 && errno != EAGAIN;
	return false;
}

bool top_screen_wait(double seconds)
{
	uint64_t until = lsc_clock_ns() + (uint64_t)(seconds * 1e9), now;

	while (!ended && (now = lsc_clock_ns()) < until) {
		bool keys = screen.open && screen.keys && !screen.deaf;
		int n = top_wait(keys ? STDIN_FILENO : -1, false, (double)(until - now) / 1e9);

		if (n > 0 && keys && read_keys())
			return true;
		if (n == 0 && stopped)
			stop();
		if (n == 0) /* a signal, as of another size: draw at once */
			return false;
	}
	return false;
}
