/* What a cast is going to do, from its schedule alone: who feeds whom, and how long that takes.
 *
 * The time supposes that every node sends and receives at the same rate at once, and that nothing
 * else holds it up: disks keep pace, and a round takes as long as a piece.
 */
#ifndef LSC_SEND_FORECAST_H
#define LSC_SEND_FORECAST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/image.h"
#include "plan/schedule.h"

/* Of the bits on an Ethernet cable, the share that is data of ours: 1448 bytes in each TCP segment,
 * whose frame takes 1538 with its preamble and gap. */
#define LSC_FORECAST_PAYLOAD (1448.0 / 1538.0)

struct lsc_forecast {
	const struct lsc_image *image;
	const char *name;     /* of the image at the nodes */
	bool absent;          /* this node has nothing of it, and sends nothing */
	char *const *sources; /* beside this node */
	uint32_t n_sources;
	char *const *to;
	uint32_t n_to;
	enum lsc_order order;
	const char *order_name; /* for people */
	double speed;           /* bytes a second that a node sends and receives; 0: not known */

	/* own: after lsc_forecast_make() */
	struct lsc_schedule schedule;
	double copies;   /* the time in units of one copy over one link */
	double seconds;  /* the same; 0: no rate is known */
	uint64_t *edges; /* from << 32 | to, sorted: ranks, which are the numbers of nodes, less one
			  * where this one is absent */
	uint32_t n_edges;
};

int lsc_forecast_make(struct lsc_forecast *forecast, struct lsc_err *err);
void lsc_forecast_release(struct lsc_forecast *forecast);

/* What a node can send and receive over a link of so many bytes a second on the cable where it may
 * send so many: bytes a second; 0 where neither is known (0). */
double lsc_forecast_speed(double link, double rate);

/* All of it: appends the text or the JSON of what is filled in. */
int lsc_forecast_tell(const struct lsc_forecast *filled, bool json, struct lsc_buf *buf,
		      struct lsc_err *err);

/* For people; and as one JSON object with a line break, {"type":"plan",...}. */
int lsc_forecast_text(const struct lsc_forecast *forecast, struct lsc_buf *buf);
int lsc_forecast_json(const struct lsc_forecast *forecast, struct lsc_buf *buf);

#endif
