/* The commands of lsc-tier, and what they have in common. */
#ifndef LSC_TOOLS_TIER_COMMANDS_H
#define LSC_TOOLS_TIER_COMMANDS_H

#include <argp.h>
#include <stdbool.h>

#include "base/err.h"
#include "mem/lender.h"
#include "mem/segment.h"

int lsc_tier_serve_main(int argc, char **argv);
int lsc_tier_hold_main(int argc, char **argv);
int lsc_tier_ls_main(int argc, char **argv);
int lsc_tier_stat_main(int argc, char **argv);
int lsc_tier_load_main(int argc, char **argv);
int lsc_tier_prewarm_main(int argc, char **argv);
int lsc_tier_pin_main(int argc, char **argv);
int lsc_tier_unpin_main(int argc, char **argv);
int lsc_tier_evict_main(int argc, char **argv);
int lsc_tier_rm_main(int argc, char **argv);
int lsc_tier_gc_main(int argc, char **argv);
int lsc_tier_explain_main(int argc, char **argv);
int lsc_tier_watch_main(int argc, char **argv);

/* Where the tier listens: --tier, else LSC_TIER, else unix:/run/lsc/tier.sock or, for who is not
 * root, unix:$XDG_RUNTIME_DIR/lsc-tier.sock. */
const char *tier_address(const char *option);

/* Asks something, of the image name where that is given, and gets the first record of the answer.
 */
int tier_ask(struct lsc_lender *lender, const char *what, const char *name, struct lsc_err *err);

/* Prints the record that came, as a line. */
int tier_print_json(const struct lsc_packet *packet, struct lsc_err *err);

/* What the tier says of an image. */
struct tier_image {
	char name[LSC_SEGMENT_NAME];
	uint64_t bytes, host, pieces, have;
	double used_s; /* < 0: never */
	bool whole, disk, pinned, leased, receiving;
};

int tier_image_read(const struct lsc_record *record, struct tier_image *image, struct lsc_err *err);

/* A number of a map; 0 where it is not there. */
unsigned long long tier_number(const msgpack_object *map, const char *name);

#define TIER_ROW                                                                                   \
	{                                                                                          \
		"tier", 'T', "unix:PATH", 0, "The tier that is meant (default: LSC_TIER's)", 0     \
	}

#endif
