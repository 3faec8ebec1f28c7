/* sending - a launch, if any, and the cast that follows it */
#include "send/sending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"

#define DEFAULT_PORT 7000

struct lsc_sending {
	struct lsc_sending_options o;
	struct lsc_loop *loop;
	struct lsc_launch *launch;
	struct lsc_cast *cast;
	struct lsc_timer *over; /* without a cast */
	char **hosts;           /* to launch */
	uint32_t *at;           /* where they stand in o.to */
	uint32_t n_hosts, n_lost;
	struct lsc_buf key_line; /* for those that are launched */
	const char *argv[11];    /* and what they run */
	char listen[24];
	uint64_t began_ns;
	int result;
	struct lsc_err err;
};

int lsc_sending_settle(struct lsc_names *to, struct lsc_names *sources,
		       const struct lsc_names *exclude, uint64_t port, bool launch,
		       struct lsc_err *err)
{
	int r = 0;

	lsc_names_exclude(to, exclude);
	lsc_names_exclude(sources, exclude);
	if (!to->n)
		return lsc_err_set(err, EINVAL, "--exclude leaves no node to send to");
	if (!port)
		port = DEFAULT_PORT;
	if (!launch)
		r = lsc_names_set_port(to, (uint16_t)port, err);
	if (r == 0)
		r = lsc_names_set_port(sources, (uint16_t)port, err);
	return r < 0 ? r : lsc_names_check_unique(to, sources, err);
}

int lsc_sending_settle_asked(struct lsc_names *ask, const struct lsc_names *to,
			     const struct lsc_names *exclude, uint64_t port, struct lsc_err *err)
{
	struct lsc_names sorted = {.n = to->n};
	int r;

	lsc_names_exclude(ask, exclude);
	r = lsc_names_set_port(ask, (uint16_t)(port ? port : DEFAULT_PORT), err);
	if (r < 0 || !ask->n)
		return r;
	sorted.names = malloc((to->n + (size_t)1) * sizeof(sorted.names[0]));
	if (!sorted.names)
		return lsc_err_set(err, ENOMEM, "cannot list nodes: %m");
	memcpy(sorted.names, to->names, to->n * sizeof(sorted.names[0]));
	lsc_names_exclude(ask, &sorted); /* which sorts them */
	free(sorted.names);
	return lsc_names_check_unique(ask, NULL, err);
}

/* --- orders --- */

int lsc_sending_order_parse(const char *name, int *ret_order, struct lsc_err *err)
{
	enum lsc_order order;

	if (!strcmp(name, "throughput"))
		*ret_order = LSC_SENDING_THROUGHPUT;
	else if (!strcmp(name, "kway"))
		*ret_order = LSC_SENDING_KWAY;
	else if (lsc_order_parse(name, &order, NULL) == 0)
		*ret_order = order;
	else
		return lsc_err_set(
			err, EINVAL,
			"'%.32s' is no order: throughput, kway, round-optimal, chain, tree "
			"or sequential",
			name);
	return 0;
}

/* A ring, while that is short against the pieces; else a schedule that needs fewer rounds. */
void lsc_sending_choose(int order, struct lsc_cast_options *options)
{
	uint32_t whole =
		options->n_sources - options->n_parts + !(options->segment || options->absent);
	uint32_t group = 1 + (uint32_t)lsc_div_up(options->n_to, LSC_MAX(whole, 1u));
	bool chain = options->segment || options->n_parts || !whole ||
		     lsc_chain_is_fastest(group, options->image->n_pieces);

	if (order == LSC_SENDING_DEFAULT)
		order = options->n_sources ? LSC_SENDING_KWAY : LSC_SENDING_THROUGHPUT;
	options->rotate = order == LSC_SENDING_KWAY;
	options->scheduled = order >= 0 || !chain;
	options->order = order >= 0        ? (enum lsc_order)order
			 : options->rotate ? LSC_ORDER_KWAY
					   : LSC_ORDER_ROUND_OPTIMAL;
}

const char *lsc_sending_order_name(const struct lsc_cast_options *chosen)
{
	return chosen->scheduled ? lsc_order_name(chosen->order)
	       : chosen->rotate  ? "kway"
				 : "throughput";
}

/* --- access --- */

/* A key for this cast, where all that are in it are launched. */
static int draw_key(struct lsc_access *access, const struct lsc_names *to,
		    const struct lsc_names *sources, struct lsc_err *err)
{
	uint32_t n_launched = 0;

	for (uint32_t i = 0; i < to->n; i++)
		n_launched += !lsc_name_has_port(to->names[i]);
	if (access->key || access->insecure || !n_launched)
		return 0;
	if (n_launched < to->n || sources->n)
		return lsc_err_set(err, EINVAL,
				   "nodes that are launched and nodes that serve already: give "
				   "--key-file, the key of these, or --insecure");
	if (lsc_access_draw(access, err) < 0)
		return lsc_err_prefix(err, "nodes that are launched need a key, or --insecure: ");
	return 0;
}

static int check_names(const struct lsc_access *access, const struct lsc_names *names,
		       struct lsc_err *err)
{
	struct lsc_endpoint endpoint;
	int r = 0;

	for (uint32_t i = 0; i < names->n && r == 0; i++) {
		if (!lsc_name_has_port(names->names[i]))
			continue; /* it is to be launched */
		r = lsc_endpoint_parse(&endpoint, names->names[i], err);
		if (r == 0)
			r = lsc_access_check(access, &endpoint, err);
	}
	return r;
}

int lsc_sending_check_access(struct lsc_access *access, const struct lsc_names *to,
			     const struct lsc_names *sources, bool launch, struct lsc_err *err)
{
	int r = launch ? draw_key(access, to, sources, err) : 0;

	if (r == 0)
		r = check_names(access, to, err);
	return r < 0 ? r : check_names(access, sources, err);
}

/* --- the cast --- */

static void on_cast_done(void *data, int result, const struct lsc_err *err)
{
	struct lsc_sending *s = data;
	struct lsc_err named = *err;

	if (result == 0 && s->n_lost)
		result = lsc_err_set(&named, EHOSTUNREACH,
				     "%u of %u nodes could not be launched and have no image",
				     s->n_lost, s->n_lost + s->o.to->n);
	s->o.cast.on_done(s->o.cast.data, result, &named);
}

static void on_cast_tick(void *data, const struct lsc_cast *cast)
{
	struct lsc_sending *s = data;

	if (s->o.cast.on_tick)
		s->o.cast.on_tick(s->o.cast.data, cast);
}

static int start_cast(struct lsc_sending *s, struct lsc_err *err)
{
	struct lsc_cast_options options = s->o.cast;

	options.sources = s->o.sources->names;
	options.n_sources = s->o.sources->n;
	options.to = s->o.to->names;
	options.n_to = s->o.to->n;
	lsc_sending_choose(s->o.order, &options);
	options.on_done = on_cast_done;
	options.on_tick = on_cast_tick;
	options.data = s;
	s->began_ns = lsc_clock_ns();
	lsc_info("sending '%s' to %u nodes, %s", options.name, options.n_to,
		 lsc_sending_order_name(&options));
	return lsc_cast_start(&s->cast, s->loop, &options, err);
}

/* --- the launch --- */

static void on_over(void *data)
{
	struct lsc_sending *s = data;

	s->o.cast.on_done(s->o.cast.data, s->result, &s->err);
}

/* Puts addresses in the place of hosts, and takes out those that have none. */
static void take_addresses(struct lsc_sending *s)
{
	struct lsc_names *to = s->o.to;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->n_hosts; i++) {
		const char *address = lsc_launch_address(s->launch, i);
		char **name = &to->names[s->at[i]];

		if (!address) {
			lsc_warning("%s: not launched: %s", *name, lsc_launch_why(s->launch, i));
			s->n_lost++;
		}
		free(*name);
		*name = address ? strdup(address) : NULL;
	}
	for (uint32_t i = 0; i < to->n; i++)
		if (to->names[i])
			to->names[kept++] = to->names[i];
	to->n = kept;
}

static void on_launched(void *data)
{
	struct lsc_sending *s = data;

	if (s->result < 0) /* aborted meanwhile */
		return;
	take_addresses(s);
	if (!s->o.to->n)
		s->result = lsc_err_set(&s->err, EHOSTUNREACH, "no node could be launched");
	else if (start_cast(s, &s->err) < 0)
		s->result = -s->err.code;
	if (s->result < 0)
		lsc_timer_arm(s->over, 0);
}

/* Launched nodes get the key as the first line of their input. */
static int hand_over_key(struct lsc_sending *s, struct lsc_launch_options *options,
			 struct lsc_err *err)
{
	int r;

	if (!s->o.cast.key)
		return 0;
	r = lsc_key_line(s->o.cast.key, &s->key_line);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot launch: %m");
	options->input = s->key_line.data;
	options->input_len = s->key_line.len;
	return 0;
}

/* What is run on them. */
static void make_command(struct lsc_sending *s, struct lsc_launch_options *options)
{
	const char *const argv[] = {s->o.program,
				    "serve",
				    "--exit-with-stdin",
				    "--ready-fd",
				    "1",
				    "--listen",
				    s->listen,
				    "--dir",
				    s->o.dir,
				    s->o.cast.key ? "--key-file" : "--insecure",
				    "-"};

	snprintf(s->listen, sizeof(s->listen), "{any}:%u", s->o.port);
	memcpy(s->argv, argv, sizeof(argv));
	options->argv = s->argv;
	options->n_argv = LSC_ARRAY_SIZE(argv) - !s->o.cast.key;
}

static int start_launch(struct lsc_sending *s, struct lsc_err *err)
{
	struct lsc_launch_options options = s->o.launch;
	const struct lsc_names *to = s->o.to;
	int r;

	s->hosts = calloc(to->n, sizeof(s->hosts[0]));
	s->at = calloc(to->n, sizeof(s->at[0]));
	if (!s->hosts || !s->at)
		return lsc_err_set(err, ENOMEM, "cannot launch: %m");
	for (uint32_t i = 0; i < to->n; i++) {
		if (lsc_name_has_port(to->names[i]))
			continue;
		s->hosts[s->n_hosts] = strdup(to->names[i]);
		if (!s->hosts[s->n_hosts])
			return lsc_err_set(err, ENOMEM, "cannot launch: %m");
		s->at[s->n_hosts++] = i;
	}
	if (!s->n_hosts)
		return start_cast(s, err);
	r = hand_over_key(s, &options, err);
	if (r < 0)
		return r;
	make_command(s, &options);
	lsc_notice("launching %u of %u nodes by %s", s->n_hosts, to->n, options.how);
	options.hosts = s->hosts;
	options.n = s->n_hosts;
	options.on_done = on_launched;
	options.data = s;
	return lsc_launch_start(&s->launch, s->loop, &options, err);
}

/* --- life --- */

int lsc_sending_start(struct lsc_sending **ret_sending, struct lsc_loop *loop,
		      const struct lsc_sending_options *options, struct lsc_err *err)
{
	struct lsc_sending *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return lsc_err_set(err, ENOMEM, "cannot send: %m");
	*s = (struct lsc_sending){.o = *options, .loop = loop};
	r = lsc_timer_new(loop, on_over, s, &s->over, err);
	if (r == 0)
		r = options->launch.how ? start_launch(s, err) : start_cast(s, err);
	if (r < 0) {
		lsc_sending_free(s);
		return r;
	}
	*ret_sending = s;
	return 0;
}

struct lsc_cast *lsc_sending_cast(const struct lsc_sending *s)
{
	return s->cast;
}

uint64_t lsc_sending_began_ns(const struct lsc_sending *s)
{
	return s->began_ns;
}

void lsc_sending_abort(struct lsc_sending *s, const char *why)
{
	if (s->cast) {
		lsc_cast_abort(s->cast, why);
		return;
	}
	if (s->result < 0)
		return;
	s->result = lsc_err_set(&s->err, ECANCELED, "%s", why);
	lsc_timer_arm(s->over, 0);
}

void lsc_sending_free(struct lsc_sending *s)
{
	if (!s)
		return;
	lsc_cast_free(s->cast);
	lsc_launch_free(s->launch);
	lsc_timer_free(s->over);
	for (uint32_t i = 0; i < s->n_hosts; i++)
		free(s->hosts[i]);
	free(s->hosts);
	free(s->at);
	lsc_key_line_erase(&s->key_line);
	free(s);
}
