/* A msgpack value as JSON and back, with nothing lost.
 *
 * What JSON has is written as JSON: nil, booleans, integers, strings of valid UTF-8, arrays, maps
 * whose keys are such strings, and finite float64 (always with a point or an exponent, so that an
 * integer and a float stay what they are).  The rest is an object of one key, which starts with $:
 *
 *	{"$bin":"AAEC"}		 a binary, base64
 *	{"$str":"/w=="}		 a string that is not valid UTF-8, base64
 *	{"$ext":[5,"AAEC"]}	 an extension: type, bytes
 *	{"$f32":0.5}		 a float32
 *	{"$f64":"inf"}		 what is not finite: "inf", "-inf", "nan", or a NaN's bits
 *"0x7ff8..."
 *	{"$f32":"-inf"}
 *	{"$map":[[1,2],[3,4]]}	 a map with a key that is no string of valid UTF-8
 *
 * A key that starts with $ in the map itself is written with one $ more.  Order and repeated keys
 * are kept.  Going back, numbers, lengths and heads take msgpack's smallest encoding.
 */
#ifndef LSC_STREAM_JSON_H
#define LSC_STREAM_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Containers within containers.  A record has at most LSC_RECORD_MAX_DEPTH (record.h). */
#define LSC_JSON_MAX_DEPTH 32

/* Appends the JSON of the msgpack value that fills data exactly; no line break.  -EBADMSG for what
 * is not one value. */
int lsc_json_write(const void *data, size_t len, struct lsc_buf *buf, struct lsc_err *err);

/* Appends the msgpack of the JSON value that fills text exactly, white space around it allowed.
 * -EBADMSG says at which byte it is wrong. */
int lsc_json_read(const char *text, size_t len, struct lsc_buf *buf, struct lsc_err *err);

/* Appends text, of valid UTF-8, as it is written between a string's quotes. */
int lsc_json_escape(const char *text, size_t len, struct lsc_buf *buf);

/* Whether text is valid UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool lsc_utf8_is_valid(const char *text, size_t len);

#endif
