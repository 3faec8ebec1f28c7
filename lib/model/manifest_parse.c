/* manifest_parse - an image's tables from records
 *
 * A manifest also comes from peers, so nothing in it is believed: the tensors must be the ones the
 * configuration implies, in order, and everything must lie where the rules of lsc-image(5) let it.
 */
#include "model/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/layout.h"
#include "model/manifest_cursor.h"
#include "stream/record.h"

#define MAX_IMAGE_BYTES (1ull << 50)
#define MAX_SYSTEM      (64u << 10)

/* The records, each once and in this order; those after "pieces" may be absent. */
enum part { HELLO, MODEL, LAYOUT, TENSORS, PIECES, CHAT, SOURCE, END, PARTS };

static const char *const part_names[PARTS] = {"hello",  "model", "layout", "tensors",
					      "pieces", "chat",  "source", "end"};

/* --- values --- */

static int get_u32(const struct lsc_record *record, const char *key, uint32_t *ret_value,
		   struct lsc_err *err)
{
	uint64_t value;
	int r = lsc_record_uint(record, key, UINT32_MAX, &value, err);

	if (r == 0)
		*ret_value = (uint32_t)value;
	return r;
}

static int get_float(const struct lsc_record *record, const char *key, float *ret_value,
		     struct lsc_err *err)
{
	double value;
	int r = lsc_record_real(record, key, &value, err);

	if (r == 0)
		*ret_value = (float)value;
	return r;
}

static int get_bool(const struct lsc_record *record, const char *key, bool *ret_value,
		    struct lsc_err *err)
{
	const msgpack_object *value = lsc_record_get(record, key);

	if (!value || value->type != MSGPACK_OBJECT_BOOLEAN)
		return lsc_err_set(err, EBADMSG, "key '%s' is not true or false", key);
	*ret_value = value->via.boolean;
	return 0;
}

static bool item_uint(const msgpack_object *item, uint64_t max, uint64_t *ret_value)
{
	if (item->type != MSGPACK_OBJECT_POSITIVE_INTEGER || item->via.u64 > max)
		return false;
	*ret_value = item->via.u64;
	return true;
}

static bool item_is(const msgpack_object *item, const char *text)
{
	return item->type == MSGPACK_OBJECT_STR && item->via.str.size == strlen(text) &&
	       !memcmp(item->via.str.ptr, text, item->via.str.size);
}

static const msgpack_object *item_row(const msgpack_object *item, uint32_t n)
{
	if (item->type != MSGPACK_OBJECT_ARRAY || item->via.array.size != n)
		return NULL;
	return item->via.array.ptr;
}

/* --- model --- */

static int parse_experts(struct lsc_model_config *config, const struct lsc_record *record,
			 struct lsc_err *err)
{
	int r;

	if (!lsc_record_get(record, "experts"))
		return 0;
	if ((r = get_u32(record, "experts", &config->experts, err)) < 0 ||
	    (r = get_u32(record, "experts_used", &config->experts_used, err)) < 0 ||
	    (r = get_u32(record, "expert_ffn", &config->expert_ffn, err)) < 0 ||
	    (r = get_bool(record, "norm_topk", &config->norm_topk, err)) < 0)
		return r;
	if (config->experts == 0)
		return lsc_err_set(err, EBADMSG,
				   "it has 0 experts: want 1 or more, or no such key");
	return 0;
}

static int parse_rope(struct lsc_model_config *config, const struct lsc_record *record,
		      struct lsc_err *err)
{
	char name[16];
	int r;

	if ((r = get_float(record, "rope_theta", &config->rope_theta, err)) < 0)
		return r;
	config->rope_scaling = LSC_ROPE_NONE;
	if (!lsc_record_get(record, "rope_scaling"))
		return 0;
	if ((r = lsc_record_text(record, "rope_scaling", name, sizeof(name), err)) < 0 ||
	    (r = get_float(record, "rope_factor", &config->rope_factor, err)) < 0)
		return r;
	if (!strcmp(name, "linear")) {
		config->rope_scaling = LSC_ROPE_LINEAR;
		return 0;
	}
	if (!strcmp(name, "yarn")) {
		config->rope_scaling = LSC_ROPE_YARN;
		if ((r = get_float(record, "rope_low", &config->rope_ramp_low, err)) < 0 ||
		    (r = get_float(record, "rope_high", &config->rope_ramp_high, err)) < 0)
			return r;
		return get_float(record, "rope_attention", &config->rope_attention, err);
	}
	if (strcmp(name, "llama3"))
		return lsc_err_set(err, EOPNOTSUPP, "RoPE scaling '%s' is not supported", name);
	config->rope_scaling = LSC_ROPE_LLAMA3;
	if ((r = get_float(record, "rope_low", &config->rope_low_freq_factor, err)) < 0 ||
	    (r = get_float(record, "rope_high", &config->rope_high_freq_factor, err)) < 0)
		return r;
	return get_u32(record, "rope_context", &config->rope_original_context, err);
}

static int parse_window(struct lsc_model_config *config, const struct lsc_record *record,
			struct lsc_err *err)
{
	uint64_t window, first;
	int r;

	if ((r = lsc_record_uint_or(record, "window", UINT32_MAX, 0, &window, err)) < 0 ||
	    (r = lsc_record_uint_or(record, "window_first", UINT32_MAX, 0, &first, err)) < 0)
		return r;
	config->window = (uint32_t)window;
	config->window_first = (uint32_t)first;
	return 0;
}

static int parse_tokens(struct lsc_model_config *config, const struct lsc_record *record,
			struct lsc_err *err)
{
	const msgpack_object *eos;
	uint64_t value;
	int r = lsc_record_uint_or(record, "bos", UINT32_MAX, LSC_MODEL_NO_TOKEN, &value, err);

	if (r < 0)
		return r;
	config->bos = (uint32_t)value;
	r = lsc_record_array(record, "eos", LSC_MODEL_MAX_EOS, &eos, &config->n_eos, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < config->n_eos; i++) {
		if (!item_uint(&eos[i], UINT32_MAX - 1, &value))
			return lsc_err_set(err, EBADMSG, "key 'eos' is not all token ids");
		config->eos[i] = (uint32_t)value;
	}
	return 0;
}

static int parse_model(struct lsc_image *image, const struct lsc_manifest_cursor *cursor,
		       struct lsc_err *err)
{
	const struct lsc_record *record = &cursor->record;
	struct lsc_model_config *config = &image->config;
	const struct {
		const char *key;
		uint32_t *value;
	} counts[] = {
		{"hidden", &config->hidden},     {"ffn", &config->ffn},
		{"layers", &config->layers},     {"heads", &config->heads},
		{"kv_heads", &config->kv_heads}, {"head_dim", &config->head_dim},
		{"vocab", &config->vocab},       {"context", &config->context},
	};
	int r = lsc_record_text(record, "arch", config->arch, sizeof(config->arch), err);

	for (size_t i = 0; r == 0 && i < LSC_ARRAY_SIZE(counts); i++)
		r = get_u32(record, counts[i].key, counts[i].value, err);
	if (r < 0 || (r = get_float(record, "norm_eps", &config->norm_eps, err)) < 0 ||
	    (r = get_bool(record, "qkv_bias", &config->qkv_bias, err)) < 0 ||
	    (r = get_bool(record, "qk_norm", &config->qk_norm, err)) < 0 ||
	    (r = get_bool(record, "tied", &config->tied, err)) < 0 ||
	    (r = parse_experts(config, record, err)) < 0 ||
	    (r = parse_rope(config, record, err)) < 0 ||
	    (r = parse_window(config, record, err)) < 0 ||
	    (r = parse_tokens(config, record, err)) < 0)
		return r;
	return lsc_model_config_check(config, err);
}

/* --- layout --- */

static int parse_block(struct lsc_image *image, uint32_t index, const msgpack_object *item,
		       struct lsc_err *err)
{
	const struct lsc_block *before = index ? &image->blocks[index - 1] : NULL;
	struct lsc_block *block = &image->blocks[index];
	const msgpack_object *row = item_row(item, 4);
	bool last = index + 1 == image->n_blocks;
	uint64_t first, n;

	if (!row || !item_uint(&row[0], image->bytes, &block->offset) ||
	    !item_uint(&row[1], image->bytes, &block->bytes) ||
	    !item_uint(&row[2], image->n_units, &first) || !item_uint(&row[3], image->n_units, &n))
		return lsc_err_set(err, EBADMSG, "block %u is not four numbers in range", index);
	block->first_unit = (uint32_t)first;
	block->n_units = (uint32_t)n;
	if (block->offset != (before ? before->offset + before->bytes : 0) || block->bytes == 0 ||
	    (!last && block->bytes % image->align != 0) ||
	    (last && block->offset + block->bytes != image->bytes))
		return lsc_err_set(err, EBADMSG,
				   "block %u is not aligned, or does not follow the one before",
				   index);
	if (first != (before ? before->first_unit + before->n_units : 0) || n == 0 ||
	    (last && first + n != image->n_units))
		return lsc_err_set(err, EBADMSG, "block %u does not hold the units that follow",
				   index);
	block->first_piece = before ? before->first_piece + before->n_pieces : 0;
	n = lsc_div_up(block->bytes, image->piece_bytes);
	if (n > LSC_IMAGE_MAX_PIECES - block->first_piece)
		return lsc_err_set(err, EBADMSG, "more than %u pieces", LSC_IMAGE_MAX_PIECES);
	block->n_pieces = (uint32_t)n;
	image->n_pieces = block->first_piece + block->n_pieces;
	return 0;
}

static bool is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

static int parse_layout(struct lsc_image *image, const struct lsc_manifest_cursor *cursor,
			struct lsc_err *err)
{
	const struct lsc_record *record = &cursor->record;
	const msgpack_object *items;
	char dtype[8];
	int r;

	if ((r = lsc_record_text(record, "dtype", dtype, sizeof(dtype), err)) < 0 ||
	    (r = lsc_record_uint(record, "bytes", MAX_IMAGE_BYTES, &image->bytes, err)) < 0 ||
	    (r = lsc_record_uint(record, "align", 1u << 30, &image->align, err)) < 0 ||
	    (r = get_u32(record, "piece_bytes", &image->piece_bytes, err)) < 0 ||
	    (r = lsc_record_uint_or(record, "tokenizer", UINT32_MAX, 0, &image->tokenizer_len,
				    err)) < 0 ||
	    (r = lsc_record_array(record, "blocks", LSC_MODEL_MAX_BLOCKS, &items, &image->n_blocks,
				  err)) < 0)
		return r;
	if (lsc_dtype_parse(dtype, &image->dtype) < 0)
		return lsc_err_set(err, EOPNOTSUPP, "weights of type '%s' are not supported",
				   dtype);
	if (!is_power_of_two(image->align) || image->align < LSC_TENSOR_ALIGN ||
	    !is_power_of_two(image->piece_bytes) || image->piece_bytes < 4096 ||
	    image->piece_bytes > LSC_BODY_MAX_BYTES || image->n_blocks == 0)
		return lsc_err_set(err, EBADMSG, "no such alignment, piece size or block count");
	r = lsc_layout_tensors(image, err);
	if (r < 0)
		return r;
	image->blocks = calloc(image->n_blocks, sizeof(*image->blocks));
	if (!image->blocks)
		return lsc_err_set(err, ENOMEM, "cannot hold %u blocks: %m", image->n_blocks);
	for (uint32_t i = 0; r == 0 && i < image->n_blocks; i++)
		r = parse_block(image, i, &items[i], err);
	if (r < 0)
		return r;
	if (image->tokenizer_len > image->blocks[0].bytes)
		return lsc_err_set(err, EBADMSG, "the tokenizer is longer than the first block");
	lsc_layout_needs(image);
	return 0;
}

/* Those that follow the *done ones of the records before. */
static int parse_tensors(struct lsc_image *image, const struct lsc_manifest_cursor *cursor,
			 uint32_t *done, struct lsc_err *err)
{
	const uint32_t first = *done;
	const uint32_t want = LSC_MIN(image->n_tensors - first, LSC_MANIFEST_MAX_TENSORS);
	const struct lsc_tensor *before = first ? &image->tensors[first - 1] : NULL;
	uint64_t at = before ? before->offset + before->bytes : image->tokenizer_len;
	const msgpack_object *items;
	uint32_t n;
	int r = lsc_record_array(&cursor->record, "tensors", want, &items, &n, err);

	if (r < 0)
		return r;
	if (n != want)
		return lsc_err_set(err, EBADMSG, "%u tensors, and the model has %u", first + n,
				   image->n_tensors);
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_tensor *tensor = &image->tensors[first + i];
		const struct lsc_block *block =
			&image->blocks[image->units[tensor->unit].needs[0].first];
		const msgpack_object *row = item_row(&items[i], 6);
		uint64_t unit, rows, cols;

		if (!row || !item_is(&row[0], lsc_tensor_role_name(tensor->role)) ||
		    !item_uint(&row[1], UINT32_MAX, &unit) || unit != tensor->unit ||
		    !item_is(&row[2], lsc_dtype_name(tensor->dtype)) ||
		    !item_uint(&row[3], UINT32_MAX, &rows) || rows != tensor->rows ||
		    !item_uint(&row[4], UINT32_MAX, &cols) || cols != tensor->cols ||
		    !item_uint(&row[5], image->bytes, &tensor->offset))
			return lsc_err_set(err, EBADMSG, "tensor %u is not the model's %s",
					   first + i, lsc_tensor_role_name(tensor->role));
		if (tensor->offset % 64 != 0 || tensor->offset < LSC_MAX(at, block->offset) ||
		    tensor->bytes > block->bytes ||
		    tensor->offset > block->offset + block->bytes - tensor->bytes)
			return lsc_err_set(
				err, EBADMSG,
				"tensor %u lies askew, over another or outside its block",
				first + i);
		at = tensor->offset + tensor->bytes;
	}
	*done = first + n;
	return 0;
}

/* --- the rest --- */

static int parse_chat(struct lsc_image *image, const struct lsc_manifest_cursor *cursor,
		      struct lsc_err *err)
{
	const char *system;
	uint32_t len;
	char family[32];
	int r = lsc_record_text(&cursor->record, "family", family, sizeof(family), err);

	if (r < 0)
		return r;
	/* A family of a later version is a model without chat here, no error. */
	if (lsc_chat_family_parse(family, &image->chat.family) < 0)
		image->chat.family = LSC_CHAT_NONE;
	if (!lsc_record_get(&cursor->record, "system"))
		return 0;
	r = lsc_record_str(&cursor->record, "system", MAX_SYSTEM, &system, &len, err);
	if (r < 0)
		return r;
	if (memchr(system, 0, len))
		return lsc_err_set(err, EBADMSG, "key 'system' holds a zero byte");
	image->chat.system = strndup(system, len);
	if (!image->chat.system)
		return lsc_err_set(err, ENOMEM, "cannot hold the system text: %m");
	return 0;
}

static int parse_source(const struct lsc_manifest_cursor *cursor, char *name, size_t size,
			struct lsc_image_source *ret_source, struct lsc_err *err)
{
	const void *hash;
	uint32_t len;
	int r;

	if ((r = lsc_record_text(&cursor->record, "name", name, size, err)) < 0 ||
	    (r = lsc_record_uint(&cursor->record, "bytes", UINT64_MAX, &ret_source->bytes, err)) <
		    0 ||
	    (r = lsc_record_bin(&cursor->record, "xxh3-128", LSC_HASH_BYTES, &hash, &len, err)) < 0)
		return r;
	if (len != LSC_HASH_BYTES)
		return lsc_err_set(err, EBADMSG, "a hash of %u bytes", len);
	ret_source->name = name;
	memcpy(ret_source->hash.bytes, hash, LSC_HASH_BYTES);
	return 0;
}

static int parse_part(struct lsc_image *image, enum part part,
		      const struct lsc_manifest_cursor *cursor, uint32_t *tensors,
		      struct lsc_err *err)
{
	struct lsc_image_source source;
	char name[256];

	switch (part) {
	case HELLO:
		return lsc_record_hello(&cursor->record, "image", err);
	case MODEL:
		return parse_model(image, cursor, err);
	case LAYOUT:
		return parse_layout(image, cursor, err);
	case TENSORS:
		return parse_tensors(image, cursor, tensors, err);
	case PIECES:
		return lsc_manifest_take_pieces(cursor, image->n_pieces, &image->pieces, err);
	case CHAT:
		return parse_chat(image, cursor, err);
	case SOURCE:
		return parse_source(cursor, name, sizeof(name), &source, err);
	case END:
		return lsc_manifest_check_seal(cursor, err);
	default:
		return 0;
	}
}

/* The part that the record at hand is; PARTS for one that is not known. */
static enum part part_of(const struct lsc_manifest_cursor *cursor)
{
	unsigned part = HELLO;

	while (part < PARTS && !lsc_record_is(&cursor->record, part_names[part]))
		part++;
	return part;
}

/* done, tensors: the last part there was, and how many tensors so far. */
static int parse_next(struct lsc_image *image, struct lsc_manifest_cursor *cursor, enum part *done,
		      uint32_t *tensors, struct lsc_err *err)
{
	const bool more = *done == TENSORS && *tensors < image->n_tensors;
	enum part part;
	int r = lsc_manifest_next(cursor, err);

	if (r < 0)
		return r;
	part = part_of(cursor);
	if (part == PARTS && *done >= HELLO)
		return 0; /* of a later version */
	if (part == PARTS || (part <= PIECES ? part != *done + !more : *done < PIECES) ||
	    (part > PIECES && (part < *done || (part == *done && part != SOURCE))))
		return lsc_err_set(err, EBADMSG, "record '%.*s' is not in its place",
				   (int)cursor->record.type_len, cursor->record.type);
	*done = part;
	r = parse_part(image, part, cursor, tensors, err);
	return r < 0 ? lsc_err_prefix(err, "record '%s': ", part_names[part]) : 0;
}

int lsc_manifest_parse(struct lsc_image *image, const void *data, size_t len, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_manifest_cursor_release)
	struct lsc_manifest_cursor cursor = {.data = data, .len = len};
	enum part done = HELLO;
	uint32_t tensors = 0;
	int r = lsc_manifest_next(&cursor, err);

	if (r == 0)
		r = parse_part(image, HELLO, &cursor, &tensors, err);
	while (r == 0 && done != END)
		r = parse_next(image, &cursor, &done, &tensors, err);
	if (r == 0 && cursor.at != len)
		r = lsc_err_set(err, EBADMSG, "bytes follow its end");
	return r < 0 ? lsc_err_prefix(err, "manifest: ") : 0;
}
