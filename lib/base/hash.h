/* XXH3-128, the hash of pieces, manifests and sources.
 *
 * Stored in xxHash's canonical (big-endian) byte order.  It finds damage, not forgery: whoever
 * can write to a link must be kept out by the link's key.
 */
#ifndef LSC_BASE_HASH_H
#define LSC_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LSC_HASH_BYTES 16
#define LSC_HASH_TEXT  33 /* hexadecimal and the 0 behind it */

struct lsc_hash {
	uint8_t bytes[LSC_HASH_BYTES];
};

struct lsc_hash lsc_hash_of(const void *data, size_t len);
bool lsc_hash_equal(const struct lsc_hash *a, const struct lsc_hash *b);

/* Writes lower-case hexadecimal into text and returns it. */
const char *lsc_hash_text(const struct lsc_hash *hash, char text[LSC_HASH_TEXT]);

/* The same over data that comes in parts. */
struct lsc_hasher;
struct lsc_hasher *lsc_hasher_new(void); /* NULL when out of memory */
void lsc_hasher_add(struct lsc_hasher *hasher, const void *data, size_t len);
struct lsc_hash lsc_hasher_end(struct lsc_hasher *hasher); /* and starts afresh */
void lsc_hasher_free(struct lsc_hasher *hasher);

#endif
