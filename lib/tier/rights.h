/* Who may do what with a tier: the kernel says whose process is at the other end (SO_PEERCRED,
 * SO_PEERGROUPS in socket(7)), and the tier's options what that one may.
 */
#ifndef LSC_TIER_RIGHTS_H
#define LSC_TIER_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	LSC_RIGHT_READ = 1,   /* list, and map images that are there, or come from disk */
	LSC_RIGHT_WRITE = 2,  /* bring images */
	LSC_RIGHT_MANAGE = 4, /* load, pin, evict, remove */
};

#define LSC_PEER_MAX_GROUPS 64
#define LSC_PEER_TEXT       256

struct lsc_peer {
	pid_t pid;
	uid_t uid;
	gid_t groups[LSC_PEER_MAX_GROUPS]; /* the first is its own; more are not looked at */
	unsigned n_groups;
};

int lsc_peer_of(struct lsc_peer *peer, int fd, struct lsc_err *err);

#define LSC_RIGHTS_MAX 64

/* Who has rights beside root and the tier's own user, who have all. */
struct lsc_rights {
	struct {
		unsigned what;
		bool everyone, group;
		uid_t uid;
		gid_t gid;
	} rows[LSC_RIGHTS_MAX];
	unsigned n;
};

/* Adds what `read:alice`, `write:@gpu`, `manage:1000` or `read:all` says; a right includes those
 * before it in that order.  -EINVAL. */
int lsc_rights_add(struct lsc_rights *rights, const char *text, struct lsc_err *err);

unsigned lsc_rights_of(const struct lsc_rights *rights, const struct lsc_peer *peer);

#endif
