/* keys - who may ask: the lines of a file */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "gate.h"

#define MAX_FILE (1u << 20)
#define MIN_KEY  8
#define MAX_KEY  512

static void erase(struct lsc_buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->cap);
	lsc_buf_release(buf);
}

static int add_key(struct gate_keys *keys, const char *key, const char *path, struct lsc_err *err)
{
	size_t len = strlen(key);
	char **more;

	if (len < MIN_KEY || len > MAX_KEY)
		return lsc_err_set(err, EBADMSG, "'%s': a key of %zu bytes: want %d to %d", path,
				   len, MIN_KEY, MAX_KEY);
	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] > '~')
			return lsc_err_set(err, EBADMSG,
					   "'%s': a key that is not printable ASCII without blanks",
					   path);
	more = realloc(keys->keys, (keys->n + 1) * sizeof(*more));
	if (!more)
		return lsc_err_set(err, ENOMEM, "no memory for keys");
	keys->keys = more;
	more[keys->n] = strdup(key);
	if (!more[keys->n])
		return lsc_err_set(err, ENOMEM, "no memory for keys");
	keys->n++;
	return 0;
}

static void warn_if_open(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
		lsc_warning("'%s' may be read by others than its owner", path);
}

int gate_keys_read(struct gate_keys *keys, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(erase) struct lsc_buf file = LSC_BUF_INIT;
	char *line, *rest;
	int r;

	if (!path)
		return 0;
	r = lsc_file_read(path, MAX_FILE, &file, err);
	if (r == 0)
		warn_if_open(path);
	rest = (char *)file.data;
	while (r == 0 && rest && (line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t\r");
		line[strcspn(line, " \t\r")] = 0;
		if (*line && *line != '#')
			r = add_key(keys, line, path, err);
	}
	if (r == 0 && !keys->n)
		r = lsc_err_set(err, EBADMSG, "'%s' has no key", path);
	return r;
}

void gate_keys_erase(struct gate_keys *keys)
{
	for (uint32_t i = 0; i < keys->n; i++) {
		explicit_bzero(keys->keys[i], strlen(keys->keys[i]));
		free(keys->keys[i]);
	}
	free(keys->keys);
	*keys = (struct gate_keys){0};
}

/* In a time that tells nothing of where they differ. */
static bool is_same(const char *key, const char *given, size_t len)
{
	volatile unsigned char differ = strlen(key) != len;

	for (size_t i = 0; key[i]; i++)
		differ = differ | (unsigned char)(key[i] ^ given[len ? i % len : 0]);
	return !differ;
}

bool gate_keys_admit(const struct gate_keys *keys, const char *header)
{
	bool found = false;
	size_t len;

	if (!keys->n)
		return true;
	if (!header || strncasecmp(header, "Bearer ", 7))
		return false;
	header += 7 + strspn(header + 7, " ");
	len = strcspn(header, " \t");
	for (uint32_t i = 0; i < keys->n; i++)
		found |= is_same(keys->keys[i], header, len);
	return found;
}
