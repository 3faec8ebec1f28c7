/* pack_checkpoint - an image from a checkpoint: its tensors fused, its tokenizer compiled */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/pack.h"
#include "model/tokenizer.h"

#define MAX_SOURCES 4096
#define HASH_BYTES  (16u << 20)

struct from_checkpoint {
	struct lsc_pack_origin origin;
	const struct lsc_checkpoint *checkpoint;
};

/* One stretch of a fused tensor: n rows of a checkpoint's role. */
struct strip {
	enum lsc_role role;
	uint64_t rows;
};

/* The checkpoint's tensors that make up one of the image's, in order; returns how many. */
static unsigned strips_of(const struct lsc_tensor *tensor, const struct lsc_model_config *config,
			  struct strip strips[3])
{
	uint64_t q = (uint64_t)config->heads * config->head_dim;
	uint64_t kv = (uint64_t)config->kv_heads * config->head_dim;
	const bool experts = config->experts > 0;
	static const enum lsc_role plain[LSC_TENSOR_ROLES] = {
		[LSC_TENSOR_EMBED] = LSC_ROLE_EMBED,
		[LSC_TENSOR_ATTN_NORM] = LSC_ROLE_ATTN_NORM,
		[LSC_TENSOR_Q_NORM] = LSC_ROLE_Q_NORM,
		[LSC_TENSOR_K_NORM] = LSC_ROLE_K_NORM,
		[LSC_TENSOR_O] = LSC_ROLE_O,
		[LSC_TENSOR_FFN_NORM] = LSC_ROLE_FFN_NORM,
		[LSC_TENSOR_ROUTER] = LSC_ROLE_ROUTER,
		[LSC_TENSOR_FINAL_NORM] = LSC_ROLE_FINAL_NORM,
		[LSC_TENSOR_HEAD] = LSC_ROLE_HEAD,
	};

	switch (tensor->role) {
	case LSC_TENSOR_QKV:
		strips[0] = (struct strip){LSC_ROLE_Q, q};
		strips[1] = (struct strip){LSC_ROLE_K, kv};
		strips[2] = (struct strip){LSC_ROLE_V, kv};
		return 3;
	case LSC_TENSOR_GATE_UP:
		strips[0] = (struct strip){experts ? LSC_ROLE_EXPERT_GATE : LSC_ROLE_GATE,
					   tensor->rows / 2};
		strips[1] = (struct strip){experts ? LSC_ROLE_EXPERT_UP : LSC_ROLE_UP,
					   tensor->rows / 2};
		return 2;
	case LSC_TENSOR_DOWN:
		strips[0] = (struct strip){experts ? LSC_ROLE_EXPERT_DOWN : LSC_ROLE_DOWN,
					   tensor->rows};
		return 1;
	default:
		strips[0] = (struct strip){plain[tensor->role], tensor->rows};
		return 1;
	}
}

/* The three biases are vectors, one row each: they are joined end to end. */
static int bias_row(const struct lsc_checkpoint *checkpoint, const struct lsc_model_config *config,
		    struct lsc_role_at at, float *ret_row, struct lsc_err *err)
{
	static const enum lsc_role roles[] = {LSC_ROLE_Q_BIAS, LSC_ROLE_K_BIAS, LSC_ROLE_V_BIAS};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(roles); i++) {
		int r = lsc_checkpoint_rows(checkpoint, config, roles[i], at, 0, 1, ret_row, err);

		if (r < 0)
			return r;
		ret_row += (i == 0 ? config->heads : config->kv_heads) * config->head_dim;
	}
	return 0;
}

/* Where a unit is in the checkpoint; what has no layer does not look at it. */
static struct lsc_role_at place_of(const struct lsc_model_config *config, uint32_t unit)
{
	const uint32_t each = lsc_model_layer_units(config), at = unit - (unit > 0);

	return (struct lsc_role_at){at / each, at % each ? at % each - 1 : 0};
}

static int checkpoint_rows(const struct lsc_pack_origin *origin, const struct lsc_tensor *tensor,
			   uint64_t first, uint64_t n, float *ret_rows, struct lsc_err *err)
{
	const struct lsc_checkpoint *checkpoint =
		LSC_CONTAINER_OF(origin, const struct from_checkpoint, origin)->checkpoint;
	const struct lsc_role_at at = place_of(origin->config, tensor->unit);
	struct strip strips[3];
	unsigned n_strips;

	if (tensor->role == LSC_TENSOR_QKV_BIAS)
		return bias_row(checkpoint, origin->config, at, ret_rows, err);
	n_strips = strips_of(tensor, origin->config, strips);
	for (unsigned i = 0; i < n_strips && n > 0; i++) {
		uint64_t some;
		int r;

		if (first >= strips[i].rows) {
			first -= strips[i].rows;
			continue;
		}
		some = LSC_MIN(n, strips[i].rows - first);
		r = lsc_checkpoint_rows(checkpoint, origin->config, strips[i].role, at, first, some,
					ret_rows, err);
		if (r < 0)
			return r;
		ret_rows += some * tensor->cols;
		n -= some;
		first = 0;
	}
	return 0;
}

static int64_t checkpoint_blocks(const struct lsc_pack_origin *origin,
				 const struct lsc_tensor *tensor, uint64_t first, uint64_t n,
				 uint8_t *ret_blocks)
{
	const struct lsc_checkpoint *checkpoint =
		LSC_CONTAINER_OF(origin, const struct from_checkpoint, origin)->checkpoint;
	const struct lsc_role_at at = place_of(origin->config, tensor->unit);
	struct strip strips[3], *strip = strips;

	strips_of(tensor, origin->config, strips);
	for (; first >= strip->rows; strip++)
		first -= strip->rows;
	n = LSC_MIN(n, strip->rows - first);
	return lsc_checkpoint_blocks(checkpoint, origin->config, strip->role, at, first, n,
				     ret_blocks)
		       ? (int64_t)n
		       : -(int64_t)n;
}

/* In parts, for files as large as these: memory stays bounded, and a signal is heard. */
static int hash_source(const uint8_t *data, size_t len, const volatile sig_atomic_t *stop,
		       struct lsc_hash *ret_hash, struct lsc_err *err)
{
	struct lsc_hasher *hasher = lsc_hasher_new();

	if (!hasher)
		return lsc_err_set(err, ENOMEM, "cannot pack: %m");
	for (size_t at = 0; at < len && !(stop && *stop); at += HASH_BYTES) {
		size_t n = LSC_MIN(len - at, HASH_BYTES);

		lsc_hasher_add(hasher, data + at, n);
		lsc_map_forget(data + at, n);
	}
	*ret_hash = lsc_hasher_end(hasher);
	lsc_hasher_free(hasher);
	return stop && *stop ? lsc_err_set(err, ECANCELED, "stopped") : 0;
}

static int list_sources(const struct lsc_checkpoint *checkpoint, const volatile sig_atomic_t *stop,
			struct lsc_image_source *sources, size_t *ret_n, struct lsc_err *err)
{
	size_t n = 0;

	while (n < MAX_SOURCES) {
		struct lsc_image_source *source = &sources[n];
		const uint8_t *data;
		size_t len;
		int r;

		source->name = lsc_checkpoint_file(checkpoint, (unsigned)n, &data, &len);
		if (!source->name)
			break;
		source->bytes = len;
		r = hash_source(data, len, stop, &source->hash, err);
		if (r < 0)
			return r;
		n++;
	}
	*ret_n = n;
	return 0;
}

/* The tokenizer is optional: without one the image takes and gives token ids. */
static int add_tokenizer(struct lsc_pack_origin *origin, const struct lsc_checkpoint *checkpoint,
			 struct lsc_buf *blob, struct lsc_chat *chat, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *template = NULL;
	int r = lsc_tokenizer_compile(blob, checkpoint->path, &template, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	origin->tokenizer = blob->data;
	origin->tokenizer_len = blob->len;
	origin->chat = chat;
	return lsc_chat_recognise(chat, template, err);
}

int lsc_image_pack(const struct lsc_checkpoint *checkpoint, const char *dir,
		   const struct lsc_image_options *options, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf blob = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_chat_release) struct lsc_chat chat = LSC_CHAT_INIT;
	LSC_CLEANUP_FREE struct lsc_image_source *sources = calloc(MAX_SOURCES, sizeof(*sources));
	struct lsc_model_config config;
	struct from_checkpoint from = {
		.origin = {.rows = checkpoint_rows,
			   .blocks = checkpoint_blocks,
			   .config = &config,
			   .sources = sources},
		.checkpoint = checkpoint,
	};
	int r;

	if (!sources)
		return lsc_err_set(err, ENOMEM, "cannot pack: %m");
	if ((r = lsc_checkpoint_config(checkpoint, &config, err)) < 0 ||
	    (r = add_tokenizer(&from.origin, checkpoint, &blob, &chat, err)) < 0 ||
	    (r = list_sources(checkpoint, options->stop, sources, &from.origin.n_sources, err)) < 0)
		return r;
	return lsc_pack_image(&from.origin, dir, options, err);
}
