/* pack_dummy - an image with random weights of a known shape */
#include <math.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "model/pack.h"
#include "model/tokenizer.h"

struct dummy {
	struct lsc_pack_origin origin;
	uint64_t seed;
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9;
	x ^= x >> 27;
	x *= 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* Value i of a tensor is a hash of (seed, tensor, i): uniform, with a matrix's spread such that a
 * pass keeps its activations' size; norms are 1 and biases 0. */
static int random_rows(const struct lsc_pack_origin *origin, const struct lsc_tensor *tensor,
		       uint64_t first, uint64_t n, float *ret_rows, struct lsc_err *err)
{
	const struct dummy *dummy = LSC_CONTAINER_OF(origin, struct dummy, origin);
	uint64_t base = mix(dummy->seed * 0x9e3779b97f4a7c15 + tensor->offset + 1);
	uint64_t from = first * tensor->cols, count = n * tensor->cols;
	float scale = sqrtf(3.0f / (float)tensor->cols) * 0x1p-31f;

	(void)err;
	if (tensor->rows == 1) {
		for (uint64_t i = 0; i < count; i++)
			ret_rows[i] = tensor->role == LSC_TENSOR_QKV_BIAS ? 0 : 1;
		return 0;
	}
	for (uint64_t i = 0; i < count; i++) {
		int32_t value = (int32_t)(mix(base + from + i) >> 32);

		ret_rows[i] = (float)value * scale;
	}
	return 0;
}

int lsc_image_pack_dummy(const struct lsc_model_config *config, const char *dir,
			 const struct lsc_image_options *options, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf blob = LSC_BUF_INIT;
	struct dummy dummy = {
		.origin = {.rows = random_rows, .config = config},
		.seed = options->seed,
	};
	int r = lsc_model_config_check(config, err);

	if (r == 0 && config->vocab >= 256)
		r = lsc_tokenizer_compile_dummy(&blob, config->vocab, err);
	if (r < 0)
		return r;
	dummy.origin.tokenizer = blob.data;
	dummy.origin.tokenizer_len = blob.len;
	return lsc_pack_image(&dummy.origin, dir, options, err);
}
