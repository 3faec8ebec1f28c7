/* Trained weights against reference logits that were computed in double: every step of a greedy
 * run, as it is decoded, and the whole run read as one prompt. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "exec/engine.h"
#include "model/checkpoint.h"
#include "model/image.h"
#include "tap.h"

#define STEPS   200
#define VOCAB   512
#define CLOSE   1e-3
#define ROUNDED 0.2 /* activations as bf16 */

/* The ids that were fed in the run from BOS: BOS, and what was drawn but for the last. */
static bool read_ids(const char *weights, uint32_t ids[STEPS])
{
	json_t *root = json_load_file(test_data("reference/stories260K-greedy.json"), 0, NULL);
	const json_t *run, *greedy;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(root, "runs"), i, run)
	{
		greedy = json_object_get(run, "greedy_ids");
		if (strcmp(json_string_value(json_object_get(run, "weights")), weights) ||
		    json_array_size(json_object_get(run, "prompt_ids")) != 1 ||
		    json_array_size(greedy) < STEPS)
			continue;
		ids[0] = (uint32_t)json_integer_value(
			json_array_get(json_object_get(run, "prompt_ids"), 0));
		for (unsigned k = 1; k < STEPS; k++)
			ids[k] = (uint32_t)json_integer_value(json_array_get(greedy, k - 1));
		found = true;
	}
	json_decref(root);
	return found;
}

static double furthest(const float *got, const float *want)
{
	double worst = 0;

	for (size_t i = 0; i < (size_t)STEPS * VOCAB; i++)
		worst = isfinite(got[i]) ? fmax(worst, fabs((double)got[i] - want[i])) : INFINITY;
	return worst;
}

/* n positions at a time. */
static double run(const struct lsc_image *image, const uint32_t *ids, uint32_t n, unsigned threads,
		  bool exact, const float *want)
{
	static float got[STEPS * VOCAB], last[VOCAB];
	const struct lsc_engine_options options = {.threads = threads, .exact = exact};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_engine *engine = NULL;
	double worst = INFINITY;
	int r = lsc_engine_open(&engine, image, image->data, &options, &err);

	for (uint32_t pos = 0; pos < STEPS && r == 0; pos += n) {
		struct lsc_work work = {.key = {{'r'}, 1},
					.last = image->config.layers + 1,
					.pos = pos,
					.n = n,
					.ids = ids + pos,
					.out = last,
					.all_logits = got + (size_t)pos * VOCAB};

		r = lsc_engine_run(engine, &work, 1, &err);
		r = r ? r : work.result;
	}
	if (r == 0)
		worst = furthest(got, want);
	else
		printf("# %s\n", err.text);
	lsc_engine_close(engine);
	return worst;
}

static void test_weights(const char *weights, enum lsc_dtype dtype)
{
	const struct lsc_image_options options = {.dtype = dtype};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf want = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint source = LSC_CHECKPOINT_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char path[256], dir[1024];
	const char *model, *logits;
	uint32_t ids[STEPS];
	int r;

	snprintf(path, sizeof(path), "models/stories260K-%s", weights);
	model = test_data(path);
	snprintf(path, sizeof(path), "reference/stories260K-%s-bos-logits.f32", weights);
	logits = test_data(path);
	if (!model || !logits || !test_data("reference/stories260K-greedy.json")) {
		skip("%s: no reference logits here", weights);
		return;
	}
	snprintf(dir, sizeof(dir), "%s/%s", scratch(), weights);
	r = lsc_checkpoint_open(&source, model, &err);
	if (r == 0)
		r = lsc_image_pack(&source, dir, &options, &err);
	if (r == 0)
		r = lsc_image_open(&image, dir, &err);
	if (r == 0)
		r = lsc_file_read(logits, 1 << 20, &want, &err);
	if (!ok(r == 0 && want.len == sizeof(float) * STEPS * VOCAB &&
			image.config.vocab == VOCAB && read_ids(weights, ids),
		"%s: an image and %d steps of logits", weights, STEPS)) {
		printf("# %s\n", err.text);
		return;
	}
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t each[] = {1, 40, STEPS};
		double worst = run(&image, ids, each[i], 1 + i, true, (const float *)want.data);

		ok(worst < CLOSE, "%s, %u positions at a time: off by %.1g at most", weights,
		   each[i], worst);
	}
	{
		double worst = run(&image, ids, 40, 1, false, (const float *)want.data);

		ok(worst < ROUNDED, "%s, not exact: off by %.1g at most", weights, worst);
	}
}

int main(void)
{
	test_weights("fp32", LSC_DTYPE_F32);
	test_weights("bf16", LSC_DTYPE_BF16);
	return done_testing();
}
