/* lender - a client's end of a tier's socket */
#include "mem/lender.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SCHEME "unix:"
#define WORDS  400

bool lsc_lender_is(const char *dir)
{
	return !strncmp(dir, SCHEME, strlen(SCHEME));
}

int lsc_lender_send(struct lsc_lender *lender, const int *fds, unsigned n_fds, struct lsc_err *err)
{
	return lsc_packet_send(lender->fd, &lender->pack, fds, n_fds, err);
}

static int take_failure(const struct lsc_record *record, struct lsc_err *err)
{
	char why[WORDS];
	uint64_t code;
	int r = lsc_record_uint(record, "code", 4095, &code, err);

	if (r == 0)
		r = lsc_record_text(record, "why", why, sizeof(why), err);
	return r < 0 ? r : lsc_err_set(err, code ? (int)code : EPROTO, "%s", why);
}

int lsc_lender_next(struct lsc_lender *lender, struct lsc_err *err)
{
	int r = lsc_packet_receive(lender->fd, &lender->packet, err);

	if (r == 0)
		return lsc_err_set(err, EPIPE, "the tier has ended");
	if (r > 0 && lsc_record_is(&lender->packet.record, "failed"))
		return take_failure(&lender->packet.record, err);
	return r < 0 ? lsc_err_prefix(err, "tier: ") : 0;
}

int lsc_lender_ask(struct lsc_lender *lender, const int *fds, unsigned n_fds, struct lsc_err *err)
{
	int r = lsc_lender_send(lender, fds, n_fds, err);

	return r < 0 ? r : lsc_lender_next(lender, err);
}

static int greet(struct lsc_lender *lender, struct lsc_err *err)
{
	int r = lsc_pack_hello(&lender->pack, "tier");

	if (r < 0)
		return lsc_err_set(err, -r, "cannot make a hello: %m");
	r = lsc_lender_ask(lender, NULL, 0, err);
	return r < 0 ? r : lsc_record_hello(&lender->packet.record, "tier", err);
}

int lsc_lender_open(struct lsc_lender *lender, const char *address, struct lsc_err *err)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	const char *path = address + strlen(SCHEME);
	int r;

	*lender = (struct lsc_lender)LSC_LENDER_INIT;
	if (!lsc_lender_is(address) || !*path || strlen(path) >= sizeof(at.sun_path))
		return lsc_err_set(err, EINVAL, "'%s' is not where a tier listens (unix:PATH)",
				   address);
	strcpy(at.sun_path, path);
	lender->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (lender->fd < 0)
		return lsc_err_set(err, errno, "cannot make a socket: %m");
	if (connect(lender->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		r = lsc_err_set(err, errno, "cannot reach the tier at '%s': %m", address);
	else
		r = greet(lender, err);
	if (r < 0)
		lsc_lender_close(lender);
	return r;
}

void lsc_lender_close(struct lsc_lender *lender)
{
	if (lender->fd >= 0)
		close(lender->fd);
	lsc_packet_release(&lender->packet);
	lsc_pack_release(&lender->pack);
	*lender = (struct lsc_lender)LSC_LENDER_INIT;
}
