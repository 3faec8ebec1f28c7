/* pack_experts - models with experts, as both kinds of checkpoint have them: every value is where
 * lsc-image(5) says, both give the same image, and what is not done is refused by name */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/checkpoint.h"
#include "model/hf_config.h"
#include "model/image.h"
#include "packed.h"
#include "tap.h"

#define HIDDEN  32u
#define FFN     12u /* of Mixtral's experts */
#define NARROW  10u /* of Qwen3Moe's */
#define LAYERS  2u
#define HEADS   2u
#define DIM     8u
#define VOCAB   5u
#define EXPERTS 3u

enum kind { EMBED, NORM1, Q, K, V, QN, KN, O, NORM2, ROUTER, GATE, UP, DOWN, NORM, HEAD };

/* A value says which tensor it is of, and where in it; all are whole numbers that f32 holds. */
static float value(enum kind kind, uint32_t layer, uint32_t expert, uint32_t at)
{
	return (float)(((kind * LAYERS + layer) * EXPERTS + expert) * 1000 + at);
}

/* The same as a block of Q8_0 holds it. */
static int8_t small_value(enum kind kind, uint32_t layer, uint32_t expert, uint32_t at)
{
	return (int8_t)((kind * 5 + layer * 29 + expert * 13 + at * 7) % 255 - 127);
}

/* --- checkpoints --- */

struct file {
	bool gguf, qwen;
	bool q8; /* gate and up are Q8_0 */
	unsigned n;
	struct lsc_buf head, body;
};

static void put(struct lsc_buf *buf, uint64_t number, unsigned bytes)
{
	lsc_buf_add(buf, &number, bytes);
}

static void put_str(struct lsc_buf *buf, const char *text)
{
	put(buf, strlen(text), 8);
	lsc_buf_add_str(buf, text);
}

/* n experts of rows x cols; n 0: a matrix; rows 0: a vector.  type is ggml's. */
static void put_tensor(struct file *file, const char *name, uint32_t n, uint32_t rows,
		       uint32_t cols, uint32_t type)
{
	const uint32_t dims[] = {n, rows, cols};
	uint64_t at = file->body.len;
	uint64_t bytes = (uint64_t)LSC_MAX(n, 1) * LSC_MAX(rows, 1) * cols * sizeof(float);
	unsigned skip = n ? 0 : rows ? 1 : 2;

	if (file->gguf) {
		put_str(&file->head, name);
		put(&file->head, 3 - skip, 4);
		for (unsigned d = 3; d > skip; d--) /* the innermost first */
			put(&file->head, dims[d - 1], 8);
		put(&file->head, type, 4);
		put(&file->head, at, 8);
	} else {
		lsc_buf_printf(&file->head, "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[",
			       file->n ? ',' : '{', name);
		for (unsigned d = skip; d < 3; d++)
			lsc_buf_printf(&file->head, "%s%u", d > skip ? "," : "", dims[d]);
		lsc_buf_printf(&file->head, "],\"data_offsets\":[%llu,%llu]}",
			       (unsigned long long)at, (unsigned long long)(at + bytes));
	}
	file->n++;
}

/* Mixtral's GGUF has rows 2i and 2i + 1 of each head of q and k where others have i and i + DIM/2.
 */
static uint32_t row_of(const struct file *file, enum kind kind, uint32_t row)
{
	uint32_t in_head = row % DIM;

	if (!file->gguf || file->qwen || (kind != Q && kind != K))
		return row;
	return row - in_head + in_head / 2 + (in_head % 2) * DIM / 2;
}

static void put_values(struct file *file, enum kind kind, uint32_t layer, uint32_t expert,
		       uint32_t rows, uint32_t cols)
{
	for (uint32_t row = 0; row < LSC_MAX(rows, 1); row++)
		for (uint32_t c = 0; c < cols; c++) {
			float v = value(kind, layer, expert, row_of(file, kind, row) * cols + c);

			lsc_buf_add(&file->body, &v, sizeof(v));
		}
	if (file->gguf)
		lsc_buf_pad(&file->body, 32);
}

static void add(struct file *file, enum kind kind, uint32_t layer, const char *hf, const char *gguf,
		uint32_t rows, uint32_t cols)
{
	char name[96];

	if (kind == EMBED || kind == NORM || kind == HEAD)
		snprintf(name, sizeof(name), "%s.weight", file->gguf ? gguf : hf);
	else
		snprintf(name, sizeof(name),
			 file->gguf ? "blk.%u.%s.weight" : "model.layers.%u.%s.weight", layer,
			 file->gguf ? gguf : hf);
	put_tensor(file, name, 0, rows, cols, 0);
	put_values(file, kind, layer, 0, rows, cols);
}

static void add_experts(struct file *file, enum kind kind, uint32_t layer, const char *hf,
			const char *gguf, uint32_t rows, uint32_t cols)
{
	const bool q8 = file->q8 && cols == HIDDEN;
	char name[96];

	snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, gguf);
	if (file->gguf)
		put_tensor(file, name, EXPERTS, rows, cols, q8 ? 8 : 0);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		snprintf(name, sizeof(name), "model.layers.%u.%s.experts.%u.%s.weight", layer,
			 file->qwen ? "mlp" : "block_sparse_moe", e, hf);
		if (!file->gguf)
			put_tensor(file, name, 0, rows, cols, 0);
		for (uint32_t i = 0; q8 && i < rows * cols; i++) {
			int8_t v = small_value(kind, layer, e, i);

			if (i % 32 == 0)
				put(&file->body, 0x3c00, 2); /* a scale of 1 */
			lsc_buf_add(&file->body, &v, 1);
		}
		for (uint32_t i = 0; !q8 && i < rows * cols; i++) {
			float v = value(kind, layer, e, i);

			lsc_buf_add(&file->body, &v, sizeof(v));
		}
	}
	if (file->gguf)
		lsc_buf_pad(&file->body, 32);
}

static void add_layer(struct file *file, uint32_t l)
{
	const bool qwen = file->qwen;
	const uint32_t ffn = qwen ? NARROW : FFN;

	add(file, NORM1, l, "input_layernorm", "attn_norm", 0, HIDDEN);
	add(file, Q, l, "self_attn.q_proj", "attn_q", HEADS * DIM, HIDDEN);
	add(file, K, l, "self_attn.k_proj", "attn_k", DIM, HIDDEN);
	add(file, V, l, "self_attn.v_proj", "attn_v", DIM, HIDDEN);
	if (qwen) {
		add(file, QN, l, "self_attn.q_norm", "attn_q_norm", 0, DIM);
		add(file, KN, l, "self_attn.k_norm", "attn_k_norm", 0, DIM);
	}
	add(file, O, l, "self_attn.o_proj", "attn_output", HIDDEN, HEADS * DIM);
	add(file, NORM2, l, "post_attention_layernorm", "ffn_norm", 0, HIDDEN);
	add(file, ROUTER, l, qwen ? "mlp.gate" : "block_sparse_moe.gate", "ffn_gate_inp", EXPERTS,
	    HIDDEN);
	add_experts(file, GATE, l, qwen ? "gate_proj" : "w1", "ffn_gate_exps", ffn, HIDDEN);
	add_experts(file, UP, l, qwen ? "up_proj" : "w3", "ffn_up_exps", ffn, HIDDEN);
	add_experts(file, DOWN, l, qwen ? "down_proj" : "w2", "ffn_down_exps", HIDDEN, ffn);
}

static void put_uint(struct lsc_buf *buf, const char *arch, const char *key, uint32_t number)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%s", arch, key);
	put_str(buf, name);
	put(buf, 4, 4);
	put(buf, number, 4);
}

static void put_gguf_head(struct lsc_buf *buf, const struct file *file)
{
	const char *arch = file->qwen ? "qwen3moe" : "llama";

	put(buf, 0x46554747, 4);
	put(buf, 3, 4);
	put(buf, file->n, 8);
	put(buf, 10 + file->qwen, 8);
	put_str(buf, "general.architecture");
	put(buf, 8, 4);
	put_str(buf, arch);
	put_uint(buf, arch, "embedding_length", HIDDEN);
	put_uint(buf, arch, "feed_forward_length", FFN);
	put_uint(buf, arch, "block_count", LAYERS);
	put_uint(buf, arch, "attention.head_count", HEADS);
	put_uint(buf, arch, "attention.head_count_kv", 1);
	put_uint(buf, arch, "attention.key_length", DIM);
	put_uint(buf, arch, "context_length", 64);
	put_uint(buf, arch, "expert_count", EXPERTS);
	put_uint(buf, arch, "expert_used_count", 2);
	if (file->qwen)
		put_uint(buf, arch, "expert_feed_forward_length", NARROW);
}

static const char config_text[] =
	"{\"architectures\":[\"%s\"],\"hidden_size\":32,\"intermediate_size\":12,"
	"\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
	"\"head_dim\":8,\"vocab_size\":5,\"max_position_embeddings\":64,"
	"\"num_experts_per_tok\":2%s}";

#define MIXTRAL "MixtralForCausalLM", ",\"num_local_experts\":3"
#define QWEN                                                                                       \
	"Qwen3MoeForCausalLM", ",\"num_experts\":3,\"moe_intermediate_size\":10,"                  \
			       "\"norm_topk_prob\":true"

static void write_file(const char *path, const void *data, size_t len)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_file_write(path, data, len, &err) < 0)
		ok(false, "%s", err.text);
}

/* Writes the model to path: a file, or a directory. */
static void write_model(const char *path, bool gguf, bool qwen, bool q8)
{
	struct file file = {.gguf = gguf, .qwen = qwen, .q8 = q8};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf all = LSC_BUF_INIT;
	char name[1024], text[1024];

	add(&file, EMBED, 0, "model.embed_tokens", "token_embd", VOCAB, HIDDEN);
	for (uint32_t l = 0; l < LAYERS; l++)
		add_layer(&file, l);
	add(&file, NORM, 0, "model.norm", "output_norm", 0, HIDDEN);
	add(&file, HEAD, 0, "lm_head", "output", VOCAB, HIDDEN);
	if (gguf) {
		put_gguf_head(&all, &file);
		lsc_buf_add(&all, file.head.data, file.head.len);
		lsc_buf_pad(&all, 32);
	} else {
		lsc_buf_add_str(&file.head, "}");
		put(&all, file.head.len, 8);
		lsc_buf_add(&all, file.head.data, file.head.len);
	}
	lsc_buf_add(&all, file.body.data, file.body.len);
	snprintf(name, sizeof(name), "%s", path);
	if (!gguf) {
		int len = qwen ? snprintf(text, sizeof(text), config_text, QWEN)
			       : snprintf(text, sizeof(text), config_text, MIXTRAL);

		mkdir(path, 0777);
		snprintf(name, sizeof(name), "%s/config.json", path);
		write_file(name, text, (size_t)len);
		snprintf(name, sizeof(name), "%s/model.safetensors", path);
	}
	write_file(name, all.data, all.len);
	lsc_buf_release(&file.head);
	lsc_buf_release(&file.body);
}

/* --- images --- */

/* Whether rows first .. first+rows-1 of a tensor are those of one of the checkpoint's. */
static bool holds(const struct lsc_image *image, uint32_t unit, enum lsc_tensor_role role,
		  uint32_t first, uint32_t rows, enum kind kind, uint32_t layer, uint32_t expert)
{
	const struct lsc_tensor *tensor = lsc_image_tensor(image, unit, role);
	const float *data;

	if (!tensor || tensor->dtype != LSC_DTYPE_F32 || tensor->rows < first + rows)
		return false;
	data = (const float *)(image->data + tensor->offset) + (size_t)first * tensor->cols;
	for (uint32_t i = 0; i < rows * tensor->cols; i++)
		if (data[i] != value(kind, layer, expert, i))
			return false;
	return true;
}

static bool holds_layer(const struct lsc_image *image, uint32_t l, bool qwen)
{
	const uint32_t unit = 1 + l * (1 + EXPERTS), ffn = qwen ? NARROW : FFN;
	bool good = holds(image, unit, LSC_TENSOR_ATTN_NORM, 0, 1, NORM1, l, 0) &&
		    holds(image, unit, LSC_TENSOR_QKV, 0, HEADS * DIM, Q, l, 0) &&
		    holds(image, unit, LSC_TENSOR_QKV, HEADS * DIM, DIM, K, l, 0) &&
		    holds(image, unit, LSC_TENSOR_QKV, (HEADS + 1) * DIM, DIM, V, l, 0) &&
		    holds(image, unit, LSC_TENSOR_O, 0, HIDDEN, O, l, 0) &&
		    holds(image, unit, LSC_TENSOR_FFN_NORM, 0, 1, NORM2, l, 0) &&
		    holds(image, unit, LSC_TENSOR_ROUTER, 0, EXPERTS, ROUTER, l, 0) &&
		    !lsc_image_tensor(image, unit, LSC_TENSOR_GATE_UP);

	if (qwen)
		good &= holds(image, unit, LSC_TENSOR_Q_NORM, 0, 1, QN, l, 0) &&
			holds(image, unit, LSC_TENSOR_K_NORM, 0, 1, KN, l, 0);
	for (uint32_t e = 0; e < EXPERTS; e++)
		good &= image->units[unit + 1 + e].n_tensors == 2 &&
			holds(image, unit + 1 + e, LSC_TENSOR_GATE_UP, 0, ffn, GATE, l, e) &&
			holds(image, unit + 1 + e, LSC_TENSOR_GATE_UP, ffn, ffn, UP, l, e) &&
			holds(image, unit + 1 + e, LSC_TENSOR_DOWN, 0, HIDDEN, DOWN, l, e);
	return good;
}

static bool holds_all(const struct lsc_image *image, bool qwen)
{
	const struct lsc_model_config *c = &image->config;
	bool good = image->n_units == 2 + LAYERS * (1 + EXPERTS) && image->n_blocks == 9 &&
		    !strcmp(c->arch, qwen ? "qwen3_moe" : "mixtral") && c->experts == EXPERTS &&
		    c->experts_used == 2 && c->expert_ffn == (qwen ? NARROW : FFN) &&
		    c->norm_topk && c->qk_norm == qwen;

	for (uint32_t l = 0; l < LAYERS; l++)
		good &= holds_layer(image, l, qwen);
	return good && holds(image, 0, LSC_TENSOR_EMBED, 0, VOCAB, EMBED, 0, 0) &&
	       holds(image, image->n_units - 1, LSC_TENSOR_HEAD, 0, VOCAB, HEAD, 0, 0);
}

static char *in_scratch(const char *name, const char *of)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s%s", scratch(), of, name) < 0)
		abort();
	return path;
}

static void test_model(const char *name, bool qwen)
{
	LSC_CLEANUP_FREE char *hf = in_scratch(".hf", name), *gguf = in_scratch(".gguf", name);
	LSC_CLEANUP_FREE char *one = in_scratch(".one", name), *two = in_scratch(".two", name);
	LSC_CLEANUP(lsc_image_close) struct lsc_image a = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image b = LSC_IMAGE_INIT;

	write_model(hf, false, qwen, false);
	write_model(gguf, true, qwen, false);
	ok(pack(hf, one, LSC_DTYPE_F32, 9, &a) && holds_all(&a, qwen), "%s from safetensors", name);
	ok(pack(gguf, two, LSC_DTYPE_F32, 9, &b) && holds_all(&b, qwen), "%s from GGUF", name);
	ok(a.bytes == b.bytes && a.data && !memcmp(a.data, b.data, a.bytes), "the same image");
}

/* Whether gate or up of each expert is what the blocks of the file have. */
static bool holds_blocks(const struct lsc_image *image, enum kind kind)
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < LAYERS * EXPERTS; i++) {
		const uint32_t l = i / EXPERTS, e = i % EXPERTS;
		const struct lsc_tensor *tensor =
			lsc_image_tensor(image, 2 + l * (1 + EXPERTS) + e, LSC_TENSOR_GATE_UP);
		uint64_t part = lsc_dtype_matrix_bytes(LSC_DTYPE_Q8, FFN, HIDDEN);
		float row[HIDDEN];

		for (uint32_t r = 0; r < FFN; r++) {
			lsc_dtype_matrix_row(LSC_DTYPE_Q8,
					     image->data + tensor->offset + (kind == UP ? part : 0),
					     r, HIDDEN, row);
			for (uint32_t c = 0; c < HIDDEN; c++)
				wrong += row[c] != small_value(kind, l, e, r * HIDDEN + c);
		}
	}
	return wrong == 0;
}

static void test_blocks(void)
{
	LSC_CLEANUP_FREE char *gguf = in_scratch(".gguf", "q8"), *dir = in_scratch("", "q8");
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;

	write_model(gguf, true, false, true);
	ok(pack(gguf, dir, LSC_DTYPE_Q8, 9, &image) && holds_blocks(&image, GATE) &&
		   holds_blocks(&image, UP) &&
		   lsc_image_tensor(&image, 1, LSC_TENSOR_ROUTER)->dtype == LSC_DTYPE_F32,
	   "experts of Q8_0 come into q8 as they are");
}

/* --- what is refused --- */

static void test_refusals(void)
{
	static const struct {
		const char *class, *more;
		int want;
		const char *words;
	} cases[] = {
		{QWEN, 0, ""},
		{MIXTRAL, 0, ""},
		{"LlamaForCausalLM", ",\"num_local_experts\":3", -EOPNOTSUPP, "mixture of experts"},
		{"Qwen3MoeForCausalLM", "", -EBADMSG, "num_local_experts"},
		{"Qwen3MoeForCausalLM", ",\"num_experts\":3", -EBADMSG, "moe_intermediate_size"},
		{"Qwen3MoeForCausalLM", ",\"num_experts\":0,\"moe_intermediate_size\":10", -EBADMSG,
		 "num_experts"},
		{"Qwen3MoeForCausalLM", ",\"num_experts\":1,\"moe_intermediate_size\":10", -EBADMSG,
		 "experts used is 2"},
		{"Qwen3MoeForCausalLM", ",\"num_experts\":513,\"moe_intermediate_size\":10",
		 -EBADMSG, "want 1 to 512"},
		{"Qwen3MoeForCausalLM",
		 ",\"num_experts\":3,\"moe_intermediate_size\":10,\"mlp_only_layers\":[1]",
		 -EOPNOTSUPP, "mlp_only_layers"},
		{"Qwen3MoeForCausalLM",
		 ",\"num_experts\":3,\"moe_intermediate_size\":10,\"decoder_sparse_step\":2",
		 -EOPNOTSUPP, "decoder_sparse_step"},
		{"Qwen3MoeForCausalLM",
		 ",\"num_experts\":3,\"moe_intermediate_size\":10,\"mlp_only_layers\":[],"
		 "\"decoder_sparse_step\":1",
		 0, ""},
		{"MixtralForCausalLM", ",\"num_local_experts\":-1", -EBADMSG, "num_local_experts"},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		struct lsc_model_config config;
		struct lsc_err err = LSC_ERR_INIT;
		char text[1024];
		int len = snprintf(text, sizeof(text), config_text, cases[i].class, cases[i].more);
		int r = lsc_hf_config_parse(text, (size_t)len, NULL, 0, &config, &err);

		ok(r == cases[i].want && strstr(err.text, cases[i].words), "%s%s: %s",
		   cases[i].class, cases[i].more, err.text);
	}
}

static void test_limits(void)
{
	struct lsc_model_config config = *lsc_model_shape("qwen3-30b-a3b");
	struct lsc_err err = LSC_ERR_INIT;

	config.experts = 512;
	config.layers = 127;
	is_int(lsc_model_config_check(&config, &err), 0, "127 layers of 512 experts");
	config.layers = 128;
	is_int(lsc_model_config_check(&config, &err), -EBADMSG, "128 are too many: %s", err.text);
}

int main(void)
{
	test_model("mixtral", false);
	test_model("qwen3_moe", true);
	test_blocks();
	test_refusals();
	test_limits();
	return done_testing();
}
