/* subject - opens an image by its path, and an engine on it */
#include "subject.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "exec/arrival.h"

static int open_segment(struct lsc_segment *segment, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *real = realpath(path, NULL);
	LSC_CLEANUP_FREE char *dir = real ? strdup(real) : strdup(path);
	size_t len;
	char *slash;

	if (!dir)
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", path);
	for (len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
		dir[len - 1] = 0;
	slash = strrchr(dir, '/');
	if (!slash)
		return lsc_segment_open(segment, ".", dir, err);
	*slash = 0;
	return lsc_segment_open(segment, slash == dir ? "/" : dir, slash + 1, err);
}

int exec_subject_open(struct exec_subject *subject, const char *path, struct lsc_err *err)
{
	struct lsc_segment *segment = &subject->segment;
	int r = open_segment(segment, path, err);

	if (r < 0)
		return r;
	r = lsc_image_parse(&subject->image, segment->manifest, segment->manifest_len, err);
	if (r == 0)
		r = lsc_arrival_check(&subject->image, segment, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

int exec_subject_engine(struct exec_subject *subject, const struct lsc_engine_options *options,
			struct lsc_err *err)
{
	return lsc_engine_open(&subject->engine, &subject->image, subject->segment.data, options,
			       err);
}

void exec_subject_close(struct exec_subject *subject)
{
	lsc_engine_close(subject->engine);
	lsc_image_close(&subject->image);
	lsc_segment_close(&subject->segment);
}
