/* A subject: what is cast.  An image, what is here of one that has not all arrived (NAME.part),
 * files and directories as they are, or an image of which nothing is here but its manifest.
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
	bool partial;
	char name[256]; /* the last one of its path */
};

#define LSC_SUBJECT_INIT                                                                           \
	{                                                                                          \
		.segment = LSC_SEGMENT_INIT                                                        \
	}

/* raw: files as they are, which are read and hashed. */
int lsc_subject_open(struct lsc_subject *subject, const char *path, bool raw, struct lsc_err *err);

/* One that is at other nodes alone: its manifest is borrowed until it is closed. */
int lsc_subject_absent(struct lsc_subject *subject, const char *name, const void *manifest,
		       size_t manifest_len, struct lsc_err *err);

void lsc_subject_close(struct lsc_subject *subject);

#endif
