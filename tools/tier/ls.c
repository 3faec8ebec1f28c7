/* lsc-tier ls - the images of this node: for people, as JSON lines, or as an inventory, which
 * lsc-plan start reads
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "stream/inventory.h"

enum how { TABLE, JSON, INVENTORY };

struct ls_options {
	const char *tier, *node;
	enum how how;
	double disk, link; /* bytes a second; 0: not known */
};

enum { KEY_JSON = 0x300, KEY_INVENTORY, KEY_NODE, KEY_DISK, KEY_LINK };

static const struct argp_option ls_table[] = {
	{"disk", KEY_DISK, "RATE", 0, "In an inventory: the speed of this node's disk", 0},
	{"inventory", KEY_INVENTORY, NULL, 0, "Write a stream of kind inventory", 0},
	{"json", KEY_JSON, NULL, 0, "Write the tier's records as JSON lines", 0},
	{"link", KEY_LINK, "RATE", 0, "In an inventory: the speed of this node's link", 0},
	{"node", KEY_NODE, "NAME", 0, "In an inventory: this node's name (default: its host's)", 0},
	TIER_ROW,
	{0},
};

static error_t parse_ls(int key, char *arg, struct argp_state *state)
{
	struct ls_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case KEY_JSON:
		opt->how = JSON;
		return 0;
	case KEY_INVENTORY:
		opt->how = INVENTORY;
		return 0;
	case KEY_DISK:
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->disk, &err), &err);
		return 0;
	case KEY_LINK:
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->link, &err), &err);
		return 0;
	case KEY_NODE:
		if (!*arg || strlen(arg) > LSC_INVENTORY_MAX_NODE)
			argp_failure(state, LSC_EXIT_USAGE, 0, "'%s' is no node's name", arg);
		opt->node = arg;
		return 0;
	case 'T':
		opt->tier = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- for people, and as JSON --- */

static void print_image(const struct tier_image *image)
{
	char state[64];

	if (image->whole)
		snprintf(state, sizeof(state), "%s%s", image->leased ? "in use" : "resident",
			 image->pinned ? ", pinned" : "");
	else if (image->have || image->receiving)
		snprintf(state, sizeof(state), "%s, %3.0f%%",
			 image->receiving ? "arriving" : "in part",
			 100.0 * (double)image->have / (double)(image->pieces ? image->pieces : 1));
	else
		snprintf(state, sizeof(state), "cold%s", image->pinned ? ", pinned" : "");
	printf("%-10s %10s  %-20s %10s  %s\n",
	       image->host   ? image->disk ? "host disk" : "host"
	       : image->disk ? "disk"
			     : "-",
	       lsc_amount_bytes(image->bytes).text, state,
	       image->used_s < 0 ? "never" : lsc_amount_seconds(image->used_s).text, image->name);
}

static int print(const struct ls_options *opt, const struct lsc_packet *packet, struct lsc_err *err)
{
	struct tier_image image;
	int r;

	if (opt->how == JSON)
		return tier_print_json(packet, err);
	r = tier_image_read(&packet->record, &image, err);
	if (r == 0)
		print_image(&image);
	return r;
}

/* --- as an inventory --- */

static void read_room(const struct lsc_record *record, enum lsc_tier tier,
		      struct lsc_inventory_room *ret_room)
{
	const msgpack_object *map = lsc_record_get(record, lsc_tier_name(tier));

	ret_room->capacity = tier_number(map, "capacity");
	ret_room->used = tier_number(map, "used");
}

static int write_pack(struct lsc_pack *pack, int r, struct lsc_err *err)
{
	return r < 0 ? lsc_err_set(err, -r, "cannot make a record: %m")
		     : lsc_pack_write(pack, STDOUT_FILENO, err);
}

static int write_node(const struct ls_options *opt, struct lsc_lender *lender, const char *name,
		      struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_inventory_node node = {.node = (char *)name,
					  .t = lsc_clock_wall_s(),
					  .disk = opt->disk,
					  .link = opt->link};
	int r = tier_ask(lender, "stat", NULL, err);

	if (r < 0)
		return r;
	read_room(&lender->packet.record, LSC_TIER_HOST, &node.rooms[LSC_TIER_HOST]);
	read_room(&lender->packet.record, LSC_TIER_DISK, &node.rooms[LSC_TIER_DISK]);
	r = write_pack(&pack, lsc_pack_hello(&pack, "inventory"), err);
	return r < 0 ? r : write_pack(&pack, lsc_inventory_pack_node(&pack, &node), err);
}

/* An image is told of once for each tier that has all of it. */
static int write_image(const struct lsc_record *record, const char *node, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct tier_image said;
	struct lsc_inventory_image image;
	const void *id;
	uint32_t len;
	int r = tier_image_read(record, &said, err);

	if (r == 0)
		r = lsc_record_bin(record, "id", LSC_HASH_BYTES, &id, &len, err);
	if (r < 0)
		return r;
	image = (struct lsc_inventory_image){.name = said.name,
					     .bytes = said.bytes,
					     .whole = true,
					     .pinned = said.pinned,
					     .leased = said.leased,
					     .used = said.used_s};
	memcpy(image.id.bytes, id, len);
	image.tier = LSC_TIER_HOST;
	if (said.whole)
		r = write_pack(&pack, lsc_inventory_pack_image(&pack, node, &image), err);
	image.tier = LSC_TIER_DISK;
	if (r == 0 && said.disk)
		r = write_pack(&pack, lsc_inventory_pack_image(&pack, node, &image), err);
	return r;
}

static int write_end(struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	lsc_pack_begin(&pack, "end");
	return write_pack(&pack, lsc_pack_end(&pack), err);
}

/* --- either --- */

static int list(const struct ls_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	char host[LSC_INVENTORY_MAX_NODE + 1] = "";
	const char *node = opt->node ? opt->node : host;
	bool inventory = opt->how == INVENTORY;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	gethostname(host, sizeof(host) - 1);
	if (r == 0 && inventory)
		r = write_node(opt, &lender, node, err);
	if (r == 0)
		r = tier_ask(&lender, "list", NULL, err);
	if (r == 0 && opt->how == TABLE)
		printf("%-10s %10s  %-20s %10s  %s\n", "TIER", "SIZE", "STATE", "USED", "IMAGE");
	while (r == 0 && lsc_record_is(&lender.packet.record, "image")) {
		r = inventory ? write_image(&lender.packet.record, node, err)
			      : print(opt, &lender.packet, err);
		if (r == 0)
			r = lsc_lender_next(&lender, err);
	}
	return r == 0 && inventory ? write_end(err) : r;
}

int lsc_tier_ls_main(int argc, char **argv)
{
	static const struct argp argp = {
		ls_table, parse_ls, NULL, "List the images of this node, and where they are.",
		NULL,     NULL,     NULL};
	struct ls_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	if (opt.how == INVENTORY && isatty(STDOUT_FILENO))
		return lsc_tool_finish(
			lsc_err_set(&err, EINVAL, "records are binary: lsc-msg to-json reads them"),
			&err);
	return lsc_tool_finish(list(&opt, &err), &err);
}
