/* Records: what streams and links carry (lsc-stream(5)).
 *
 * A record is one msgpack map with short string keys; "type" says what it is.  A stream or a link
 * opens with a hello record that names its kind and version.  A record with the key "body" (an
 * unsigned length) is followed by a msgpack bin of that length, which never passes through an
 * unpacker: the receiver reads it straight to where it belongs.
 *
 * Building one:
 *
 *	struct lsc_pack pack = LSC_PACK_INIT;
 *
 *	lsc_pack_begin(&pack, "block");
 *	lsc_pack_uint(&pack, "block", 7);
 *	r = lsc_pack_end(&pack);	-> pack.buf holds the bytes; -ENOMEM for any step
 *	...				   (begin again to build the next; release at the end)
 *
 * Values take msgpack's smallest encoding, so equal records are equal bytes.
 */
#ifndef LSC_STREAM_RECORD_H
#define LSC_STREAM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <msgpack.h>

#include "base/buf.h"
#include "base/err.h"

/* The version of streams and links of a kind that this program speaks. */
unsigned lsc_stream_major(const char *kind);
unsigned lsc_stream_minor(const char *kind);

#define LSC_RECORD_MAX_BYTES (1u << 20) /* of one record, bodies not counted */
#define LSC_RECORD_MAX_DEPTH 8
#define LSC_BODY_MAX_BYTES   (1u << 30)

/* --- building --- */

struct lsc_pack {
	struct lsc_buf buf;
	size_t start;  /* of the record being built */
	uint32_t keys; /* put so far */
	int failed;    /* the first -errno of a step */
};

#define LSC_PACK_INIT                                                                              \
	{                                                                                          \
		LSC_BUF_INIT, 0, 0, 0                                                              \
	}

void lsc_pack_release(struct lsc_pack *pack);

/* Starts a record of this type in an empty buffer; lsc_pack_more() starts one behind those that
 * are already there. */
void lsc_pack_begin(struct lsc_pack *pack, const char *type);
void lsc_pack_more(struct lsc_pack *pack, const char *type);
int lsc_pack_end(struct lsc_pack *pack);

void lsc_pack_uint(struct lsc_pack *pack, const char *key, uint64_t value);
void lsc_pack_real(struct lsc_pack *pack, const char *key, double value);
void lsc_pack_bool(struct lsc_pack *pack, const char *key, bool value);
void lsc_pack_str(struct lsc_pack *pack, const char *key, const char *value);
void lsc_pack_strn(struct lsc_pack *pack, const char *key, const char *value, size_t len);
void lsc_pack_bin(struct lsc_pack *pack, const char *key, const void *data, size_t len);

/* Opens an array of n elements (or a map of n pairs) as the value of key; put exactly n elements
 * (n keys and values) after it, with a NULL key for what stands in an array. */
void lsc_pack_array(struct lsc_pack *pack, const char *key, uint32_t n);
void lsc_pack_map(struct lsc_pack *pack, const char *key, uint32_t n);

/* The hello that opens a stream of this kind. */
int lsc_pack_hello(struct lsc_pack *pack, const char *kind);

/* The header that goes before a body of len bytes (at most 5 bytes); returns its length. */
size_t lsc_body_header(uint8_t header[5], uint32_t len);

/* --- parsing --- */

/* A parsed record.  Its strings and binaries point into the bytes it was parsed from. */
struct lsc_record {
	msgpack_zone *zone; /* reused from record to record */
	msgpack_object root;
	const char *type;
	uint32_t type_len;

	/* own: how far the record at hand was walked over, where more bytes are needed */
	size_t seen;
	unsigned depth;
	uint64_t left[LSC_RECORD_MAX_DEPTH + 1]; /* elements still to come, by depth */
};

#define LSC_RECORD_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_record_release(struct lsc_record *record);

/* Parses the record at the start of data.  Returns the bytes it takes, 0 when more bytes are
 * needed, -EBADMSG when it is not a record or breaks a limit, -ENOMEM.  Every length is checked
 * before anything is allocated for it.  After 0 the next call goes on with the same bytes and more
 * behind them, each of which is looked at once, however few come at a time. */
ssize_t lsc_record_parse(struct lsc_record *record, const void *data, size_t len,
			 struct lsc_err *err);

/* The same for the header of a body: returns its size and sets ret_len. */
ssize_t lsc_body_parse(const void *data, size_t len, uint32_t *ret_len, struct lsc_err *err);

bool lsc_record_is(const struct lsc_record *record, const char *type);

/* The value of a key, or NULL. */
const msgpack_object *lsc_record_get(const struct lsc_record *record, const char *key);

/* A value that must be there, of that type and within bounds: else -EBADMSG, naming type and key.
 */
int lsc_record_uint(const struct lsc_record *record, const char *key, uint64_t max,
		    uint64_t *ret_value, struct lsc_err *err);
int lsc_record_real(const struct lsc_record *record, const char *key, double *ret_value,
		    struct lsc_err *err);
int lsc_record_str(const struct lsc_record *record, const char *key, uint32_t max_len,
		   const char **ret_str, uint32_t *ret_len, struct lsc_err *err);
int lsc_record_bin(const struct lsc_record *record, const char *key, uint32_t max_len,
		   const void **ret_data, uint32_t *ret_len, struct lsc_err *err);
int lsc_record_array(const struct lsc_record *record, const char *key, uint32_t max_n,
		     const msgpack_object **ret_items, uint32_t *ret_n, struct lsc_err *err);

/* The same with a default for an absent key (a wrong type or range is still an error). */
int lsc_record_uint_or(const struct lsc_record *record, const char *key, uint64_t max,
		       uint64_t absent, uint64_t *ret_value, struct lsc_err *err);
int lsc_record_real_or(const struct lsc_record *record, const char *key, double absent,
		       double *ret_value, struct lsc_err *err);
int lsc_record_bool_or(const struct lsc_record *record, const char *key, bool absent,
		       bool *ret_value, struct lsc_err *err);

/* Copies a string value into text, 0-terminated; one that holds a 0 or does not fit is refused. */
int lsc_record_text(const struct lsc_record *record, const char *key, char *text, size_t size,
		    struct lsc_err *err);

/* Checks that a record is a hello of this kind and a known major: -EPROTO names both versions. */
int lsc_record_hello(const struct lsc_record *record, const char *kind, struct lsc_err *err);

/* The minor version that a hello, which was found to be one, names. */
unsigned lsc_record_hello_minor(const struct lsc_record *record);

/* --- over a descriptor, blocking --- */

struct lsc_reader {
	int fd;
	struct lsc_buf buf;
	size_t used; /* of buf, by records already returned */
	struct lsc_record record;
	bool announced;     /* the record has a body, whose head was not read yet */
	uint64_t body_left; /* of it */
	bool eof;
};

void lsc_reader_init(struct lsc_reader *reader, int fd); /* borrows fd */
void lsc_reader_release(struct lsc_reader *reader);

/* 1: reader->record is the next one, valid until the next call; 0: the stream ended between
 * records; -EBADMSG when it ended inside one.  A body that nobody has read is skipped. */
int lsc_reader_next(struct lsc_reader *reader, struct lsc_err *err);

/* Reads the hello that a stream of this kind opens with: 0, or negative errno. */
int lsc_reader_hello(struct lsc_reader *reader, const char *kind, struct lsc_err *err);

/* The part of next() that does not read: 1, 0 when it needs more bytes, or negative errno.
 * lsc_reader_fill() reads once: bytes read, 0 at the end, -EAGAIN. */
int lsc_reader_parse(struct lsc_reader *reader, struct lsc_err *err);
ssize_t lsc_reader_fill(struct lsc_reader *reader, struct lsc_err *err);

/* Takes the head of the body that the last record announced: 1, 0 when it needs more bytes, or
 * negative errno.  Then the first of body_left bytes is at used; whoever takes some counts both. */
int lsc_reader_body(struct lsc_reader *reader, struct lsc_err *err);

/* Writes what the pack holds. */
int lsc_pack_write(const struct lsc_pack *pack, int fd, struct lsc_err *err);

#endif
