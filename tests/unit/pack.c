/* pack - images from checkpoints of every kind that this test writes itself: each value is where
 * lsc-image(5) says, whatever it was stored as; and packs that meet each other */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/checkpoint.h"
#include "model/image.h"
#include "model/q8.h"
#include "packed.h"
#include "tap.h"

/* A model of one layer, as wide as Q4_K and Q6_K ask for. */
#define HIDDEN 256u
#define FFN    256u
#define HEADS  4u
#define KV     2u
#define DIM    64u
#define VOCAB  8u

struct weight {
	const char *gguf, *hf;
	uint32_t rows, cols;  /* 0 rows: a vector */
	enum lsc_dtype dtype; /* in the GGUF file */
	float *values;        /* as a reader should see them, in Hugging Face's order */
};

static struct weight weights[] = {
	{"token_embd.weight", "model.embed_tokens.weight", VOCAB, HIDDEN, LSC_DTYPE_Q8_0, NULL},
	{"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", 0, HIDDEN,
	 LSC_DTYPE_F32, NULL},
	{"blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", HEADS *DIM, HIDDEN,
	 LSC_DTYPE_Q6_K, NULL},
	{"blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", KV *DIM, HIDDEN,
	 LSC_DTYPE_Q4_K, NULL},
	{"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight", KV *DIM, HIDDEN,
	 LSC_DTYPE_BF16, NULL},
	{"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight", HIDDEN, HEADS *DIM,
	 LSC_DTYPE_Q4_0, NULL},
	{"blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", 0, HIDDEN,
	 LSC_DTYPE_F32, NULL},
	{"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight", FFN, HIDDEN,
	 LSC_DTYPE_Q4_1, NULL},
	{"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight", FFN, HIDDEN, LSC_DTYPE_F16,
	 NULL},
	{"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight", HIDDEN, FFN, LSC_DTYPE_F32,
	 NULL},
	{"output_norm.weight", "model.norm.weight", 0, HIDDEN, LSC_DTYPE_F32, NULL},
	{"output.weight", "lm_head.weight", VOCAB, HIDDEN, LSC_DTYPE_Q8_0, NULL},
};

enum { EMBED, ATTN_NORM, Q, K, V, O, FFN_NORM, GATE, UP, DOWN, FINAL_NORM, HEAD, WEIGHTS };

static char *in_scratch(const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", scratch(), name) < 0)
		abort();
	return path;
}

static size_t count(const struct weight *weight)
{
	return (size_t)LSC_MAX(weight->rows, 1) * weight->cols;
}

/* --- GGUF --- */

static void put(struct lsc_buf *buf, uint64_t value, unsigned bytes)
{
	lsc_buf_add(buf, &value, bytes);
}

static void put_str(struct lsc_buf *buf, const char *text)
{
	put(buf, strlen(text), 8);
	lsc_buf_add_str(buf, text);
}

static void put_uint(struct lsc_buf *buf, const char *key, uint32_t value)
{
	put_str(buf, key);
	put(buf, 4, 4);
	put(buf, value, 4);
}

static void put_keys(struct lsc_buf *buf)
{
	put_str(buf, "general.architecture");
	put(buf, 8, 4);
	put_str(buf, "llama");
	put_uint(buf, "llama.embedding_length", HIDDEN);
	put_uint(buf, "llama.feed_forward_length", FFN);
	put_uint(buf, "llama.block_count", 1);
	put_uint(buf, "llama.attention.head_count", HEADS);
	put_uint(buf, "llama.attention.head_count_kv", KV);
	put_uint(buf, "llama.context_length", 128);
}

static uint32_t ggml_type(enum lsc_dtype dtype)
{
	static const uint32_t types[LSC_DTYPE_COUNT] = {
		[LSC_DTYPE_F32] = 0,   [LSC_DTYPE_F16] = 1,  [LSC_DTYPE_BF16] = 30,
		[LSC_DTYPE_Q8_0] = 8,  [LSC_DTYPE_Q4_0] = 2, [LSC_DTYPE_Q4_1] = 3,
		[LSC_DTYPE_Q4_K] = 12, [LSC_DTYPE_Q6_K] = 14};

	return types[dtype];
}

static size_t stored_bytes(const struct weight *weight)
{
	return count(weight) / lsc_dtype_block_elements(weight->dtype) *
	       lsc_dtype_block_bytes(weight->dtype);
}

static void put_half(uint8_t *at, float value)
{
	lsc_dtype_from_f32(LSC_DTYPE_F16, &value, at, 1);
}

/* What Q8_0 has and q8 has not. */
static enum { NOT_SPOILT, SPOILT_WEIGHT, SPOILT_SCALE } spoilt;

/* Blocks of noise with scales that are ordinary numbers. */
static uint8_t *noise(const struct weight *weight, uint32_t *state)
{
	static const int scales[LSC_DTYPE_COUNT][2] = {
		[LSC_DTYPE_F32] = {-1, -1},  [LSC_DTYPE_F16] = {-1, -1},
		[LSC_DTYPE_BF16] = {-1, -1}, [LSC_DTYPE_Q8_0] = {0, -1},
		[LSC_DTYPE_Q4_0] = {0, -1},  [LSC_DTYPE_Q4_1] = {0, 2},
		[LSC_DTYPE_Q4_K] = {0, 2},   [LSC_DTYPE_Q6_K] = {208, -1}};
	size_t bytes = stored_bytes(weight), block = lsc_dtype_block_bytes(weight->dtype);
	uint8_t *data = malloc(bytes);

	for (size_t i = 0; i < bytes; i++) {
		*state = *state * 1664525u + 1013904223u;
		data[i] = (uint8_t)(*state >> 24);
		if (weight->dtype == LSC_DTYPE_Q8_0 && data[i] == 0x80)
			data[i] = spoilt == SPOILT_WEIGHT ? 0x80 : 0x81; /* -128 */
	}
	for (size_t i = 0; i < bytes; i += block) {
		float value = (float)(i / block % 37) / 64 - 0.25f;

		if (spoilt == SPOILT_SCALE && i + block == bytes)
			value = INFINITY;
		if (block <= 4)
			lsc_dtype_from_f32(weight->dtype, &value, data + i, 1);
		for (int s = 0; block > 4 && s < 2; s++)
			if (scales[weight->dtype][s] >= 0)
				put_half(data + i + scales[weight->dtype][s], value);
	}
	return data;
}

/* The file has rows 2i and 2i + 1 of a head where Hugging Face has i and i + DIM / 2. */
static void see_rows(struct weight *weight, const uint8_t *data, bool interleaved)
{
	size_t row_bytes = stored_bytes(weight) / LSC_MAX(weight->rows, 1);

	weight->values = malloc(count(weight) * sizeof(float));
	for (uint32_t row = 0; row < LSC_MAX(weight->rows, 1); row++) {
		uint32_t in_head = row % DIM, to = row;

		if (interleaved)
			to = row - in_head + in_head / 2 + (in_head % 2) * DIM / 2;
		lsc_dtype_to_f32(weight->dtype, data + row * row_bytes,
				 weight->values + (size_t)to * weight->cols, weight->cols);
	}
}

static void write_gguf(const char *path, unsigned version)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf file = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf body = LSC_BUF_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t state = 5;

	put(&file, 0x46554747, 4);
	put(&file, version, 4);
	put(&file, WEIGHTS, 8);
	put(&file, 7, 8);
	put_keys(&file);
	for (size_t i = 0; i < WEIGHTS; i++) {
		LSC_CLEANUP_FREE uint8_t *data = noise(&weights[i], &state);

		put_str(&file, weights[i].gguf);
		put(&file, weights[i].rows ? 2 : 1, 4);
		put(&file, weights[i].cols, 8);
		if (weights[i].rows)
			put(&file, weights[i].rows, 8);
		put(&file, ggml_type(weights[i].dtype), 4);
		put(&file, body.len, 8);
		lsc_buf_add(&body, data, stored_bytes(&weights[i]));
		lsc_buf_pad(&body, 32);
		free(weights[i].values);
		see_rows(&weights[i], data, i == Q || i == K);
	}
	lsc_buf_pad(&file, 32);
	lsc_buf_add(&file, body.data, body.len);
	if (lsc_file_write(path, file.data, file.len, &err) < 0)
		ok(false, "%s", err.text);
}

/* --- safetensors --- */

/* Weights first .. first+n-1 in a file of their own, as dtype, and more bytes that no model uses.
 */
static void write_safetensors(const char *path, enum lsc_dtype dtype, size_t first, size_t n,
			      uint64_t more)
{
	static const char *const names[] = {
		[LSC_DTYPE_F32] = "F32", [LSC_DTYPE_F16] = "F16", [LSC_DTYPE_BF16] = "BF16"};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf file = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf body = LSC_BUF_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t len;

	put(&file, 0, 8);
	for (size_t i = first; i < first + n; i++) {
		const struct weight *weight = &weights[i];
		size_t bytes = count(weight) * lsc_dtype_block_bytes(dtype);
		LSC_CLEANUP_FREE uint8_t *data = malloc(bytes);

		lsc_dtype_from_f32(dtype, weight->values, data, count(weight));
		lsc_buf_printf(&file, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
			       i > first ? "," : "{", weight->hf, names[dtype]);
		if (weight->rows)
			lsc_buf_printf(&file, "%u,", weight->rows);
		lsc_buf_printf(&file, "%u],\"data_offsets\":[%zu,%zu]}", weight->cols, body.len,
			       body.len + bytes);
		lsc_buf_add(&body, data, bytes);
	}
	if (more)
		lsc_buf_printf(&file,
			       ",\"more\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":"
			       "[%zu,%llu]}",
			       (unsigned long long)more, body.len,
			       (unsigned long long)(body.len + more));
	lsc_buf_add_str(&file, "}");
	len = file.len - 8;
	memcpy(file.data, &len, 8);
	lsc_buf_add(&file, body.data, body.len);
	if (lsc_file_write(path, file.data, file.len, &err) < 0)
		ok(false, "%s", err.text);
	if (more && truncate(path, (off_t)(file.len + more)) < 0)
		ok(false, "truncate: %m");
}

static void write_text(const char *dir, const char *name, const char *text)
{
	LSC_CLEANUP_FREE char *path = NULL;
	struct lsc_err err = LSC_ERR_INIT;

	if (asprintf(&path, "%s/%s", dir, name) < 0 ||
	    lsc_file_write(path, text, strlen(text), &err) < 0)
		ok(false, "%s: %s", name, err.text);
}

static char *make_hf(const char *name)
{
	char *dir = in_scratch(name);

	mkdir(dir, 0777);
	write_text(dir, "config.json",
		   "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":256,"
		   "\"intermediate_size\":256,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
		   "\"num_key_value_heads\":2,\"vocab_size\":8,\"max_position_embeddings\":128}");
	return dir;
}

static void add_weights(const char *dir, const char *name, enum lsc_dtype dtype, size_t first,
			size_t n)
{
	LSC_CLEANUP_FREE char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		abort();
	write_safetensors(path, dtype, first, n, 0);
}

/* --- images --- */

/* Whether rows at .. of a tensor hold a weight's values. */
static bool holds(const struct lsc_image *image, uint32_t unit, enum lsc_tensor_role role,
		  uint32_t at, const struct weight *weight)
{
	const struct lsc_tensor *tensor = lsc_image_tensor(image, unit, role);
	size_t n = count(weight), width = tensor ? lsc_dtype_block_bytes(tensor->dtype) : 0;
	LSC_CLEANUP_FREE uint8_t *want = malloc(n * 4);

	if (!tensor || tensor->cols != weight->cols)
		return false;
	lsc_dtype_from_f32(tensor->dtype, weight->values, want, n);
	return !memcmp(image->data + tensor->offset + (size_t)at * tensor->cols * width, want,
		       n * width);
}

static bool holds_all(const struct lsc_image *image)
{
	const struct weight *w = weights;

	return holds(image, 0, LSC_TENSOR_EMBED, 0, &w[EMBED]) &&
	       holds(image, 1, LSC_TENSOR_ATTN_NORM, 0, &w[ATTN_NORM]) &&
	       holds(image, 1, LSC_TENSOR_QKV, 0, &w[Q]) &&
	       holds(image, 1, LSC_TENSOR_QKV, HEADS * DIM, &w[K]) &&
	       holds(image, 1, LSC_TENSOR_QKV, (HEADS + KV) * DIM, &w[V]) &&
	       holds(image, 1, LSC_TENSOR_O, 0, &w[O]) &&
	       holds(image, 1, LSC_TENSOR_FFN_NORM, 0, &w[FFN_NORM]) &&
	       holds(image, 1, LSC_TENSOR_GATE_UP, 0, &w[GATE]) &&
	       holds(image, 1, LSC_TENSOR_GATE_UP, FFN, &w[UP]) &&
	       holds(image, 1, LSC_TENSOR_DOWN, 0, &w[DOWN]) &&
	       holds(image, 2, LSC_TENSOR_FINAL_NORM, 0, &w[FINAL_NORM]) &&
	       holds(image, 2, LSC_TENSOR_HEAD, 0, &w[HEAD]);
}

static void test_gguf(void)
{
	static const enum lsc_dtype stored[] = {LSC_DTYPE_F32, LSC_DTYPE_F16, LSC_DTYPE_BF16};
	LSC_CLEANUP_FREE char *source = in_scratch("model.gguf");

	for (size_t i = 0; i < LSC_ARRAY_SIZE(stored); i++) {
		LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
		LSC_CLEANUP_FREE char *dir = in_scratch(lsc_dtype_name(stored[i]));

		write_gguf(source, i ? 3 : 2);
		ok(pack(source, dir, stored[i], 2, &image) && holds_all(&image),
		   "a GGUF of eight types as %s", lsc_dtype_name(stored[i]));
	}
}

/* Whether rows at .. of a part of a q8 tensor are a weight's: the blocks that it came in where it
 * came in Q8_0, else its values quantised here. */
static bool holds_q8(const struct lsc_image *image, uint32_t unit, enum lsc_tensor_role role,
		     uint32_t part, uint32_t at, const struct weight *weight)
{
	const struct lsc_tensor *tensor = lsc_image_tensor(image, unit, role);
	const uint8_t *matrix = image->data + tensor->offset + tensor->bytes / tensor->parts * part;
	LSC_CLEANUP_FREE uint8_t *again = malloc(lsc_q8_tile_bytes(weight->cols));
	LSC_CLEANUP_FREE float *want = malloc(weight->cols * sizeof(float));
	LSC_CLEANUP_FREE float *got = malloc(weight->cols * sizeof(float));
	bool same = tensor->cols == weight->cols;

	for (uint32_t row = 0; same && row < weight->rows; row++) {
		const float *values = weight->values + (size_t)row * weight->cols;

		lsc_dtype_matrix_row(LSC_DTYPE_Q8, matrix, at + row, weight->cols, got);
		memset(again, 0, lsc_q8_tile_bytes(weight->cols));
		lsc_q8_put_row(again, 0, weight->cols, values);
		lsc_q8_get_row(again, 0, weight->cols, want);
		same = !memcmp(want, got, weight->cols * sizeof(float));
		if (weight->dtype == LSC_DTYPE_Q8_0 && (!spoilt || !same))
			same = !memcmp(values, got, weight->cols * sizeof(float));
	}
	return same;
}

static bool holds_all_q8(const struct lsc_image *image)
{
	const struct weight *w = weights;

	return holds_q8(image, 0, LSC_TENSOR_EMBED, 0, 0, &w[EMBED]) &&
	       holds(image, 1, LSC_TENSOR_ATTN_NORM, 0, &w[ATTN_NORM]) &&
	       holds_q8(image, 1, LSC_TENSOR_QKV, 0, 0, &w[Q]) &&
	       holds_q8(image, 1, LSC_TENSOR_QKV, 0, HEADS * DIM, &w[K]) &&
	       holds_q8(image, 1, LSC_TENSOR_QKV, 0, (HEADS + KV) * DIM, &w[V]) &&
	       holds_q8(image, 1, LSC_TENSOR_O, 0, 0, &w[O]) &&
	       holds_q8(image, 1, LSC_TENSOR_GATE_UP, 0, 0, &w[GATE]) &&
	       holds_q8(image, 1, LSC_TENSOR_GATE_UP, 1, 0, &w[UP]) &&
	       holds_q8(image, 1, LSC_TENSOR_DOWN, 0, 0, &w[DOWN]) &&
	       holds_q8(image, 2, LSC_TENSOR_HEAD, 0, 0, &w[HEAD]);
}

/* Rows with a -128 are quantised anew, others stay; a scale without end is refused. */
static void test_spoilt(const char *source)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP_FREE char *dir = in_scratch("spoilt");
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_Q8};
	struct lsc_err err = LSC_ERR_INIT;

	spoilt = SPOILT_WEIGHT;
	write_gguf(source, 3);
	ok(pack(source, dir, LSC_DTYPE_Q8, 2, &image) && holds_all_q8(&image),
	   "Q8_0 with weights of -128 as q8");
	spoilt = SPOILT_SCALE;
	write_gguf(source, 3);
	lsc_checkpoint_open(&checkpoint, source, &err);
	lsc_dir_remove(dir, NULL);
	is_int(lsc_image_pack(&checkpoint, dir, &options, &err), -EOPNOTSUPP, "not without end: %s",
	       err.text);
	spoilt = NOT_SPOILT;
}

/* As it is, then with q (whose rows are put in order) and up (a part) in Q8_0 as well. */
static void test_gguf_q8(void)
{
	LSC_CLEANUP_FREE char *source = in_scratch("model.gguf");
	enum lsc_dtype q = weights[Q].dtype, up = weights[UP].dtype;

	for (unsigned i = 0; i < 2; i++) {
		LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
		LSC_CLEANUP_FREE char *dir = in_scratch(i ? "more-q8" : "q8");

		write_gguf(source, 3);
		ok(pack(source, dir, LSC_DTYPE_Q8, 2, &image) && holds_all_q8(&image),
		   "a GGUF %s as q8", i ? "with more of Q8_0" : "of eight types");
		weights[Q].dtype = weights[UP].dtype = LSC_DTYPE_Q8_0;
	}
	test_spoilt(source);
	weights[Q].dtype = q;
	weights[UP].dtype = up;
	write_gguf(source, 3);
}

static bool same_image(const struct lsc_image *a, const struct lsc_image *b)
{
	return a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes);
}

/* Shards in any order and of any types make the image that one file does. */
static void test_hf(void)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image one = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image again = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image three = LSC_IMAGE_INIT;
	LSC_CLEANUP_FREE char *single = make_hf("single"), *sharded = make_hf("sharded");
	LSC_CLEANUP_FREE char *one_dir = in_scratch("one"), *again_dir = in_scratch("again");
	LSC_CLEANUP_FREE char *three_dir = in_scratch("three");

	add_weights(single, "model.safetensors", LSC_DTYPE_F32, 0, WEIGHTS);
	ok(pack(single, one_dir, LSC_DTYPE_BF16, 2, &one) && holds_all(&one), "one file of F32");
	ok(pack(single, again_dir, LSC_DTYPE_BF16, 2, &again) &&
		   lsc_hash_equal(&one.id, &again.id) && same_image(&one, &again),
	   "again: the same bytes, the same id");

	/* What is in BF16 or F16 is rounded already: as an F16 image nothing else happens to it. */
	for (size_t i = 0; i < WEIGHTS; i++)
		for (size_t k = 0; k < count(&weights[i]); k++)
			weights[i].values[k] = (float)(int)(weights[i].values[k] * 4) / 4;
	add_weights(sharded, "a.safetensors", LSC_DTYPE_F16, 6, 6);
	add_weights(sharded, "b.safetensors", LSC_DTYPE_BF16, 0, 2);
	add_weights(sharded, "c.safetensors", LSC_DTYPE_F32, 2, 4);
	write_text(sharded, "model.safetensors.index.json",
		   "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\",\"z\":"
		   "\"c.safetensors\",\"w\":\"a.safetensors\"}}");
	ok(pack(sharded, three_dir, LSC_DTYPE_F32, 2, &three) && holds_all(&three),
	   "three shards of F16, BF16 and F32");
}

static void test_range(void)
{
	static const struct {
		float value;
		enum lsc_dtype dtype;
		int want;
	} cases[] = {
		{65519, LSC_DTYPE_F16, 0},
		{-65520, LSC_DTYPE_F16, -EOPNOTSUPP},
		{1e30f, LSC_DTYPE_F16, -EOPNOTSUPP},
		{1e30f, LSC_DTYPE_BF16, 0},
		{-8319008, LSC_DTYPE_Q8, 0},
		{8319009, LSC_DTYPE_Q8, -EOPNOTSUPP},
		{INFINITY, LSC_DTYPE_Q8, -EOPNOTSUPP},
		{NAN, LSC_DTYPE_Q8, -EOPNOTSUPP},
	};
	LSC_CLEANUP_FREE char *source = make_hf("range");
	float *value = &weights[DOWN].values[count(&weights[DOWN]) - 1], was = *value;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_checkpoint_close)
		struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
		const struct lsc_image_options options = {.dtype = cases[i].dtype};
		LSC_CLEANUP_FREE char *dir = NULL;
		struct lsc_err err = LSC_ERR_INIT;
		int r;

		*value = cases[i].value;
		add_weights(source, "model.safetensors", LSC_DTYPE_F32, 0, WEIGHTS);
		if (asprintf(&dir, "%s/range%zu", scratch(), i) < 0)
			abort();
		r = lsc_checkpoint_open(&checkpoint, source, &err);
		if (r == 0)
			r = lsc_image_pack(&checkpoint, dir, &options, &err);
		is_int(r, cases[i].want, "%g as %s: %s", (double)cases[i].value,
		       lsc_dtype_name(cases[i].dtype), err.text);
	}
	*value = was;
}

/* What is mapped counts as this process's memory while it is looked at, and no longer. */
static void test_memory(void)
{
	LSC_CLEANUP_FREE char *source = make_hf("big"), *dir = in_scratch("of-big");
	LSC_CLEANUP_FREE char *path = in_scratch("big/model.safetensors");
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct rusage usage;

	write_safetensors(path, LSC_DTYPE_F32, 0, WEIGHTS, 512u << 20);
	ok(pack(source, dir, LSC_DTYPE_F32, 2, &image) && getrusage(RUSAGE_SELF, &usage) == 0,
	   "a source of 512 MB");
	if (strstr(getenv("LSC_BUILD") ? getenv("LSC_BUILD") : "", "address"))
		skip("a sanitizer's own memory is in the way");
	else
		ok(usage.ru_maxrss < 128 << 10, "takes %ld KB of memory", usage.ru_maxrss);
	unlink(path);
}

static void test_bad_index(void)
{
	static const struct {
		const char *index;
		int want;
	} cases[] = {
		{"", -EBADMSG},
		{"[]", -EBADMSG},
		{"{}", -EBADMSG},
		{"{\"weight_map\":[]}", -EBADMSG},
		{"{\"weight_map\":{\"x\":7}}", -EBADMSG},
		{"{\"weight_map\":{\"x\":\"\"}}", -EBADMSG},
		{"{\"weight_map\":{\"x\":\"..\"}}", -EBADMSG},
		{"{\"weight_map\":{\"x\":\"../single/model.safetensors\"}}", -EBADMSG},
		{"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", -EBADMSG},
		{"{\"weight_map\":{\"x\":\"none.safetensors\"}}", -ENOENT},
		{"{\"weight_map\":{\"x\":\"config.json\"}}", -EBADMSG},
		{"{\"weight_map\":{\"x\":\"b.safetensors\"}}", -EBADMSG}, /* too few */
		{"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"twice.safetensors\"}}",
		 -EBADMSG},
	};
	LSC_CLEANUP_FREE char *dir = in_scratch("sharded");

	add_weights(dir, "twice.safetensors", LSC_DTYPE_F16, 7, 1);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_checkpoint_close)
		struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
		struct lsc_model_config config;
		struct lsc_err err = LSC_ERR_INIT;
		int r;

		write_text(dir, "model.safetensors.index.json", cases[i].index);
		r = lsc_checkpoint_open(&checkpoint, dir, &err);
		if (r == 0)
			r = lsc_checkpoint_config(&checkpoint, &config, &err);
		is_int(r, cases[i].want, "index %s: %s", cases[i].index, err.text);
	}
}

/* --- packs that meet --- */

/* Stands in for libc's: another pack finishes between the moment a temporary directory was opened
 * and the moment it is locked. */
static const char *finish_from, *finish_to;

int flock(int fd, int operation);
int flock(int fd, int operation)
{
	if (finish_from && rename(finish_from, finish_to) < 0)
		abort();
	finish_from = NULL;
	return (int)syscall(SYS_flock, fd, operation);
}

static void test_meeting(void)
{
	LSC_CLEANUP_FREE char *dir = in_scratch("met"), *temp = in_scratch("met.tmp");
	LSC_CLEANUP_FREE char *bf16 = in_scratch("bf16");
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16};
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t bad = 0;
	int r;

	if (rename(bf16, temp) < 0)
		abort();
	finish_from = temp;
	finish_to = dir;
	r = lsc_image_pack_dummy(lsc_model_shape("stories260k"), dir, &options, &err);
	ok(r == -EBUSY || r == -EEXIST, "one that finished meanwhile is noticed: %s", err.text);
	ok(lsc_image_open(&image, dir, &err) == 0 && lsc_image_verify(&image, 1, &bad, &err) == 0 &&
		   bad == image.n_pieces,
	   "and left as it is");
}

static void test_stopped(void)
{
	LSC_CLEANUP_FREE char *dir = in_scratch("stopped"), *temp = in_scratch("stopped.tmp");
	const volatile sig_atomic_t stop = 1;
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .stop = &stop};
	struct lsc_err err = LSC_ERR_INIT;

	is_int(lsc_image_pack_dummy(lsc_model_shape("stories260k"), dir, &options, &err),
	       -ECANCELED, "a pack can be stopped");
	ok(access(dir, F_OK) < 0 && access(temp, F_OK) < 0, "and leaves nothing");
}

int main(void)
{
	test_gguf();
	test_gguf_q8();
	test_hf();
	test_range();
	test_memory();
	test_bad_index();
	test_meeting();
	test_stopped();
	for (size_t i = 0; i < WEIGHTS; i++)
		free(weights[i].values);
	return done_testing();
}
