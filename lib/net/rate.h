/* A token bucket: holds the links that share it to so many bytes a second together.
 *
 * It lets short bursts through (5 ms worth, 64 KiB at least), so that a timer that fires a little
 * late costs nothing of the rate.
 */
#ifndef LSC_NET_RATE_H
#define LSC_NET_RATE_H

#include <stddef.h>
#include <stdint.h>

struct lsc_rate {
	double bytes_per_s;
	double burst, tokens; /* bytes */
	uint64_t at_ns;       /* when tokens was right */
};

void lsc_rate_init(struct lsc_rate *rate, double bytes_per_s, uint64_t now_ns);

/* How many of want bytes may go now.  Where it is 0, *ret_wait_ns says when to ask again. */
size_t lsc_rate_allow(struct lsc_rate *rate, uint64_t now_ns, size_t want, uint64_t *ret_wait_ns);

/* So many went. */
void lsc_rate_spend(struct lsc_rate *rate, size_t bytes);

#endif
