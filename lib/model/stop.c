/* stop - the strings at which an answer's text ends
 *
 * What is held is the longest end of the text with which a stop string begins, so a stop string
 * that becomes whole is always wholly in it.
 */
#include "model/stop.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

int lsc_stops_add(struct lsc_stops *stops, const char *text, size_t len, struct lsc_err *err)
{
	if (len == 0 || len > LSC_STOPS_MAX_BYTES)
		return lsc_err_set(err, EINVAL, "a stop string of %zu bytes: want 1 to %d", len,
				   LSC_STOPS_MAX_BYTES);
	if (stops->n == LSC_STOPS_MAX)
		return lsc_err_set(err, EINVAL, "more than %d stop strings", LSC_STOPS_MAX);
	stops->texts[stops->n] = malloc(len);
	if (!stops->texts[stops->n])
		return lsc_err_set(err, ENOMEM, "no memory for a stop string");
	memcpy(stops->texts[stops->n], text, len);
	stops->lens[stops->n++] = len;
	return 0;
}

void lsc_stops_release(struct lsc_stops *stops)
{
	for (uint32_t i = 0; i < stops->n; i++)
		free(stops->texts[i]);
	*stops = (struct lsc_stops)LSC_STOPS_INIT;
}

void lsc_stopper_init(struct lsc_stopper *stopper, const struct lsc_stops *stops)
{
	*stopper = (struct lsc_stopper){.stops = stops, .met = -1};
}

void lsc_stopper_release(struct lsc_stopper *stopper)
{
	lsc_buf_release(&stopper->held);
}

/* The longest stop string that the text ends with, or -1. */
static int find_met(const struct lsc_stops *stops, const uint8_t *text, size_t len)
{
	int met = -1;

	for (uint32_t i = 0; i < stops->n; i++)
		if (stops->lens[i] <= len &&
		    !memcmp(text + len - stops->lens[i], stops->texts[i], stops->lens[i]) &&
		    (met < 0 || stops->lens[i] > stops->lens[met]))
			met = (int)i;
	return met;
}

/* How many bytes at the end of the text a stop string may begin with. */
static size_t count_open(const struct lsc_stops *stops, const uint8_t *text, size_t len)
{
	size_t open = 0;

	for (uint32_t i = 0; i < stops->n; i++)
		for (size_t n = LSC_MIN(len, stops->lens[i] - 1); n > open; n--)
			if (!memcmp(text + len - n, stops->texts[i], n))
				open = n;
	return open;
}

int lsc_stopper_add(struct lsc_stopper *stopper, const void *text, size_t len, struct lsc_buf *out)
{
	struct lsc_buf *held = &stopper->held;
	const uint8_t *bytes = text;
	size_t decided;
	int r;

	if (stopper->met >= 0)
		return 1;
	for (size_t i = 0; i < len; i++) {
		r = lsc_buf_add(held, &bytes[i], 1);
		if (r < 0)
			return r;
		stopper->met = find_met(stopper->stops, held->data, held->len);
		if (stopper->met < 0)
			continue;
		held->len -= stopper->stops->lens[stopper->met];
		r = lsc_stopper_end(stopper, out);
		return r < 0 ? r : 1;
	}
	decided = held->len - count_open(stopper->stops, held->data, held->len);
	r = lsc_buf_add(out, held->data, decided);
	if (r == 0)
		lsc_buf_consume(held, decided);
	return r;
}

int lsc_stopper_end(struct lsc_stopper *stopper, struct lsc_buf *out)
{
	int r = lsc_buf_add(out, stopper->held.data, stopper->held.len);

	stopper->held.len = 0;
	return r;
}
