/* server_say - what the tier says of images, of the node, and of what happens */
#include "base/clock.h"
#include "mem/marks.h"
#include "tier/server_own.h"

void lsc_server_say(struct lsc_client *client, const char *type)
{
	lsc_pack_begin(&client->pack, type);
	lsc_pack_end(&client->pack);
	lsc_client_send(client, NULL, 0);
}

static uint64_t bytes_there(const struct lsc_holding *holding)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; holding->cells && i < holding->image.n_blocks; i++)
		bytes += lsc_cell_taken(holding->cells[i]);
	return bytes;
}

void lsc_server_say_image(struct lsc_client *client, const struct lsc_holding *holding)
{
	struct lsc_pack *pack = &client->pack;
	uint64_t now = lsc_clock_ns();

	lsc_pack_begin(pack, "image");
	lsc_pack_str(pack, "name", holding->name);
	lsc_pack_bin(pack, "id", holding->image.id.bytes, LSC_HASH_BYTES);
	lsc_pack_uint(pack, "bytes", holding->image.bytes);
	lsc_pack_uint(pack, "pieces", holding->image.n_pieces);
	lsc_pack_uint(pack, "have",
		      holding->marks   ? lsc_marks_count(holding->marks)
		      : holding->whole ? holding->image.n_pieces
				       : 0);
	lsc_pack_bool(pack, "whole", holding->whole);
	lsc_pack_bool(pack, "disk", holding->on_disk);
	lsc_pack_uint(pack, "host", bytes_there(holding));
	lsc_pack_bool(pack, "pinned", holding->pinned);
	lsc_pack_uint(pack, "priority", (uint64_t)holding->priority);
	lsc_pack_bool(pack, "leased", lsc_holding_is_lent(holding));
	lsc_pack_bool(pack, "receiving", lsc_holding_is_filled(holding));
	if (holding->used_ns)
		lsc_pack_real(pack, "used", (double)(now - holding->used_ns) * 1e-9);
	lsc_pack_end(pack);
	lsc_client_send(client, NULL, 0);
}

void lsc_server_say_node(struct lsc_client *client)
{
	struct lsc_server *server = client->server;
	struct lsc_pack *pack = &client->pack;
	struct lsc_stock_usage usage;

	lsc_stock_usage(server->stock, &usage);
	lsc_pack_begin(pack, "node");
	lsc_pack_map(pack, "host", 5);
	lsc_pack_uint(pack, "capacity", usage.host_capacity);
	lsc_pack_uint(pack, "used", usage.host_bytes);
	lsc_pack_uint(pack, "leaving", usage.host_leaving);
	lsc_pack_uint(pack, "images", usage.images);
	lsc_pack_uint(pack, "cells", usage.cells);
	lsc_pack_map(pack, "disk", 3);
	lsc_pack_uint(pack, "capacity", usage.disk_capacity);
	lsc_pack_uint(pack, "used", usage.disk_bytes);
	lsc_pack_uint(pack, "images", usage.disk_images);
	lsc_pack_map(pack, "events", LSC_STOCK_EVENTS);
	for (unsigned i = 0; i < LSC_STOCK_EVENTS; i++)
		lsc_pack_uint(pack, lsc_stock_event_name(i), usage.events[i]);
	lsc_pack_end(pack);
	lsc_client_send(client, NULL, 0);
}

void lsc_server_say_event(struct lsc_client *client, const struct lsc_holding *holding,
			  enum lsc_stock_event event, const char *why)
{
	struct lsc_pack *pack = &client->pack;

	lsc_pack_begin(pack, lsc_stock_event_name(event));
	lsc_pack_str(pack, "name", holding->name);
	lsc_pack_uint(pack, "bytes", holding->image.bytes);
	if (why)
		lsc_pack_str(pack, "why", why);
	lsc_pack_end(pack);
	lsc_client_send(client, NULL, 0);
}
