/* keep - descriptors in the hands of a holder, or of systemd */
#include "tier/keep.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "stream/packet.h"
#include "tier/hold.h"

#define FIRST_LISTEN_FD 3 /* sd_listen_fds(3) */

struct lsc_keep {
	char *socket; /* the holder's; NULL: systemd's */
	int fd;
	struct lsc_packet packet;
	struct lsc_pack pack;
};

typedef int keep_fn(void *data, const char *name, int fd);

/* --- systemd --- */

bool lsc_keep_has_systemd(void)
{
	const char *max = getenv("FDSTORE"); /* since systemd 254; before, only its unit knows */

	return getenv("NOTIFY_SOCKET") && (max ? atoi(max) > 0 : getenv("LISTEN_FDS") != NULL);
}

static int notify(const char *state, int fd, struct lsc_err *err)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec part = {.iov_base = (void *)state, .iov_len = strlen(state)};
	struct msghdr message = {.msg_name = &address, .msg_iov = &part, .msg_iovlen = 1};
	LSC_CLEANUP_FD int out = -1;

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return lsc_err_set(err, EDESTADDRREQ, "systemd did not say where to write to");
	strcpy(address.sun_path, path);
	message.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		address.sun_path[0] = 0;
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(fd))};
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (out < 0 || sendmsg(out, &message, MSG_NOSIGNAL) < 0)
		return lsc_err_set(err, errno, "cannot tell systemd: %m");
	return 0;
}

void lsc_keep_notify(const char *state)
{
	if (getenv("NOTIFY_SOCKET"))
		notify(state, -1, NULL);
}

/* What systemd kept is there from the start, in a row, with names between colons. */
static int take_inherited(keep_fn *fn, void *data)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	int n = pid && count && atoi(pid) == getpid() ? atoi(count) : 0, r = 0;

	for (int i = 0; i < n; i++) {
		int fd = FIRST_LISTEN_FD + i;
		size_t len = names ? strcspn(names, ":") : 0;
		char name[LSC_KEEP_NAME];

		snprintf(name, sizeof(name), "%.*s", (int)len, names ? names : "");
		if (names)
			names += len + (names[len] == ':');
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (r == 0)
			r = fn(data, name, fd);
		else
			close(fd);
	}
	unsetenv("LISTEN_PID");
	return r;
}

/* --- the holder --- */

static int ask(struct lsc_keep *keep, const char *type, const char *name, int fd,
	       struct lsc_err *err)
{
	int r;

	if (keep->fd < 0)
		return lsc_err_set(err, EPIPE, "there is no holder of memory");
	lsc_pack_begin(&keep->pack, type);
	if (name)
		lsc_pack_str(&keep->pack, "name", name);
	lsc_pack_end(&keep->pack);
	r = lsc_packet_send(keep->fd, &keep->pack, &fd, fd >= 0, err);
	if (r == 0)
		r = lsc_packet_receive(keep->fd, &keep->packet, err);
	if (r == 0)
		return lsc_err_set(err, EPIPE, "the holder of memory has ended");
	return r < 0 ? lsc_err_prefix(err, "holder of memory: ") : 0;
}

static int take_held(struct lsc_keep *keep, keep_fn *fn, void *data, struct lsc_err *err)
{
	char name[LSC_KEEP_NAME];
	int r = ask(keep, "list", NULL, -1, err);

	while (r >= 0 && lsc_record_is(&keep->packet.record, "held")) {
		int fd = lsc_packet_take(&keep->packet, 0, err);

		if (fd < 0)
			return fd;
		r = lsc_record_text(&keep->packet.record, "name", name, sizeof(name), err);
		if (r < 0)
			close(fd);
		else
			r = fn(data, name, fd);
		if (r >= 0)
			r = lsc_packet_receive(keep->fd, &keep->packet, err);
		if (r == 0)
			r = lsc_err_set(err, EPIPE, "the holder of memory has ended");
	}
	return r < 0 ? r : 0;
}

static int open_holder(struct lsc_keep *keep, struct lsc_err *err)
{
	char program[4096];
	ssize_t n;
	int r;

	keep->fd = lsc_hold_connect(keep->socket, err);
	if (keep->fd >= 0 || (keep->fd != -ENOENT && keep->fd != -ECONNREFUSED))
		return keep->fd < 0 ? keep->fd : 0;
	n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (n < 0)
		return lsc_err_set(err, errno, "cannot find this program: %m");
	program[n] = 0;
	r = lsc_hold_start(program, keep->socket, err);
	if (r == 0)
		keep->fd = r = lsc_hold_connect(keep->socket, err);
	return r < 0 ? r : 0;
}

/* --- either --- */

int lsc_keep_open(struct lsc_keep **ret_keep, const char *socket, keep_fn *fn, void *data,
		  struct lsc_err *err)
{
	struct lsc_keep *keep = calloc(1, sizeof(*keep));
	int r = 0;

	if (!keep)
		return lsc_err_set(err, ENOMEM, "no memory for a holder");
	keep->fd = -1;
	if (!socket) {
		r = take_inherited(fn, data);
	} else if (!(keep->socket = strdup(socket))) {
		r = lsc_err_set(err, ENOMEM, "no memory for a holder");
	} else {
		r = open_holder(keep, err);
		if (r == 0)
			r = take_held(keep, fn, data, err);
	}
	if (r < 0) {
		lsc_keep_close(keep, true);
		return r;
	}
	*ret_keep = keep;
	return 0;
}

int lsc_keep_fd(const struct lsc_keep *keep)
{
	return keep->fd;
}

int lsc_keep_again(struct lsc_keep *keep, struct lsc_err *err)
{
	if (!keep->socket)
		return 0;
	if (keep->fd >= 0)
		close(keep->fd);
	keep->fd = -1;
	return open_holder(keep, err);
}

static int tell_systemd(const char *what, const char *name, int fd, struct lsc_err *err)
{
	char state[LSC_KEEP_NAME + 64];

	snprintf(state, sizeof(state), "%s\nFDNAME=%s", what, name);
	return notify(state, fd, err);
}

int lsc_keep_put(struct lsc_keep *keep, const char *name, int fd, struct lsc_err *err)
{
	if (keep->socket)
		return ask(keep, "put", name, fd, err);
	/* It keeps all of one name: the one before goes first. */
	tell_systemd("FDSTOREREMOVE=1", name, -1, NULL);
	return tell_systemd("FDSTORE=1\nFDPOLL=0", name, fd, err);
}

int lsc_keep_drop(struct lsc_keep *keep, const char *name, struct lsc_err *err)
{
	return keep->socket ? ask(keep, "drop", name, -1, err)
			    : tell_systemd("FDSTOREREMOVE=1", name, -1, err);
}

void lsc_keep_close(struct lsc_keep *keep, bool leave)
{
	if (!keep)
		return;
	if (keep->socket && keep->fd >= 0 && !leave && ask(keep, "stop", NULL, -1, NULL) == 0)
		unlink(keep->socket);
	if (keep->fd >= 0)
		close(keep->fd);
	lsc_packet_release(&keep->packet);
	lsc_pack_release(&keep->pack);
	free(keep->socket);
	free(keep);
}
