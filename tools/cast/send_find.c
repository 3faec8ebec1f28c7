/* lsc-cast send --sources auto - who has the image; lib/send/census.c asks */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "send/census.h"
#include "send.h"
#include "stream/inventory.h"

struct finding {
	struct lsc_loop *loop;
	struct lsc_err *err;
};

static void on_done(void *data, int result, const struct lsc_err *err)
{
	struct finding *finding = data;

	*finding->err = *err;
	lsc_loop_stop(finding->loop, result);
}

static bool has_name(const struct lsc_names *names, const char *name)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (!strcmp(names->names[i], name))
			return true;
	return false;
}

/* Those that are there, each once: who is to be launched is not. */
static int add_names(struct lsc_names *all, const struct lsc_names *names, struct lsc_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < names->n && r == 0; i++)
		if (lsc_name_has_port(names->names[i]) && !has_name(all, names->names[i]))
			r = lsc_names_parse(all, names->names[i], err);
	return r;
}

/* Who has all of it is a source, unless it is to have it: a cast finds that out itself. */
static int add_sources(struct send_options *opt, const struct lsc_census *census,
		       const struct lsc_names *asked, const char *name, struct lsc_err *err)
{
	uint32_t whole = 0, parts = 0;
	int r = 0;

	for (uint32_t i = 0; i < asked->n && r == 0; i++) {
		struct lsc_census_answer answer = lsc_census_answer(census, i);
		const char *node = asked->names[i];
		bool named = has_name(&opt->to, node) || has_name(&opt->sources, node);

		if (!answer.held)
			lsc_info("%s: %s", node, answer.why);
		if (answer.held && !answer.meant && answer.held->state != LSC_HELD_ABSENT)
			lsc_warning("%s has another image '%s'", node, name);
		if (!answer.meant)
			continue;
		whole += answer.held->state == LSC_HELD_WHOLE;
		parts += answer.held->state == LSC_HELD_PART;
		if (answer.held->state == LSC_HELD_WHOLE && !named)
			r = lsc_names_parse(&opt->sources, node, err);
		else if (!named)
			lsc_notice("%s has %u of %u pieces of '%s', and gives them if it is to "
				   "have the others",
				   node, answer.held->there, answer.held->pieces, name);
	}
	lsc_notice("'%s' is at %u of %u nodes, and in part at %u", name, whole, asked->n, parts);
	return r;
}

/* The manifest outlives the census. */
static int take_manifest(struct lsc_subject *subject, const struct lsc_census *census,
			 const char *name, uint8_t **ret_manifest, struct lsc_err *err)
{
	size_t len;
	const uint8_t *manifest = lsc_census_manifest(census, &len);

	*ret_manifest = malloc(len + 1);
	if (!*ret_manifest)
		return lsc_err_set(err, ENOMEM, "cannot hold a manifest: %m");
	memcpy(*ret_manifest, manifest, len);
	return lsc_subject_absent(subject, name, *ret_manifest, len, err);
}

int lsc_cast_send_find(struct send_options *opt, struct lsc_subject *subject, const char *name,
		       bool here, struct lsc_loop *loop, uint8_t **ret_manifest,
		       struct lsc_err *err)
{
	LSC_CLEANUP(lsc_names_release) struct lsc_names asked = {0};
	struct finding finding = {loop, err};
	struct lsc_census_options options = {
		.name = name,
		.id = here ? &subject->image.id : NULL,
		.key = opt->access.key,
		.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
		.on_done = on_done,
		.data = &finding,
	};
	struct lsc_census *census = NULL;
	int r = add_names(&asked, &opt->sources, err);

	if (r == 0 && opt->find_sources)
		r = add_names(&asked, &opt->to, err);
	if (r == 0)
		r = add_names(&asked, &opt->ask, err);
	options.nodes = asked.names;
	options.n_nodes = asked.n;
	if (r == 0)
		r = lsc_census_start(&census, loop, &options, err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	if (r == 0 && opt->find_sources)
		r = add_sources(opt, census, &asked, name, err);
	if (r == 0 && !here)
		r = take_manifest(subject, census, name, ret_manifest, err);
	lsc_census_free(census);
	return r;
}

int lsc_cast_send_ask(struct lsc_names *ask, const char *inventory, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_inventory_release) struct lsc_inventory read = LSC_INVENTORY_INIT;
	LSC_CLEANUP_FD int fd = open(inventory, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? lsc_err_set(err, errno, "cannot open '%s': %m", inventory) : 0;

	if (r == 0)
		r = lsc_inventory_read(&read, fd, err);
	for (uint32_t i = 0; i < read.n_nodes && r == 0; i++)
		r = lsc_names_parse(ask, read.nodes[i].node, err);
	return r;
}
