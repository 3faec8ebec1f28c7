/* names - lists of nodes with ranges */
#include "cast/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_DIGITS 6

void lsc_names_release(struct lsc_names *names)
{
	for (uint32_t i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct lsc_names){0};
}

static int add_one(struct lsc_names *names, char *name, struct lsc_err *err)
{
	if (names->n == LSC_NAMES_MAX) {
		free(name);
		return lsc_err_set(err, EINVAL, "more than %d nodes", LSC_NAMES_MAX);
	}
	if (name && names->n == names->cap) {
		uint32_t cap = names->cap ? 2 * names->cap : 16;
		char **grown = realloc(names->names, cap * sizeof(grown[0]));

		if (!grown) {
			free(name);
			name = NULL;
		} else {
			names->names = grown;
			names->cap = cap;
		}
	}
	if (!name)
		return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
	names->names[names->n++] = name;
	return 0;
}

/* The first bracket that holds numbers, ranges and commas only, or NULL. */
static const char *find_range(const char *text, size_t len)
{
	for (const char *at = text; at < text + len; at++) {
		size_t inside;

		if (*at != '[' || at == text)
			continue;
		inside = strspn(at + 1, "0123456789,-");
		if (inside && at + 1 + inside < text + len && at[1 + inside] == ']')
			return at;
	}
	return NULL;
}

static int expand(struct lsc_names *names, const char *text, size_t len, struct lsc_err *err);

/* "01-16" or "7", between what stands before and after the bracket. */
static int expand_range(struct lsc_names *names, const char *text, size_t len, const char *open,
			const char *range, size_t range_len, struct lsc_err *err)
{
	const char *close = strchr(open, ']') + 1;
	const char *dash = memchr(range, '-', range_len);
	size_t first_len = dash ? (size_t)(dash - range) : range_len;
	size_t last_len = dash ? range_len - first_len - 1 : range_len;
	unsigned long first, last;

	if (first_len == 0 || last_len == 0 || first_len > MAX_DIGITS || last_len > MAX_DIGITS ||
	    (dash && memchr(dash + 1, '-', last_len)))
		return lsc_err_set(err, EINVAL, "'%.*s' is no range of numbers", (int)range_len,
				   range);
	first = strtoul(range, NULL, 10);
	last = strtoul(dash ? dash + 1 : range, NULL, 10);
	if (first > last || last - first >= LSC_NAMES_MAX)
		return lsc_err_set(err, EINVAL, "'%.*s' is no range of numbers", (int)range_len,
				   range);
	for (unsigned long i = first; i <= last; i++) {
		LSC_CLEANUP_FREE char *name = NULL;
		int n = asprintf(&name, "%.*s%0*lu%.*s", (int)(open - text), text, (int)first_len,
				 i, (int)(text + len - close), close);
		int r;

		if (n < 0) {
			name = NULL;
			return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
		}
		r = expand(names, name, n, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One name of a list, which may hold ranges. */
static int expand(struct lsc_names *names, const char *text, size_t len, struct lsc_err *err)
{
	const char *open = find_range(text, len);
	int r = 0;

	if (len == 0)
		return lsc_err_set(err, EINVAL, "a list of nodes holds an empty name");
	if (!open)
		return add_one(names, strndup(text, len), err);
	for (const char *at = open + 1; r == 0; at++) {
		size_t n = strcspn(at, ",]");

		r = expand_range(names, text, len, open, at, n, err);
		at += n;
		if (*at == ']')
			break;
	}
	return r;
}

int lsc_names_add(struct lsc_names *names, const char *list, struct lsc_err *err)
{
	int r = 0;

	while (r == 0) {
		size_t len = 0;
		int depth = 0;

		for (; list[len] && (list[len] != ',' || depth); len++)
			depth += (list[len] == '[') - (list[len] == ']');
		r = expand(names, list, len, err);
		list += len;
		if (!*list++)
			break;
	}
	return r;
}
