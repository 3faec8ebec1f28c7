/* reader_pace - how fast the reader may go, and how much it has on its way
 *
 * A rate is kept by pacing: a chunk begins no sooner than the one before it has taken its time at
 * that rate, but for one chunk's worth that late timers may make up for.  Chunks are small beside
 * what goes through in half a second, and the pace is slower by three of them in that time, so that
 * no half second sees more than the rate.
 *
 * How much is on its way is found out: twice as much as before, as long as the disk gives a
 * twentieth more for it.
 */
#include "base/clock.h"
#include "base/macros.h"
#include "mem/reader_own.h"

#define MAX_DEPTH     (64ull << 20)
#define RATE_WINDOW_S 0.5
#define RATE_CHUNKS   128 /* in a window at least */
#define MIN_RATE      65536.0
#define TUNE_NS       25000000u
#define TUNE_GAIN     1.05

/* --- the rate --- */

uint32_t lsc_reader_chunk_bytes(const struct lsc_reader *reader)
{
	double most = reader->o.rate * RATE_WINDOW_S / RATE_CHUNKS;

	if (reader->o.rate <= 0 || most >= reader->o.chunk_bytes)
		return reader->o.chunk_bytes;
	return LSC_MAX((uint32_t)most & ~(LSC_READER_MIN_CHUNK - 1), LSC_READER_MIN_CHUNK);
}

static double chunk_ns(const struct lsc_reader *reader, uint32_t bytes)
{
	double pace = reader->o.rate - 3.0 * lsc_reader_chunk_bytes(reader) / RATE_WINDOW_S;

	return bytes / LSC_MAX(pace, reader->o.rate / 2) * 1e9;
}

void lsc_reader_set_rate(struct lsc_reader *reader, double bytes_per_s)
{
	uint64_t now = lsc_clock_ns();

	pthread_mutex_lock(&reader->lock);
	reader->o.rate = bytes_per_s > 0 ? LSC_MAX(bytes_per_s, MIN_RATE) : 0;
	if (reader->o.rate > 0)
		reader->next_ns = now + (uint64_t)chunk_ns(reader, lsc_reader_chunk_bytes(reader));
	reader->window_ns = 0;
	pthread_cond_broadcast(&reader->more);
	pthread_mutex_unlock(&reader->lock);
}

/* How long until a chunk may begin; what may is counted. */
uint64_t lsc_reader_pace(struct lsc_reader *reader, uint32_t bytes)
{
	uint64_t now, ns;

	if (reader->o.rate <= 0)
		return 0;
	now = lsc_clock_ns();
	if (reader->next_ns > now)
		return reader->next_ns - now;
	ns = (uint64_t)chunk_ns(reader, bytes);
	reader->next_ns = LSC_MAX(reader->next_ns, now - LSC_MIN(ns, now)) + ns;
	return 0;
}

/* --- the depth --- */

void lsc_reader_tune(struct lsc_reader *reader)
{
	struct lsc_reader_totals *totals = &reader->totals;
	uint64_t now = lsc_clock_ns(), direct = totals->direct + totals->other;
	double speed;

	if (reader->window_ns == 0 || reader->starved) {
		reader->starved = false;
		reader->window_ns = now;
		reader->window_bytes = direct;
		return;
	}
	if (now - reader->window_ns < TUNE_NS ||
	    direct - reader->window_bytes < 8 * totals->depth_bytes)
		return;
	speed = (double)(direct - reader->window_bytes) / (double)(now - reader->window_ns);
	if (speed > reader->best * TUNE_GAIN && totals->depth_bytes < MAX_DEPTH) {
		reader->best = speed;
		reader->good_bytes = totals->depth_bytes;
		totals->depth_bytes *= 2;
	} else {
		totals->depth_bytes = reader->good_bytes ? reader->good_bytes : totals->depth_bytes;
		reader->settled = true;
	}
	reader->window_ns = 0;
}

uint64_t lsc_reader_share(struct lsc_reader *reader)
{
	uint64_t share;

	pthread_mutex_lock(&reader->lock);
	share = reader->totals.depth_bytes / reader->n_threads;
	pthread_mutex_unlock(&reader->lock);
	return LSC_MAX(share, 1u);
}
