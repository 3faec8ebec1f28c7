/* subject - opens what is cast, whatever it is */
#include "send/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "mem/lender.h"
#include "model/files.h"

#define PART     ".part"
#define STALL_NS 3000000000ull
#define LOOK_MS  100

/* Its name is the last one of its path, but for the end of it that is cut off; returns the length
 * of what is before. */
static size_t take_name(struct lsc_subject *subject, const char *path, size_t cut)
{
	size_t len = strlen(path), start;

	while (len > 1 && path[len - 1] == '/')
		len--;
	for (start = len; start > 0 && path[start - 1] != '/'; start--)
		;
	snprintf(subject->name, sizeof(subject->name), "%.*s", (int)(len - cut - start),
		 path + start);
	return start;
}

static int open_part(struct lsc_subject *subject, const char *path, size_t dir_len,
		     struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *dir = dir_len ? strndup(path, dir_len) : strdup(".");
	int r;

	if (!dir)
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", path);
	r = lsc_segment_open(&subject->segment, dir, subject->name, err);
	if (r == 0)
		r = lsc_image_parse(&subject->image, subject->segment.manifest,
				    subject->segment.manifest_len, err);
	if (r == 0 && subject->segment.bytes != subject->image.bytes)
		r = lsc_err_set(err, EBADMSG, "'%s' is cut short", path);
	subject->image.data = subject->segment.data;
	subject->partial = true;
	return r;
}

/* What comes from a tier's disk is waited for, as long as some does. */
static void await(struct lsc_segment *segment)
{
	while (segment->arrivals && lsc_segment_count(segment) < segment->n_pieces) {
		uint32_t count = lsc_segment_count(segment);
		uint64_t until = lsc_clock_ns() + STALL_NS;

		while (lsc_segment_count(segment) == count && lsc_clock_ns() < until)
			if (lsc_segment_wait_change(segment, lsc_segment_generation(segment),
						    LOOK_MS) == -EPIPE)
				return;
		if (lsc_segment_count(segment) == count)
			return;
	}
}

/* What a tier has of it: `unix:PATH/NAME`. */
static int open_lent(struct lsc_subject *subject, const char *path, size_t dir_len,
		     struct lsc_err *err)
{
	int r = open_part(subject, path, dir_len - 1, err);

	if (r == 0)
		await(&subject->segment);
	subject->partial = subject->segment.arrivals &&
			   lsc_segment_count(&subject->segment) < subject->segment.n_pieces;
	return r;
}

static int open_image(struct lsc_subject *subject, const char *path, struct lsc_err *err)
{
	int r = lsc_image_open(&subject->image, path, err);

	if ((r == -ENOENT || r == -ENOTDIR) && access(path, F_OK) == 0 && !lsc_image_is(path))
		lsc_err_set(err, -r, "'%s' is no image; --raw sends files as they are", path);
	return r;
}

int lsc_subject_open(struct lsc_subject *subject, const char *path, bool raw, struct lsc_err *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t dir_len = take_name(subject, path, 0), len = strlen(subject->name);

	if (raw)
		return lsc_files_open(&subject->image, path, cpus > 0 ? (unsigned)cpus : 1, err);
	if (lsc_lender_is(path) && dir_len)
		return open_lent(subject, path, dir_len, err);
	if (len <= strlen(PART) || strcmp(subject->name + len - strlen(PART), PART) != 0)
		return open_image(subject, path, err);
	take_name(subject, path, strlen(PART));
	return open_part(subject, path, dir_len, err);
}

int lsc_subject_name(struct lsc_subject *subject, const char *name, struct lsc_err *err)
{
	int r = lsc_segment_check_name(name, err);

	if (r < 0)
		return r;
	snprintf(subject->name, sizeof(subject->name), "%s", name);
	subject->absent = true;
	return 0;
}

int lsc_subject_take(struct lsc_subject *subject, const void *manifest, size_t len,
		     struct lsc_err *err)
{
	return lsc_image_parse_any(&subject->image, manifest, len, err);
}

void lsc_subject_close(struct lsc_subject *subject)
{
	if (subject->segment.data)
		subject->image.data = NULL; /* the segment's */
	lsc_image_close(&subject->image);
	lsc_segment_close(&subject->segment);
}
