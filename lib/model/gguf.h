/* GGUF v2 and v3, little-endian (the format document is ggml's docs/gguf.md).
 *
 * The file is mapped by the caller; the reader indexes it and points into it.  Counts and lengths
 * are checked against the bytes there are before anything is allocated.
 */
#ifndef LSC_MODEL_GGUF_H
#define LSC_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/checkpoint.h"

enum lsc_gguf_type {
	LSC_GGUF_U8,
	LSC_GGUF_I8,
	LSC_GGUF_U16,
	LSC_GGUF_I16,
	LSC_GGUF_U32,
	LSC_GGUF_I32,
	LSC_GGUF_F32,
	LSC_GGUF_BOOL,
	LSC_GGUF_STRING,
	LSC_GGUF_ARRAY,
	LSC_GGUF_U64,
	LSC_GGUF_I64,
	LSC_GGUF_F64,
	LSC_GGUF_TYPE_COUNT
};

struct lsc_gguf_kv {
	const char *key; /* key_len bytes, not 0-terminated */
	uint32_t key_len;
	enum lsc_gguf_type type;
	enum lsc_gguf_type item_type; /* of an array */
	uint64_t n;                   /* items of an array, bytes of a string, else 1 */
	const uint8_t *data;          /* first value, as it lies in the file */
	size_t bytes;                 /* all values */
};

struct lsc_gguf {
	struct lsc_gguf_kv *kvs;
	size_t n_kvs;
	struct lsc_tensor_source *tensors; /* names are copies owned here; sorted by name */
	size_t n_tensors;
};

#define LSC_GGUF_INIT                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

/* data must outlive gguf. */
int lsc_gguf_parse(struct lsc_gguf *gguf, const uint8_t *data, size_t len, struct lsc_err *err);
void lsc_gguf_release(struct lsc_gguf *gguf);

const struct lsc_gguf_kv *lsc_gguf_find(const struct lsc_gguf *gguf, const char *key);

/* Typed access: 0, -ENOENT when absent, -EBADMSG (with words) when of another type or range. */
int lsc_gguf_uint(const struct lsc_gguf *gguf, const char *key, uint64_t max, uint64_t *ret_value,
		  struct lsc_err *err); /* any integer type that is not negative */
int lsc_gguf_real(const struct lsc_gguf *gguf, const char *key, double *ret_value,
		  struct lsc_err *err);
int lsc_gguf_bool(const struct lsc_gguf *gguf, const char *key, bool *ret_value,
		  struct lsc_err *err);
int lsc_gguf_str(const struct lsc_gguf *gguf, const char *key, const char **ret_str,
		 size_t *ret_len, struct lsc_err *err);

/* Walks an array of strings: start with *pos = 0; 1 for each item, 0 at the end. */
int lsc_gguf_next_str(const struct lsc_gguf_kv *kv, size_t *pos, const char **ret_str,
		      size_t *ret_len);
/* Item i of an array of numbers, as a real or an integer. */
double lsc_gguf_item_real(const struct lsc_gguf_kv *kv, uint64_t i);
int64_t lsc_gguf_item_int(const struct lsc_gguf_kv *kv, uint64_t i);

#endif
