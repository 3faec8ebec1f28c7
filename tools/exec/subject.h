/* An image that is here or arriving, and the engine that runs it. */
#ifndef LSC_TOOLS_EXEC_SUBJECT_H
#define LSC_TOOLS_EXEC_SUBJECT_H

#include "exec/engine.h"
#include "mem/segment.h"
#include "model/image.h"

struct exec_subject {
	struct lsc_segment segment;
	struct lsc_image image;
	struct lsc_engine *engine; /* NULL until exec_subject_run() */
};

/* path is DIR/NAME: the image, or NAME.part while it arrives.  What is there already may be named
 * in any way, as '.' too.  The manifest is parsed; the bytes are mapped, not looked at. */
int exec_subject_open(struct exec_subject *subject, const char *path, struct lsc_err *err);
int exec_subject_engine(struct exec_subject *subject, const struct lsc_engine_options *options,
			struct lsc_err *err);
void exec_subject_close(struct exec_subject *subject);

#endif
