/* lsc-cast send --sources auto - what nodes have decides who sends; lib/send/census.c asks them,
 * lib/send/pick.c says who does what */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"
#include "send/census.h"
#include "send/pick.h"
#include "send/sending.h"
#include "send.h"

struct asking {
	struct send_options *opt;
	struct lsc_subject *subject;
	struct lsc_loop *loop;
	char **names; /* those of --to, then those of --ask */
	struct lsc_census *census;
	struct lsc_pick pick;
	uint32_t *at; /* a list of some of them */
};

static void on_done(void *data)
{
	struct asking *a = data;

	lsc_loop_stop(a->loop, 0);
}

static int ask_all(struct asking *a, const char *name, struct lsc_err *err)
{
	const struct send_options *opt = a->opt;
	const struct lsc_census_options options = {
		.name = name,
		.nodes = a->names,
		.n_nodes = a->pick.n_nodes,
		.key = opt->access.key,
		.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
		.on_done = on_done,
		.data = a,
	};
	int r = lsc_census_start(&a->census, a->loop, &options, err);

	if (r == 0)
		r = lsc_loop_run(a->loop, err);
	for (uint32_t i = 0; r == 0 && i < a->pick.n_nodes; i++) {
		a->pick.nodes[i] = (struct lsc_pick_node){
			.name = a->names[i],
			.has = lsc_census_node(a->census, i),
			.wanted = i < opt->to.n,
		};
	}
	return r;
}

/* From whoever has it: the first that gives it. */
static int fetch_manifest(struct asking *a, struct lsc_err *err)
{
	int r = -ENOENT;

	for (uint32_t i = a->pick.keeper; r < 0 && i < a->pick.n_nodes; i++) {
		const struct lsc_census_node *has = a->pick.nodes[i].has;
		const void *manifest;
		size_t len;

		if (has->state != LSC_CENSUS_HELD || !lsc_hash_equal(&has->held.id, &a->pick.id))
			continue;
		r = lsc_census_fetch(a->census, i, err);
		if (r == 0)
			r = lsc_loop_run(a->loop, err);
		if (r == 0)
			r = lsc_census_manifest(a->census, &manifest, &len, err);
		if (r == 0)
			r = lsc_subject_take(a->subject, manifest, len, err);
	}
	return r;
}

/* What people should know of nodes that are not what they may think. */
static void warn(const struct asking *a)
{
	for (uint32_t i = 0; i < a->pick.n_nodes; i++) {
		const struct lsc_pick_node *node = &a->pick.nodes[i];

		if (node->other)
			lsc_warning("%s: has a part of another image of that name, which %s",
				    node->name, node->wanted ? "gives way" : "is of no use");
		else if (node->has->state >= LSC_CENSUS_OLD && !node->wanted)
			lsc_warning("%s: %s, going on without it", node->name, node->has->why.text);
		else if (node->has->state == LSC_CENSUS_OLD)
			lsc_warning("%s: %s", node->name, node->has->why.text);
	}
}

/* Puts the nodes of a role into an empty list. */
static int list(struct asking *a, enum lsc_pick_role role, struct lsc_names *names,
		struct lsc_err *err)
{
	uint32_t n = lsc_pick_list(&a->pick, role, a->at);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = lsc_names_parse(names, a->pick.nodes[a->at[i]].name, err);
	return r;
}

static int take_roles(struct asking *a, struct lsc_err *err)
{
	struct send_options *opt = a->opt;
	struct lsc_names to = {0};
	int r = list(a, LSC_PICK_SOURCE, &opt->sources, err);
	uint32_t n = opt->sources.n;

	if (r == 0)
		r = list(a, LSC_PICK_PART, &opt->sources, err);
	opt->n_parts = opt->sources.n - n;
	if (r == 0)
		r = list(a, LSC_PICK_RECEIVER, &to, err);
	lsc_names_release(&opt->to);
	opt->to = to;
	return r;
}

/* How many that are to have it do not have all of it. */
static uint32_t count_lacking(const struct asking *a)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->pick.n_nodes; i++)
		n += a->pick.nodes[i].role == LSC_PICK_RECEIVER &&
		     !a->pick.nodes[i].has->held.complete;
	return n;
}

/* A plan is one of sources that have all; how parts will go round is not known beforehand. */
static int tell_plan(struct asking *a, const char *name, struct lsc_err *err)
{
	const struct lsc_subject *subject = a->subject;
	const struct send_options *opt = a->opt;
	bool whole = !(subject->absent || subject->partial) || opt->sources.n > opt->n_parts;

	if (count_lacking(a) && whole)
		return lsc_cast_send_plan(opt, subject, name, err);
	if (!opt->json)
		printf("'%s': %s\n", name,
		       whole || !count_lacking(a)
			       ? "all that are to have it have it"
			       : "no node has all of it, and what they have is passed on");
	return 0;
}

static int tell(struct asking *a, const char *name, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int width = 0, r = 0;

	for (uint32_t i = 0; i < a->pick.n_nodes; i++)
		width = LSC_MAX(width, (int)LSC_MIN(strlen(a->names[i]), (size_t)40));
	for (uint32_t i = 0; r == 0 && i < a->pick.n_nodes; i++)
		r = lsc_pick_tell(&a->pick, i, &a->subject->image, width, a->opt->json, &text);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot tell what nodes have: %m");
	fwrite(text.data, 1, text.len, stdout);
	return tell_plan(a, name, err);
}

static int go(struct asking *a, const char *name, struct lsc_err *err)
{
	const struct lsc_subject *subject = a->subject;
	int r;

	a->pick.name = name;
	a->pick.here = subject->absent ? NULL : &subject->image.id;
	a->pick.whole = !subject->absent && !subject->partial;
	a->pick.fixed = a->opt->order >= 0;
	r = ask_all(a, name, err);
	if (r == 0)
		r = lsc_pick_image(&a->pick, err);
	if (r == 0 && subject->absent)
		r = fetch_manifest(a, err);
	if (r == 0)
		r = lsc_pick_roles(&a->pick, &subject->image,
				   subject->partial ? &subject->segment : NULL, err);
	if (r < 0)
		return r;
	warn(a);
	r = take_roles(a, err);
	if (r < 0)
		return r;
	lsc_info("of %u nodes %u send '%s', %u of them a part", a->pick.n_nodes, a->opt->sources.n,
		 name, a->opt->n_parts);
	return a->opt->dry_run ? tell(a, name, err)
			       : lsc_cast_send_run(a->opt, subject, name, a->loop, err);
}

int lsc_cast_send_auto(struct send_options *opt, struct lsc_subject *subject, const char *name,
		       struct lsc_loop *loop, struct lsc_err *err)
{
	uint32_t n = opt->to.n + opt->ask.n;
	struct asking a = {.opt = opt, .subject = subject, .loop = loop, .pick = {.n_nodes = n}};
	int r = 0;

	a.names = calloc(n, sizeof(a.names[0]));
	a.at = calloc(n, sizeof(a.at[0]));
	a.pick.nodes = calloc(n, sizeof(a.pick.nodes[0]));
	if (!a.names || !a.at || !a.pick.nodes)
		r = lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		a.names[i] =
			strdup(i < opt->to.n ? opt->to.names[i] : opt->ask.names[i - opt->to.n]);
		if (!a.names[i])
			r = lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	}
	if (r == 0)
		r = go(&a, name, err);
	if (subject->absent) /* it is parsed from what the census holds */
		lsc_image_close(&subject->image);
	lsc_census_free(a.census);
	for (uint32_t i = 0; a.names && i < n; i++)
		free(a.names[i]);
	free(a.names);
	free(a.at);
	free(a.pick.nodes);
	return r;
}
