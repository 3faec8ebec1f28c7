/* pack - builds records
 *
 * A record's key count is not known until it ends, so its head is written last: three bytes are
 * kept free for a map16, and what a small map does not need of them is closed up.
 */
#include "stream/record.h"

#include <string.h>

#include "base/io.h"

#define HEAD 3

static int sink(void *data, const char *bytes, size_t len)
{
	struct lsc_pack *pack = data;

	if (!pack->failed)
		pack->failed = lsc_buf_add(&pack->buf, bytes, len);
	return pack->failed;
}

static msgpack_packer packer(struct lsc_pack *pack)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, pack, sink);
	return pk;
}

static void put_str(struct lsc_pack *pack, const char *text, size_t len)
{
	msgpack_packer pk = packer(pack);

	msgpack_pack_str(&pk, len);
	msgpack_pack_str_body(&pk, text, len);
}

/* A NULL key stands in an array, or follows lsc_pack_map() as a value; it is not one of ours. */
static msgpack_packer put_key(struct lsc_pack *pack, const char *key)
{
	if (key) {
		put_str(pack, key, strlen(key));
		pack->keys++;
	}
	return packer(pack);
}

void lsc_pack_release(struct lsc_pack *pack)
{
	lsc_buf_release(&pack->buf);
}

void lsc_pack_more(struct lsc_pack *pack, const char *type)
{
	static const uint8_t head[HEAD];

	pack->start = pack->buf.len;
	pack->keys = 0;
	sink(pack, (const char *)head, HEAD);
	lsc_pack_str(pack, "type", type);
}

void lsc_pack_begin(struct lsc_pack *pack, const char *type)
{
	pack->buf.len = 0;
	pack->failed = 0;
	lsc_pack_more(pack, type);
}

int lsc_pack_end(struct lsc_pack *pack)
{
	uint8_t *at;
	size_t len;

	if (pack->failed)
		return pack->failed;
	at = pack->buf.data + pack->start;
	len = pack->buf.len - pack->start - HEAD;
	if (pack->keys < 16) {
		at[0] = 0x80 | pack->keys;
		memmove(at + 1, at + HEAD, len);
		pack->buf.len -= HEAD - 1;
	} else {
		at[0] = 0xde;
		at[1] = pack->keys >> 8;
		at[2] = pack->keys;
	}
	return 0;
}

void lsc_pack_uint(struct lsc_pack *pack, const char *key, uint64_t value)
{
	msgpack_packer pk = put_key(pack, key);

	msgpack_pack_uint64(&pk, value);
}

void lsc_pack_real(struct lsc_pack *pack, const char *key, double value)
{
	msgpack_packer pk = put_key(pack, key);

	msgpack_pack_double(&pk, value);
}

void lsc_pack_bool(struct lsc_pack *pack, const char *key, bool value)
{
	msgpack_packer pk = put_key(pack, key);

	if (value)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
}

void lsc_pack_str(struct lsc_pack *pack, const char *key, const char *value)
{
	lsc_pack_strn(pack, key, value, strlen(value));
}

void lsc_pack_strn(struct lsc_pack *pack, const char *key, const char *value, size_t len)
{
	put_key(pack, key);
	put_str(pack, value, len);
}

void lsc_pack_bin(struct lsc_pack *pack, const char *key, const void *data, size_t len)
{
	msgpack_packer pk = put_key(pack, key);

	msgpack_pack_bin(&pk, len);
	msgpack_pack_bin_body(&pk, data, len);
}

void lsc_pack_array(struct lsc_pack *pack, const char *key, uint32_t n)
{
	msgpack_packer pk = put_key(pack, key);

	msgpack_pack_array(&pk, n);
}

/* The pairs that follow are counted by put_key() as the record's own, so they are taken off. */
void lsc_pack_map(struct lsc_pack *pack, const char *key, uint32_t n)
{
	msgpack_packer pk = put_key(pack, key);

	msgpack_pack_map(&pk, n);
	pack->keys -= n;
}

int lsc_pack_hello(struct lsc_pack *pack, const char *kind)
{
	lsc_pack_begin(pack, "hello");
	lsc_pack_str(pack, "kind", kind);
	lsc_pack_array(pack, "version", 2);
	lsc_pack_uint(pack, NULL, lsc_stream_major(kind));
	lsc_pack_uint(pack, NULL, lsc_stream_minor(kind));
	return lsc_pack_end(pack);
}

size_t lsc_body_header(uint8_t header[5], uint32_t len)
{
	if (len < 256) {
		header[0] = 0xc4;
		header[1] = len;
		return 2;
	}
	if (len < 65536) {
		header[0] = 0xc5;
		header[1] = len >> 8;
		header[2] = len;
		return 3;
	}
	header[0] = 0xc6;
	for (int i = 0; i < 4; i++)
		header[1 + i] = len >> (24 - 8 * i);
	return 5;
}

int lsc_pack_write(const struct lsc_pack *pack, int fd, struct lsc_err *err)
{
	int r = pack->failed;

	if (r == 0)
		r = lsc_write_full(fd, pack->buf.data, pack->buf.len);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write records: %m");
	return 0;
}
