/* Arrivals that are told to a router, of casts that never were. */
#ifndef LSC_TESTS_TOLD_H
#define LSC_TESTS_TOLD_H

#include "base/cleanup.h"
#include "base/macros.h"
#include "route/router.h"
#include "tap.h"

static inline void tell(struct lsc_router *router, struct lsc_pack *pack)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_pack_end(pack) < 0 ||
	    lsc_record_parse(&record, pack->buf.data, pack->buf.len, &err) <= 0 ||
	    lsc_fleet_record(&router->fleet, &record, &err) < 0)
		ok(false, "an arrival: %s", err.text);
	lsc_pack_release(pack);
}

static inline void tell_cast(struct lsc_router *router, uint32_t nodes)
{
	const struct lsc_image *image = router->fleet.image;
	struct lsc_pack pack = LSC_PACK_INIT;

	lsc_pack_begin(&pack, "cast");
	lsc_pack_bin(&pack, "id", image->id.bytes, sizeof(image->id.bytes));
	lsc_pack_uint(&pack, "nodes", nodes);
	tell(router, &pack);
}

/* exec NULL: it has no worker. */
static inline void tell_node(struct lsc_router *router, uint32_t node, const char *role,
			     const char *exec)
{
	struct lsc_pack pack = LSC_PACK_INIT;

	lsc_pack_begin(&pack, "node");
	lsc_pack_uint(&pack, "node", node);
	lsc_pack_str(&pack, "name", "n");
	lsc_pack_str(&pack, "role", role);
	if (exec)
		lsc_pack_str(&pack, "exec", exec);
	tell(router, &pack);
}

static inline void tell_block(struct lsc_router *router, uint32_t node, uint32_t block)
{
	struct lsc_pack pack = LSC_PACK_INIT;

	lsc_pack_begin(&pack, "block");
	lsc_pack_uint(&pack, "node", node);
	lsc_pack_uint(&pack, "block", block);
	tell(router, &pack);
}

static inline void tell_complete(struct lsc_router *router, uint32_t node)
{
	struct lsc_pack pack = LSC_PACK_INIT;

	lsc_pack_begin(&pack, "complete");
	lsc_pack_uint(&pack, "node", node);
	lsc_pack_real(&pack, "t", 2.0);
	tell(router, &pack);
}

#endif
