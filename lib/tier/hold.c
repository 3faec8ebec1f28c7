/* hold - a table of names and descriptors, in a process that does nothing else */
#include "tier/hold.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "stream/packet.h"
#include "tier/keep.h"

struct held {
	char name[LSC_KEEP_NAME];
	int fd;
	struct held *next;
};

struct hold {
	struct held *all;
	struct lsc_packet packet;
	struct lsc_pack pack;
	bool stop;
};

/* --- the process --- */

static struct held **find(struct hold *hold, const char *name)
{
	struct held **at = &hold->all;

	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	return at;
}

static void drop(struct hold *hold, const char *name)
{
	struct held **at = find(hold, name), *held = *at;

	if (!held)
		return;
	*at = held->next;
	close(held->fd);
	free(held);
}

static int put(struct hold *hold, const char *name, struct lsc_err *err)
{
	int fd = lsc_packet_take(&hold->packet, 0, err);
	struct held *held = fd < 0 ? NULL : malloc(sizeof(*held));

	if (!held) {
		if (fd >= 0)
			close(fd);
		return fd < 0 ? fd : lsc_err_set(err, ENOMEM, "no memory to hold '%s'", name);
	}
	drop(hold, name);
	strcpy(held->name, name);
	held->fd = fd;
	held->next = hold->all;
	hold->all = held;
	return 0;
}

static int list(struct hold *hold, int fd, struct lsc_err *err)
{
	int r = 0;

	for (struct held *held = hold->all; held && r == 0; held = held->next) {
		lsc_pack_begin(&hold->pack, "held");
		lsc_pack_str(&hold->pack, "name", held->name);
		lsc_pack_end(&hold->pack);
		r = lsc_packet_send(fd, &hold->pack, &held->fd, 1, err);
	}
	return r;
}

static int answer(struct hold *hold, int fd, struct lsc_err *err)
{
	const struct lsc_record *record = &hold->packet.record;
	const char *reply = "done";
	char name[LSC_KEEP_NAME];
	int r = 0;

	if (lsc_record_is(record, "list")) {
		reply = "end";
		r = list(hold, fd, err);
	} else if (lsc_record_is(record, "stop")) {
		hold->stop = true;
	} else {
		r = lsc_record_text(record, "name", name, sizeof(name), err);
		if (r == 0 && lsc_record_is(record, "put"))
			r = put(hold, name, err);
		else if (r == 0 && lsc_record_is(record, "drop"))
			drop(hold, name);
	}
	if (r < 0)
		return r;
	lsc_pack_begin(&hold->pack, reply);
	lsc_pack_end(&hold->pack);
	return lsc_packet_send(fd, &hold->pack, NULL, 0, err);
}

static bool is_ours(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

int lsc_hold_run(int listener, struct lsc_err *err)
{
	struct rlimit limit;
	struct hold hold = {.packet = LSC_PACKET_INIT, .pack = LSC_PACK_INIT};

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	while (!hold.stop) {
		LSC_CLEANUP_FD int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return lsc_err_set(err, errno, "cannot accept: %m");
		/* Whoever breaks off, or the rules, comes again. */
		while (fd >= 0 && is_ours(fd) && !hold.stop &&
		       lsc_packet_receive(fd, &hold.packet, NULL) > 0 &&
		       answer(&hold, fd, NULL) == 0)
			;
	}
	while (hold.all)
		drop(&hold, hold.all->name);
	lsc_packet_release(&hold.packet);
	lsc_pack_release(&hold.pack);
	return 0;
}

/* --- whoever starts it --- */

static int fill(struct sockaddr_un *address, const char *path, struct lsc_err *err)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return lsc_err_set(err, ENAMETOOLONG, "socket '%s': %m", path);
	strcpy(address->sun_path, path);
	return 0;
}

int lsc_hold_connect(const char *socket_path, struct lsc_err *err)
{
	struct sockaddr_un address;
	int fd, r = fill(&address, socket_path, err);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot make a socket: %m");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		r = lsc_err_set(err, errno, "cannot connect to 'unix:%s': %m", socket_path);
		close(fd);
		return r;
	}
	/* In a directory that all may write to somebody else could listen. */
	if (!is_ours(fd)) {
		close(fd);
		return lsc_err_set(err, EPERM, "'unix:%s' is another user's", socket_path);
	}
	return fd;
}

static int listen_at(const char *path, struct lsc_err *err)
{
	struct sockaddr_un address;
	int fd, r = fill(&address, path, err);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot make a socket: %m");
	unlink(path);
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, 0600) < 0 || listen(fd, 4) < 0) {
		r = lsc_err_set(err, errno, "cannot listen at 'unix:%s': %m", path);
		close(fd);
		return r;
	}
	return fd;
}

/* Nothing of the daemon's may stay open in it, or its clients would wait for an end of file. */
static void become_holder(const char *program, int listener)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	if (listener < LSC_HOLD_LISTENER)
		listener = fcntl(listener, F_DUPFD_CLOEXEC, LSC_HOLD_LISTENER);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < LSC_HOLD_LISTENER; i++)
		if (nothing < 0 || dup2(nothing, i) < 0)
			_exit(71);
	if (dup2(listener, LSC_HOLD_LISTENER) < 0 || fcntl(LSC_HOLD_LISTENER, F_SETFD, 0) < 0)
		_exit(71);
	close_range(LSC_HOLD_LISTENER + 1, ~0u, 0);
	if (chdir("/") < 0)
		_exit(71);
	execl(program, "lsc-tier", "hold", (char *)NULL);
	_exit(126);
}

int lsc_hold_start(const char *program, const char *socket_path, struct lsc_err *err)
{
	LSC_CLEANUP_FD int listener = listen_at(socket_path, err);
	pid_t pid;
	int status = 0;

	if (listener < 0)
		return listener;
	pid = fork();
	if (pid < 0)
		return lsc_err_set(err, errno, "cannot start a holder: %m");
	if (pid == 0) {
		/* A parent that ends at once leaves it to init, and nobody has to wait for it. */
		pid = fork();
		if (pid == 0)
			become_holder(program, listener);
		_exit(pid < 0 ? 71 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status)
		return lsc_err_set(err, EAGAIN, "cannot start a holder");
	return 0; /* the socket listens already: whoever connects waits for it */
}
