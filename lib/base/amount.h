/* Amounts as people read them: the reverse of base/parse.h. */
#ifndef LSC_BASE_AMOUNT_H
#define LSC_BASE_AMOUNT_H

#include <stdint.h>

struct lsc_amount {
	char text[32];
};

/* "0 bytes", "1 byte", "512 KiB", "3.2 GiB": three digits or so. */
struct lsc_amount lsc_amount_bytes(uint64_t bytes);

/* "3.2 GiB/s". */
struct lsc_amount lsc_amount_rate(double bytes_per_s);

/* "0.25 s", "12 s", "3 min", "2 h 5 min", "3 days": a moment's length, not to the last digit. */
struct lsc_amount lsc_amount_seconds(double seconds);

#endif
