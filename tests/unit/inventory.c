/* inventories: what an earlier version wrote is read, and written again as it was */
#include "stream/inventory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tap.h"

#define GOLDEN "tests/data/inventory-1.0.rec"

static int memory_of(const void *data, size_t len)
{
	int fd = memfd_create("inventory", MFD_CLOEXEC);

	if (fd < 0 || lsc_pwrite_full(fd, data, len, 0) < 0)
		abort();
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void add(struct lsc_buf *buf, const struct lsc_pack *pack, int packed)
{
	if (packed || lsc_buf_add(buf, pack->buf.data, pack->buf.len) < 0)
		abort();
}

/* The stream of what was read, as lsc-tier ls would write it. */
static void write_all(const struct lsc_inventory *inventory, struct lsc_buf *buf)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	uint32_t image = 0;

	add(buf, &pack, lsc_pack_hello(&pack, "inventory"));
	for (uint32_t i = 0; i < inventory->n_nodes; i++) {
		add(buf, &pack, lsc_inventory_pack_node(&pack, &inventory->nodes[i]));
		for (; image < inventory->n_images && inventory->images[image].node == i; image++)
			add(buf, &pack,
			    lsc_inventory_pack_image(&pack, inventory->nodes[i].node,
						     &inventory->images[image]));
	}
	lsc_pack_begin(&pack, "end");
	add(buf, &pack, lsc_pack_end(&pack));
}

static void test_golden(void)
{
	LSC_CLEANUP(lsc_inventory_release) struct lsc_inventory inventory = LSC_INVENTORY_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	LSC_CLEANUP_FD int fd = open(GOLDEN, O_RDONLY | O_CLOEXEC);
	struct lsc_err err = LSC_ERR_INIT;
	uint8_t was[8192];
	ssize_t len;

	is_int(lsc_inventory_read(&inventory, fd, &err), 0, "version 1.0 is read");
	is_int(inventory.n_nodes, 6, "its nodes");
	is_int(inventory.n_images, 5, "and images");
	is_str(inventory.nodes[5].out, "it is drained", "what a node says");
	ok(inventory.nodes[0].gpu == 25e9 && inventory.nodes[5].gpu == 0, "and does not");
	ok(inventory.nodes[2].load == 2.5 &&
		   inventory.nodes[2].rooms[LSC_TIER_GPU].used == 80530636800,
	   "how full it is");
	ok(inventory.images[0].tier == LSC_TIER_GPU && inventory.images[0].leased == 2 &&
		   inventory.images[0].used == 0.5 && inventory.images[1].used == -1,
	   "what an image is");
	ok(inventory.images[2].pinned && inventory.images[2].node == 1, "and where");
	ok(lsc_inventory_share(&inventory.images[3]) == 0.5, "how much of it is there");
	write_all(&inventory, &buf);
	len = pread(fd, was, sizeof(was), 0);
	ok(len == (ssize_t)buf.len && !memcmp(was, buf.data, buf.len), "written, it is the same");
}

static void pack_one(struct lsc_buf *buf, char *name, double t, const char *image)
{
	struct lsc_inventory_node node = {.node = name, .t = t};
	struct lsc_inventory_image held = {.name = (char *)image, .whole = true, .used = -1};
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	add(buf, &pack, lsc_pack_hello(&pack, "inventory"));
	add(buf, &pack, lsc_inventory_pack_node(&pack, &node));
	if (image)
		add(buf, &pack, lsc_inventory_pack_image(&pack, name, &held));
	lsc_pack_begin(&pack, "end");
	add(buf, &pack, lsc_pack_end(&pack));
}

static void test_again(void)
{
	LSC_CLEANUP(lsc_inventory_release) struct lsc_inventory inventory = LSC_INVENTORY_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	char a[] = "a", b[] = "b", c[] = "c";
	int fd;

	pack_one(&buf, c, 5, "from c");
	pack_one(&buf, a, 2, "later");
	pack_one(&buf, b, 1, "first");
	pack_one(&buf, a, 1, "earlier");
	pack_one(&buf, b, 1, "second");
	fd = memory_of(buf.data, buf.len);
	is_int(lsc_inventory_read(&inventory, fd, NULL), 0, "streams behind each other");
	close(fd);
	is_int(inventory.n_nodes, 3, "each node once");
	is_int(inventory.n_images, 3, "with its images");
	is_str(inventory.images[1].name, "later", "the later ones");
	is_str(inventory.images[2].name, "second", "or, of the same time, the last");
	is_str(inventory.nodes[inventory.images[2].node].node, "b", "of that node");
	buf.len = 0;
	pack_one(&buf, c, 6, NULL);
	fd = memory_of(buf.data, buf.len);
	is_int(lsc_inventory_read(&inventory, fd, NULL), 0, "and another file");
	close(fd);
	is_int(inventory.n_images, 2, "takes the place of what was read before");
}

int main(void)
{
	test_golden();
	test_again();
	return done_testing();
}
