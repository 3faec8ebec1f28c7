/* Going through the records of a manifest, with their bodies. */
#ifndef LSC_MODEL_MANIFEST_CURSOR_H
#define LSC_MODEL_MANIFEST_CURSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/record.h"

/* What is being read: the bytes, and the record at hand with its body. */
struct lsc_manifest_cursor {
	const uint8_t *data;
	size_t len, at;
	size_t start; /* of the record at hand */
	struct lsc_record record;
	const uint8_t *body; /* NULL: none */
	uint32_t body_len;
};

void lsc_manifest_cursor_release(struct lsc_manifest_cursor *cursor);

/* -EBADMSG at the end too: a manifest says itself where it ends. */
int lsc_manifest_next(struct lsc_manifest_cursor *cursor, struct lsc_err *err);

/* The last record holds the hash of all before it.  Pieces have hashes of their own; this one is
 * for the rest: a flipped bit in a constant would else be an image that answers a little
 * differently. */
int lsc_manifest_check_seal(const struct lsc_manifest_cursor *cursor, struct lsc_err *err);

/* The hashes of n_pieces pieces, in the body of the record at hand. */
struct lsc_hash;
int lsc_manifest_take_pieces(const struct lsc_manifest_cursor *cursor, uint32_t n_pieces,
			     struct lsc_hash **ret_pieces, struct lsc_err *err);

#endif
