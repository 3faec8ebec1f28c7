/* rights - users, groups, and what they may */
#include "tier/rights.h"

#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/parse.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

int lsc_peer_of(struct lsc_peer *peer, int fd, struct lsc_err *err)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return lsc_err_set(err, errno, "cannot tell who connects: %m");
	*peer = (struct lsc_peer){.pid = cred.pid, .uid = cred.uid};
	peer->groups[peer->n_groups++] = cred.gid;
	len = sizeof(peer->groups) - sizeof(peer->groups[0]);
	/* One that is in more groups than that is taken for one of its own alone. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups + 1, &len) == 0)
		peer->n_groups += len / sizeof(peer->groups[0]);
	return 0;
}

static int take_user(const char *who, uid_t *ret_uid, struct lsc_err *err)
{
	struct passwd *user = getpwnam(who);
	uint64_t number;

	if (user)
		*ret_uid = user->pw_uid;
	else if (lsc_parse_uint(who, 0, UINT32_MAX - 1, &number, NULL) == 0)
		*ret_uid = (uid_t)number;
	else
		return lsc_err_set(err, EINVAL, "there is no user '%s'", who);
	return 0;
}

static int take_group(const char *who, gid_t *ret_gid, struct lsc_err *err)
{
	struct group *group = getgrnam(who);
	uint64_t number;

	if (group)
		*ret_gid = group->gr_gid;
	else if (lsc_parse_uint(who, 0, UINT32_MAX - 1, &number, NULL) == 0)
		*ret_gid = (gid_t)number;
	else
		return lsc_err_set(err, EINVAL, "there is no group '%s'", who);
	return 0;
}

int lsc_rights_add(struct lsc_rights *rights, const char *text, struct lsc_err *err)
{
	static const struct {
		const char *name;
		unsigned what;
	} names[] = {
		{"read:", LSC_RIGHT_READ},
		{"write:", LSC_RIGHT_READ | LSC_RIGHT_WRITE},
		{"manage:", LSC_RIGHT_READ | LSC_RIGHT_WRITE | LSC_RIGHT_MANAGE},
	};
	const char *who = NULL;
	unsigned what = 0, n = rights->n;
	int r = 0;

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(names); i++)
		if (!strncmp(text, names[i].name, strlen(names[i].name))) {
			what = names[i].what;
			who = text + strlen(names[i].name);
		}
	if (!who || !*who)
		return lsc_err_set(err, EINVAL,
				   "'%s' does not say who may what (read:WHO, write:WHO, "
				   "manage:WHO; WHO is a user, @GROUP or all)",
				   text);
	if (n == LSC_RIGHTS_MAX)
		return lsc_err_set(err, EINVAL, "more than %d rights are given", LSC_RIGHTS_MAX);
	rights->rows[n].what = what;
	rights->rows[n].everyone = !strcmp(who, "all");
	rights->rows[n].group = who[0] == '@';
	if (rights->rows[n].group)
		r = take_group(who + 1, &rights->rows[n].gid, err);
	else if (!rights->rows[n].everyone)
		r = take_user(who, &rights->rows[n].uid, err);
	if (r == 0)
		rights->n++;
	return r;
}

static bool is_in(const struct lsc_peer *peer, gid_t gid)
{
	for (unsigned i = 0; i < peer->n_groups; i++)
		if (peer->groups[i] == gid)
			return true;
	return false;
}

unsigned lsc_rights_of(const struct lsc_rights *rights, const struct lsc_peer *peer)
{
	unsigned what = 0;

	if (peer->uid == 0 || peer->uid == geteuid())
		return LSC_RIGHT_READ | LSC_RIGHT_WRITE | LSC_RIGHT_MANAGE;
	for (unsigned i = 0; i < rights->n; i++)
		if (rights->rows[i].everyone ||
		    (rights->rows[i].group ? is_in(peer, rights->rows[i].gid)
					   : peer->uid == rights->rows[i].uid))
			what |= rights->rows[i].what;
	return what;
}
