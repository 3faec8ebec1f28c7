/* rope - rotary position embedding */
#include "exec/rope.h"

#include <math.h>
#include <stdlib.h>

#include "base/macros.h"

/* Positions that are worked out at once: a few hundred microseconds.  There is room for FIRST from
 * the beginning, and then for twice as many each time: the kernel gives memory as it is used. */
#define STEP  256
#define FIRST 32768

/* Llama 3.1: waves longer than the original context turn slower by the factor, short ones stay,
 * those between are blended. */
static double scale_llama3(const struct lsc_model_config *config, double speed)
{
	double context = config->rope_original_context;
	double low = config->rope_low_freq_factor, high = config->rope_high_freq_factor;
	double wave = 2 * M_PI / speed, blend;

	if (wave < context / high)
		return speed;
	if (wave > context / low)
		return speed / config->rope_factor;
	blend = (context / wave - low) / (high - low);
	return (1 - blend) * speed / config->rope_factor + blend * speed;
}

/* Pairs that turn often keep their speed, those that turn seldom are slower by the factor, those
 * between go from one to the other. */
static double scale_yarn(const struct lsc_model_config *config, uint32_t pair, double speed)
{
	double low = config->rope_ramp_low, high = config->rope_ramp_high;
	double ramp = LSC_MIN(LSC_MAX((pair - low) / (high - low), 0.0), 1.0);

	return (1 - ramp) * speed + ramp * speed / config->rope_factor;
}

int lsc_rope_init(struct lsc_rope *rope, const struct lsc_model_config *config, struct lsc_err *err)
{
	uint32_t half = config->head_dim / 2;

	*rope = (struct lsc_rope){.half = half, .size = 1};
	if (config->rope_scaling == LSC_ROPE_YARN)
		rope->size = (double)config->rope_attention;
	rope->speeds = calloc(half ? half : 1, sizeof(*rope->speeds));
	if (!rope->speeds)
		return lsc_err_set(err, ENOMEM, "no memory for positions");
	for (uint32_t i = 0; i < half; i++) {
		double speed = pow(config->rope_theta, -2.0 * i / config->head_dim);

		if (config->rope_scaling == LSC_ROPE_LINEAR)
			speed /= config->rope_factor;
		else if (config->rope_scaling == LSC_ROPE_LLAMA3)
			speed = scale_llama3(config, speed);
		else if (config->rope_scaling == LSC_ROPE_YARN)
			speed = scale_yarn(config, i, speed);
		rope->speeds[i] = speed;
	}
	return 0;
}

void lsc_rope_release(struct lsc_rope *rope)
{
	free(rope->speeds);
	free(rope->table);
	*rope = (struct lsc_rope)LSC_ROPE_INIT;
}

static int make_room(struct lsc_rope *rope, uint32_t len)
{
	uint32_t room = LSC_MAX(rope->room, FIRST);
	float *table;

	while (room < len)
		room = LSC_MIN(room, UINT32_MAX / 2) * 2;
	table = reallocarray(rope->table, room, 2 * (rope->half + 1ul) * sizeof(*table));
	if (!table)
		return -ENOMEM;
	rope->table = table;
	rope->room = room;
	return 0;
}

int lsc_rope_reach(struct lsc_rope *rope, uint32_t n)
{
	uint32_t len = (uint32_t)lsc_align_up(n, STEP);

	if (n <= rope->len)
		return 0;
	if (len > rope->room && make_room(rope, len) < 0)
		return -ENOMEM;
	for (uint32_t pos = rope->len; pos < len; pos++) {
		float *cosines = rope->table + (size_t)pos * 2 * rope->half;

		for (uint32_t i = 0; i < rope->half; i++) {
			cosines[i] = (float)(rope->size * cos(pos * rope->speeds[i]));
			cosines[rope->half + i] = (float)(rope->size * sin(pos * rope->speeds[i]));
		}
	}
	rope->len = len;
	return 0;
}

void lsc_rope_turn(const struct lsc_rope *rope, uint32_t pos, float *head)
{
	const uint32_t half = rope->half;
	const float *cosines = rope->table + (size_t)pos * 2 * half, *sines = cosines + half;

	for (uint32_t i = 0; i < half; i++) {
		float a = head[i], b = head[half + i];

		head[i] = a * cosines[i] - b * sines[i];
		head[half + i] = b * cosines[i] + a * sines[i];
	}
}
