/* lsc-tier stat - how much there is of what on this node, for people and for Prometheus */
#include <stdio.h>
#include <string.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "base/tiers.h"
#include "cli/tool.h"
#include "commands.h"

#define MAX_EVENTS 32

enum how { FOR_PEOPLE, JSON, PROMETHEUS };

struct stat_options {
	const char *tier;
	enum how how;
};

enum { KEY_JSON = 0x300, KEY_PROMETHEUS };

static const struct argp_option stat_table[] = {
	{"json", KEY_JSON, NULL, 0, "Write the tier's record as a JSON line", 0},
	{"prometheus", KEY_PROMETHEUS, NULL, 0,
	 "Write what node_exporter's textfile collector reads", 0},
	TIER_ROW,
	{0},
};

static error_t parse_stat(int key, char *arg, struct argp_state *state)
{
	struct stat_options *opt = state->input;

	switch (key) {
	case KEY_JSON:
		opt->how = JSON;
		return 0;
	case KEY_PROMETHEUS:
		opt->how = PROMETHEUS;
		return 0;
	case 'T':
		opt->tier = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- for people --- */

static void print_node(const struct lsc_record *record)
{
	for (unsigned i = 0; i < LSC_TIERS; i++) {
		const char *name = lsc_tier_name((enum lsc_tier)i);
		const msgpack_object *tier = lsc_record_get(record, name);

		if (tier)
			printf("%-6s %10s of %10s, %llu images\n", name,
			       lsc_amount_bytes(tier_number(tier, "used")).text,
			       lsc_amount_bytes(tier_number(tier, "capacity")).text,
			       tier_number(tier, "images"));
	}
}

/* --- for Prometheus --- */

static void head(const char *name, const char *type, const char *help)
{
	printf("# HELP lsc_tier_%s %s\n# TYPE lsc_tier_%s %s\n", name, help, name, type);
}

static void print_tiers(const struct lsc_record *record)
{
	static const struct {
		const char *key, *name, *help;
	} rows[] = {
		{"capacity", "capacity_bytes", "Bytes that a tier may use."},
		{"used", "used_bytes", "Bytes that a tier uses."},
		{"images", "images", "Images that a tier has."},
	};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(rows); i++) {
		head(rows[i].name, "gauge", rows[i].help);
		for (unsigned t = 0; t < LSC_TIERS; t++) {
			const char *name = lsc_tier_name((enum lsc_tier)t);
			const msgpack_object *tier = lsc_record_get(record, name);

			if (tier)
				printf("lsc_tier_%s{tier=\"%s\"} %llu\n", rows[i].name, name,
				       tier_number(tier, rows[i].key));
		}
	}
}

static void print_events(const struct lsc_record *record)
{
	const msgpack_object *events = lsc_record_get(record, "events");

	head("events_total", "counter", "What happened to images since the tier began.");
	for (uint32_t i = 0; events && events->type == MSGPACK_OBJECT_MAP &&
			     i < LSC_MIN(events->via.map.size, (uint32_t)MAX_EVENTS);
	     i++) {
		const msgpack_object_kv *pair = &events->via.map.ptr[i];

		if (pair->key.type == MSGPACK_OBJECT_STR &&
		    pair->val.type == MSGPACK_OBJECT_POSITIVE_INTEGER)
			printf("lsc_tier_events_total{event=\"%.*s\"} %llu\n",
			       (int)pair->key.via.str.size, pair->key.via.str.ptr,
			       (unsigned long long)pair->val.via.u64);
	}
}

/* A label's value: its format wants three characters escaped. */
static void print_label(const char *text)
{
	for (; *text; text++)
		if (*text == '\\' || *text == '"')
			printf("\\%c", *text);
		else
			putchar(*text);
}

static void print_gauge(const char *name, const char *image, double value)
{
	printf("lsc_tier_%s{image=\"", name);
	print_label(image);
	printf("\"} %.17g\n", value);
}

/* A metric's lines stand together, so images are asked for once each. */
static int print_images(struct lsc_lender *lender, struct lsc_err *err)
{
	static const struct {
		const char *name, *help;
	} rows[] = {
		{"image_bytes", "Bytes of an image."},
		{"image_host_bytes", "Bytes of an image that are in host memory."},
		{"image_leased", "Whether an image is in use."},
		{"image_pinned", "Whether an image is pinned."},
	};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < LSC_ARRAY_SIZE(rows); i++) {
		head(rows[i].name, "gauge", rows[i].help);
		r = tier_ask(lender, "list", NULL, err);
		while (r == 0 && lsc_record_is(&lender->packet.record, "image")) {
			struct tier_image image;

			r = tier_image_read(&lender->packet.record, &image, err);
			if (r == 0)
				print_gauge(rows[i].name, image.name,
					    i == 0   ? (double)image.bytes
					    : i == 1 ? (double)image.host
					    : i == 2 ? image.leased
						     : image.pinned);
			if (r == 0)
				r = lsc_lender_next(lender, err);
		}
	}
	return r;
}

static int run(const struct stat_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	if (r == 0)
		r = tier_ask(&lender, "stat", NULL, err);
	if (r < 0)
		return r;
	if (opt->how == JSON)
		return tier_print_json(&lender.packet, err);
	if (opt->how == FOR_PEOPLE) {
		print_node(&lender.packet.record);
		return 0;
	}
	print_tiers(&lender.packet.record);
	print_events(&lender.packet.record);
	return print_images(&lender, err);
}

int lsc_tier_stat_main(int argc, char **argv)
{
	static const struct argp argp = {
		stat_table, parse_stat,
		NULL,       "Say how much there is of what, and how much is used.",
		NULL,       NULL,
		NULL};
	struct stat_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run(&opt, &err), &err);
}
