/* hash - XXH3-128 in canonical byte order, by xxHash */
#include "base/hash.h"

#include <string.h>

#include <xxhash.h>

static struct lsc_hash canonical(XXH128_hash_t value)
{
	XXH128_canonical_t out;
	struct lsc_hash hash;

	XXH128_canonicalFromHash(&out, value);
	memcpy(hash.bytes, out.digest, sizeof(hash.bytes));
	return hash;
}

struct lsc_hash lsc_hash_of(const void *data, size_t len)
{
	return canonical(XXH3_128bits(data, len));
}

bool lsc_hash_equal(const struct lsc_hash *a, const struct lsc_hash *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

const char *lsc_hash_text(const struct lsc_hash *hash, char text[LSC_HASH_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < LSC_HASH_BYTES; i++) {
		text[2 * i] = digits[hash->bytes[i] >> 4];
		text[2 * i + 1] = digits[hash->bytes[i] & 15];
	}
	text[2 * LSC_HASH_BYTES] = 0;
	return text;
}

struct lsc_hasher *lsc_hasher_new(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state)
		XXH3_128bits_reset(state);
	return (struct lsc_hasher *)state;
}

void lsc_hasher_add(struct lsc_hasher *hasher, const void *data, size_t len)
{
	XXH3_128bits_update((XXH3_state_t *)hasher, data, len);
}

struct lsc_hash lsc_hasher_end(struct lsc_hasher *hasher)
{
	struct lsc_hash hash = canonical(XXH3_128bits_digest((XXH3_state_t *)hasher));

	XXH3_128bits_reset((XXH3_state_t *)hasher);
	return hash;
}

void lsc_hasher_free(struct lsc_hasher *hasher)
{
	if (hasher)
		XXH3_freeState((XXH3_state_t *)hasher);
}
