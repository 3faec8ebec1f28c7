/* fuzz arrivals: any bytes as a stream of arrivals; who is said to hold what stays within bounds */
#include "route/fleet.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BLOCKS 4
#define UNITS  6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void on_change(void *data)
{
	(void)data;
}

static void on_token(void *data, const struct lsc_token_frame *token)
{
	(void)data;
	(void)token;
}

static void on_fail(void *data, uint32_t node, const struct lsc_fail_frame *fail)
{
	(void)data;
	(void)node;
	(void)fail;
}

static void on_lost(void *data, uint32_t node)
{
	(void)data;
	(void)node;
}

static void on_moved(void *data, const struct lsc_moved_frame *moved)
{
	(void)data;
	(void)moved;
}

static const struct lsc_fleet_events events = {on_change, on_token, on_fail,
					       on_lost,   on_lost,  on_moved};

/* An image of a few blocks whose id is all zeros; unit 0 needs the last block. */
static struct lsc_image *image_of(struct lsc_unit units[UNITS])
{
	static struct lsc_image image;

	for (uint32_t u = 0; u < UNITS; u++)
		units[u] = (struct lsc_unit){.needs = {{u * BLOCKS / UNITS, 1}}};
	units[0].needs[0] = (struct lsc_need){BLOCKS - 1, 1};
	image = (struct lsc_image){.units = units, .n_units = UNITS, .n_blocks = BLOCKS};
	return &image;
}

static void look(const struct lsc_fleet *fleet)
{
	check(fleet->n_nodes <= LSC_FLEET_MAX_NODES);
	for (uint32_t i = 0; i < fleet->n_nodes; i++) {
		const struct lsc_fleet_node *node = fleet->nodes[i];

		if (!node)
			continue;
		check(node->rank == i && memchr(node->name, 0, sizeof(node->name)) &&
		      memchr(node->exec, 0, sizeof(node->exec)));
		for (uint32_t b = 0; b < BLOCKS; b++)
			check(node->blocks[b] <= 1 && (node->blocks[b] || !node->complete));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	struct lsc_unit units[UNITS];
	struct lsc_fleet fleet;
	struct lsc_loop *loop = NULL;
	ssize_t n;

	check(lsc_loop_new(&loop, NULL) == 0 &&
	      lsc_fleet_init(&fleet, image_of(units), loop, &events, NULL, NULL) == 0);
	while (len && (n = lsc_record_parse(&record, data, len, NULL)) > 0) {
		if (lsc_fleet_record(&fleet, &record, NULL) < 0)
			break;
		data += n;
		len -= (size_t)n;
	}
	look(&fleet);
	lsc_fleet_release(&fleet);
	lsc_loop_free(loop);
	return 0;
}
