/* wishes - a small file of records, read at the start and written with every change */
#include "tier/wishes.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "mem/segment.h"
#include "stream/record.h"

#define MAX_BYTES (16u << 20)

const struct lsc_wish *lsc_wishes_find(const struct lsc_wishes *wishes, const char *name)
{
	const struct lsc_wish *wish = wishes->all;

	while (wish && strcmp(wish->name, name))
		wish = wish->next;
	return wish;
}

static void drop(struct lsc_wishes *wishes, const char *name)
{
	struct lsc_wish **at = &wishes->all, *wish;

	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	wish = *at;
	if (!wish)
		return;
	*at = wish->next;
	free(wish->name);
	free(wish);
}

/* One that wishes nothing is none. */
static int put(struct lsc_wishes *wishes, const char *name, bool pinned, int priority)
{
	struct lsc_wish *wish;

	drop(wishes, name);
	if (!pinned && !priority)
		return 0;
	wish = calloc(1, sizeof(*wish));
	if (!wish || !(wish->name = strdup(name))) {
		free(wish);
		return -ENOMEM;
	}
	wish->pinned = pinned;
	wish->priority = priority;
	wish->next = wishes->all;
	wishes->all = wish;
	return 0;
}

/* --- the file --- */

static int take(struct lsc_wishes *wishes, const struct lsc_record *record, struct lsc_err *err)
{
	char name[LSC_SEGMENT_NAME];
	uint64_t priority;
	bool pinned;
	int r;

	if (!lsc_record_is(record, "wish"))
		return 0;
	r = lsc_record_text(record, "name", name, sizeof(name), err);
	if (r == 0)
		r = lsc_record_bool_or(record, "pinned", false, &pinned, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "priority", LSC_PRIORITY_MAX, 0, &priority, err);
	if (r == 0 && put(wishes, name, pinned, (int)priority) < 0)
		r = lsc_err_set(err, ENOMEM, "no memory for wishes");
	return r;
}

static int read_all(struct lsc_wishes *wishes, const struct lsc_buf *buf, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	size_t at = 0;

	while (at < buf->len) {
		ssize_t n = lsc_record_parse(&record, buf->data + at, buf->len - at, err);

		if (n == 0)
			return lsc_err_set(err, EBADMSG, "it is cut short");
		if (n < 0 || take(wishes, &record, err) < 0)
			return -EBADMSG;
		at += (size_t)n;
	}
	return 0;
}

int lsc_wishes_open(struct lsc_wishes *wishes, const char *dir, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	int r;

	if (asprintf(&wishes->path, "%s/.lsc/wishes", dir) < 0) {
		wishes->path = NULL;
		return lsc_err_set(err, ENOMEM, "no memory for wishes");
	}
	r = lsc_file_read(wishes->path, MAX_BYTES, &buf, err);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = read_all(wishes, &buf, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", wishes->path) : 0;
}

static int write_all(const struct lsc_wishes *wishes, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = 0;

	for (const struct lsc_wish *wish = wishes->all; wish && r == 0; wish = wish->next) {
		lsc_pack_more(&pack, "wish");
		lsc_pack_str(&pack, "name", wish->name);
		lsc_pack_bool(&pack, "pinned", wish->pinned);
		lsc_pack_uint(&pack, "priority", (uint64_t)wish->priority);
		r = lsc_pack_end(&pack);
	}
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write wishes: %m");
	return lsc_file_write(wishes->path, pack.buf.data ? (void *)pack.buf.data : "",
			      pack.buf.len, err);
}

int lsc_wishes_set(struct lsc_wishes *wishes, const char *name, bool pinned, int priority,
		   struct lsc_err *err)
{
	if (put(wishes, name, pinned, priority) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for a wish");
	return write_all(wishes, err);
}

void lsc_wishes_close(struct lsc_wishes *wishes)
{
	while (wishes->all)
		drop(wishes, wishes->all->name);
	free(wishes->path);
	*wishes = (struct lsc_wishes)LSC_WISHES_INIT;
}
