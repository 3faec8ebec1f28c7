/* A glance: what lies in a node's directory of an image, for whoever asks. */
#ifndef LSC_CAST_GLANCE_H
#define LSC_CAST_GLANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/message.h"

struct lsc_glance {
	struct lsc_held held;
	uint8_t *manifest; /* NULL: it is not wanted, or there is none */
	uint32_t manifest_len;
};

/* Looks for DIR/NAME and DIR/NAME.part.  What is there and cannot be used is absent.  -ENOMEM. */
int lsc_glance_look(struct lsc_glance *glance, const char *dir, const char *name,
		    bool want_manifest, struct lsc_err *err);
void lsc_glance_release(struct lsc_glance *glance);

#endif
