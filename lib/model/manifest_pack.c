/* manifest_pack - an image's tables into records
 *
 * Equal images give equal bytes: values take msgpack's smallest encoding, and the order is fixed.
 */
#include "model/manifest.h"

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/layout.h"
#include "stream/record.h"

static const char *const scaling_names[] = {[LSC_ROPE_NONE] = "none",
					    [LSC_ROPE_LINEAR] = "linear",
					    [LSC_ROPE_LLAMA3] = "llama3",
					    [LSC_ROPE_YARN] = "yarn"};

static int pack_model(struct lsc_pack *pack, const struct lsc_model_config *config)
{
	lsc_pack_more(pack, "model");
	lsc_pack_str(pack, "arch", config->arch);
	lsc_pack_uint(pack, "hidden", config->hidden);
	lsc_pack_uint(pack, "ffn", config->ffn);
	lsc_pack_uint(pack, "layers", config->layers);
	if (config->experts) {
		lsc_pack_uint(pack, "experts", config->experts);
		lsc_pack_uint(pack, "experts_used", config->experts_used);
		lsc_pack_uint(pack, "expert_ffn", config->expert_ffn);
		lsc_pack_bool(pack, "norm_topk", config->norm_topk);
	}
	lsc_pack_uint(pack, "heads", config->heads);
	lsc_pack_uint(pack, "kv_heads", config->kv_heads);
	lsc_pack_uint(pack, "head_dim", config->head_dim);
	lsc_pack_uint(pack, "vocab", config->vocab);
	lsc_pack_uint(pack, "context", config->context);
	if (config->window)
		lsc_pack_uint(pack, "window", config->window);
	if (config->window_first)
		lsc_pack_uint(pack, "window_first", config->window_first);
	lsc_pack_real(pack, "norm_eps", (double)config->norm_eps);
	lsc_pack_real(pack, "rope_theta", (double)config->rope_theta);
	if (config->rope_scaling != LSC_ROPE_NONE) {
		lsc_pack_str(pack, "rope_scaling", scaling_names[config->rope_scaling]);
		lsc_pack_real(pack, "rope_factor", (double)config->rope_factor);
	}
	if (config->rope_scaling == LSC_ROPE_LLAMA3) {
		lsc_pack_real(pack, "rope_low", (double)config->rope_low_freq_factor);
		lsc_pack_real(pack, "rope_high", (double)config->rope_high_freq_factor);
		lsc_pack_uint(pack, "rope_context", config->rope_original_context);
	}
	if (config->rope_scaling == LSC_ROPE_YARN) {
		lsc_pack_real(pack, "rope_low", (double)config->rope_ramp_low);
		lsc_pack_real(pack, "rope_high", (double)config->rope_ramp_high);
		lsc_pack_real(pack, "rope_attention", (double)config->rope_attention);
	}
	lsc_pack_bool(pack, "qkv_bias", config->qkv_bias);
	lsc_pack_bool(pack, "qk_norm", config->qk_norm);
	lsc_pack_bool(pack, "tied", config->tied);
	if (config->bos != LSC_MODEL_NO_TOKEN)
		lsc_pack_uint(pack, "bos", config->bos);
	lsc_pack_array(pack, "eos", config->n_eos);
	for (uint32_t i = 0; i < config->n_eos; i++)
		lsc_pack_uint(pack, NULL, config->eos[i]);
	return lsc_pack_end(pack);
}

static int pack_layout(struct lsc_pack *pack, const struct lsc_image *image)
{
	lsc_pack_more(pack, "layout");
	lsc_pack_str(pack, "dtype", lsc_dtype_name(image->dtype));
	lsc_pack_uint(pack, "bytes", image->bytes);
	lsc_pack_uint(pack, "align", image->align);
	lsc_pack_uint(pack, "piece_bytes", image->piece_bytes);
	if (image->tokenizer_len)
		lsc_pack_uint(pack, "tokenizer", image->tokenizer_len);
	lsc_pack_array(pack, "blocks", image->n_blocks);
	for (uint32_t i = 0; i < image->n_blocks; i++) {
		const struct lsc_block *block = &image->blocks[i];

		lsc_pack_array(pack, NULL, 4);
		lsc_pack_uint(pack, NULL, block->offset);
		lsc_pack_uint(pack, NULL, block->bytes);
		lsc_pack_uint(pack, NULL, block->first_unit);
		lsc_pack_uint(pack, NULL, block->n_units);
	}
	return lsc_pack_end(pack);
}

/* Tensors first .. first+n-1: experts may be more than a record holds. */
static int pack_tensors(struct lsc_pack *pack, const struct lsc_image *image, uint32_t first,
			uint32_t n)
{
	lsc_pack_more(pack, "tensors");
	lsc_pack_array(pack, "tensors", n);
	for (uint32_t i = first; i < first + n; i++) {
		const struct lsc_tensor *tensor = &image->tensors[i];

		lsc_pack_array(pack, NULL, 6);
		lsc_pack_str(pack, NULL, lsc_tensor_role_name(tensor->role));
		lsc_pack_uint(pack, NULL, tensor->unit);
		lsc_pack_str(pack, NULL, lsc_dtype_name(tensor->dtype));
		lsc_pack_uint(pack, NULL, tensor->rows);
		lsc_pack_uint(pack, NULL, tensor->cols);
		lsc_pack_uint(pack, NULL, tensor->offset);
	}
	return lsc_pack_end(pack);
}

static int pack_body(struct lsc_pack *pack, const void *data, size_t len)
{
	uint8_t header[5];
	size_t n = lsc_body_header(header, (uint32_t)len);

	if (lsc_buf_add(&pack->buf, header, n) < 0)
		return -ENOMEM;
	return lsc_buf_add(&pack->buf, data, len);
}

static int pack_pieces(struct lsc_pack *pack, const struct lsc_image *image)
{
	size_t len = (size_t)image->n_pieces * LSC_HASH_BYTES;
	int r;

	lsc_pack_more(pack, "pieces");
	lsc_pack_str(pack, "hash", "xxh3-128");
	lsc_pack_uint(pack, "body", len);
	r = lsc_pack_end(pack);
	return r < 0 ? r : pack_body(pack, image->pieces, len);
}

static int pack_chat(struct lsc_pack *pack, const struct lsc_chat *chat)
{
	lsc_pack_more(pack, "chat");
	lsc_pack_str(pack, "family", lsc_chat_family_name(chat->family));
	if (chat->system)
		lsc_pack_str(pack, "system", chat->system);
	return lsc_pack_end(pack);
}

static int pack_source(struct lsc_pack *pack, const struct lsc_image_source *source)
{
	lsc_pack_more(pack, "source");
	lsc_pack_str(pack, "name", source->name);
	lsc_pack_uint(pack, "bytes", source->bytes);
	lsc_pack_bin(pack, "xxh3-128", source->hash.bytes, LSC_HASH_BYTES);
	return lsc_pack_end(pack);
}

/* The last record holds the hash of all that is before it. */
static int pack_seal(struct lsc_pack *pack)
{
	struct lsc_hash hash = lsc_hash_of(pack->buf.data, pack->buf.len);

	lsc_pack_more(pack, "end");
	lsc_pack_bin(pack, "xxh3-128", hash.bytes, LSC_HASH_BYTES);
	return lsc_pack_end(pack);
}

static int pack_all(struct lsc_pack *pack, const struct lsc_image *image,
		    const struct lsc_image_source *sources, size_t n_sources)
{
	const uint32_t most = LSC_MANIFEST_MAX_TENSORS;
	int r;

	if ((r = lsc_pack_hello(pack, "image")) < 0 || (r = pack_model(pack, &image->config)) < 0 ||
	    (r = pack_layout(pack, image)) < 0)
		return r;
	for (uint32_t at = 0; at < image->n_tensors; at += most)
		if ((r = pack_tensors(pack, image, at, LSC_MIN(image->n_tensors - at, most))) < 0)
			return r;
	if ((r = pack_pieces(pack, image)) < 0 || (r = pack_chat(pack, &image->chat)) < 0)
		return r;
	for (size_t i = 0; i < n_sources; i++)
		if ((r = pack_source(pack, &sources[i])) < 0)
			return r;
	return pack_seal(pack);
}

int lsc_manifest_pack(const struct lsc_image *image, const struct lsc_image_source *sources,
		      size_t n_sources, struct lsc_buf *buf, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = pack_all(&pack, image, sources, n_sources);

	if (r == 0)
		r = lsc_buf_add(buf, pack.buf.data, pack.buf.len);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot build the manifest: %m");
	return 0;
}
