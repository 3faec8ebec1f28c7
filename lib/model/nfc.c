/* nfc - decompose, order the marks, compose again
 *
 * Text is worked on in segments that begin with a character which neither moves nor composes with
 * what stands before it, so most segments are a single character and are copied.  Hangul
 * syllables are computed (chapter 3.12 of the Unicode Standard), all else is in tables.
 */
#include "model/nfc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/utf8.h"

#define HANGUL_S 0xac00u
#define HANGUL_L 0x1100u
#define HANGUL_V 0x1161u
#define HANGUL_T 0x11a7u
#define L_COUNT  19u
#define V_COUNT  21u
#define T_COUNT  28u
#define S_COUNT  (L_COUNT * V_COUNT * T_COUNT)

struct chars {
	uint32_t *cps;
	uint8_t *classes;
	uint32_t *spare; /* for sorting */
	size_t n, cap;
};

static void chars_release(struct chars *chars)
{
	free(chars->cps);
	free(chars->classes);
	free(chars->spare);
}

static int chars_grow(struct chars *chars)
{
	size_t cap = chars->cap ? 2 * chars->cap : 64;
	uint32_t *cps = reallocarray(chars->cps, cap, sizeof(*cps));
	uint32_t *spare;
	uint8_t *classes;

	if (!cps)
		return -ENOMEM;
	chars->cps = cps;
	spare = reallocarray(chars->spare, cap, sizeof(*spare));
	if (!spare)
		return -ENOMEM;
	chars->spare = spare;
	classes = realloc(chars->classes, cap);
	if (!classes)
		return -ENOMEM;
	chars->classes = classes;
	chars->cap = cap;
	return 0;
}

/* The entry with the greatest cp that is not above cp; all three tables begin with their cp. */
static const void *table_find(const void *table, unsigned n, size_t size, uint32_t cp)
{
	unsigned low = 0, high = n;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		uint32_t at = *(const uint32_t *)((const char *)table + middle * size);

		if (at <= cp)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? (const char *)table + (low - 1) * size : NULL;
}

static uint8_t class_of(uint32_t cp)
{
	const struct lsc_nfc_class *found;

	if (cp < 0x300)
		return 0;
	found = table_find(lsc_nfc_classes, lsc_nfc_n_classes, sizeof(*found), cp);
	return found && cp - found->cp < found->n ? found->class : 0;
}

static int add_char(struct chars *chars, uint32_t cp)
{
	if (chars->n == chars->cap && chars_grow(chars) < 0)
		return -ENOMEM;
	chars->cps[chars->n] = cp;
	chars->classes[chars->n++] = class_of(cp);
	return 0;
}

static int add_decomposed(struct chars *chars, uint32_t cp);

static int add_hangul(struct chars *chars, uint32_t s)
{
	uint32_t t = s % T_COUNT;
	int r = add_char(chars, HANGUL_L + s / (V_COUNT * T_COUNT));

	if (r == 0)
		r = add_char(chars, HANGUL_V + s / T_COUNT % V_COUNT);
	if (r == 0 && t)
		r = add_char(chars, HANGUL_T + t);
	return r;
}

static int add_decomposed(struct chars *chars, uint32_t cp)
{
	const struct lsc_nfc_pair *pair;
	const struct lsc_nfc_single *single;
	int r;

	if (cp < 0xc0)
		return add_char(chars, cp);
	if (cp - HANGUL_S < S_COUNT)
		return add_hangul(chars, cp - HANGUL_S);
	pair = table_find(lsc_nfc_pairs, lsc_nfc_n_pairs, sizeof(*pair), cp);
	if (pair && pair->cp == cp) {
		r = add_decomposed(chars, pair->first);
		return r ? r : add_decomposed(chars, pair->second);
	}
	single = table_find(lsc_nfc_singles, lsc_nfc_n_singles, sizeof(*single), cp);
	if (single && single->cp == cp)
		return add_decomposed(chars, single->first);
	return add_char(chars, cp);
}

/* Sorts marks first .. first+n-1 by class, keeping the order of equals; by counting, so that a
 * long run of marks costs no more than its length. */
static void sort_marks(struct chars *chars, size_t first, size_t n)
{
	size_t counts[256] = {0}, sum = 0;
	uint32_t *cps = chars->cps + first;
	uint8_t *classes = chars->classes + first;

	for (size_t i = 0; i < n; i++)
		counts[classes[i]]++;
	for (unsigned c = 0; c < 256; c++) {
		size_t count = counts[c];

		counts[c] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++)
		chars->spare[counts[classes[i]]++] = cps[i];
	for (size_t i = 0; i < n; i++) {
		cps[i] = chars->spare[i];
		classes[i] = class_of(cps[i]);
	}
}

static void order_marks(struct chars *chars)
{
	size_t i = 0;

	while (i < chars->n) {
		size_t first = i;
		bool sorted = true;

		for (; i < chars->n && chars->classes[i]; i++)
			sorted &= i == first || chars->classes[i - 1] <= chars->classes[i];
		if (!sorted)
			sort_marks(chars, first, i - first);
		i += i == first;
	}
}

/* What first and second compose to, 0 when nothing. */
static uint32_t compose_pair(uint32_t first, uint32_t second)
{
	unsigned low = 0, high = lsc_nfc_n_compositions;

	if (first - HANGUL_L < L_COUNT && second - HANGUL_V < V_COUNT)
		return HANGUL_S + ((first - HANGUL_L) * V_COUNT + second - HANGUL_V) * T_COUNT;
	if (first - HANGUL_S < S_COUNT && (first - HANGUL_S) % T_COUNT == 0 &&
	    second - HANGUL_T - 1 < T_COUNT - 1)
		return first + second - HANGUL_T;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct lsc_nfc_pair *pair = &lsc_nfc_pairs[lsc_nfc_compositions[middle]];

		if (pair->first == first && pair->second == second)
			return pair->cp;
		if (pair->first < first || (pair->first == first && pair->second < second))
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

static void compose(struct chars *chars)
{
	size_t starter = SIZE_MAX, out = 0;

	for (size_t i = 0; i < chars->n; i++) {
		uint32_t cp = chars->cps[i], composed = 0;
		uint8_t class = chars->classes[i];
		/* Blocked where something between has the same class, or is a starter. */
		bool adjacent = starter != SIZE_MAX && out == starter + 1;

		if (starter != SIZE_MAX && (adjacent || chars->classes[out - 1] < class))
			composed = compose_pair(chars->cps[starter], cp);
		if (composed) {
			chars->cps[starter] = composed;
			continue;
		}
		chars->cps[out] = cp;
		chars->classes[out] = class;
		if (!class)
			starter = out;
		out++;
	}
	chars->n = out;
}

/* One segment, normalised. */
static int add_segment(struct lsc_buf *buf, struct chars *chars, const uint8_t *text, size_t len)
{
	uint8_t bytes[4];
	uint32_t cp;
	int r = 0;

	chars->n = 0;
	for (size_t at = 0; r == 0 && at < len;) {
		int n = lsc_utf8_next(text + at, len - at, &cp);

		if (n <= 0)
			return -EINVAL; /* the caller's mistake */
		r = add_decomposed(chars, cp);
		at += n;
	}
	order_marks(chars);
	compose(chars);
	for (size_t i = 0; r == 0 && i < chars->n; i++)
		r = lsc_buf_add(buf, bytes, lsc_utf8_put(bytes, chars->cps[i]));
	return r;
}

/* Characters that have class 0, stay as they are and are never the second of a composition: all
 * below U+0300, and the scripts in which long texts would otherwise be one segment. */
static bool begins_segment(uint32_t cp)
{
	return cp < 0x300 || (cp >= 0x391 && cp <= 0x3ce) || (cp >= 0x400 && cp <= 0x482) ||
	       (cp >= 0x2010 && cp <= 0x2027) || (cp >= 0x3001 && cp <= 0x3029) ||
	       (cp >= 0x3041 && cp <= 0x3096) || (cp >= 0x30a1 && cp <= 0x30fa) ||
	       (cp >= 0x3400 && cp < 0xa000) || (cp >= HANGUL_S && cp < HANGUL_S + S_COUNT) ||
	       (cp >= 0xff01 && cp <= 0xff5e);
}

bool lsc_nfc_is_plain(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] >= 0xcc) /* U+0300 and above */
			return false;
	return true;
}

int lsc_nfc_add(struct lsc_buf *buf, const uint8_t *text, size_t len)
{
	LSC_CLEANUP(chars_release) struct chars chars = {0};
	size_t at = 0, done = 0, segment = 0;
	int r = 0;

	/* done .. segment is as it should be already; segment .. at is being collected. */
	while (r == 0 && at < len) {
		uint32_t first = 0, cp;
		int n = lsc_utf8_next(text + at, len - at, &first);
		size_t end = at + LSC_MAX(n, 1);

		segment = at;
		while (end < len && (n = lsc_utf8_next(text + end, len - end, &cp)) > 0 &&
		       !begins_segment(cp))
			end += n;
		n = lsc_utf8_next(text + at, len - at, &first);
		at = end;
		if (n > 0 && begins_segment(first) && segment + n == end)
			continue;
		r = lsc_buf_add(buf, text + done, segment - done);
		if (r == 0)
			r = add_segment(buf, &chars, text + segment, end - segment);
		done = end;
	}
	return r ? r : lsc_buf_add(buf, text + done, len - done);
}
