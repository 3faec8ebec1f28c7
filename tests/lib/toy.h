/* A small model in memory with random weights, and a plain forward pass in double to compare with.
 *
 * The image is put together by hand, so that what executes is tested apart from what packs.
 */
#ifndef LSC_TESTS_TOY_H
#define LSC_TESTS_TOY_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "matrix.h"
#include "model/image.h"

#define TOY_MAX_TENSORS 1024

struct toy {
	struct lsc_image image;
	struct lsc_tensor tensors[TOY_MAX_TENSORS];
	struct lsc_unit units[TOY_MAX_TENSORS];
	uint8_t *data;
	uint32_t state; /* of the generator */
};

/* Small, with numbers that are no multiples of much. */
static inline struct lsc_model_config toy_config(void)
{
	return (struct lsc_model_config){.arch = "llama",
					 .hidden = 48,
					 .ffn = 76,
					 .layers = 4,
					 .heads = 6,
					 .kv_heads = 2,
					 .head_dim = 8,
					 .vocab = 101,
					 .context = 512,
					 .norm_eps = 1e-5f,
					 .rope_theta = 10000,
					 .tied = true,
					 .bos = 1};
}

static inline float toy_uniform(struct toy *toy)
{
	toy->state = toy->state * 1664525u + 1013904223u;
	return (float)(toy->state >> 8) / (1 << 23) - 1;
}

static inline void toy_add(struct toy *toy, uint32_t unit, enum lsc_tensor_role role,
			   enum lsc_dtype dtype, uint32_t rows, uint32_t cols)
{
	struct lsc_image *image = &toy->image;
	struct lsc_tensor *tensor = &toy->tensors[image->n_tensors];
	uint32_t parts;

	if (toy->units[unit].n_tensors++ == 0)
		toy->units[unit].first_tensor = image->n_tensors;
	image->n_tensors++;
	parts = role == LSC_TENSOR_GATE_UP ? 2 : 1;
	*tensor = (struct lsc_tensor){.role = role,
				      .dtype = dtype,
				      .unit = unit,
				      .rows = rows,
				      .cols = cols,
				      .offset = image->bytes,
				      .parts = parts,
				      .bytes = parts *
					       lsc_dtype_matrix_bytes(dtype, rows / parts, cols)};
	image->bytes = lsc_align_up(image->bytes + tensor->bytes, 64);
}

/* Of an expert where there are some. */
static inline uint32_t toy_ffn(const struct lsc_model_config *c)
{
	return c->experts ? c->expert_ffn : c->ffn;
}

static inline void toy_layout(struct toy *toy)
{
	const struct lsc_model_config *c = &toy->image.config;
	enum lsc_dtype d = toy->image.dtype, f = LSC_DTYPE_F32;
	uint32_t last = lsc_model_head_unit(c), heads = c->heads * c->head_dim;
	uint32_t all = heads + 2 * c->kv_heads * c->head_dim;

	if (!c->tied)
		toy_add(toy, 0, LSC_TENSOR_EMBED, d, c->vocab, c->hidden);
	for (uint32_t u = 1; u < last; u += lsc_model_layer_units(c)) {
		toy_add(toy, u, LSC_TENSOR_ATTN_NORM, f, 1, c->hidden);
		toy_add(toy, u, LSC_TENSOR_QKV, d, all, c->hidden);
		if (c->qkv_bias)
			toy_add(toy, u, LSC_TENSOR_QKV_BIAS, f, 1, all);
		if (c->qk_norm) {
			toy_add(toy, u, LSC_TENSOR_Q_NORM, f, 1, c->head_dim);
			toy_add(toy, u, LSC_TENSOR_K_NORM, f, 1, c->head_dim);
		}
		toy_add(toy, u, LSC_TENSOR_O, d, c->hidden, heads);
		toy_add(toy, u, LSC_TENSOR_FFN_NORM, f, 1, c->hidden);
		if (c->experts)
			toy_add(toy, u, LSC_TENSOR_ROUTER, f, c->experts, c->hidden);
		for (uint32_t e = 0; e < LSC_MAX(c->experts, 1); e++) {
			uint32_t at = c->experts ? u + 1 + e : u, ffn = toy_ffn(c);

			toy_add(toy, at, LSC_TENSOR_GATE_UP, d, 2 * ffn, c->hidden);
			toy_add(toy, at, LSC_TENSOR_DOWN, d, c->hidden, ffn);
		}
	}
	toy_add(toy, last, LSC_TENSOR_FINAL_NORM, f, 1, c->hidden);
	toy_add(toy, last, c->tied ? LSC_TENSOR_EMBED : LSC_TENSOR_HEAD, d, c->vocab, c->hidden);
}

static inline void toy_init(struct toy *toy, const struct lsc_model_config *config,
			    enum lsc_dtype dtype, uint32_t seed)
{
	memset(toy, 0, sizeof(*toy));
	toy->state = seed;
	toy->image.config = *config;
	toy->image.dtype = dtype;
	toy->image.tensors = toy->tensors;
	toy->image.units = toy->units;
	toy->image.n_units = lsc_model_head_unit(config) + 1;
	toy_layout(toy);
	toy->data = aligned_alloc(64, toy->image.bytes);
	memset(toy->data, 0, toy->image.bytes);
	for (uint32_t i = 0; i < toy->image.n_tensors; i++) {
		const struct lsc_tensor *t = &toy->tensors[i];
		size_t n = (size_t)t->rows * t->cols;
		float *values = malloc(n * sizeof(*values));
		bool norm = t->rows == 1 && t->role != LSC_TENSOR_QKV_BIAS;

		for (size_t k = 0; k < n; k++)
			values[k] = norm ? 1 + 0.2f * toy_uniform(toy)
					 : toy_uniform(toy) * 1.7f / sqrtf((float)t->cols);
		for (uint32_t p = 0; p < t->parts; p++)
			matrix_from_f32(t->dtype, values + n / t->parts * p, t->rows / t->parts,
					t->cols, toy->data + t->offset + t->bytes / t->parts * p);
		free(values);
	}
	toy->image.data = toy->data;
}

static inline void toy_release(struct toy *toy)
{
	free(toy->data);
}

/* --- the forward pass --- */

static inline double *toy_weights(const struct toy *toy, uint32_t unit, enum lsc_tensor_role role)
{
	for (uint32_t i = 0; i < toy->image.n_tensors; i++) {
		const struct lsc_tensor *t = &toy->tensors[i];
		size_t n = (size_t)t->rows * t->cols;
		float *narrow;
		double *wide;

		if (t->role != role || (t->unit != unit && role != LSC_TENSOR_EMBED))
			continue;
		narrow = malloc(n * sizeof(*narrow));
		wide = malloc(n * sizeof(*wide));
		for (uint32_t r = 0; r < t->rows; r++) {
			uint32_t rows = t->rows / t->parts;

			lsc_dtype_matrix_row(
				t->dtype, toy->data + t->offset + t->bytes / t->parts * (r / rows),
				r % rows, t->cols, narrow + (size_t)r * t->cols);
		}
		for (size_t k = 0; k < n; k++)
			wide[k] = narrow[k];
		free(narrow);
		return wide;
	}
	return NULL;
}

static inline void toy_norm(double *out, const double *x, const double *w, uint32_t n, double eps)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	for (uint32_t i = 0; i < n; i++)
		out[i] = x[i] / sqrt(sum / n + eps) * w[i];
}

static inline void toy_product(double *y, const double *w, const double *x, uint32_t rows,
			       uint32_t cols)
{
	for (uint32_t r = 0; r < rows; r++) {
		y[r] = 0;
		for (uint32_t c = 0; c < cols; c++)
			y[r] += w[(size_t)r * cols + c] * x[c];
	}
}

static inline double toy_speed(const struct lsc_model_config *c, uint32_t i)
{
	double speed = pow(c->rope_theta, -2.0 * i / c->head_dim), wave = 2 * M_PI / speed, s;

	if (c->rope_scaling == LSC_ROPE_LINEAR)
		return speed / c->rope_factor;
	if (c->rope_scaling == LSC_ROPE_YARN) {
		s = (i - (double)c->rope_ramp_low) / (double)(c->rope_ramp_high - c->rope_ramp_low);
		s = s < 0 ? 0 : s > 1 ? 1 : s;
		return speed * (1 - s + s / c->rope_factor);
	}
	if (c->rope_scaling != LSC_ROPE_LLAMA3)
		return speed;
	s = (c->rope_original_context / wave - c->rope_low_freq_factor) /
	    (c->rope_high_freq_factor - c->rope_low_freq_factor);
	s = s < 0 ? 0 : s > 1 ? 1 : s;
	return speed * (s + (1 - s) / c->rope_factor);
}

static inline void toy_turn(const struct lsc_model_config *c, double *head, uint32_t pos)
{
	double size = c->rope_scaling == LSC_ROPE_YARN ? c->rope_attention : 1;
	uint32_t half = c->head_dim / 2;

	for (uint32_t i = 0; i < half; i++) {
		double angle = pos * toy_speed(c, i), a = size * head[i], b = size * head[half + i];

		head[i] = a * cos(angle) - b * sin(angle);
		head[half + i] = b * cos(angle) + a * sin(angle);
	}
}

/* out = what one gate, up and down make of x. */
static inline void toy_swiglu(const struct toy *toy, uint32_t unit, const double *x, double *out)
{
	const struct lsc_model_config *c = &toy->image.config;
	uint32_t ffn = toy_ffn(c);
	double *wgu = toy_weights(toy, unit, LSC_TENSOR_GATE_UP);
	double *wd = toy_weights(toy, unit, LSC_TENSOR_DOWN);
	double *gu = calloc(2 * (size_t)ffn, 8);

	toy_product(gu, wgu, x, 2 * ffn, c->hidden);
	for (uint32_t i = 0; i < ffn; i++)
		gu[i] = gu[i] / (1 + exp(-gu[i])) * gu[ffn + i];
	toy_product(out, wd, gu, c->hidden, ffn);
	free(wgu);
	free(wd);
	free(gu);
}

/* out = what the chosen experts of a layer make of x. */
static inline void toy_experts(const struct toy *toy, uint32_t unit, const double *x, double *out)
{
	const struct lsc_model_config *c = &toy->image.config;
	double *router = toy_weights(toy, unit, LSC_TENSOR_ROUTER), all = 0, taken = 0;
	double p[LSC_MODEL_MAX_EXPERTS], *one = calloc(c->hidden, 8);
	bool used[LSC_MODEL_MAX_EXPERTS] = {false};

	toy_product(p, router, x, c->experts, c->hidden);
	for (uint32_t e = 0; e < c->experts; e++)
		all += p[e] = exp(p[e]);
	for (uint32_t k = 0; k < c->experts_used; k++) {
		uint32_t best = c->experts;

		for (uint32_t e = 0; e < c->experts; e++)
			if (!used[e] && (best == c->experts || p[e] > p[best]))
				best = e;
		used[best] = true;
		taken += p[best];
	}
	memset(out, 0, c->hidden * 8);
	for (uint32_t e = 0; e < c->experts; e++) {
		if (!used[e])
			continue;
		toy_swiglu(toy, unit + 1 + e, x, one);
		for (uint32_t i = 0; i < c->hidden; i++)
			out[i] += p[e] / (c->norm_topk ? taken : all) * one[i];
	}
	free(router);
	free(one);
}

/* One layer over all positions of x [n][hidden]. */
static inline void toy_layer(const struct toy *toy, uint32_t unit, double *x, uint32_t n)
{
	const struct lsc_model_config *c = &toy->image.config;
	uint32_t d = c->head_dim, heads = c->heads, kv = c->kv_heads, all = (heads + 2 * kv) * d;
	double *an = toy_weights(toy, unit, LSC_TENSOR_ATTN_NORM);
	double *wqkv = toy_weights(toy, unit, LSC_TENSOR_QKV);
	double *bias = toy_weights(toy, unit, LSC_TENSOR_QKV_BIAS);
	double *qn = toy_weights(toy, unit, LSC_TENSOR_Q_NORM);
	double *kn = toy_weights(toy, unit, LSC_TENSOR_K_NORM);
	double *wo = toy_weights(toy, unit, LSC_TENSOR_O);
	double *fn = toy_weights(toy, unit, LSC_TENSOR_FFN_NORM);
	double *qkv = calloc((size_t)n * all, sizeof(*qkv)), *normed = calloc(c->hidden, 8);
	double *att = calloc((size_t)heads * d, 8), *out = calloc(c->hidden, 8);
	double *p = calloc(n, 8);

	for (uint32_t t = 0; t < n; t++) {
		double *row = qkv + (size_t)t * all, *xt = x + (size_t)t * c->hidden;
		uint32_t from = 0;

		if (c->window && (unit - 1) / lsc_model_layer_units(c) >= c->window_first &&
		    t >= c->window)
			from = t + 1 - c->window;

		toy_norm(normed, xt, an, c->hidden, c->norm_eps);
		toy_product(row, wqkv, normed, all, c->hidden);
		for (uint32_t i = 0; bias && i < all; i++)
			row[i] += bias[i];
		for (uint32_t h = 0; h < heads + kv; h++) {
			if (c->qk_norm)
				toy_norm(row + h * d, row + h * d, h < heads ? qn : kn, d,
					 c->norm_eps);
			toy_turn(c, row + h * d, t);
		}
		memset(att, 0, (size_t)heads * d * 8);
		for (uint32_t h = 0; h < heads; h++) {
			uint32_t g = heads + h / (heads / kv);
			double sum = 0, max = -INFINITY;

			for (uint32_t s = from; s <= t; s++) {
				p[s] = 0;
				for (uint32_t i = 0; i < d; i++)
					p[s] += row[h * d + i] * qkv[(size_t)s * all + g * d + i];
				p[s] /= sqrt(d);
				max = fmax(max, p[s]);
			}
			for (uint32_t s = from; s <= t; s++)
				sum += p[s] = exp(p[s] - max);
			for (uint32_t s = from; s <= t; s++)
				for (uint32_t i = 0; i < d; i++)
					att[h * d + i] += p[s] / sum *
							  qkv[(size_t)s * all + (g + kv) * d + i];
		}
		toy_product(out, wo, att, c->hidden, heads * d);
		for (uint32_t i = 0; i < c->hidden; i++)
			xt[i] += out[i];
		toy_norm(normed, xt, fn, c->hidden, c->norm_eps);
		(c->experts ? toy_experts : toy_swiglu)(toy, unit, normed, out);
		for (uint32_t i = 0; i < c->hidden; i++)
			xt[i] += out[i];
	}
	double *all_of[] = {an, wqkv, bias, qn, kn, wo, fn, qkv, normed, att, out, p};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(all_of); i++)
		free(all_of[i]);
}

/* Logits of all positions: [n][vocab], to be freed. */
static inline double *toy_forward(const struct toy *toy, const uint32_t *ids, uint32_t n)
{
	const struct lsc_model_config *c = &toy->image.config;
	const uint32_t last = lsc_model_head_unit(c);
	double *embed = toy_weights(toy, 0, LSC_TENSOR_EMBED);
	double *head = c->tied ? NULL : toy_weights(toy, last, LSC_TENSOR_HEAD);
	double *norm = toy_weights(toy, last, LSC_TENSOR_FINAL_NORM);
	double *x = calloc((size_t)n * c->hidden, 8), *logits = calloc((size_t)n * c->vocab, 8);

	for (uint32_t t = 0; t < n; t++)
		memcpy(x + (size_t)t * c->hidden, embed + (size_t)ids[t] * c->hidden,
		       c->hidden * 8);
	for (uint32_t unit = 1; unit < last; unit += lsc_model_layer_units(c))
		toy_layer(toy, unit, x, n);
	for (uint32_t t = 0; t < n; t++) {
		double *xt = x + (size_t)t * c->hidden;

		toy_norm(xt, xt, norm, c->hidden, c->norm_eps);
		toy_product(logits + (size_t)t * c->vocab, head ? head : embed, xt, c->vocab,
			    c->hidden);
	}
	free(embed);
	free(head);
	free(norm);
	free(x);
	return logits;
}

#endif
