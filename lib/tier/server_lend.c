/* server_lend - an image passes to a client: its tables, and a descriptor or two for each block */
#include <unistd.h>

#include "tier/server_own.h"

struct batch {
	int fds[LSC_PACKET_MAX_FDS];
	unsigned n_fds;
	uint32_t first, n; /* blocks */
};

static void close_batch(struct batch *batch)
{
	for (unsigned i = 0; i < batch->n_fds; i++)
		close(batch->fds[i]);
	batch->n_fds = 0;
}

static int add(struct batch *batch, int fd)
{
	if (fd < 0)
		return fd;
	batch->fds[batch->n_fds++] = fd;
	return 0;
}

static void send_batch(struct lsc_client *client, const struct lsc_holding *holding,
		       struct batch *batch, bool fill)
{
	struct lsc_pack *pack = &client->pack;

	lsc_pack_begin(pack, "cells");
	lsc_pack_array(pack, "runs", batch->n);
	for (uint32_t i = batch->first; i < batch->first + batch->n; i++) {
		lsc_pack_array(pack, NULL, 3);
		lsc_pack_uint(pack, NULL, holding->image.blocks[i].offset);
		lsc_pack_uint(pack, NULL, holding->image.blocks[i].bytes);
		lsc_pack_bool(pack, NULL, fill && !holding->cells[i]->whole);
	}
	lsc_pack_end(pack);
	lsc_client_send(client, batch->fds, batch->n_fds);
	close_batch(batch);
	batch->first += batch->n;
	batch->n = 0;
}

static int send_cells(struct lsc_client *client, const struct lsc_holding *holding, bool fill,
		      struct lsc_err *err)
{
	struct batch batch = {.first = 0};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < holding->image.n_blocks; i++) {
		const struct lsc_cell *cell = holding->cells[i];

		if (batch.n_fds + 2 > LSC_PACKET_MAX_FDS)
			send_batch(client, holding, &batch, fill);
		r = add(&batch, lsc_cell_lend(cell, err));
		if (r == 0 && fill && !cell->whole)
			r = add(&batch, lsc_cell_open(cell, err));
		batch.n++;
	}
	if (r == 0 && batch.n)
		send_batch(client, holding, &batch, fill);
	close_batch(&batch);
	return r;
}

void lsc_server_show(struct lsc_client *client, const struct lsc_holding *holding)
{
	struct lsc_pack *pack = &client->pack;

	lsc_pack_begin(pack, "cold");
	lsc_pack_str(pack, "name", holding->name);
	lsc_pack_bin(pack, "id", holding->image.id.bytes, LSC_HASH_BYTES);
	lsc_pack_uint(pack, "bytes", holding->image.bytes);
	lsc_pack_end(pack);
	lsc_client_send(client, &holding->manifest_fd, 1);
}

/* Once `lent` is sent, what fails ends the connection: the client waits for cells. */
int lsc_server_lend(struct lsc_client *client, struct lsc_holding *holding, bool fill,
		    struct lsc_err *err)
{
	struct lsc_server *server = client->server;
	struct lsc_pack *pack = &client->pack;
	int tables[2] = {holding->manifest_fd, -1}, r;

	if (!holding->whole) {
		tables[1] = lsc_holding_lend_marks(holding, fill, err);
		if (tables[1] < 0)
			return tables[1];
	}
	lsc_pack_begin(pack, "lent");
	lsc_pack_str(pack, "name", holding->name);
	lsc_pack_bin(pack, "id", holding->image.id.bytes, LSC_HASH_BYTES);
	lsc_pack_uint(pack, "bytes", holding->image.bytes);
	lsc_pack_uint(pack, "cells", holding->image.n_blocks);
	lsc_pack_bool(pack, "whole", holding->whole);
	lsc_pack_end(pack);
	lsc_client_send(client, tables, holding->whole ? 1 : 2);
	if (tables[1] >= 0)
		close(tables[1]);
	r = send_cells(client, holding, fill, err);
	if (r < 0)
		client->gone = true;
	lsc_stock_touch(server->stock, holding);
	return 0;
}
