/* site - reads a cluster file */
#include "sim/site.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "base/parse.h"

#define MAX_SECONDS 3600.0
#define SHOWN       40 /* of a word in an error */
#define BLANKS      " \t\r"

/* What a line says; rates are of the cable. */
struct line {
	uint64_t nodes;
	double link, up, down, disk;
	const char *of_nodes; /* a word that makes sense with nodes= alone */
};

void lsc_site_release(struct lsc_site *site)
{
	free(site->nodes);
	*site = (struct lsc_site)LSC_SITE_INIT;
}

double lsc_site_up(const struct lsc_site *site, uint32_t node)
{
	return site->nodes[node].up * site->payload;
}

double lsc_site_down(const struct lsc_site *site, uint32_t node)
{
	return site->nodes[node].down * site->payload;
}

static int parse_time(const char *text, double *ret_seconds, struct lsc_err *err)
{
	double seconds;
	int r = lsc_parse_duration(text, &seconds, err);

	if (r == 0 && seconds > MAX_SECONDS)
		r = lsc_err_set(err, EINVAL, "'%s' is more than an hour", text);
	if (r == 0)
		*ret_seconds = seconds;
	return r;
}

static int take_word(struct lsc_site *site, struct line *line, char *word, struct lsc_err *err)
{
	const struct {
		const char *key;
		double *rate;
	} rates[] = {{"link", &line->link},
		     {"up", &line->up},
		     {"down", &line->down},
		     {"disk", &line->disk}};
	char *value = strchr(word, '=');

	if (!value)
		return lsc_err_set(err, EINVAL, "'%.*s' is not KEY=VALUE", SHOWN, word);
	*value++ = 0;
	if (!strcmp(word, "nodes"))
		return lsc_parse_uint(value, 1, LSC_SITE_MAX_NODES, &line->nodes, err);
	if (!strcmp(word, "payload"))
		return lsc_parse_real(value, 0.01, 1, &site->payload, err);
	if (!strcmp(word, "latency"))
		return parse_time(value, &site->latency, err);
	if (!strcmp(word, "start"))
		return parse_time(value, &site->start, err);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(rates); i++) {
		if (strcmp(word, rates[i].key))
			continue;
		line->of_nodes = rates[i].key;
		return lsc_parse_rate(value, rates[i].rate, err);
	}
	return lsc_err_set(err, EINVAL, "'%.*s' is nothing that a cluster has", SHOWN, word);
}

static int add_nodes(struct lsc_site *site, const struct line *line, struct lsc_err *err)
{
	struct lsc_site_node node = {
		.up = line->up > 0 ? line->up : line->link,
		.down = line->down > 0 ? line->down : line->link,
		.disk = line->disk,
	};
	struct lsc_site_node *nodes;

	if (!line->nodes)
		return line->of_nodes ? lsc_err_set(err, EINVAL, "'%s=' wants 'nodes=' beside it",
						    line->of_nodes)
				      : 0;
	if (!(node.up > 0 && node.down > 0))
		return lsc_err_set(err, EINVAL, "nodes want 'link=', or 'up=' and 'down='");
	if (line->nodes > LSC_SITE_MAX_NODES - site->n_nodes)
		return lsc_err_set(err, EINVAL, "there are more than %u nodes", LSC_SITE_MAX_NODES);
	nodes = reallocarray(site->nodes, site->n_nodes + line->nodes, sizeof(nodes[0]));
	if (!nodes)
		return lsc_err_set(err, ENOMEM, "cannot read a cluster: %m");
	site->nodes = nodes;
	for (uint64_t i = 0; i < line->nodes; i++)
		nodes[site->n_nodes++] = node;
	return 0;
}

static int take_line(struct lsc_site *site, char *text, struct lsc_err *err)
{
	struct line line = {0};
	char *rest, *word;
	int r = 0;

	text[strcspn(text, "#")] = 0;
	for (word = strtok_r(text, BLANKS, &rest); r == 0 && word;
	     word = strtok_r(NULL, BLANKS, &rest))
		r = take_word(site, &line, word, err);
	return r < 0 ? r : add_nodes(site, &line, err);
}

int lsc_site_parse(struct lsc_site *site, const char *text, size_t len, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *copy = NULL;
	unsigned number = 1;
	int r = 0;

	if (len > LSC_SITE_MAX_TEXT)
		return lsc_err_set(err, EINVAL, "a cluster's text has %u bytes at most",
				   LSC_SITE_MAX_TEXT);
	if (memchr(text, 0, len))
		return lsc_err_set(err, EINVAL, "a cluster's text has a 0 in it");
	copy = strndup(text, len);
	if (!copy)
		return lsc_err_set(err, ENOMEM, "cannot read a cluster: %m");
	for (char *at = copy, *end; r == 0 && at; at = end, number++) {
		end = strchr(at, '\n');
		if (end)
			*end++ = 0;
		r = take_line(site, at, err);
		if (r < 0)
			lsc_err_prefix(err, "line %u: ", number);
	}
	return r;
}

int lsc_site_read(struct lsc_site *site, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	bool input = !strcmp(path, "-");
	const char *name = input ? "standard input" : path;
	int r = input ? lsc_fd_read(STDIN_FILENO, name, LSC_SITE_MAX_TEXT, &buf, err)
		      : lsc_file_read(path, LSC_SITE_MAX_TEXT, &buf, err);

	if (r < 0)
		return r;
	r = lsc_site_parse(site, buf.len ? (const char *)buf.data : "", buf.len, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", name) : 0;
}
