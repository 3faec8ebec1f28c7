/* checkpoint - one face for Hugging Face directories, safetensors and GGUF files */
#include "model/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/checkpoint_files.h"
#include "model/gguf_config.h"
#include "model/hf_config.h"
#include "model/safetensors.h"

#define NAME_BYTES    96
#define MAPPED_AROUND (128u << 10) /* a fault of a page maps 64 KiB around it */

/* --- files --- */

int lsc_checkpoint_map(struct lsc_checkpoint_files *files, const char *dir, const char *name,
		       struct lsc_map *ret_map, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *path = NULL;
	const char *slash = strrchr(dir, '/');
	struct lsc_checkpoint_file *file, *grown;
	int r;

	if (asprintf(&path, name ? "%s/%s" : "%s", dir, name) < 0) {
		path = NULL;
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", dir);
	}
	grown = reallocarray(files->files, files->n + 1, sizeof(*grown));
	if (!grown)
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", path);
	files->files = grown;
	file = &grown[files->n];
	*file = (struct lsc_checkpoint_file){0};
	r = lsc_map_open(&file->map, path, err);
	if (r < 0)
		return r;
	file->name = strdup(name ? name : slash ? slash + 1 : dir);
	if (!file->name) {
		lsc_map_close(&file->map);
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", path);
	}
	files->n++;
	*ret_map = file->map;
	return 0;
}

const struct lsc_map *lsc_checkpoint_mapped(const struct lsc_checkpoint_files *files,
					    const char *name)
{
	for (size_t i = 0; i < files->n; i++)
		if (!strcmp(files->files[i].name, name))
			return &files->files[i].map;
	return NULL;
}

const char *lsc_checkpoint_file(const struct lsc_checkpoint *checkpoint, unsigned index,
				const uint8_t **ret_data, size_t *ret_len)
{
	const struct lsc_checkpoint_file *file;

	if (index >= checkpoint->files->n)
		return NULL;
	file = &checkpoint->files->files[index];
	*ret_data = file->map.data;
	*ret_len = file->map.len;
	return file->name;
}

/* --- opening --- */

static int open_file(struct lsc_checkpoint *checkpoint, struct lsc_err *err)
{
	struct lsc_gguf *gguf = &checkpoint->files->gguf;
	struct lsc_map map;
	int r = lsc_checkpoint_map(checkpoint->files, checkpoint->path, NULL, &map, err);

	if (r < 0)
		return r;
	if (map.len >= 3 && !memcmp(map.data, "GGU", 3)) {
		checkpoint->kind = LSC_CHECKPOINT_GGUF;
		r = lsc_gguf_parse(gguf, map.data, map.len, err);
		checkpoint->tensors = gguf->tensors;
		checkpoint->n_tensors = gguf->n_tensors;
	} else {
		checkpoint->kind = LSC_CHECKPOINT_SAFETENSORS;
		r = lsc_safetensors_parse(map.data, map.len, &checkpoint->tensors,
					  &checkpoint->n_tensors, err);
	}
	return r < 0 ? lsc_err_prefix(err, "'%s': ", checkpoint->path) : 0;
}

static int by_name(const void *a, const void *b)
{
	const struct lsc_tensor_source *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* For bsearch() to find them; the same name in two shards is an error. */
static int sort_tensors(struct lsc_checkpoint *checkpoint, struct lsc_err *err)
{
	if (checkpoint->n_tensors > 0)
		qsort(checkpoint->tensors, checkpoint->n_tensors, sizeof(*checkpoint->tensors),
		      by_name);
	for (size_t i = 1; i < checkpoint->n_tensors; i++)
		if (!strcmp(checkpoint->tensors[i - 1].name, checkpoint->tensors[i].name))
			return lsc_err_set(err, EBADMSG, "'%s': tensor '%s' is there twice",
					   checkpoint->path, checkpoint->tensors[i].name);
	return 0;
}

int lsc_checkpoint_open(struct lsc_checkpoint *checkpoint, const char *path, struct lsc_err *err)
{
	struct stat st;
	int r;

	*checkpoint = (struct lsc_checkpoint)LSC_CHECKPOINT_INIT;
	if (stat(path, &st) < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	checkpoint->path = strdup(path);
	checkpoint->files = calloc(1, sizeof(*checkpoint->files));
	if (!checkpoint->path || !checkpoint->files)
		r = lsc_err_set(err, ENOMEM, "cannot open '%s': %m", path);
	else if (S_ISDIR(st.st_mode))
		r = lsc_checkpoint_open_hf(checkpoint, err);
	else
		r = open_file(checkpoint, err);
	if (r == 0)
		r = sort_tensors(checkpoint, err);
	if (r < 0)
		lsc_checkpoint_close(checkpoint);
	return r;
}

void lsc_checkpoint_close(struct lsc_checkpoint *checkpoint)
{
	struct lsc_checkpoint_files *files = checkpoint->files;

	if (checkpoint->kind != LSC_CHECKPOINT_GGUF) {
		for (size_t i = 0; i < checkpoint->n_tensors; i++)
			free((char *)checkpoint->tensors[i].name);
		free(checkpoint->tensors);
	}
	if (files) {
		lsc_gguf_release(&files->gguf);
		for (size_t i = 0; i < files->n; i++) {
			free(files->files[i].name);
			lsc_map_close(&files->files[i].map);
		}
		free(files->files);
		free(files);
	}
	free(checkpoint->path);
	*checkpoint = (struct lsc_checkpoint)LSC_CHECKPOINT_INIT;
}

const struct lsc_tensor_source *lsc_checkpoint_find(const struct lsc_checkpoint *checkpoint,
						    const char *name)
{
	const struct lsc_tensor_source key = {.name = name};

	if (checkpoint->n_tensors == 0)
		return NULL;
	return bsearch(&key, checkpoint->tensors, checkpoint->n_tensors, sizeof(key), by_name);
}

/* --- roles --- */

enum place { ALONE, IN_LAYER, IN_EXPERT };

/* What a role is called in each format, after the prefix of the layer, or of the expert, where it
 * has one.  GGUF has all experts of a layer in one tensor. */
static const struct {
	const char *hf, *gguf;
	enum place place;
} names[LSC_ROLE_COUNT] = {
	[LSC_ROLE_EMBED] = {"model.embed_tokens.weight", "token_embd.weight", ALONE},
	[LSC_ROLE_ATTN_NORM] = {"input_layernorm.weight", "attn_norm.weight", IN_LAYER},
	[LSC_ROLE_Q] = {"self_attn.q_proj.weight", "attn_q.weight", IN_LAYER},
	[LSC_ROLE_K] = {"self_attn.k_proj.weight", "attn_k.weight", IN_LAYER},
	[LSC_ROLE_V] = {"self_attn.v_proj.weight", "attn_v.weight", IN_LAYER},
	[LSC_ROLE_Q_BIAS] = {"self_attn.q_proj.bias", "attn_q.bias", IN_LAYER},
	[LSC_ROLE_K_BIAS] = {"self_attn.k_proj.bias", "attn_k.bias", IN_LAYER},
	[LSC_ROLE_V_BIAS] = {"self_attn.v_proj.bias", "attn_v.bias", IN_LAYER},
	[LSC_ROLE_Q_NORM] = {"self_attn.q_norm.weight", "attn_q_norm.weight", IN_LAYER},
	[LSC_ROLE_K_NORM] = {"self_attn.k_norm.weight", "attn_k_norm.weight", IN_LAYER},
	[LSC_ROLE_O] = {"self_attn.o_proj.weight", "attn_output.weight", IN_LAYER},
	[LSC_ROLE_FFN_NORM] = {"post_attention_layernorm.weight", "ffn_norm.weight", IN_LAYER},
	[LSC_ROLE_GATE] = {"mlp.gate_proj.weight", "ffn_gate.weight", IN_LAYER},
	[LSC_ROLE_UP] = {"mlp.up_proj.weight", "ffn_up.weight", IN_LAYER},
	[LSC_ROLE_DOWN] = {"mlp.down_proj.weight", "ffn_down.weight", IN_LAYER},
	[LSC_ROLE_ROUTER] = {"mlp.gate.weight", "ffn_gate_inp.weight", IN_LAYER},
	[LSC_ROLE_EXPERT_GATE] = {"gate_proj.weight", "ffn_gate_exps.weight", IN_EXPERT},
	[LSC_ROLE_EXPERT_UP] = {"up_proj.weight", "ffn_up_exps.weight", IN_EXPERT},
	[LSC_ROLE_EXPERT_DOWN] = {"down_proj.weight", "ffn_down_exps.weight", IN_EXPERT},
	[LSC_ROLE_FINAL_NORM] = {"model.norm.weight", "output_norm.weight", ALONE},
	[LSC_ROLE_HEAD] = {"lm_head.weight", "output.weight", ALONE},
};

/* Mixtral's are the same under other names. */
static bool is_mixtral(const struct lsc_checkpoint *checkpoint)
{
	return lsc_checkpoint_find(checkpoint, "model.layers.0.block_sparse_moe.gate.weight");
}

static const char *mixtral_name(enum lsc_role role)
{
	switch (role) {
	case LSC_ROLE_ROUTER:
		return "block_sparse_moe.gate.weight";
	case LSC_ROLE_EXPERT_GATE:
		return "w1.weight";
	case LSC_ROLE_EXPERT_UP:
		return "w3.weight";
	case LSC_ROLE_EXPERT_DOWN:
		return "w2.weight";
	default:
		return names[role].hf;
	}
}

/* Whether a layer's experts are one tensor. */
static bool is_stacked(const struct lsc_checkpoint *checkpoint, enum lsc_role role)
{
	return names[role].place == IN_EXPERT && checkpoint->kind == LSC_CHECKPOINT_GGUF;
}

static const char *role_name(const struct lsc_checkpoint *checkpoint, enum lsc_role role,
			     struct lsc_role_at at, char name[NAME_BYTES])
{
	const enum place place = names[role].place;
	bool mixtral;

	if (checkpoint->kind == LSC_CHECKPOINT_GGUF) {
		if (place == ALONE)
			snprintf(name, NAME_BYTES, "%s", names[role].gguf);
		else
			snprintf(name, NAME_BYTES, "blk.%u.%s", at.layer, names[role].gguf);
		return name;
	}
	mixtral = place != ALONE && is_mixtral(checkpoint);
	if (place == ALONE)
		snprintf(name, NAME_BYTES, "%s", names[role].hf);
	else if (place == IN_LAYER)
		snprintf(name, NAME_BYTES, "model.layers.%u.%s", at.layer,
			 mixtral ? mixtral_name(role) : names[role].hf);
	else
		snprintf(name, NAME_BYTES, "model.layers.%u.%s.experts.%u.%s", at.layer,
			 mixtral ? "block_sparse_moe" : "mlp", at.expert,
			 mixtral ? mixtral_name(role) : names[role].hf);
	return name;
}

const struct lsc_tensor_source *lsc_checkpoint_role(const struct lsc_checkpoint *checkpoint,
						    enum lsc_role role, struct lsc_role_at at)
{
	char name[NAME_BYTES];

	return lsc_checkpoint_find(checkpoint, role_name(checkpoint, role, at, name));
}

/* --- the configuration --- */

/* Rows and columns a role must have (a vector is one row); 0 rows: the model has no such. */
static void role_shape(const struct lsc_model_config *config, enum lsc_role role, uint64_t *rows,
		       uint64_t *cols)
{
	uint64_t q = (uint64_t)config->heads * config->head_dim;
	uint64_t kv = (uint64_t)config->kv_heads * config->head_dim;
	const bool dense = config->experts == 0;
	const uint64_t shapes[LSC_ROLE_COUNT][2] = {
		[LSC_ROLE_EMBED] = {config->vocab, config->hidden},
		[LSC_ROLE_ATTN_NORM] = {1, config->hidden},
		[LSC_ROLE_Q] = {q, config->hidden},
		[LSC_ROLE_K] = {kv, config->hidden},
		[LSC_ROLE_V] = {kv, config->hidden},
		[LSC_ROLE_Q_BIAS] = {config->qkv_bias, q},
		[LSC_ROLE_K_BIAS] = {config->qkv_bias, kv},
		[LSC_ROLE_V_BIAS] = {config->qkv_bias, kv},
		[LSC_ROLE_Q_NORM] = {config->qk_norm, config->head_dim},
		[LSC_ROLE_K_NORM] = {config->qk_norm, config->head_dim},
		[LSC_ROLE_O] = {config->hidden, q},
		[LSC_ROLE_FFN_NORM] = {1, config->hidden},
		[LSC_ROLE_GATE] = {dense ? config->ffn : 0, config->hidden},
		[LSC_ROLE_UP] = {dense ? config->ffn : 0, config->hidden},
		[LSC_ROLE_DOWN] = {dense ? config->hidden : 0, config->ffn},
		[LSC_ROLE_ROUTER] = {config->experts, config->hidden},
		[LSC_ROLE_EXPERT_GATE] = {dense ? 0 : config->expert_ffn, config->hidden},
		[LSC_ROLE_EXPERT_UP] = {dense ? 0 : config->expert_ffn, config->hidden},
		[LSC_ROLE_EXPERT_DOWN] = {dense ? 0 : config->hidden, config->expert_ffn},
		[LSC_ROLE_FINAL_NORM] = {1, config->hidden},
		[LSC_ROLE_HEAD] = {config->tied ? 0 : config->vocab, config->hidden},
	};

	*rows = shapes[role][0];
	*cols = shapes[role][1];
}

static bool is_vector(enum lsc_role role)
{
	return role == LSC_ROLE_ATTN_NORM || role == LSC_ROLE_FFN_NORM ||
	       role == LSC_ROLE_FINAL_NORM || role == LSC_ROLE_Q_NORM || role == LSC_ROLE_K_NORM ||
	       role == LSC_ROLE_Q_BIAS || role == LSC_ROLE_K_BIAS || role == LSC_ROLE_V_BIAS;
}

/* Whether a tensor is rows x cols, or a vector of cols, or `stack` of the first. */
static bool has_shape(const struct lsc_tensor_source *tensor, bool vector, uint64_t stack,
		      uint64_t rows, uint64_t cols)
{
	if (vector)
		return tensor->n_dims == 1 && tensor->dims[0] == cols;
	if (stack)
		return tensor->n_dims == 3 && tensor->dims[0] == stack && tensor->dims[1] == rows &&
		       tensor->dims[2] == cols;
	return tensor->n_dims == 2 && tensor->dims[0] == rows && tensor->dims[1] == cols;
}

static int check_role(const struct lsc_checkpoint *checkpoint,
		      const struct lsc_model_config *config, enum lsc_role role,
		      struct lsc_role_at at, struct lsc_err *err)
{
	const struct lsc_tensor_source *tensor = lsc_checkpoint_role(checkpoint, role, at);
	const uint32_t stack = is_stacked(checkpoint, role) ? config->experts : 0;
	char name[NAME_BYTES], of[16] = "";
	uint64_t rows, cols;

	role_shape(config, role, &rows, &cols);
	role_name(checkpoint, role, at, name);
	if (!tensor)
		return lsc_err_set(err, EBADMSG, "'%s': tensor '%s' is missing", checkpoint->path,
				   name);
	if (stack)
		snprintf(of, sizeof(of), "%u x ", stack);
	if (!has_shape(tensor, is_vector(role), stack, rows, cols))
		return lsc_err_set(err, EBADMSG, "'%s': tensor '%s' is not %s%llu x %llu",
				   checkpoint->path, name, of, (unsigned long long)rows,
				   (unsigned long long)cols);
	if (tensor->dtype == LSC_DTYPE_COUNT)
		return lsc_err_set(err, EOPNOTSUPP,
				   "'%s': tensor '%s' is of a type that is not supported",
				   checkpoint->path, name);
	return 0;
}

static int check_roles(const struct lsc_checkpoint *checkpoint,
		       const struct lsc_model_config *config, struct lsc_err *err)
{
	for (unsigned role = 0; role < LSC_ROLE_COUNT; role++) {
		uint32_t layers = names[role].place == ALONE ? 1 : config->layers;
		uint32_t each = names[role].place == IN_EXPERT ? config->experts : 1;
		uint64_t rows, cols;

		role_shape(config, role, &rows, &cols);
		for (uint32_t i = 0; rows > 0 && i < layers * each; i++) {
			int r = check_role(checkpoint, config, role,
					   (struct lsc_role_at){i / each, i % each}, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int lsc_checkpoint_config(const struct lsc_checkpoint *checkpoint,
			  struct lsc_model_config *ret_config, struct lsc_err *err)
{
	const struct lsc_checkpoint_files *files = checkpoint->files;
	const struct lsc_map *config, *generation;
	int r;

	switch (checkpoint->kind) {
	case LSC_CHECKPOINT_GGUF:
		r = lsc_gguf_config_parse(&files->gguf, ret_config, err);
		break;
	case LSC_CHECKPOINT_HF:
		config = lsc_checkpoint_mapped(files, "config.json");
		generation = lsc_checkpoint_mapped(files, "generation_config.json");
		r = lsc_hf_config_parse((const char *)config->data, config->len,
					generation ? (const char *)generation->data : NULL,
					generation ? generation->len : 0, ret_config, err);
		break;
	default:
		return lsc_err_set(err, EOPNOTSUPP,
				   "'%s' has tensors alone: give its directory, with config.json",
				   checkpoint->path);
	}
	if (r < 0)
		return lsc_err_prefix(err, "'%s': ", checkpoint->path);
	return check_roles(checkpoint, ret_config, err);
}

/* --- rows --- */

/* GGUF's llama files have each head's rows of q and k interleaved for rotation in adjacent pairs:
 * pair i of a head is rows 2i and 2i + 1 there, i and i + head_dim / 2 here. */
static uint64_t interleaved_row(uint64_t row, uint32_t head_dim)
{
	uint64_t in_head = row % head_dim, half = head_dim / 2;

	return row - in_head + 2 * (in_head % half) + in_head / half;
}

static bool is_interleaved(const struct lsc_checkpoint *checkpoint,
			   const struct lsc_model_config *config, enum lsc_role role)
{
	return checkpoint->kind == LSC_CHECKPOINT_GGUF &&
	       (!strcmp(config->arch, "llama") || !strcmp(config->arch, "mixtral")) &&
	       (role == LSC_ROLE_Q || role == LSC_ROLE_K || role == LSC_ROLE_Q_BIAS ||
		role == LSC_ROLE_K_BIAS);
}

int lsc_checkpoint_rows(const struct lsc_checkpoint *checkpoint,
			const struct lsc_model_config *config, enum lsc_role role,
			struct lsc_role_at at, uint64_t first, uint64_t n, float *ret_rows,
			struct lsc_err *err)
{
	const struct lsc_tensor_source *tensor = lsc_checkpoint_role(checkpoint, role, at);
	bool interleaved = is_interleaved(checkpoint, config, role);
	uint64_t rows, cols, row_bytes;
	const uint8_t *data;

	role_shape(config, role, &rows, &cols);
	if (!tensor || first > rows || n > rows - first)
		return lsc_err_set(err, EINVAL, "no such rows");
	if (interleaved && is_vector(role))
		return lsc_err_set(err, EOPNOTSUPP,
				   "'%s': biases of q and k in a llama GGUF are "
				   "not supported",
				   checkpoint->path);
	row_bytes = cols / lsc_dtype_block_elements(tensor->dtype) *
		    lsc_dtype_block_bytes(tensor->dtype);
	data = tensor->data + (is_stacked(checkpoint, role) ? at.expert * rows * row_bytes : 0);
	if (!interleaved)
		lsc_dtype_to_f32(tensor->dtype, data + first * row_bytes, ret_rows, n * cols);
	for (uint64_t i = 0; interleaved && i < n; i++)
		lsc_dtype_to_f32(tensor->dtype,
				 data + interleaved_row(first + i, config->head_dim) * row_bytes,
				 ret_rows + i * cols, cols);
	lsc_map_forget(data + first * row_bytes, n * row_bytes);
	return 0;
}

bool lsc_checkpoint_blocks(const struct lsc_checkpoint *checkpoint,
			   const struct lsc_model_config *config, enum lsc_role role,
			   struct lsc_role_at at, uint64_t first, uint64_t n, uint8_t *ret_blocks)
{
	const struct lsc_tensor_source *tensor = lsc_checkpoint_role(checkpoint, role, at);
	const bool interleaved = is_interleaved(checkpoint, config, role);
	uint64_t rows, cols, bytes, start, before;
	const uint8_t *data;

	role_shape(config, role, &rows, &cols);
	if (!tensor || tensor->dtype != LSC_DTYPE_Q8_0 || first > rows || n > rows - first)
		return false;
	bytes = lsc_dtype_matrix_bytes(tensor->dtype, 1, (uint32_t)cols);
	data = tensor->data + (is_stacked(checkpoint, role) ? at.expert * rows * bytes : 0);
	if (!interleaved)
		memcpy(ret_blocks, data + first * bytes, n * bytes);
	for (uint64_t i = 0; interleaved && i < n; i++)
		memcpy(ret_blocks + i * bytes,
		       data + interleaved_row(first + i, config->head_dim) * bytes, bytes);
	/* With what the kernel mapped before them, unasked. */
	start = (uint64_t)(data - tensor->data) + first * bytes;
	before = LSC_MIN(start, MAPPED_AROUND);
	lsc_map_forget(tensor->data + start - before, before + n * bytes);
	return true;
}
