/* talk - what the commands of lsc-tier do alike: find the tier, ask it, take what it says apart */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "commands.h"
#include "stream/json.h"

const char *tier_address(const char *option)
{
	static char text[256];
	const char *run = getenv("XDG_RUNTIME_DIR"), *told = getenv("LSC_TIER");

	if (option || told)
		return option ? option : told;
	if (geteuid() == 0 || !run)
		return "unix:/run/lsc/tier.sock";
	snprintf(text, sizeof(text), "unix:%s/lsc-tier.sock", run);
	return text;
}

int tier_ask(struct lsc_lender *lender, const char *what, const char *name, struct lsc_err *err)
{
	lsc_pack_begin(&lender->pack, what);
	if (name)
		lsc_pack_str(&lender->pack, "name", name);
	lsc_pack_end(&lender->pack);
	return lsc_lender_ask(lender, NULL, 0, err);
}

int tier_print_json(const struct lsc_packet *packet, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
	int r = lsc_json_write(packet->bytes, packet->len, &line, err);

	if (r < 0)
		return r;
	if (printf("%s\n", (char *)line.data) < 0 || fflush(stdout) == EOF)
		return lsc_err_set(err, errno, "cannot write: %m");
	return 0;
}

int tier_image_read(const struct lsc_record *record, struct tier_image *image, struct lsc_err *err)
{
	int r = lsc_record_text(record, "name", image->name, sizeof(image->name), err);

	if (r == 0)
		r = lsc_record_uint(record, "bytes", INT64_MAX, &image->bytes, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "host", INT64_MAX, 0, &image->host, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "pieces", UINT32_MAX, 0, &image->pieces, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "have", UINT32_MAX, 0, &image->have, err);
	if (r == 0)
		r = lsc_record_real_or(record, "used", -1, &image->used_s, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "whole", false, &image->whole, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "disk", false, &image->disk, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "pinned", false, &image->pinned, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "leased", false, &image->leased, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "receiving", false, &image->receiving, err);
	return r;
}

static bool is_key(const msgpack_object *key, const char *text)
{
	return key->type == MSGPACK_OBJECT_STR && key->via.str.size == strlen(text) &&
	       !memcmp(key->via.str.ptr, text, key->via.str.size);
}

unsigned long long tier_number(const msgpack_object *map, const char *name)
{
	for (uint32_t i = 0; map && map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
		const msgpack_object_kv *pair = &map->via.map.ptr[i];

		if (is_key(&pair->key, name) && pair->val.type == MSGPACK_OBJECT_POSITIVE_INTEGER)
			return pair->val.via.u64;
	}
	return 0;
}
