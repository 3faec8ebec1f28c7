/* Unicode Normalization Form C (Unicode Standard Annex #15), of Unicode 14. */
#ifndef LSC_MODEL_NFC_H
#define LSC_MODEL_NFC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Whether text (valid UTF-8) is sure to be in NFC: a quick look that may say no too often. */
bool lsc_nfc_is_plain(const uint8_t *text, size_t len);

/* Appends text (valid UTF-8), normalised; 0 or -ENOMEM.  Takes time and memory that grow linearly
 * with text. */
int lsc_nfc_add(struct lsc_buf *buf, const uint8_t *text, size_t len);

/* The tables (nfc_table.c), sorted by code point; composition goes by (first, second). */
struct lsc_nfc_pair {
	uint32_t cp, first, second;
};

struct lsc_nfc_single {
	uint32_t cp, first;
};

struct lsc_nfc_class {
	uint32_t cp;
	uint8_t n, class; /* canonical combining class of cp .. cp+n-1 */
};

extern const struct lsc_nfc_pair lsc_nfc_pairs[];
extern const unsigned lsc_nfc_n_pairs;
extern const struct lsc_nfc_single lsc_nfc_singles[];
extern const unsigned lsc_nfc_n_singles;
extern const struct lsc_nfc_class lsc_nfc_classes[];
extern const unsigned lsc_nfc_n_classes;
extern const uint16_t lsc_nfc_compositions[]; /* indices of pairs, sorted by (first, second) */
extern const unsigned lsc_nfc_n_compositions;

#endif
