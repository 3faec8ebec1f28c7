/* checkpoint - good files read right, bad ones refused in words */
#include "model/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/gguf_config.h"
#include "tap.h"

static char *in_scratch(const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", scratch(), name) < 0)
		abort();
	return path;
}

/* Writes a file and opens it as a checkpoint; the result of opening. */
static int opens(const char *name, const void *data, size_t len, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	LSC_CLEANUP_FREE char *path = in_scratch(name);

	if (lsc_file_write(path, data, len, err) < 0)
		return -EIO;
	return lsc_checkpoint_open(&checkpoint, path, err);
}

/* --- safetensors --- */

static size_t safetensors(const char *header, size_t data_len, uint8_t *file)
{
	uint64_t len = strlen(header);

	memcpy(file, &len, 8);
	memcpy(file + 8, header, len);
	for (size_t i = 0; i < data_len; i++)
		file[8 + len + i] = (uint8_t)i;
	return 8 + len + data_len;
}

#define T(name, dtype, shape, begin, end)                                                          \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin      \
	"," #end "]}"

static void test_safetensors(void)
{
	static const struct {
		const char *header;
		size_t data;
		int want;
	} cases[] = {
		{"{" T("a", "F32", "[2,2]", 0, 16) "}", 16, 0},
		{"{" T("b", "F16", "[3]", 4, 10) "," T("a", "I32", "[]", 0, 4) "}   ", 10, 0},
		{"{" T("z", "F32", "[0]", 0, 0) "," T("a", "BF16", "[1]", 0, 2) "}", 2, 0},
		{"{}", 0, 0},
		{"{}", 1, -EBADMSG},
		{"[]", 0, -EBADMSG},
		{"{" T("a", "F32", "[2]", 0, 8) "}", 7, -EBADMSG},
		{"{" T("a", "F32", "[2]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "[1]", 4, 8) "}", 8, -EBADMSG},
		{"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, -EBADMSG},
		{"{" T("a", "F33", "[1]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "[-1]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "[1.0]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "1", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "[4611686018427387904,4611686018427387904]", 0, 0) "}", 0,
		 -EBADMSG},
		{"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a", "F32", "[1]", 4, 0) "}", 4, -EBADMSG},
		{"{" T("a\\t", "F32", "[1]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("a\\u009b", "F32", "[1]", 0, 4) "}", 4, -EBADMSG},
		{"{" T("\xc3\xa9", "F32", "[1]", 0, 4) "}", 4, 0},
		{"{\"a\":7}", 0, -EBADMSG},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, -EBADMSG},
		{"{\"a\xff\":7}", 0, -EBADMSG},
	};
	struct lsc_err err = LSC_ERR_INIT;
	uint8_t file[1024];

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		size_t len = safetensors(cases[i].header, cases[i].data, file);
		int r = opens("x.safetensors", file, len, &err);

		ok(r == cases[i].want, "safetensors %zu: %s", i,
		   r < 0 ? strrchr(err.text, '/') : "accepted");
	}
	for (size_t len = 0, whole = safetensors(cases[0].header, 16, file); len < whole; len++)
		if (opens("x.safetensors", file, len, &err) != -EBADMSG)
			ok(false, "cut to %zu bytes it is refused", len);
}

/* --- GGUF --- */

struct builder {
	uint8_t data[4096];
	size_t len;
};

static void put(struct builder *b, uint64_t value, unsigned n)
{
	memcpy(b->data + b->len, &value, n);
	b->len += n;
}

static void put_str(struct builder *b, const char *text)
{
	put(b, strlen(text), 8);
	memcpy(b->data + b->len, text, strlen(text));
	b->len += strlen(text);
}

static void build_gguf(struct builder *b)
{
	b->len = 0;
	put(b, 0x46554747, 4);
	put(b, 3, 4);
	put(b, 1, 8);
	put(b, 3, 8);
	put_str(b, "general.architecture");
	put(b, 8, 4);
	put_str(b, "llama");
	put_str(b, "tokens");
	put(b, 9, 4);
	put(b, 8, 4);
	put(b, 2, 8);
	put_str(b, "one");
	put_str(b, "");
	put_str(b, "general.alignment");
	put(b, 4, 4);
	put(b, 16, 4);
	put_str(b, "t");
	put(b, 2, 4);
	put(b, 32, 8);
	put(b, 2, 8);
	put(b, 8, 4); /* q8_0 */
	put(b, 0, 8);
	while (b->len % 16)
		put(b, 0, 1);
	b->len += 2 * 34;
}

static void test_gguf(void)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct builder b = {.len = 0};
	unsigned crashed = 0;

	build_gguf(&b);
	ok(opens("x.gguf", b.data, b.len, &err) == 0, "a small GGUF: %s", err.text);
	for (size_t len = 4; len < b.len; len++)
		crashed += opens("x.gguf", b.data, len, &err) != -EBADMSG;
	ok(crashed == 0, "cut anywhere, it is refused");
	for (size_t i = 0; i < 3; i++) {
		static const char bad[] = {'\n', '\x7f', '\xff'};
		uint8_t *name = memmem(b.data, b.len, "\1\0\0\0\0\0\0\0t", 9);

		name[8] = (uint8_t)bad[i];
		crashed += opens("x.gguf", b.data, b.len, &err) != -EBADMSG;
		name[8] = 't';
	}
	ok(crashed == 0, "a tensor's name is text");
	for (size_t at = 0; at < b.len; at++) {
		int r;

		b.data[at] ^= 0x85;
		r = opens("x.gguf", b.data, b.len, &err);
		crashed += r != 0 && r != -EBADMSG && r != -EOPNOTSUPP;
		b.data[at] ^= 0x85;
	}
	ok(crashed == 0, "changed anywhere, it is refused in words or sound");
}

/* A configuration and no weights, and what it says of RoPE. */
static void put_f32(struct builder *b, const char *key, float value)
{
	put_str(b, key);
	put(b, 6, 4);
	memcpy(b->data + b->len, &value, 4);
	b->len += 4;
}

static void put_config(struct builder *b, const char *type, const char *factor_key, float factor)
{
	static const char *const keys[] = {"embedding_length", "feed_forward_length", "block_count",
					   "attention.head_count", "context_length"};
	char key[64];

	b->len = 0;
	put(b, 0x46554747, 4);
	put(b, 3, 4);
	put(b, 1, 8);
	put(b, 6 + (type != NULL) + (factor_key != NULL), 8);
	put_str(b, "general.architecture");
	put(b, 8, 4);
	put_str(b, "llama");
	for (size_t i = 0; i < LSC_ARRAY_SIZE(keys); i++) {
		snprintf(key, sizeof(key), "llama.%s", keys[i]);
		put_str(b, key);
		put(b, 4, 4);
		put(b, i == 3 ? 4 : 8, 4); /* heads of 2 */
	}
	if (type) {
		put_str(b, "llama.rope.scaling.type");
		put(b, 8, 4);
		put_str(b, type);
	}
	if (factor_key && strstr(factor_key, "window")) {
		put_str(b, factor_key);
		put(b, 4, 4);
		put(b, (uint32_t)factor, 4);
	} else if (factor_key) {
		put_f32(b, factor_key, factor);
	}
	put_str(b, "token_embd.weight");
	put(b, 2, 4);
	put(b, 8, 8);
	put(b, 2, 8);
	put(b, 0, 4);
	put(b, 0, 8);
	while (b->len % 32)
		put(b, 0, 1);
	b->len += 64;
}

static void test_gguf_rope(void)
{
	static const struct {
		const char *type, *factor_key;
		float factor, want_factor; /* 0: no scaling */
		int want;
	} cases[] = {
		{NULL, NULL, 0, 0, 0},
		{"none", "llama.rope.scaling.factor", 4, 0, 0},
		{"linear", "llama.rope.scaling.factor", 4, 4, 0},
		{NULL, "llama.rope.scaling.factor", 4, 4, 0},
		{NULL, "llama.rope.scale_linear", 2, 2, 0},
		{NULL, "llama.rope.scale_linear", 1, 0, 0},
		{"yarn", "llama.rope.scaling.factor", 4, 0, -EOPNOTSUPP},
		{NULL, "llama.rope.scaling.factor", -1, 0, -EBADMSG},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		struct lsc_gguf gguf = LSC_GGUF_INIT;
		struct lsc_model_config config = {0};
		struct lsc_err err = LSC_ERR_INIT;
		struct builder b = {.len = 0};
		int r;

		put_config(&b, cases[i].type, cases[i].factor_key, cases[i].factor);
		r = lsc_gguf_parse(&gguf, b.data, b.len, &err);
		if (r == 0)
			r = lsc_gguf_config_parse(&gguf, &config, &err);
		ok(r == cases[i].want &&
			   (r < 0 ||
			    (config.rope_scaling ==
				     (cases[i].want_factor > 0 ? LSC_ROPE_LINEAR : LSC_ROPE_NONE) &&
			     config.rope_factor == cases[i].want_factor)),
		   "a GGUF's RoPE, %zu: %s", i, err.text);
		lsc_gguf_release(&gguf);
	}
}

/* As long as the context it changes nothing. */
static void test_gguf_window(void)
{
	for (uint32_t window = 3; window <= 9; window++) {
		struct lsc_gguf gguf = LSC_GGUF_INIT;
		struct lsc_model_config config = {0};
		struct lsc_err err = LSC_ERR_INIT;
		struct builder b = {.len = 0};

		put_config(&b, NULL, "llama.attention.sliding_window", (float)window);
		ok(lsc_gguf_parse(&gguf, b.data, b.len, &err) == 0 &&
			   lsc_gguf_config_parse(&gguf, &config, &err) == 0 &&
			   config.context == 8 && config.window == (window < 8 ? window : 0),
		   "a GGUF's window of %u: %s", window, err.text);
		lsc_gguf_release(&gguf);
	}
}

/* --- real files --- */

static void test_expected(void)
{
	const char *list = test_data("malformed/EXPECTED.tsv");
	char line[512], file[256], verdict[16], relative[300];
	FILE *in = list ? fopen(list, "r") : NULL;
	unsigned wrong = 0, n = 0;

	if (!in) {
		skip("no test data malformed/EXPECTED.tsv");
		return;
	}
	while (fgets(line, sizeof(line), in)) {
		LSC_CLEANUP(lsc_checkpoint_close)
		struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
		struct lsc_err err = LSC_ERR_INIT;
		const char *path;
		int r;

		if (sscanf(line, "%255[^\t]\t%15[^\t]", file, verdict) != 2 ||
		    !strcmp(verdict, "verdict"))
			continue;
		snprintf(relative, sizeof(relative), "malformed/%s", file);
		path = test_data(relative);
		r = path ? lsc_checkpoint_open(&checkpoint, path, &err) : -ENOENT;
		n++;
		if (r != (strcmp(verdict, "accept") ? -EBADMSG : 0)) {
			wrong++;
			printf("# %s: %d, want %s (%s)\n", file, r, verdict, err.text);
		}
	}
	fclose(in);
	ok(n > 0 && wrong == 0, "%u files are accepted or refused as expected", n);
}

static void test_stories(void)
{
	const char *path = test_data("models/stories260K-fp32"), *sharded = NULL;
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint a = LSC_CHECKPOINT_INIT;
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint b = LSC_CHECKPOINT_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_model_config config;
	float one[172], other[172];
	unsigned wrong = 0;

	sharded = test_data("models/stories260K-bf16-3shards");
	if (!path || !sharded) {
		skip("no test data models/stories260K-*");
		return;
	}
	ok(lsc_checkpoint_open(&a, path, &err) == 0 &&
		   lsc_checkpoint_config(&a, &config, &err) == 0,
	   "stories260K opens: %s", err.text);
	ok(config.hidden == 64 && config.ffn == 172 && config.layers == 5 && config.heads == 8 &&
		   config.kv_heads == 4 && config.head_dim == 8 && config.vocab == 512 &&
		   config.context == 512 && config.tied && config.bos == 1 && config.eos[0] == 2 &&
		   config.n_eos == 1,
	   "its configuration");
	ok(lsc_checkpoint_open(&b, sharded, &err) == 0 &&
		   lsc_checkpoint_config(&b, &config, &err) == 0,
	   "sharded as well: %s", err.text);
	for (uint32_t layer = 0; layer < 5; layer++) {
		const struct lsc_role_at at = {layer, 0};

		wrong += lsc_checkpoint_rows(&a, &config, LSC_ROLE_DOWN, at, 63, 1, one, &err) < 0;
		wrong +=
			lsc_checkpoint_rows(&b, &config, LSC_ROLE_DOWN, at, 63, 1, other, &err) < 0;
		for (int i = 0; i < 172; i++)
			wrong += fabsf(one[i] - other[i]) > fabsf(one[i]) / 256;
	}
	ok(wrong == 0, "the same weights, but for rounding");
}

/* --- configurations --- */

#define DIMS                                                                                       \
	"\"hidden_size\":64,\"intermediate_size\":172,\"num_hidden_layers\":5,"                    \
	"\"num_attention_heads\":8,\"vocab_size\":512"

static void test_configs(void)
{
	static const struct {
		const char *json;
		int want;
	} cases[] = {
		{"{\"architectures\":[\"LlamaForCausalLM\"]," DIMS "}", -EBADMSG}, /* no tensors */
		{"{\"architectures\":[\"GemmaForCausalLM\"]," DIMS "}", -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"," DIMS "}", -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"attention_bias\":true," DIMS "}", -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"longrope\"}," DIMS "}",
		 -EOPNOTSUPP},
		{"{\"model_type\":\"qwen3\",\"num_experts\":8," DIMS "}", -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5," DIMS "}", -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"rope_parameters\":{\"partial_rotary_factor\":0.5}"
		 "," DIMS "}",
		 -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"rope_parameters\":{\"full_attention\":{\"rope_"
		 "theta\":"
		 "1e6}}," DIMS "}",
		 -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"dynamic\"}," DIMS
		 "}",
		 -EOPNOTSUPP},
		{"{\"model_type\":\"llama\",\"num_key_value_heads\":3," DIMS "}", -EBADMSG},
		{"{\"model_type\":\"llama\",\"rms_norm_eps\":\"x\"," DIMS "}", -EBADMSG},
		{"{\"model_type\":\"llama\",\"eos_token_id\":512," DIMS "}", -EBADMSG},
		{"{\"model_type\":\"llama\"}", -EBADMSG},
		{"{" DIMS "}", -EBADMSG},
		{"{\"model_type\":\"llama\"," DIMS, -EBADMSG},
		{"[]", -EBADMSG},
		{"", -EBADMSG},
	};
	LSC_CLEANUP_FREE char *dir = in_scratch("hf"), *config = in_scratch("hf/config.json");
	LSC_CLEANUP_FREE char *weights = in_scratch("hf/model.safetensors");
	struct lsc_err err = LSC_ERR_INIT;
	uint8_t file[64];

	mkdir(dir, 0777);
	lsc_file_write(weights, file, safetensors("{}", 0, file), &err);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_checkpoint_close)
		struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
		struct lsc_model_config got;
		int r;

		lsc_file_write(config, cases[i].json, strlen(cases[i].json), &err);
		r = lsc_checkpoint_open(&checkpoint, dir, &err);
		if (r == 0)
			r = lsc_checkpoint_config(&checkpoint, &got, &err);
		ok(r == cases[i].want, "config %zu: %s", i, strrchr(err.text, ':'));
	}
}

int main(void)
{
	test_safetensors();
	test_gguf();
	test_gguf_rope();
	test_gguf_window();
	test_configs();
	test_expected();
	test_stories();
	return done_testing();
}
