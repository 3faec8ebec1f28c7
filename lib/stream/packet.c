/* packet - a record and descriptors, sent and received as one */
#include "stream/packet.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int[LSC_PACKET_MAX_FDS]))];
};

int lsc_packet_send(int fd, const struct lsc_pack *pack, const int *fds, unsigned n_fds,
		    struct lsc_err *err)
{
	struct iovec part = {.iov_base = pack->buf.data, .iov_len = pack->buf.len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	union control control;
	ssize_t n;

	if (pack->failed)
		return lsc_err_set(err, -pack->failed, "cannot make a record: %m");
	if (pack->buf.len > LSC_PACKET_MAX_BYTES || n_fds > LSC_PACKET_MAX_FDS)
		return lsc_err_set(err, EMSGSIZE, "a packet of %zu bytes and %u descriptors: %m",
				   pack->buf.len, n_fds);
	if (n_fds) {
		struct cmsghdr *head;

		memset(&control, 0, sizeof(control));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(*fds));
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(n_fds * sizeof(*fds));
		memcpy(CMSG_DATA(head), fds, n_fds * sizeof(*fds));
	}
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? lsc_err_set(err, errno, "cannot send: %m") : 0;
}

static void close_fds(struct lsc_packet *packet)
{
	for (unsigned i = 0; i < packet->n_fds; i++)
		if (packet->fds[i] >= 0)
			close(packet->fds[i]);
	packet->n_fds = 0;
}

/* Whatever the kernel made of what was sent: descriptors are ours before anything is refused. */
static void take_control(struct lsc_packet *packet, struct msghdr *message)
{
	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head;
	     head = CMSG_NXTHDR(message, head)) {
		unsigned n = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < n && packet->n_fds < LSC_PACKET_MAX_FDS; i++)
			memcpy(&packet->fds[packet->n_fds++], CMSG_DATA(head) + i * sizeof(int),
			       sizeof(int));
	}
}

int lsc_packet_receive(int fd, struct lsc_packet *packet, struct lsc_err *err)
{
	union control control;
	struct iovec part = {.iov_len = LSC_PACKET_MAX_BYTES};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n, used;

	close_fds(packet);
	if (!packet->bytes)
		packet->bytes = malloc(LSC_PACKET_MAX_BYTES);
	if (!packet->bytes)
		return lsc_err_set(err, ENOMEM, "cannot receive: %m");
	part.iov_base = packet->bytes;
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return lsc_err_set(err, errno, "cannot receive: %m");
	take_control(packet, &message);
	packet->len = (size_t)n;
	if (n == 0)
		return 0;
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return lsc_err_set(err, EBADMSG, "a packet is too large");
	used = lsc_record_parse(&packet->record, packet->bytes, (size_t)n, err);
	if (used >= 0 && used != n)
		return lsc_err_set(err, EBADMSG, "a packet is not one record");
	return used < 0 ? (int)used : 1;
}

int lsc_packet_take(struct lsc_packet *packet, unsigned i, struct lsc_err *err)
{
	int fd = i < packet->n_fds ? packet->fds[i] : -1;

	if (fd < 0)
		return lsc_err_set(err, EBADMSG, "'%.*s' comes without its descriptors",
				   (int)packet->record.type_len, packet->record.type);
	packet->fds[i] = -1;
	return fd;
}

void lsc_packet_release(struct lsc_packet *packet)
{
	close_fds(packet);
	lsc_record_release(&packet->record);
	free(packet->bytes);
	*packet = (struct lsc_packet)LSC_PACKET_INIT;
}
