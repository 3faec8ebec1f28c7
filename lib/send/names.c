/* names - lists of nodes with ranges
 *
 * Every limit is on what is written or on the names that come out, so that a short list cannot ask
 * for much: one name has few brackets, each of which multiplies, and expansion ends at the limit.
 */
#include "send/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/endpoint.h"
#include "base/io.h"
#include "base/parse.h"
#include "cast/message.h"

#define MAX_DIGITS   9
#define MAX_BRACKETS 8
#define MAX_LIST     (16u << 20)
#define SHOWN        64 /* of a name, in an error */

void lsc_names_release(struct lsc_names *names)
{
	for (uint32_t i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct lsc_names){0};
}

/* --- one name --- */

/* Past the host, or NULL where there is none. */
static const char *host_end(const char *name)
{
	const char *end = name;

	if (*name == '[') {
		end += 1 + strspn(name + 1, "0123456789abcdefABCDEF:.");
		if (*end == '%') /* a zone */
			end += 1 + strspn(end + 1, "0123456789abcdefghijklmnopqrstuvwxyz.-_");
		return *end == ']' ? end + 1 : NULL;
	}
	if (*name == '-')
		return NULL;
	end += strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_");
	return end > name ? end : NULL;
}

bool lsc_name_has_port(const char *name)
{
	const char *end = host_end(name);

	return !end || *end;
}

void lsc_name_host(const char *name, char host[LSC_NAMES_MAX_NAME + 1])
{
	const char *end = strncmp(name, "unix:", 5) ? host_end(name) : NULL;

	snprintf(host, LSC_NAMES_MAX_NAME + 1, "%.*s", end ? (int)(end - name) : LSC_NAMES_MAX_NAME,
		 name);
}

/* A host of that name could not be told from an endpoint that is none (base/endpoint.h). */
static bool is_word(const char *host, size_t len)
{
	return (len == 4 && !strncmp(host, "unix", 4)) || (len == 2 && !strncmp(host, "fd", 2)) ||
	       (len == 6 && !strncmp(host, "memory", 6));
}

static int check_name(const char *name, struct lsc_err *err)
{
	const char *end = host_end(name);
	uint64_t port;

	if (!strncmp(name, "unix:", 5) && name[5])
		return 0;
	if (!end || is_word(name, end - name))
		return lsc_err_set(err, EINVAL, "'%.*s' is no node", SHOWN, name);
	if (!*end)
		return 0;
	if (*end != ':')
		return lsc_err_set(err, EINVAL, "'%.*s' is no node: it has a '%c'", SHOWN, name,
				   *end);
	if (strchr(end + 1, ':'))
		return lsc_err_set(err, EINVAL, "'%.*s': write an IPv6 address in brackets", SHOWN,
				   name);
	if (lsc_parse_uint(end + 1, 1, 65535, &port, NULL) < 0)
		return lsc_err_set(err, EINVAL, "'%.*s' has no port from 1 to 65535", SHOWN, name);
	return 0;
}

static int add_one(struct lsc_names *names, const char *name, struct lsc_err *err)
{
	int r = check_name(name, err);
	char *copy;

	if (r < 0)
		return r;
	if (names->n == LSC_NAMES_MAX)
		return lsc_err_set(err, EINVAL, "more than %d nodes", LSC_NAMES_MAX);
	if (names->n == names->cap) {
		uint32_t cap = names->cap ? 2 * names->cap : 16;
		char **grown = realloc(names->names, cap * sizeof(grown[0]));

		if (!grown)
			return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
		names->names = grown;
		names->cap = cap;
	}
	copy = strdup(name);
	if (!copy)
		return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
	names->names[names->n++] = copy;
	return 0;
}

/* --- ranges --- */

/* A node as it is written, and the name that is made of it, left to right. */
struct expansion {
	struct lsc_names *names;
	const char *node, *end;
	char name[LSC_NAMES_MAX_NAME + 1];
	struct lsc_err *err;
};

static int expand(struct expansion *x, const char *at, size_t used, unsigned brackets);

static int too_long(const struct expansion *x)
{
	return lsc_err_set(x->err, EINVAL, "'%.*s...' is too long for a node", SHOWN, x->node);
}

/* "01-16" or "7", in front of the rest. */
static int expand_range(struct expansion *x, const char *range, size_t len, const char *rest,
			size_t used, unsigned brackets)
{
	size_t first_len = strspn(range, "0123456789");
	size_t last_len = first_len;
	unsigned long first, last;
	int r = 0;

	if (first_len < len && range[first_len] == '-')
		last_len = strspn(range + first_len + 1, "0123456789");
	if (first_len == 0 || last_len == 0 || first_len > MAX_DIGITS || last_len > MAX_DIGITS ||
	    (len != first_len && len != first_len + 1 + last_len))
		return lsc_err_set(x->err, EINVAL, "'%.*s' is no range of numbers",
				   len < SHOWN ? (int)len : SHOWN, range);
	first = strtoul(range, NULL, 10);
	last = len == first_len ? first : strtoul(range + first_len + 1, NULL, 10);
	if (first > last)
		return lsc_err_set(x->err, EINVAL, "'%.*s' is no range of numbers", (int)len,
				   range);
	for (unsigned long i = first; r == 0 && i <= last; i++) {
		int n = snprintf(x->name + used, sizeof(x->name) - used, "%0*lu", (int)first_len,
				 i);

		r = (size_t)n >= sizeof(x->name) - used
			    ? too_long(x)
			    : expand(x, rest, used + (size_t)n, brackets);
	}
	return r;
}

/* All that is in a bracket, which opens at at. */
static int expand_bracket(struct expansion *x, const char *at, size_t used, unsigned brackets)
{
	const char *close = memchr(at, ']', x->end - at);
	int r = 0;

	if (!close)
		return lsc_err_set(x->err, EINVAL, "'%.*s' has a '[' without its ']'",
				   x->end - x->node < SHOWN ? (int)(x->end - x->node) : SHOWN,
				   x->node);
	if (brackets == MAX_BRACKETS)
		return lsc_err_set(x->err, EINVAL, "'%.*s...' has more than %d brackets", SHOWN,
				   x->node, MAX_BRACKETS);
	while (r == 0 && at < close) {
		const char *range = at + 1;

		at = memchr(range, ',', close - range);
		if (!at)
			at = close;
		r = expand_range(x, range, at - range, close + 1, used, brackets + 1);
	}
	return r;
}

/* Whether a bracket opens an address: those that stand first and have colons. */
static bool is_address(const struct expansion *x, const char *at, size_t used)
{
	const char *close = memchr(at, ']', x->end - at);

	return used == 0 && close && memchr(at, ':', close - at);
}

/* What is written from at on, behind the first used bytes of the name. */
static int expand(struct expansion *x, const char *at, size_t used, unsigned brackets)
{
	bool address = false;

	for (; at < x->end; at++) {
		if (*at == '[' && is_address(x, at, used))
			address = true;
		else if (*at == '[')
			return expand_bracket(x, at, used, brackets);
		if (*at == ']' && !address)
			return lsc_err_set(x->err, EINVAL, "'%.*s' has a ']' without its '['",
					   x->end - x->node < SHOWN ? (int)(x->end - x->node)
								    : SHOWN,
					   x->node);
		if (*at == ']')
			address = false;
		if (used == sizeof(x->name) - 1)
			return too_long(x);
		x->name[used++] = *at;
	}
	x->name[used] = 0;
	return add_one(x->names, x->name, x->err);
}

/* --- lists --- */

static int add_file(struct lsc_names *names, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	uint32_t before = names->n;
	bool is_stdin = !strcmp(path, "-");
	int r = is_stdin ? lsc_fd_read(STDIN_FILENO, "standard input", MAX_LIST, &text, err)
			 : lsc_file_read(path, MAX_LIST, &text, err);

	if (r < 0)
		return r;
	if (memchr(text.data, 0, text.len))
		r = lsc_err_set(err, EINVAL, "is no text");
	else
		r = lsc_names_parse(names, (const char *)text.data, err);
	if (r == 0 && names->n == before)
		r = lsc_err_set(err, EINVAL, "no nodes are named there");
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

static int add_job(struct lsc_names *names, struct lsc_err *err)
{
	const char *list = getenv("SLURM_JOB_NODELIST");
	int r;

	if (!list || !*list)
		return lsc_err_set(
			err, EINVAL,
			"'slurm:': this is no Slurm job ($SLURM_JOB_NODELIST is not set)");
	r = lsc_names_parse(names, list, err);
	return r < 0 ? lsc_err_prefix(err, "$SLURM_JOB_NODELIST: ") : 0;
}

static int add_item(struct lsc_names *names, const char *item, size_t len, bool plain,
		    struct lsc_err *err)
{
	struct expansion x = {.names = names, .node = item, .end = item + len, .err = err};
	LSC_CLEANUP_FREE char *path = NULL;

	if (len == 0)
		return lsc_err_set(err, EINVAL, "a list of nodes holds an empty name");
	if (!plain && item[0] == '@') {
		path = strndup(item + 1, len - 1);
		return path ? add_file(names, path, err)
			    : lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
	}
	if (!plain && len == 6 && !strncmp(item, "slurm:", 6))
		return add_job(names, err);
	if (len > 6 && !strncmp(item, "tcp://", 6))
		item += 6;
	return expand(&x, item, 0, 0);
}

static const char *skip_blank(const char *at)
{
	for (;;) {
		at += strspn(at, " \t\r\n");
		if (*at != '#')
			return at;
		at += strcspn(at, "\n");
	}
}

/* Up to the comma or white space behind it that is in no bracket. */
static size_t item_len(const char *item)
{
	bool inside = false;
	size_t len;

	for (len = 0; item[len] && (inside || !strchr(", \t\r\n", item[len])); len++)
		inside = item[len] == '[' || (inside && item[len] != ']');
	return len;
}

static int add_list(struct lsc_names *names, const char *list, bool plain, struct lsc_err *err)
{
	bool more = !plain; /* an argument names something; behind a comma something follows */
	int r = 0;

	while (r == 0) {
		size_t len;

		list = skip_blank(list);
		if (!*list && !more)
			return 0;
		len = item_len(list);
		r = add_item(names, list, len, plain, err);
		list = skip_blank(list + len);
		more = *list == ',';
		list += more;
	}
	return r;
}

int lsc_names_parse(struct lsc_names *names, const char *list, struct lsc_err *err)
{
	return add_list(names, list, true, err);
}

int lsc_names_add(struct lsc_names *names, const char *list, struct lsc_err *err)
{
	return add_list(names, list, false, err);
}

/* --- all of them --- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void lsc_names_exclude(struct lsc_names *names, const struct lsc_names *without)
{
	uint32_t kept = 0;

	if (!without->n)
		return;
	qsort(without->names, without->n, sizeof(without->names[0]), compare);
	for (uint32_t i = 0; i < names->n; i++) {
		char host[LSC_NAMES_MAX_NAME + 1], *key = host;

		lsc_name_host(names->names[i], host);
		if (bsearch(&key, without->names, without->n, sizeof(key), compare) ||
		    bsearch(&names->names[i], without->names, without->n, sizeof(key), compare))
			free(names->names[i]);
		else
			names->names[kept++] = names->names[i];
	}
	names->n = kept;
}

int lsc_names_set_port(struct lsc_names *names, uint16_t port, struct lsc_err *err)
{
	for (uint32_t i = 0; i < names->n; i++) {
		char *with;

		if (lsc_name_has_port(names->names[i]))
			continue;
		if (asprintf(&with, "%s:%u", names->names[i], port) < 0)
			return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
		free(names->names[i]);
		names->names[i] = with;
	}
	return 0;
}

int lsc_names_check_unique(const struct lsc_names *names, const struct lsc_names *more,
			   struct lsc_err *err)
{
	uint32_t n = names->n, n_more = more ? more->n : 0;
	LSC_CLEANUP_FREE char **sorted = calloc((size_t)n + n_more + 1, sizeof(sorted[0]));

	if (!sorted)
		return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
	if (n)
		memcpy(sorted, names->names, n * sizeof(sorted[0]));
	if (n_more)
		memcpy(sorted + n, more->names, n_more * sizeof(sorted[0]));
	qsort(sorted, (size_t)n + n_more, sizeof(sorted[0]), compare);
	for (uint32_t i = 1; i < n + n_more; i++)
		if (!strcmp(sorted[i - 1], sorted[i]))
			return lsc_err_set(err, EINVAL, "node '%s' is given twice", sorted[i]);
	return 0;
}

int lsc_name_check_worker(const char *text, struct lsc_err *err)
{
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, text, err);

	if (r < 0)
		return r;
	if (strlen(text) >= LSC_CAST_ADDRESS ||
	    !((endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port) ||
	      endpoint.kind == LSC_ENDPOINT_UNIX))
		return lsc_err_set(err, EINVAL, "'%.64s' is no address of a stage worker", text);
	if (!strcmp(endpoint.name, "0.0.0.0") || !strcmp(endpoint.name, "::"))
		return lsc_err_set(err, EINVAL,
				   "'%s' cannot be connected to: name the address that others see",
				   text);
	return 0;
}
