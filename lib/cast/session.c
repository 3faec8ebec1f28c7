/* session - answers an offer, runs the member, tells the coordinator how it goes
 *
 * What goes wrong here is told to the coordinator, which goes on without this node; the session
 * then waits to be let go, so that its links do not close before the reason has arrived.
 */
#include "cast/session.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "cast/commit.h"
#include "cast/reuse.h"
#include "cast/usage.h"
#include "mem/lender.h"
#include "model/files.h"

#define MAX_UNREAD    65536
#define LENT_LOOK_NS  10000000ull
#define LENT_STALL_NS 10000000000ull

struct lsc_session {
	struct lsc_loop *loop;
	struct lsc_link *link;
	const char *dir, *exec;
	bool rdma;
	struct lsc_offer offer;
	uint8_t *manifest;
	uint32_t manifest_len;

	struct lsc_image image;      /* its tables: ours, or of the image that is here */
	struct lsc_segment lent;     /* the image that is here, where a tier has it */
	uint32_t lent_count;         /* pieces of it, while it comes from disk, */
	uint64_t lent_ns;            /* and since when so many */
	struct lsc_segment *segment; /* what arrives; NULL: nothing does */
	struct lsc_member *member;
	struct lsc_check *check; /* of an offer that only asks */
	struct lsc_commit *commit;
	struct lsc_reuse *reuse; /* looks for pieces that are here, before the member is made */
	struct lsc_timer *progress;
	struct lsc_timer *grow; /* the next part of the segment's allocation */
	struct lsc_pack pack;
	bool complete; /* the image was here when it was offered */
	bool begun;    /* the manifest is here */
	bool failed;
	bool over; /* the link is not ours any more */
	uint64_t report_ns;
	double cpu_s;    /* that the process had used before */
	uint64_t memory; /* the most that was seen */
};

static void tell(struct lsc_session *s)
{
	if (!s->over)
		lsc_link_send(s->link, &s->pack, NULL, 0, NULL);
}

static void tell_failure(struct lsc_session *s, const struct lsc_err *err, uint32_t node,
			 uint32_t piece)
{
	struct lsc_failed failed = {.code = err->code, .node = node, .piece = piece};

	snprintf(failed.why, sizeof(failed.why), "%.*s", (int)sizeof(failed.why) - 1, err->text);
	if (lsc_failed_pack(&s->pack, &failed) == 0)
		tell(s);
}

/* Reports our own failure, once. */
static void fail(struct lsc_session *s, const struct lsc_err *err)
{
	if (s->failed)
		return;
	s->failed = true;
	lsc_info("cast of '%s' failed: %s", s->offer.name, err->text);
	tell_failure(s, err, LSC_NOBODY, LSC_NOBODY);
}

/* --- what the member reports --- */

static void tell_progress(struct lsc_session *s)
{
	struct lsc_node_progress progress = {0};

	if (s->member) /* not while there is no room for the image yet */
		lsc_member_progress(s->member, &progress);
	if (s->complete) {
		progress.pieces = s->image.n_pieces;
		progress.bytes = s->image.bytes;
	}
	if (lsc_node_progress_pack(&s->pack, &progress) == 0)
		tell(s);
}

static void on_progress(void *data)
{
	struct lsc_session *s = data;

	if (s->failed) /* it was the last word */
		return;
	/* A coordinator that does not read has no use for more, and they must not pile up here. */
	if (lsc_link_queued(s->link) < MAX_UNREAD)
		tell_progress(s);
	s->memory = LSC_MAX(s->memory, lsc_usage_memory());
	lsc_timer_arm(s->progress, s->report_ns);
}

static void on_block(void *data, uint32_t block)
{
	struct lsc_session *s = data;

	if (s->failed)
		return;
	lsc_pack_begin(&s->pack, "block");
	lsc_pack_uint(&s->pack, "block", block);
	if (lsc_pack_end(&s->pack) == 0)
		tell(s);
}

static void on_committed(void *data, int result, const struct lsc_err *err)
{
	struct lsc_session *s = data;

	if (result < 0) {
		fail(s, err);
		return;
	}
	lsc_info("image '%s' is here", s->offer.name);
	lsc_pack_begin(&s->pack, "complete");
	if (lsc_pack_end(&s->pack) == 0)
		tell(s);
}

static void on_all(void *data)
{
	struct lsc_session *s = data;
	struct lsc_err err = LSC_ERR_INIT;

	if (s->failed)
		return;
	tell_progress(s);
	if (lsc_commit_start(&s->commit, s->loop, s->segment, on_committed, s, &err) < 0)
		fail(s, &err);
}

static void on_fault(void *data, uint32_t node, uint32_t piece, const struct lsc_err *err)
{
	struct lsc_session *s = data;

	lsc_info("cast of '%s': node %u: %s", s->offer.name, node, err->text);
	if (!s->failed && lsc_link_queued(s->link) < MAX_UNREAD)
		tell_failure(s, err, node, piece);
}

static void on_failed(void *data, const struct lsc_err *err)
{
	fail(data, err);
}

static const struct lsc_member_events member_events = {on_block, on_all, on_fault, on_failed};

/* --- the offer --- */

/* The same of a tier: what is arriving there goes on to, or is somebody else's, which it knows.  A
 * source waits for what comes from disk: 2. */
static int look_in_tier(struct lsc_session *s, struct lsc_err *err)
{
	int r = lsc_segment_open(&s->lent, s->dir, s->offer.name, err);

	if (r == -ENOENT)
		return 0;
	if (r == 0 && s->lent.arrivals && (!s->offer.source || s->offer.part)) {
		lsc_segment_close(&s->lent);
		return 0;
	}
	if (r == 0)
		r = lsc_image_parse(&s->image, s->lent.manifest, s->lent.manifest_len, err);
	s->image.data = s->lent.data;
	return r < 0 ? r : s->lent.arrivals ? 2 : 1;
}

/* Whether the directory has NAME, and it is what the manifest says: 1, 0 for no NAME. */
static int look_for_image(struct lsc_session *s, struct lsc_err *err)
{
	char path[PATH_MAX];
	struct stat st;
	bool tier = lsc_lender_is(s->dir);
	int r = tier ? look_in_tier(s, err) : 0;

	if (tier && r <= 0)
		return r;
	if (snprintf(path, sizeof(path), "%s/%s", s->dir, s->offer.name) >= (int)sizeof(path))
		return lsc_err_set(err, ENAMETOOLONG, "'%s/%s': %m", s->dir, s->offer.name);
	if (!tier && stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	if (tier)
		r = 0;
	else if (!lsc_files_is_manifest(s->manifest, s->manifest_len))
		r = lsc_image_open(&s->image, path, err);
	else if (lsc_files_is(path)) {
		r = lsc_files_open_cast(&s->image, path, true, err);
		if (r == -EBADMSG)
			r = lsc_err_set(err, EEXIST, "'%s' is there already, and was changed",
					s->offer.name);
	} else
		r = lsc_err_set(err, EEXIST, "'%s' is there already, and no cast brought it",
				s->offer.name);
	if (r < 0)
		return r;
	if (s->image.manifest_len != s->manifest_len ||
	    memcmp(s->image.manifest, s->manifest, s->manifest_len))
		return lsc_err_set(err, EEXIST, "'%s' is there already, and is another image",
				   s->offer.name);
	return s->lent.arrivals ? 2 : 1;
}

static int make_segment(struct lsc_session *s, struct lsc_err *err)
{
	struct lsc_segment *segment = malloc(sizeof(*segment));
	int r;

	if (!segment)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	if (s->image.tree)
		r = lsc_segment_begin_tree(segment, s->dir, s->offer.name, s->manifest,
					   s->manifest_len, s->image.tree, s->image.n_pieces, err);
	else
		r = lsc_segment_begin(segment, s->dir, s->offer.name, s->manifest, s->manifest_len,
				      s->image.bytes, s->image.n_pieces, err);
	if (r < 0)
		free(segment);
	else
		s->segment = segment;
	return r;
}

/* An image of which nothing came leaves nothing; of others the pieces stay for the next cast. */
static void close_segment(struct lsc_session *s)
{
	if (!s->segment || lsc_commit_leave(s->commit))
		return;
	if (s->segment->n_pieces && !lsc_segment_count(s->segment))
		lsc_segment_discard(s->segment, NULL);
	lsc_segment_close(s->segment);
	free(s->segment);
}

static int make_member(struct lsc_session *s, struct lsc_segment *segment, struct lsc_err *err)
{
	struct lsc_member_options options = {
		.loop = s->loop,
		.cast = s->offer.cast,
		.image = &s->image,
		.data = !segment          ? s->image.data
			: s->offer.source ? segment->data /* and takes nothing */
					  : NULL,
		.data_fd = segment ? segment->image_fd : lsc_image_fd(&s->image),
		.segment = segment,
		.key = lsc_link_key(s->link),
		.proof = s->offer.cleartext ? &s->offer.proof : NULL,
		.events = &member_events,
		.data_of_events = s,
	};

	return lsc_member_new(&s->member, &options, err);
}

/* Says that it is ready, and with how much of the image. */
static void be_ready(struct lsc_session *s)
{
	struct lsc_ready ready = {.complete = s->complete, .rdma = s->rdma};

	if (s->exec)
		snprintf(ready.exec, sizeof(ready.exec), "%s", s->exec);
	if (lsc_ready_pack(&s->pack, &ready, s->member ? lsc_member_here(s->member) : NULL,
			   s->image.n_pieces) == 0)
		tell(s);
}

static void take_part(struct lsc_session *s)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (make_member(s, s->segment, &err) < 0)
		fail(s, &err);
	else
		be_ready(s);
}

static void on_reused(void *data, int result, uint32_t pieces, const struct lsc_err *why)
{
	struct lsc_session *s = data;

	(void)pieces;
	if (result == -ENOSPC) {
		fail(s, why);
		return;
	}
	if (result < 0) /* then they have to come */
		lsc_info("cast of '%s': %s", s->offer.name, why->text);
	take_part(s);
}

/* Allocates a part of the image, and lets the loop go on before the next. */
/* Ready to send what is here. */
static int be_source(struct lsc_session *s, struct lsc_err *err)
{
	int r = make_member(s, NULL, err);

	if (r == 0)
		be_ready(s);
	return r;
}

/* Waits for what a tier brings from disk, as long as it does: 1; 0 when it is there. */
static int await_lent(struct lsc_session *s, struct lsc_err *err)
{
	uint32_t count = lsc_segment_count(&s->lent);
	uint64_t now = lsc_clock_ns();

	if (lsc_segment_has(&s->lent, 0, s->lent.n_pieces))
		return be_source(s, err);
	if (count != s->lent_count || !s->lent_ns) {
		s->lent_count = count;
		s->lent_ns = now;
	}
	if (now - s->lent_ns > LENT_STALL_NS)
		return lsc_err_set(err, ETIMEDOUT, "'%s' does not come from disk", s->offer.name);
	lsc_timer_arm(s->grow, LENT_LOOK_NS);
	return 1;
}

static void on_grow(void *data)
{
	struct lsc_session *s = data;
	struct lsc_err err = LSC_ERR_INIT;
	int r = s->segment ? lsc_segment_grow(s->segment, &err) : await_lent(s, &err);

	if (!s->segment) {
		if (r < 0)
			fail(s, &err);
		return;
	}
	if (r > 0) {
		lsc_timer_arm(s->grow, 0);
		return;
	}
	if (r < 0) {
		free(s->segment);
		s->segment = NULL;
	} else if (s->offer.source) {
		take_part(s);
	} else {
		r = lsc_reuse_start(&s->reuse, s->loop, s->dir, &s->image, s->segment, on_reused, s,
				    &err);
	}
	if (r < 0)
		fail(s, &err);
}

/* Whether a part of what the manifest says is here, for a source of that: it is taken up as for
 * receiving, so that nobody else does meanwhile, and one of another image would be lost by that. */
static int look_for_part(struct lsc_session *s, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	bool files = lsc_files_is_manifest(s->manifest, s->manifest_len);

	if (files || lsc_segment_open(&segment, s->dir, s->offer.name, err) < 0 ||
	    segment.manifest_len != s->manifest_len ||
	    memcmp(segment.manifest, s->manifest, s->manifest_len) != 0)
		return lsc_err_set(err, ENOENT, "has no part of image '%s' to be a source of",
				   s->offer.name);
	return 0;
}

static void on_checked(void *data, const struct lsc_check_result *result)
{
	struct lsc_session *s = data;

	if (lsc_checked_pack(&s->pack, result) == 0)
		tell(s);
}

/* Makes ready for its part, which goes on in on_grow() where the image is to arrive. */
static int prepare(struct lsc_session *s, struct lsc_err *err)
{
	int r;

	if (s->offer.check)
		return lsc_check_start(&s->check, s->loop, s->dir, s->offer.name, s->manifest,
				       s->manifest_len, on_checked, s, err);
	r = look_for_image(s, err);
	if (r < 0)
		return r;
	s->complete = r > 0;
	if (!s->complete && s->offer.source && !s->offer.part)
		return lsc_err_set(err, ENOENT, "has no image '%s' to be a source of",
				   s->offer.name);
	if (!s->complete && s->offer.source && (r = look_for_part(s, err)) < 0)
		return r;
	if (s->complete) {
		if (s->image.tree)
			lsc_segment_sweep(s->dir, s->offer.name);
		if (r == 2) {
			lsc_timer_arm(s->grow, 0);
			return 0;
		}
		return be_source(s, err); /* it may be asked to send */
	}
	r = lsc_image_parse_any(&s->image, s->manifest, s->manifest_len, err);
	if (r == 0)
		r = make_segment(s, err);
	if (r == 0)
		lsc_timer_arm(s->grow, 0);
	return r;
}

int lsc_session_open(struct lsc_session **ret_session, struct lsc_loop *loop, const char *dir,
		     const char *exec, bool rdma, struct lsc_link *link,
		     const struct lsc_record *record, uint32_t body_len, void **ret_body,
		     struct lsc_err *err)
{
	struct lsc_session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	*s = (struct lsc_session){.loop = loop,
				  .link = link,
				  .dir = dir,
				  .exec = exec,
				  .rdma = rdma,
				  .lent = LSC_SEGMENT_INIT};
	s->cpu_s = lsc_usage_cpu_s();
	s->report_ns = LSC_CAST_PROGRESS_NS;
	r = lsc_offer_parse(record, &s->offer, err);
	if (r == 0 && s->offer.cleartext && !lsc_link_key(link))
		r = lsc_err_set(err, EPROTO, "gives a secret over a link that is not encrypted");
	if (r == 0 && (body_len == 0 || body_len > LSC_MANIFEST_MAX_BYTES))
		r = lsc_err_set(err, EPROTO, "offers a manifest of %u bytes", body_len);
	if (r == 0)
		r = lsc_timer_new(loop, on_progress, s, &s->progress, err);
	if (r == 0)
		r = lsc_timer_new(loop, on_grow, s, &s->grow, err);
	if (r == 0) {
		s->manifest = malloc(body_len);
		if (!s->manifest)
			r = lsc_err_set(err, ENOMEM, "cannot take a manifest: %m");
	}
	if (r < 0) {
		lsc_session_close(s);
		return r;
	}
	s->manifest_len = body_len;
	*ret_body = s->manifest;
	*ret_session = s;
	return 0;
}

int lsc_session_body(struct lsc_session *s, struct lsc_err *err)
{
	if (s->begun) /* of a record that is not known */
		return 0;
	s->begun = true;
	if (prepare(s, err) < 0)
		fail(s, err);
	else
		lsc_timer_arm(s->progress, LSC_CAST_PROGRESS_NS);
	return 0;
}

/* --- the rest of the talk --- */

static int plan(struct lsc_session *s, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_plan parsed;
	int r;

	if (!s->member)
		return lsc_err_set(err, EPROTO, "plans for what was not made ready");
	r = lsc_plan_parse(record, &parsed, err);
	if (r < 0)
		return r;
	lsc_info("cast of '%s': node %u, sends to %u%s%s", s->offer.name, parsed.node, parsed.n_to,
		 parsed.scheduled ? ", " : "",
		 parsed.scheduled ? lsc_order_name(parsed.order) : "");
	s->report_ns = parsed.report_ns;
	r = s->failed ? 0 : lsc_member_plan(s->member, &parsed, err);
	lsc_plan_release(&parsed);
	if (r < 0)
		fail(s, err);
	return 0;
}

/* The last word, which says what it has cost. */
static void tell_stats(struct lsc_session *s)
{
	struct lsc_stats stats = {
		.cpu_s = lsc_usage_cpu_s() - s->cpu_s,
		.memory = LSC_MAX(s->memory, lsc_usage_memory()),
	};

	if (s->member) {
		stats.received = lsc_member_received(s->member);
		stats.sent = lsc_member_sent(s->member);
	}
	if (lsc_stats_pack(&s->pack, &stats) == 0)
		tell(s);
}

int lsc_session_record(struct lsc_session *s, const struct lsc_record *record, struct lsc_err *err)
{
	if (lsc_record_is(record, "plan"))
		return plan(s, record, err);
	if (!lsc_record_is(record, "end"))
		return 0;
	tell_stats(s);
	s->over = true;
	return 1;
}

struct lsc_member *lsc_session_member(const struct lsc_session *s)
{
	return s->member;
}

const struct lsc_pass *lsc_session_proof(const struct lsc_session *s)
{
	return s->offer.cleartext ? &s->offer.proof : NULL;
}

const char *lsc_session_name(const struct lsc_session *s)
{
	return s->offer.name;
}

void lsc_session_close(struct lsc_session *s)
{
	if (!s)
		return;
	lsc_member_free(s->member);
	lsc_check_stop(s->check);
	lsc_reuse_stop(s->reuse);
	close_segment(s);
	lsc_image_close(&s->image);
	lsc_segment_close(&s->lent);
	lsc_timer_free(s->progress);
	lsc_timer_free(s->grow);
	lsc_pack_release(&s->pack);
	free(s->manifest);
	free(s);
}
