/* rate - a token bucket */
#include "net/rate.h"

#include "base/macros.h"

#define BURST_S     0.005
#define BURST_BYTES 65536

void lsc_rate_init(struct lsc_rate *rate, double bytes_per_s, uint64_t now_ns)
{
	*rate = (struct lsc_rate){.bytes_per_s = bytes_per_s, .at_ns = now_ns};
	rate->burst = LSC_MAX(bytes_per_s * BURST_S, BURST_BYTES);
}

/* Half a burst at a time: fewer would be a syscall for a few bytes. */
size_t lsc_rate_allow(struct lsc_rate *rate, uint64_t now_ns, size_t want, uint64_t *ret_wait_ns)
{
	double least = LSC_MIN((double)want, rate->burst / 2);

	rate->tokens += (double)(now_ns - rate->at_ns) / 1e9 * rate->bytes_per_s;
	rate->tokens = LSC_MIN(rate->tokens, rate->burst);
	rate->at_ns = now_ns;
	if (rate->tokens >= least)
		return LSC_MIN(want, (size_t)rate->tokens);
	*ret_wait_ns = (uint64_t)((least - rate->tokens) / rate->bytes_per_s * 1e9) + 1;
	return 0;
}

void lsc_rate_spend(struct lsc_rate *rate, size_t bytes)
{
	rate->tokens -= (double)bytes;
}
