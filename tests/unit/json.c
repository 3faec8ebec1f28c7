/* json: every kind of value there and back, what must be refused, and random values */
#include "stream/json.h"

#include <inttypes.h>
#include <math.h>
#include <msgpack.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tap.h"

#define BUF(name) LSC_CLEANUP(lsc_buf_release) struct lsc_buf name = LSC_BUF_INIT

/* --- pairs: bytes in hexadecimal and the text they stand for, both ways --- */

static const struct {
	const char *hex, *json;
} pairs[] = {
	{"c0", "null"},
	{"c2", "false"},
	{"c3", "true"},
	{"00", "0"},
	{"7f", "127"},
	{"cc80", "128"},
	{"cdffff", "65535"},
	{"ce00010000", "65536"},
	{"cfffffffffffffffff", "18446744073709551615"},
	{"e0", "-32"},
	{"d0df", "-33"},
	{"d1ff7f", "-129"},
	{"d2ffff7fff", "-32769"},
	{"d3ffffffff7fffffff", "-2147483649"},
	{"d38000000000000000", "-9223372036854775808"},
	{"cb3ff0000000000000", "1.0"},
	{"cb8000000000000000", "-0.0"},
	{"cb3fb999999999999a", "0.1"},
	{"cb3fd5555555555555", "0.3333333333333333"},
	{"cb7fefffffffffffff", "1.7976931348623157e+308"},
	{"cb0000000000000001", "4.94065645841247e-324"},
	{"cb41dfffffffc00000", "2147483647.0"},
	{"cb7ff0000000000000", "{\"$f64\":\"inf\"}"},
	{"cbfff0000000000000", "{\"$f64\":\"-inf\"}"},
	{"cb7ff8000000000000", "{\"$f64\":\"nan\"}"},
	{"cb7ff0000000000001", "{\"$f64\":\"0x7ff0000000000001\"}"},
	{"ca3f800000", "{\"$f32\":1.0}"},
	{"ca3dcccccd", "{\"$f32\":0.1}"},
	{"caff800000", "{\"$f32\":\"-inf\"}"},
	{"ca7fc00000", "{\"$f32\":\"nan\"}"},
	{"ca7f800001", "{\"$f32\":\"0x7f800001\"}"},
	{"a0", "\"\""},
	{"a2c3a9", "\"é\""},
	{"a4f09f9880", "\"😀\""},
	{"a5220a5c0041", "\"\\\"\\n\\\\\\u0000A\""},
	{"a17f", "\"\x7f\""},
	{"a1ff", "{\"$str\":\"/w==\"}"},
	{"a3eda080", "{\"$str\":\"7aCA\"}"},
	{"a2c0af", "{\"$str\":\"wK8=\"}"},
	{"c400", "{\"$bin\":\"\"}"},
	{"c403000102", "{\"$bin\":\"AAEC\"}"},
	{"d405aa", "{\"$ext\":[5,\"qg==\"]}"},
	{"d8ff000102030405060708090a0b0c0d0e0f", "{\"$ext\":[-1,\"AAECAwQFBgcICQoLDA0ODw==\"]}"},
	{"c70005", "{\"$ext\":[5,\"\"]}"},
	{"c70305010203", "{\"$ext\":[5,\"AQID\"]}"},
	{"90", "[]"},
	{"93010203", "[1,2,3]"},
	{"80", "{}"},
	{"82a16201a16102", "{\"b\":1,\"a\":2}"},
	{"82a16101a16102", "{\"a\":1,\"a\":2}"},
	{"81a42462696e01", "{\"$$bin\":1}"},
	{"81a12401", "{\"$$\":1}"},
	{"82a161c0a12401", "{\"a\":null,\"$$\":1}"},
	{"810102", "{\"$map\":[[1,2]]}"},
	{"82a16101a1ff02", "{\"$map\":[[\"a\",1],[{\"$str\":\"/w==\"},2]]}"},
	{"81a16181c002", "{\"a\":{\"$map\":[[null,2]]}}"},
};

static void from_hex(const char *hex, struct lsc_buf *buf)
{
	unsigned byte;

	for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
		lsc_buf_add(buf, &(uint8_t){byte}, 1);
}

static void test_pairs(void)
{
	for (unsigned i = 0; i < LSC_ARRAY_SIZE(pairs); i++) {
		BUF(bytes);
		BUF(text);
		BUF(back);
		struct lsc_err err = LSC_ERR_INIT;
		int r;

		if (!pairs[i].json)
			continue;
		from_hex(pairs[i].hex, &bytes);
		r = lsc_json_write(bytes.data, bytes.len, &text, &err);
		is_str(r ? err.text : (char *)text.data, pairs[i].json, "%s written", pairs[i].hex);
		r = lsc_json_read(pairs[i].json, strlen(pairs[i].json), &back, &err);
		ok(r == 0 && back.len == bytes.len && !memcmp(back.data, bytes.data, back.len),
		   "%s read back %s", pairs[i].json, r ? err.text : "");
	}
}

/* --- what a person may write, and gets in its smallest form --- */

static void test_spellings(void)
{
	static const struct {
		const char *json, *same;
	} texts[] = {
		{" [ 1 , 2 ]\r\n", "[1,2]"},
		{"{ \"a\" : { } }", "{\"a\":{}}"},
		{"\"\\u0041\\u00e9\\ud83d\\ude00\\/\"", "\"Aé😀/\""},
		{"1e2", "100.0"},
		{"-0", "0"},
		{"1E-1", "0.1"},
		{"{\"$f64\":2}", "2.0"},
		{"{ \"$bin\" : \"AAEC\" }", "{\"$bin\":\"AAEC\"}"},
		{"{\"$map\":[]}", "{}"},
		{"{\"$map\":[[\"a\",1]]}", "{\"a\":1}"},
		{"{\"$str\":\"QQ==\"}", "\"A\""},
	};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(texts); i++) {
		BUF(bytes);
		BUF(text);
		struct lsc_err err = LSC_ERR_INIT;

		lsc_json_read(texts[i].json, strlen(texts[i].json), &bytes, &err);
		lsc_json_write(bytes.data, bytes.len, &text, &err);
		is_str((char *)text.data, texts[i].same, "%s", texts[i].json);
	}
}

static void test_bad_json(void)
{
	static const char *const texts[] = {
		"",
		" ",
		"nul",
		"truefalse",
		"1 2",
		"01",
		"-",
		"1.",
		".5",
		"1e",
		"+1",
		"0x10",
		"NaN",
		"18446744073709551616",
		"-9223372036854775809",
		"1e999",
		"\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\ud800\"",
		"\"\\ud800\\u0041\"",
		"\"\\udc00\"",
		"\"a\nb\"",
		"\"\xff\"",
		"\"\xc3\"",
		"[",
		"[1",
		"[1,",
		"[1,]",
		"[1 2]",
		"]",
		"{",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,}",
		"{\"a\" 1}",
		"{1:2}",
		"{\"$x\":1}",
		"{\"$\":1}",
		"{\"a\":1,\"$bin\":\"\"}",
		"{\"$bin\":\"\",\"a\":1}",
		"{\"$bin\":1}",
		"{\"$bin\":\"A\"}",
		"{\"$bin\":\"AA\"}",
		"{\"$bin\":\"AAE\"}",
		"{\"$bin\":\"AB==\"}",
		"{\"$bin\":\"A===\"}",
		"{\"$bin\":\"AA==AA==\"}",
		"{\"$bin\":\"AA-_\"}",
		"{\"$bin\\u0000\":\"\"}",
		"{\"$ext\":[128,\"\"]}",
		"{\"$ext\":[1.0,\"\"]}",
		"{\"$ext\":[1]}",
		"{\"$ext\":\"\"}",
		"{\"$f32\":\"x\"}",
		"{\"$f32\":1e39}",
		"{\"$f64\":1e999}",
		"{\"$f64\":\"0x7ff\"}",
		"{\"$f32\":\"0x7FC00000\"}",
		"{\"$f32\":\"inf\\u0000\"}",
		"{\"$map\":{}}",
		"{\"$map\":[1]}",
		"{\"$map\":[[1]]}",
		"{\"$map\":[[1,2,3]]}",
	};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(texts); i++) {
		BUF(bytes);
		struct lsc_err err = LSC_ERR_INIT;
		int r;

		lsc_buf_add_str(&bytes, "before");
		r = lsc_json_read(texts[i], strlen(texts[i]), &bytes, &err);
		ok(r == -EBADMSG && bytes.len == 6 && !strncmp(err.text, "byte ", 5),
		   "refused: %u (%s)", i, err.text);
	}
}

static void test_bad_msgpack(void)
{
	static const char *const hexes[] = {
		"",           "c1",   "0000",         "cc",         "cb00",   "a1",
		"d9",         "d9ff", "db7fffffff41", "c6ffffffff", "91",     "dd7fffffff",
		"dfffffffff", "81",   "81a161",       "8101",       "c70105", "d8",
	};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(hexes); i++) {
		BUF(bytes);
		BUF(text);
		struct lsc_err err = LSC_ERR_INIT;

		lsc_buf_add_str(&text, "before");
		from_hex(hexes[i], &bytes);
		is_int(lsc_json_write(bytes.data, bytes.len, &text, &err), -EBADMSG, "refused: %s",
		       hexes[i]);
		is_int(text.len, 6, "and nothing is left of it");
	}
}

/* Arrays and maps within arrays and maps, and what that costs where keys are no strings. */
static void test_depth(void)
{
	BUF(text);
	BUF(bytes);
	BUF(again);
	struct lsc_err err = LSC_ERR_INIT;

	for (unsigned i = 0; i < LSC_JSON_MAX_DEPTH; i++)
		lsc_buf_add_str(&text, "[");
	for (unsigned i = 0; i < LSC_JSON_MAX_DEPTH; i++)
		lsc_buf_add_str(&text, "]");
	is_int(lsc_json_read((char *)text.data, text.len, &bytes, &err), 0, "deep enough");
	is_int(lsc_json_write(bytes.data, bytes.len, &again, &err), 0, "and back");
	text.len = 0;
	for (unsigned i = 0; i < 100000; i++)
		lsc_buf_add_str(&text, "[");
	is_int(lsc_json_read((char *)text.data, text.len, &bytes, &err), -EBADMSG, "too deep");
	bytes.len = 0;
	for (unsigned i = 0; i < 100000; i++)
		lsc_buf_add(&bytes, "\x91", 1);
	is_int(lsc_json_write(bytes.data, bytes.len, &again, &err), -EBADMSG, "too deep as well");
	/* {"a":{"a":...,1:0},1:0}: were it tried as an object first at each depth, 2^30 visits. */
	bytes.len = 0;
	for (unsigned i = 0; i < 30; i++)
		lsc_buf_add(&bytes,
			    "\x82\xa1"
			    "a",
			    3);
	lsc_buf_add(&bytes, "\0", 1);
	for (unsigned i = 0; i < 30; i++)
		lsc_buf_add(&bytes, "\x01\0", 2);
	is_int(lsc_json_write(bytes.data, bytes.len, &again, &err), 0, "nested maps, quickly");
}

static void test_long(void)
{
	static const unsigned sizes[] = {15, 16, 31, 32, 255, 256, 65535, 65536, 70000};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(sizes); i++) {
		BUF(text);
		BUF(bytes);
		BUF(again);
		struct lsc_err err = LSC_ERR_INIT;

		lsc_buf_add_str(&text, "[[");
		for (unsigned k = 0; k < sizes[i]; k++)
			lsc_buf_printf(&text, "%s%u", k ? "," : "", k % 100);
		lsc_buf_add_str(&text, "],\"");
		for (unsigned k = 0; k < sizes[i]; k++)
			lsc_buf_add_str(&text, "x");
		lsc_buf_add_str(&text, "\",{");
		for (unsigned k = 0; k < sizes[i]; k++)
			lsc_buf_printf(&text, "%s\"%u\":%u", k ? "," : "", k, k);
		lsc_buf_add_str(&text, "}]");
		lsc_json_read((char *)text.data, text.len, &bytes, &err);
		lsc_json_write(bytes.data, bytes.len, &again, &err);
		ok(again.len == text.len && !memcmp(again.data, text.data, text.len),
		   "%u elements, characters, keys", sizes[i]);
	}
}

/* --- random values, packed by msgpack-c: bytes, text, and the same bytes again --- */

static uint64_t state = 88172645463325252u;

static uint64_t random_number(void) /* xorshift64 (Marsaglia 2003) */
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static int sink(void *buf, const char *data, size_t len)
{
	return lsc_buf_add(buf, data, len);
}

static void random_bytes(char *data, size_t len, bool ascii)
{
	for (size_t i = 0; i < len; i++)
		data[i] = ascii ? random_number() % 96 + 32 : random_number();
}

static void random_value(msgpack_packer *pk, unsigned depth);

static void random_string(msgpack_packer *pk)
{
	char data[300];
	size_t len = random_number() % (random_number() % 8 ? 12 : sizeof(data));

	random_bytes(data, len, random_number() % 4);
	if (len && random_number() % 4 == 0)
		data[0] = '$';
	msgpack_pack_str(pk, len);
	msgpack_pack_str_body(pk, data, len);
}

static void random_container(msgpack_packer *pk, unsigned depth)
{
	size_t n = random_number() % (random_number() % 16 ? 5 : 40);

	if (random_number() % 2) {
		msgpack_pack_array(pk, n);
		while (n--)
			random_value(pk, depth + 1);
		return;
	}
	msgpack_pack_map(pk, n);
	while (n--) {
		if (random_number() % 16)
			random_string(pk);
		else
			random_value(pk, depth + 1);
		random_value(pk, depth + 1);
	}
}

static void random_value(msgpack_packer *pk, unsigned depth)
{
	uint64_t bits = random_number() >> random_number() % 64;
	char data[40];
	double real;
	float single;

	switch (random_number() % (depth < 5 ? 11 : 8)) {
	case 0:
		msgpack_pack_uint64(pk, bits);
		return;
	case 1:
		msgpack_pack_int64(pk, -(int64_t)(bits >> 1));
		return;
	case 2:
		bits = random_number();
		memcpy(&real, &bits, sizeof(real));
		msgpack_pack_double(pk, real);
		return;
	case 3:
		msgpack_pack_double(pk, (double)(int64_t)bits / 1000);
		return;
	case 4:
		bits = random_number();
		memcpy(&single, &bits, sizeof(single));
		msgpack_pack_float(pk, single);
		return;
	case 5:
		bits %= sizeof(data);
		random_bytes(data, bits, false);
		msgpack_pack_bin(pk, bits);
		msgpack_pack_bin_body(pk, data, bits);
		return;
	case 6:
		bits %= sizeof(data);
		random_bytes(data, bits, false);
		msgpack_pack_ext(pk, bits, (int8_t)random_number());
		msgpack_pack_ext_body(pk, data, bits);
		return;
	case 7:
		random_string(pk);
		return;
	default:
		random_container(pk, depth);
	}
}

static void test_random(void)
{
	unsigned good = 0, rounds = 4000;
	size_t most = 0;

	for (unsigned i = 0; i < rounds; i++) {
		BUF(bytes);
		BUF(text);
		BUF(back);
		struct lsc_err err = LSC_ERR_INIT;
		msgpack_packer pk;

		msgpack_packer_init(&pk, &bytes, sink);
		random_value(&pk, 0);
		if (lsc_json_write(bytes.data, bytes.len, &text, &err) == 0 &&
		    lsc_json_read((char *)text.data, text.len, &back, &err) == 0 &&
		    back.len == bytes.len && !memcmp(back.data, bytes.data, back.len) &&
		    !memchr(text.data, '\n', text.len))
			good++;
		else if (good == i)
			printf("# round %u: %s: %.200s\n", i, err.text, text.data);
		most = LSC_MAX(most, bytes.len);
	}
	is_int(good, rounds, "random values come back byte for byte");
	ok(most > 1000, "some of them large (%zu bytes)", most);
}

int main(void)
{
	test_pairs();
	test_spellings();
	test_bad_json();
	test_bad_msgpack();
	test_depth();
	test_long();
	test_random();
	return done_testing();
}
