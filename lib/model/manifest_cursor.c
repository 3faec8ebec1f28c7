/* manifest_cursor - records, their bodies, and the hashes that all manifests have */
#include "model/manifest_cursor.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void lsc_manifest_cursor_release(struct lsc_manifest_cursor *cursor)
{
	lsc_record_release(&cursor->record);
}

static int next_body(struct lsc_manifest_cursor *cursor, struct lsc_err *err)
{
	uint64_t announced;
	ssize_t n;
	int r;

	cursor->body = NULL;
	if (!lsc_record_get(&cursor->record, "body"))
		return 0;
	r = lsc_record_uint(&cursor->record, "body", LSC_BODY_MAX_BYTES, &announced, err);
	if (r < 0)
		return r;
	n = lsc_body_parse(cursor->data + cursor->at, cursor->len - cursor->at, &cursor->body_len,
			   err);
	if (n < 0)
		return (int)n;
	if (n == 0 || cursor->body_len != announced ||
	    announced > cursor->len - cursor->at - (size_t)n)
		return lsc_err_set(err, EBADMSG, "its body of %llu bytes is not there",
				   (unsigned long long)announced);
	cursor->body = cursor->data + cursor->at + n;
	cursor->at += n + cursor->body_len;
	return 0;
}

int lsc_manifest_next(struct lsc_manifest_cursor *cursor, struct lsc_err *err)
{
	ssize_t n = lsc_record_parse(&cursor->record, cursor->data + cursor->at,
				     cursor->len - cursor->at, err);

	if (n < 0)
		return (int)n;
	if (n == 0)
		return lsc_err_set(err, EBADMSG, "it ends too early");
	cursor->start = cursor->at;
	cursor->at += n;
	return next_body(cursor, err);
}

int lsc_manifest_check_seal(const struct lsc_manifest_cursor *cursor, struct lsc_err *err)
{
	struct lsc_hash want, got = lsc_hash_of(cursor->data, cursor->start);
	const void *hash;
	uint32_t len;
	int r = lsc_record_bin(&cursor->record, "xxh3-128", LSC_HASH_BYTES, &hash, &len, err);

	if (r < 0)
		return r;
	if (len != LSC_HASH_BYTES)
		return lsc_err_set(err, EBADMSG, "a hash of %u bytes", len);
	memcpy(want.bytes, hash, LSC_HASH_BYTES);
	if (!lsc_hash_equal(&want, &got))
		return lsc_err_set(err, EBADMSG, "what is before it does not match its hash");
	return 0;
}

int lsc_manifest_take_pieces(const struct lsc_manifest_cursor *cursor, uint32_t n_pieces,
			     struct lsc_hash **ret_pieces, struct lsc_err *err)
{
	char hash[16];
	int r = lsc_record_text(&cursor->record, "hash", hash, sizeof(hash), err);

	if (r < 0)
		return r;
	if (strcmp(hash, "xxh3-128"))
		return lsc_err_set(err, EOPNOTSUPP, "hash '%s' is not supported", hash);
	if (!cursor->body || cursor->body_len != (uint64_t)n_pieces * LSC_HASH_BYTES)
		return lsc_err_set(err, EBADMSG, "it has not a hash for each of %u pieces",
				   n_pieces);
	*ret_pieces = malloc(cursor->body_len);
	if (!*ret_pieces)
		return lsc_err_set(err, ENOMEM, "cannot hold %u hashes: %m", n_pieces);
	memcpy(*ret_pieces, cursor->body, cursor->body_len);
	return 0;
}
