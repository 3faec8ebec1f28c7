/* A subject: what is cast.  An image, what is here of one that has not all arrived (NAME.part),
 * files and directories as they are, or what others have, of which only the manifest is here.
 */
#ifndef LSC_SEND_SUBJECT_H
#define LSC_SEND_SUBJECT_H

#include <stdbool.h>

#include "base/err.h"
#include "mem/segment.h"
#include "model/image.h"

struct lsc_subject {
	struct lsc_image image;
	struct lsc_segment segment; /* of a part: which pieces are here */
	bool partial, absent;
	char name[256]; /* the last one of its path */
};

#define LSC_SUBJECT_INIT                                                                           \
	{                                                                                          \
		.segment = LSC_SEGMENT_INIT                                                        \
	}

/* raw: files as they are, which are read and hashed. */
int lsc_subject_open(struct lsc_subject *subject, const char *path, bool raw, struct lsc_err *err);
/* What others have: by its name, and then by the manifest that one of them gave, which is borrowed.
 */
int lsc_subject_name(struct lsc_subject *subject, const char *name, struct lsc_err *err);
int lsc_subject_take(struct lsc_subject *subject, const void *manifest, size_t len,
		     struct lsc_err *err);

void lsc_subject_close(struct lsc_subject *subject);

#endif
