/* rights: who may what, by user and by group */
#include "tap.h"

#include <sys/socket.h>

#include "tier/rights.h"

#define ALL (LSC_RIGHT_READ | LSC_RIGHT_WRITE | LSC_RIGHT_MANAGE)

static struct lsc_err err;

static unsigned of(const struct lsc_rights *rights, uid_t uid, gid_t gid, gid_t other)
{
	struct lsc_peer peer = {.uid = uid, .groups = {gid, other}, .n_groups = 2};

	return lsc_rights_of(rights, &peer);
}

int main(void)
{
	static const char *const wrong[] = {"",
					    "read",
					    "read:",
					    "drink:root",
					    "read:@",
					    "read:no-such-user",
					    "read:@no-such-group",
					    "READ:root",
					    "read:-1",
					    "read:4294967295"};
	struct lsc_rights rights = {.n = 0};
	struct lsc_peer peer;
	int pair[2];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ok(lsc_rights_add(&rights, wrong[i], &err) == -EINVAL && rights.n == 0 && *err.text,
		   "'%s': %s", wrong[i], err.text);
	is_int(of(&rights, 4242, 1, 1), 0, "others have none");
	is_int(of(&rights, 0, 1, 1), ALL, "root has all");
	is_int(of(&rights, geteuid(), 1, 1), ALL, "and so has the tier's user");
	ok(lsc_rights_add(&rights, "read:4242", &err) == 0 &&
		   lsc_rights_add(&rights, "write:@77", &err) == 0 &&
		   lsc_rights_add(&rights, "manage:4243", &err) == 0,
	   "numbers are fine");
	is_int(of(&rights, 4242, 1, 1), LSC_RIGHT_READ, "one reads");
	is_int(of(&rights, 4242, 1, 77), LSC_RIGHT_READ | LSC_RIGHT_WRITE, "one of a group writes");
	is_int(of(&rights, 4244, 77, 1), LSC_RIGHT_READ | LSC_RIGHT_WRITE,
	       "the first of its groups counts");
	is_int(of(&rights, 4243, 1, 1), ALL, "who manages does all");
	is_int(of(&rights, 77, 1, 1), 0, "a user is no group");
	ok(lsc_rights_add(&rights, "read:all", &err) == 0 && of(&rights, 1, 1, 1) == LSC_RIGHT_READ,
	   "all may read");
	while (rights.n < LSC_RIGHTS_MAX)
		lsc_rights_add(&rights, "read:root", &err);
	is_int(lsc_rights_add(&rights, "read:root", &err), -EINVAL, "there is an end");
	is_int(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0, "a pair");
	ok(lsc_peer_of(&peer, pair[0], &err) == 0 && peer.uid == geteuid() &&
		   peer.pid == getpid() && peer.n_groups >= 1 && peer.groups[0] == getegid(),
	   "the kernel says who is there");
	ok(lsc_peer_of(&peer, 0x7fff, &err) < 0, "of a socket alone: %s", err.text);
	close(pair[0]);
	close(pair[1]);
	return done_testing();
}
