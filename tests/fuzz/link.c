/* fuzz link: any bytes as what a peer sends, in reads of many sizes; records and bodies come in
 * order and whole, or the link ends, once */
#include "net/link.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "net/link_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MAX_BODY 4096

static void check(bool good)
{
	if (!good)
		abort();
}

/* What is still to be read; how much at a time is drawn from seed. */
static const uint8_t *at, *end;
static uint32_t seed;

static ssize_t fuzz_readv(struct lsc_link *link, const struct iovec *iov, int n)
{
	size_t chunk, got = 0;

	(void)link;
	seed = seed * 1664525 + 1013904223;
	chunk = LSC_MIN(1u + (seed >> 24) * (seed >> 28), (size_t)(end - at));
	for (int i = 0; i < n && got < chunk; i++) {
		size_t part = LSC_MIN(iov[i].iov_len, chunk - got);

		memcpy(iov[i].iov_base, at, part);
		at += part;
		got += part;
	}
	return (ssize_t)got;
}

static ssize_t fuzz_writev(struct lsc_link *link, const struct iovec *iov, int n)
{
	size_t sum = 0;

	(void)link;
	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return (ssize_t)sum;
}

static void nothing(struct lsc_link *link)
{
	(void)link;
}

static void want_nothing(struct lsc_link *link, bool want)
{
	(void)link;
	(void)want;
}

static const struct lsc_link_ops ops = {
	.name = "fuzz",
	.start = nothing,
	.readv = fuzz_readv,
	.writev = fuzz_writev,
	.want_write = want_nothing,
	.shut = nothing,
	.close = nothing,
};

struct owner {
	bool open, closed, refuses;
	uint32_t records, body_len; /* of the body that is under way */
	uint8_t body[MAX_BODY];
};

static void on_open(void *data, struct lsc_link *link)
{
	struct owner *owner = data;

	(void)link;
	check(!owner->open && !owner->closed);
	owner->open = true;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct owner *owner = data;

	(void)link;
	check(owner->open && !owner->closed && !owner->body_len && record->type);
	owner->records++;
	owner->body_len = body_len;
	if (body_len <= MAX_BODY)
		*ret_body = owner->body;
	if (owner->refuses && owner->records == 5)
		return lsc_err_set(err, EPROTO, "no more");
	return 0;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	struct owner *owner = data;

	(void)link;
	(void)err;
	check(owner->body_len && !owner->closed);
	owner->body_len = 0;
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct owner *owner = data;

	(void)link;
	(void)err;
	check(!owner->closed);
	owner->closed = true;
}

static const struct lsc_link_events events = {
	.on_open = on_open, .on_record = on_record, .on_body = on_body, .on_close = on_close};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_link_options options = {.kind = "cast"};
	static struct lsc_loop *loop;
	static struct owner owner;
	struct lsc_link *link;

	if (!loop && lsc_loop_new(&loop, NULL) < 0)
		return 0;
	memset(&owner, 0, sizeof(owner));
	owner.refuses = len % 2;
	at = data;
	end = data + len;
	seed = (uint32_t)len;
	link = lsc_link_new(loop, &ops, &options, &events, &owner);
	check(link != NULL);
	lsc_link_up(link);
	for (size_t i = 0; i <= len && !owner.closed; i++)
		lsc_link_ready(link, true, false);
	check(owner.closed);
	lsc_link_close(link);
	lsc_loop_turn(loop, 0, NULL);
	return 0;
}
