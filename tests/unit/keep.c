/* keep: a holder that outlives who keeps things there, one that is killed; and systemd's store */
#include "tap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tier/hold.h"
#include "tier/keep.h"

#define MAX_FOUND 8

static struct lsc_err err;
static char hold_path[108], systemd_path[108];

static struct {
	char names[MAX_FOUND][LSC_KEEP_NAME];
	int fds[MAX_FOUND];
	unsigned n;
} found;

static int on_found(void *data, const char *name, int fd)
{
	(void)data;
	if (found.n == MAX_FOUND) {
		close(fd);
		return -ENOSPC;
	}
	strcpy(found.names[found.n], name);
	found.fds[found.n++] = fd;
	return 0;
}

static void forget(void)
{
	while (found.n)
		close(found.fds[--found.n]);
}

static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

/* What was kept by that name is this file. */
static bool has(const char *name, ino_t file)
{
	for (unsigned i = 0; i < found.n; i++)
		if (!strcmp(found.names[i], name))
			return inode(found.fds[i]) == file;
	return false;
}

static struct lsc_keep *take_up(const char *path)
{
	struct lsc_keep *keep = NULL;

	forget();
	if (lsc_keep_open(&keep, path, on_found, NULL, &err) < 0)
		printf("# %s\n", err.text);
	return keep;
}

/* --- a holder, in a child of this test: lsc-tier starts one by itself, as tests/net/tier.t sees
 * --- */

static pid_t start_holder(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t pid;

	strcpy(address.sun_path, hold_path);
	unlink(hold_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0)
		abort();
	pid = fork();
	if (pid == 0)
		_exit(lsc_hold_run(fd, NULL) == 0 ? 0 : 1);
	close(fd);
	return pid;
}

static void test_holder(void)
{
	int a = memfd_create("a", MFD_CLOEXEC), b = memfd_create("b", MFD_CLOEXEC), status = -1;
	ino_t of_a = inode(a), of_b = inode(b);
	pid_t pid = start_holder();
	struct lsc_keep *keep = take_up(hold_path);
	struct pollfd poll_fd;

	ok(keep && found.n == 0, "a holder, of nothing");
	ok(lsc_keep_put(keep, "one", a, &err) == 0 && lsc_keep_put(keep, "two", a, &err) == 0 &&
		   lsc_keep_put(keep, "two", b, &err) == 0,
	   "two are kept, one in place of another");
	is_int(lsc_keep_drop(keep, "three", &err), 0, "what is not there can be dropped");
	close(a);
	close(b);
	lsc_keep_close(keep, true);
	keep = take_up(hold_path);
	ok(keep && found.n == 2 && has("one", of_a) && has("two", of_b), "the next finds both");
	is_int(lsc_keep_drop(keep, "one", &err), 0, "one goes");
	lsc_keep_close(keep, true);
	keep = take_up(hold_path);
	ok(found.n == 1 && has("two", of_b), "and is gone");
	poll_fd = (struct pollfd){.fd = lsc_keep_fd(keep), .events = POLLIN};
	is_int(poll(&poll_fd, 1, 0), 0, "all is quiet");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	is_int(poll(&poll_fd, 1, 1000), 1, "a holder that is killed is noticed");
	ok(lsc_keep_put(keep, "two", found.fds[0], &err) == -EPIPE, "and said: %s", err.text);
	pid = start_holder();
	is_int(lsc_keep_again(keep, &err), 0, "another one takes its place");
	is_int(lsc_keep_put(keep, "two", found.fds[0], &err), 0, "and keeps what it is given");
	lsc_keep_close(keep, true);
	keep = take_up(hold_path);
	ok(found.n == 1 && has("two", of_b), "which is there");
	lsc_keep_close(keep, false);
	waitpid(pid, &status, 0);
	is_int(status, 0, "it ends when nothing is to be left");
	ok(access(hold_path, F_OK) < 0, "and its socket goes");
	lsc_keep_close(NULL, false);
	forget();
}

/* Who breaks off, or the rules, does not end it. */
static void test_rude(void)
{
	pid_t pid = start_holder();
	struct lsc_keep *keep;
	int fd;

	for (int i = 0; i < 3; i++) {
		fd = lsc_hold_connect(hold_path, &err);
		if (i && send(fd, i == 1 ? "\xc1" : "", 1, 0) < 0)
			abort();
		close(fd);
	}
	keep = take_up(hold_path);
	ok(keep && kill(pid, 0) == 0, "a holder outlives who is rude");
	lsc_keep_close(keep, false);
	waitpid(pid, NULL, 0);
	ok(lsc_hold_connect(hold_path, &err) == -ENOENT, "then there is none: %s", err.text);
}

/* --- systemd --- */

static int listen_as_systemd(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, systemd_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	setenv("NOTIFY_SOCKET", systemd_path, 1);
	return fd;
}

/* The next message, with its descriptor or -1. */
static int hear(int fd, char text[256])
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {text, 255};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
	int got = -1;

	text[n > 0 ? n : 0] = 0;
	if (head)
		memcpy(&got, CMSG_DATA(head), sizeof(got));
	return got;
}

static void test_systemd(void)
{
	int fd = listen_as_systemd(), a = memfd_create("a", MFD_CLOEXEC), got;
	struct lsc_keep *keep;
	char text[256];

	setenv("FDSTORE", "512", 1);
	ok(lsc_keep_has_systemd(), "systemd has a place for descriptors");
	setenv("FDSTORE", "0", 1);
	ok(!lsc_keep_has_systemd(), "or says that it has none");
	keep = take_up(NULL);
	ok(keep && found.n == 0 && lsc_keep_fd(keep) < 0, "nothing is there at first");
	is_int(lsc_keep_put(keep, "cell-1", a, &err), 0, "one is put there");
	hear(fd, text);
	is_str(text, "FDSTOREREMOVE=1\nFDNAME=cell-1", "in place of what had its name");
	got = hear(fd, text);
	is_str(text, "FDSTORE=1\nFDPOLL=0\nFDNAME=cell-1", "as systemd wants it");
	ok(got >= 0 && inode(got) == inode(a), "with the descriptor");
	close(got);
	is_int(lsc_keep_drop(keep, "cell-1", &err), 0, "it goes");
	hear(fd, text);
	is_str(text, "FDSTOREREMOVE=1\nFDNAME=cell-1", "by its name");
	lsc_keep_notify("READY=1");
	hear(fd, text);
	is_str(text, "READY=1", "and other things are said");
	lsc_keep_close(keep, true);
	close(fd);
	close(a);
	unlink(systemd_path);
	keep = take_up(NULL);
	ok(lsc_keep_put(keep, "x", 0, &err) < 0, "a systemd that is gone: %s", err.text);
	lsc_keep_close(keep, true);
}

/* In a child, whose descriptors from 3 on are what systemd kept. */
static void test_inherited(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		int a = memfd_create("a", 0), b = memfd_create("b", 0);
		ino_t of_a = inode(a), of_b = inode(b);
		char text[16];
		bool good;

		a = fcntl(a, F_DUPFD, 20);
		b = fcntl(b, F_DUPFD, 20);
		if (dup2(a, 3) < 0 || dup2(b, 4) < 0)
			_exit(9);
		snprintf(text, sizeof(text), "%d", (int)getpid());
		setenv("LISTEN_PID", text, 1);
		setenv("LISTEN_FDS", "2", 1);
		setenv("LISTEN_FDNAMES", "about-1:cell-2", 1);
		good = take_up(NULL) && found.n == 2 && has("about-1", of_a) &&
		       has("cell-2", of_b) && fcntl(3, F_GETFD) == FD_CLOEXEC;
		setenv("LISTEN_PID", "1", 1);
		good = good && take_up(NULL) && found.n == 0;
		_exit(good ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "what systemd kept is found, by its names; and another's is not");
}

int main(void)
{
	snprintf(hold_path, sizeof(hold_path), "%s/hold", scratch());
	snprintf(systemd_path, sizeof(systemd_path), "%s/notify", scratch());
	test_holder();
	test_rude();
	test_systemd();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("FDSTORE");
	test_inherited();
	return done_testing();
}
