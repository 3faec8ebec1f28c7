/* decoder_weights - where the tensors of an image lie, and whether they can run */
#include "exec/decoder.h"
#include "exec/decoder_own.h"

int lsc_decoder_find(const struct lsc_image *image, uint32_t unit, enum lsc_tensor_role role,
		     uint32_t rows, uint32_t cols, const struct lsc_tensor **ret_tensor,
		     struct lsc_err *err)
{
	const struct lsc_tensor *tensor = lsc_image_tensor(image, unit, role);
	uint32_t parts = role == LSC_TENSOR_GATE_UP ? 2 : 1;
	uint64_t bytes;

	if (!tensor)
		return lsc_err_set(err, EBADMSG, "image has no tensor %u of unit %u", role, unit);
	if (tensor->dtype != LSC_DTYPE_F32 && tensor->dtype != LSC_DTYPE_F16 &&
	    tensor->dtype != LSC_DTYPE_BF16 && tensor->dtype != LSC_DTYPE_Q8)
		return lsc_err_set(err, EOPNOTSUPP, "tensor %u of unit %u: format %s does not run",
				   role, unit, lsc_dtype_name(tensor->dtype));
	bytes = parts * lsc_dtype_matrix_bytes(tensor->dtype, rows / parts, cols);
	if (tensor->rows != rows || tensor->cols != cols || tensor->bytes < bytes ||
	    tensor->offset % 4 || tensor->offset > image->bytes ||
	    tensor->bytes > image->bytes - tensor->offset)
		return lsc_err_set(err, EBADMSG, "tensor %u of unit %u is not %u x %u", role, unit,
				   rows, cols);
	*ret_tensor = tensor;
	return 0;
}

struct loader {
	const struct lsc_image *image;
	const uint8_t *data;
	int result; /* of the first that failed; the others are then not looked for */
	struct lsc_err *err;
};

static struct lsc_matrix matrix(struct loader *from, uint32_t unit, enum lsc_tensor_role role,
				uint32_t rows, uint32_t cols)
{
	const struct lsc_tensor *tensor = NULL;

	if (from->result == 0)
		from->result =
			lsc_decoder_find(from->image, unit, role, rows, cols, &tensor, from->err);
	if (from->result < 0)
		return (struct lsc_matrix){0};
	return (struct lsc_matrix){tensor->dtype, rows, cols, from->data + tensor->offset};
}

static const float *vector(struct loader *from, uint32_t unit, enum lsc_tensor_role role,
			   uint32_t n)
{
	struct lsc_matrix found = matrix(from, unit, role, 1, n);

	if (from->result == 0 && found.dtype != LSC_DTYPE_F32)
		from->result = lsc_err_set(from->err, EBADMSG, "tensor %u of unit %u is not f32",
					   role, unit);
	return found.data;
}

int lsc_decoder_load(struct lsc_decoder *decoder, const struct lsc_image *image,
		     const uint8_t *data, struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	uint32_t heads = config->heads * config->head_dim;
	uint32_t all = heads + 2 * config->kv_heads * config->head_dim;
	uint32_t hidden = config->hidden, last = lsc_model_head_unit(config);
	struct loader from = {image, data, 0, err};

	for (uint32_t i = 0; i < config->layers && from.result == 0; i++) {
		struct lsc_layer *layer = &decoder->layers[i];
		uint32_t unit = lsc_model_layer_unit(config, i);

		layer->attn_norm = vector(&from, unit, LSC_TENSOR_ATTN_NORM, hidden);
		layer->qkv = matrix(&from, unit, LSC_TENSOR_QKV, all, hidden);
		if (config->qkv_bias)
			layer->qkv_bias = vector(&from, unit, LSC_TENSOR_QKV_BIAS, all);
		if (config->qk_norm) {
			layer->q_norm = vector(&from, unit, LSC_TENSOR_Q_NORM, config->head_dim);
			layer->k_norm = vector(&from, unit, LSC_TENSOR_K_NORM, config->head_dim);
		}
		layer->o = matrix(&from, unit, LSC_TENSOR_O, hidden, heads);
		layer->ffn_norm = vector(&from, unit, LSC_TENSOR_FFN_NORM, hidden);
		if (config->experts)
			continue;
		layer->gate_up = matrix(&from, unit, LSC_TENSOR_GATE_UP, 2 * config->ffn, hidden);
		layer->down = matrix(&from, unit, LSC_TENSOR_DOWN, hidden, config->ffn);
	}
	decoder->final_norm = vector(&from, last, LSC_TENSOR_FINAL_NORM, hidden);
	decoder->embed = matrix(&from, lsc_image_tensor(image, 0, LSC_TENSOR_EMBED) ? 0 : last,
				LSC_TENSOR_EMBED, config->vocab, hidden);
	decoder->head = config->tied ? decoder->embed
				     : matrix(&from, last, LSC_TENSOR_HEAD, config->vocab, hidden);
	return from.result;
}
