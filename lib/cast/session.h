/* A session: one cast at a node that takes part in it, from the coordinator's offer to its end. */
#ifndef LSC_CAST_SESSION_H
#define LSC_CAST_SESSION_H

#include "base/err.h"
#include "cast/member.h"
#include "net/link.h"
#include "net/loop.h"
#include "stream/record.h"

struct lsc_session;

/* record is the offer; its body, the manifest, goes to *ret_body, and then lsc_session_body() is
 * called, as it may be for bodies that were skipped later.  The link stays the caller's and must
 * outlive the session.  rdma: data links may go over it. */
int lsc_session_open(struct lsc_session **ret_session, struct lsc_loop *loop, const char *dir,
		     const char *exec, bool rdma, struct lsc_link *link,
		     const struct lsc_record *record, uint32_t body_len, void **ret_body,
		     struct lsc_err *err);
int lsc_session_body(struct lsc_session *session, struct lsc_err *err);

/* A record from the coordinator: 1 when it was the last. */
int lsc_session_record(struct lsc_session *session, const struct lsc_record *record,
		       struct lsc_err *err);

/* What takes its pieces; NULL where none are to come. */
struct lsc_member *lsc_session_member(const struct lsc_session *session);
/* What plain data links have to prove; NULL where none are let in. */
const struct lsc_pass *lsc_session_proof(const struct lsc_session *session);
const char *lsc_session_name(const struct lsc_session *session);

/* Its member's inlets were closed before. */
void lsc_session_close(struct lsc_session *session);

#endif
