/* packet: records with descriptors, whole or not at all; what is no record; nothing leaks */
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "stream/packet.h"

static int pair[2];
static struct lsc_err err;

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void make(struct lsc_pack *pack, const char *type)
{
	lsc_pack_begin(pack, type);
	lsc_pack_str(pack, "name", "a");
	lsc_pack_end(pack);
}

static void test_there(void)
{
	struct lsc_packet packet = LSC_PACKET_INIT;
	struct lsc_pack pack = LSC_PACK_INIT;
	int fds[LSC_PACKET_MAX_FDS], before, fd;
	char name[8];

	for (int i = 0; i < LSC_PACKET_MAX_FDS; i++)
		fds[i] = memfd_create("x", MFD_CLOEXEC);
	before = count_fds();
	make(&pack, "put");
	is_int(lsc_packet_send(pair[0], &pack, fds, LSC_PACKET_MAX_FDS, &err), 0,
	       "as many as may be");
	is_int(lsc_packet_receive(pair[1], &packet, &err), 1, "they come");
	ok(lsc_record_is(&packet.record, "put") &&
		   lsc_record_text(&packet.record, "name", name, sizeof(name), &err) == 0 &&
		   !strcmp(name, "a"),
	   "with what was said");
	is_int(packet.n_fds, LSC_PACKET_MAX_FDS, "all of them");
	fd = lsc_packet_take(&packet, 3, &err);
	ok(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC, "one is taken, and not for children");
	is_int(lsc_packet_take(&packet, 3, &err), -EBADMSG, "once");
	is_int(lsc_packet_take(&packet, LSC_PACKET_MAX_FDS, &err), -EBADMSG,
	       "and none that is not there");
	make(&pack, "next");
	lsc_packet_send(pair[0], &pack, NULL, 0, &err);
	lsc_packet_receive(pair[1], &packet, &err);
	is_int(count_fds(), before + 1, "the next packet closes what was not taken");
	close(fd);
	is_int(lsc_packet_send(pair[0], &pack, fds, LSC_PACKET_MAX_FDS + 1, &err), -EMSGSIZE,
	       "more are refused");
	lsc_packet_release(&packet);
	for (int i = 0; i < LSC_PACKET_MAX_FDS; i++)
		close(fds[i]);
	lsc_pack_release(&pack);
}

/* Raw bytes, with a descriptor. */
static void send_raw(const void *bytes, size_t len)
{
	struct lsc_pack pack = LSC_PACK_INIT;
	int fd = memfd_create("x", MFD_CLOEXEC);

	lsc_buf_add(&pack.buf, bytes, len);
	lsc_packet_send(pair[0], &pack, &fd, 1, &err);
	close(fd);
	lsc_pack_release(&pack);
}

static void test_wrong(void)
{
	static uint8_t large[LSC_PACKET_MAX_BYTES + 1];
	struct lsc_packet packet = LSC_PACKET_INIT;
	struct lsc_pack pack = LSC_PACK_INIT;
	int before = count_fds();

	send_raw("\xc1", 1);
	ok(lsc_packet_receive(pair[1], &packet, &err) < 0, "what is no record: %s", err.text);
	make(&pack, "a");
	lsc_buf_add(&pack.buf, "\x01", 1);
	lsc_packet_send(pair[0], &pack, NULL, 0, &err);
	is_int(lsc_packet_receive(pair[1], &packet, &err), -EBADMSG, "and more than one");
	send(pair[0], large, sizeof(large), 0);
	is_int(lsc_packet_receive(pair[1], &packet, &err), -EBADMSG, "one that is too large");
	lsc_pack_begin(&pack, "a");
	lsc_pack_bin(&pack, "b", large, sizeof(large));
	lsc_pack_end(&pack);
	is_int(lsc_packet_send(pair[0], &pack, NULL, 0, &err), -EMSGSIZE, "and to send one");
	lsc_packet_release(&packet);
	is_int(count_fds(), before, "descriptors of what is wrong are closed");
	lsc_pack_release(&pack);
}

static void test_ends(void)
{
	struct lsc_packet packet = LSC_PACKET_INIT;
	struct lsc_pack pack = LSC_PACK_INIT;
	int r = 0;

	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	is_int(lsc_packet_receive(pair[1], &packet, &err), -EAGAIN, "nothing is there yet");
	make(&pack, "a");
	for (int i = 0; r == 0 && i < 100000; i++)
		r = lsc_packet_send(pair[0], &pack, NULL, 0, &err);
	is_int(r, -EAGAIN, "a reader that does not read");
	close(pair[0]);
	while ((r = lsc_packet_receive(pair[1], &packet, &err)) > 0)
		;
	is_int(r, 0, "the other end has closed");
	is_int(lsc_packet_send(pair[1], &pack, NULL, 0, &err), -EPIPE, "and does not listen");
	lsc_packet_release(&packet);
	lsc_packet_release(&packet);
	lsc_pack_release(&pack);
	close(pair[1]);
}

int main(void)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	test_there();
	test_wrong();
	test_ends();
	return done_testing();
}
