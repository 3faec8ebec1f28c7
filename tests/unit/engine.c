/* The engine: right against a forward pass in double, and the same bit for bit however the work is
 * cut up. */
#include "exec/engine.h"

#include "tap.h"
#include "toy.h"

#define N 70 /* positions: three pages, the last not full */

/* Experts of a width that is no multiple of anything. */
static struct lsc_model_config experts_config(void)
{
	struct lsc_model_config config = toy_config();

	config.experts = 5;
	config.experts_used = 2;
	config.expert_ffn = 21;
	config.norm_topk = true;
	return config;
}

static void some_ids(uint32_t *ids, uint32_t n, uint32_t vocab, uint32_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		ids[i] = (seed + i * 7919 + i * i) % vocab;
}

static bool exact; /* engines opened from now on */

static struct lsc_engine *open_engine(const struct toy *toy, unsigned threads, const char *kernels,
				      uint64_t kv_bytes)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_engine *engine = NULL;
	struct lsc_engine_options options = {
		.threads = threads,
		.kv_bytes = kv_bytes,
		.exact = exact,
		.kernels = kernels ? lsc_kernels_named(kernels) : NULL,
	};

	if (lsc_engine_open(&engine, &toy->image, toy->data, &options, &err) < 0)
		ok(false, "engine opens: %s", err.text);
	return engine;
}

static struct lsc_request_key key_of(uint64_t request)
{
	return (struct lsc_request_key){{'c'}, request};
}

/* Positions pos .. pos+n-1 through the whole model; logits of each into all + pos * vocab. */
static int run_local(struct lsc_engine *engine, const struct toy *toy, uint64_t request,
		     const uint32_t *ids, uint32_t pos, uint32_t n, float *all)
{
	uint32_t vocab = toy->image.config.vocab;
	float *out = malloc(vocab * sizeof(*out));
	struct lsc_work work = {.key = key_of(request),
				.first = 0,
				.last = toy->image.n_units - 1,
				.pos = pos,
				.n = n,
				.ids = ids + pos,
				.out = out,
				.all_logits = all ? all + (size_t)pos * vocab : NULL};
	int r = lsc_engine_run(engine, &work, 1, NULL);

	free(out);
	return r < 0 ? r : work.result;
}

/* The row whose bits a row's have to be: the plainest, except for one that has its own for bf16. */
static const char *plain_row(const struct toy *toy, const char *kernels)
{
	return toy->image.dtype == LSC_DTYPE_BF16 && !exact && !strcmp(kernels, "amx") ? "amx"
										       : "portable";
}

/* Every position alone, plain kernels, one thread: what all others must equal. */
static float *plain_logits(const struct toy *toy, const uint32_t *ids, uint32_t n,
			   const char *kernels)
{
	struct lsc_engine *engine = open_engine(toy, 1, plain_row(toy, kernels), 0);
	float *all = calloc((size_t)n * toy->image.config.vocab, sizeof(*all));

	for (uint32_t pos = 0; pos < n; pos++)
		run_local(engine, toy, 1, ids, pos, 1, all);
	lsc_engine_close(engine);
	return all;
}

static void test_shape(const char *name, const struct lsc_model_config *config,
		       enum lsc_dtype dtype)
{
	uint32_t ids[N], vocab = config->vocab;
	double *want, worst = 0, rounded = 0, scale = 0;
	float *got, *fast;
	struct toy toy;

	toy_init(&toy, config, dtype, 7);
	some_ids(ids, N, vocab, 3);
	want = toy_forward(&toy, ids, N);
	exact = true;
	got = plain_logits(&toy, ids, N, lsc_kernels()->name);
	exact = false;
	fast = plain_logits(&toy, ids, N, lsc_kernels()->name);
	for (size_t i = 0; i < (size_t)N * vocab; i++) {
		worst = fmax(worst, fabs(got[i] - want[i]));
		rounded = fmax(rounded, fabs(fast[i] - want[i]));
		scale = fmax(scale, fabs(want[i]));
	}
	ok(worst < 1e-4 && scale > 0.5, "%s: logits up to %.2f are off by %.1g at most", name,
	   scale, worst);
	if (!config->experts) /* by rounding a router chooses others now and then */
		ok(rounded < scale * 0.05, "%s: not exact, they are off by %.1g at most", name,
		   rounded);
	/* Else the faster products are not what ran. */
	if (dtype == LSC_DTYPE_BF16 || dtype == LSC_DTYPE_Q8)
		ok(memcmp(got, fast, (size_t)N * vocab * sizeof(*got)) != 0, "%s: and not the same",
		   name);
	free(want);
	free(got);
	free(fast);
	toy_release(&toy);
}

static void test_shapes(void)
{
	struct lsc_model_config c = toy_config();

	test_shape("tied, grouped queries", &c, LSC_DTYPE_F32);
	c.tied = false;
	c.rope_scaling = LSC_ROPE_LINEAR;
	c.rope_factor = 4;
	test_shape("its own head, linear positions, bf16", &c, LSC_DTYPE_BF16);
	c = toy_config();
	c.qkv_bias = true;
	c.head_dim = 20;
	c.heads = 7;
	c.kv_heads = 1;
	test_shape("biases, odd heads, f16", &c, LSC_DTYPE_F16);
	c = toy_config();
	c.qk_norm = true;
	c.head_dim = 32;
	c.kv_heads = 6;
	c.hidden = 40;
	test_shape("norms of queries and keys, wide heads", &c, LSC_DTYPE_BF16);
	c = toy_config();
	c.rope_theta = 500000;
	c.rope_scaling = LSC_ROPE_LLAMA3;
	c.rope_factor = 8;
	c.rope_low_freq_factor = 1;
	c.rope_high_freq_factor = 4;
	c.rope_original_context = 64;
	c.head_dim = 16;
	test_shape("llama 3 positions", &c, LSC_DTYPE_F32);
	c = toy_config();
	c.qkv_bias = true;
	c.ffn = 100; /* up is not where gate's rows end */
	test_shape("quantised, half a tile between gate and up", &c, LSC_DTYPE_Q8);
	c = experts_config();
	test_shape("experts whose weights add up to 1", &c, LSC_DTYPE_F32);
	c.norm_topk = false;
	c.experts_used = 5;
	test_shape("all experts, weighted as they come, bf16", &c, LSC_DTYPE_BF16);
	c.experts = 40;
	c.experts_used = 1;
	c.expert_ffn = 16;
	c.layers = 2;
	test_shape("one of 40 experts, f16", &c, LSC_DTYPE_F16);
	c.experts = 4;
	c.experts_used = 2;
	c.expert_ffn = 20;
	test_shape("quantised experts, half a tile between gate and up", &c, LSC_DTYPE_Q8);
	c = toy_config();
	c.head_dim = 32;
	c.rope_scaling = LSC_ROPE_YARN;
	c.rope_factor = 4;
	c.rope_attention = 1.138629f;
	c.rope_ramp_low = 2;
	c.rope_ramp_high = 9.5f;
	test_shape("positions that are stretched by YaRN", &c, LSC_DTYPE_F32);
}

/* A window within a page, over pages and of whole ones; in all layers, and in the last ones. */
static void test_windows(void)
{
	static const uint32_t windows[][2] = {{1, 0}, {5, 0}, {32, 0}, {33, 2}, {40, 0}, {64, 3}};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(windows); i++) {
		struct lsc_model_config c = toy_config();
		char name[64];

		c.window = windows[i][0];
		c.window_first = windows[i][1];
		snprintf(name, sizeof(name), "a window of %u from layer %u on", c.window,
			 c.window_first);
		test_shape(name, &c, LSC_DTYPE_F32);
	}
}

static void same_logits(const struct toy *toy, const float *want, const float *got, uint32_t n,
			const char *what)
{
	size_t bytes = (size_t)n * toy->image.config.vocab * sizeof(*want);

	ok(!memcmp(want, got, bytes), "%s: the same bit for bit", what);
}

/* Threads, kernels, and prompts in parts. */
static void test_cuts(const struct toy *toy, const uint32_t *ids)
{
	static const char *const kernels[] = {"portable", "avx2", "avx512", "avx512-bf16", "amx"};
	static const uint32_t parts[] = {N, 1, 32, 33, 9, 4};
	float *got = malloc((size_t)N * toy->image.config.vocab * sizeof(*got));

	for (unsigned k = 0; k < LSC_ARRAY_SIZE(kernels); k++) {
		float *want = plain_logits(toy, ids, N, kernels[k]);

		for (unsigned p = 0; p < LSC_ARRAY_SIZE(parts); p++) {
			struct lsc_engine *engine;
			int r = 0;
			char what[64];

			snprintf(what, sizeof(what), "%s%s, %s, %u threads, %u at once",
				 lsc_dtype_name(toy->image.dtype), exact ? " exact" : "",
				 kernels[k], 1 + p % 3, parts[p]);
			if (!lsc_kernels_named(kernels[k])) {
				skip("%s: does not run here", what);
				continue;
			}
			memset(got, 0, (size_t)N * toy->image.config.vocab * sizeof(*got));
			engine = open_engine(toy, 1 + p % 3, kernels[k], 0);
			for (uint32_t pos = 0; pos < N && r == 0; pos += parts[p])
				r = run_local(engine, toy, 5, ids, pos, LSC_MIN(parts[p], N - pos),
					      got);
			same_logits(toy, want, got, N, what);
			lsc_engine_close(engine);
		}
		free(want);
	}
	free(got);
}

/* A pipeline: each stage an engine of its own; ends[i] is stage i's last unit. */
static bool pipeline_equals(const struct toy *toy, const uint32_t *ids, const float *want,
			    const uint32_t *ends, unsigned n_stages)
{
	const struct lsc_model_config *c = &toy->image.config;
	struct lsc_engine *engines[8];
	float *x[2], *got = malloc((size_t)N * c->vocab * sizeof(*got));
	bool same = true;

	for (unsigned i = 0; i < n_stages; i++)
		engines[i] = open_engine(toy, 1, NULL, 0);
	x[0] = malloc(N * c->hidden * sizeof(float));
	x[1] = malloc(N * c->hidden * sizeof(float));
	for (uint32_t pos = 0, n = 40; pos < N; pos += n, n = 1) /* a prompt, then tokens */
		for (unsigned i = 0; i < n_stages; i++) {
			struct lsc_work work = {.key = key_of(9),
						.first = i ? ends[i - 1] + 1 : 0,
						.last = ends[i],
						.pos = pos,
						.n = n,
						.ids = ids + pos,
						.in = x[i % 2],
						.out = x[1 - i % 2]};
			float *logits = malloc(c->vocab * sizeof(float));

			if (i + 1 == n_stages) {
				work.out = logits;
				work.all_logits = got + (size_t)pos * c->vocab;
			}
			same &= lsc_engine_run(engines[i], &work, 1, NULL) == 0 && !work.result;
			if (i + 1 == n_stages)
				same &= !memcmp(logits, want + (pos + n - 1) * (size_t)c->vocab,
						c->vocab * sizeof(float));
			free(logits);
		}
	same &= !memcmp(want, got, (size_t)N * c->vocab * sizeof(*got));
	for (unsigned i = 0; i < n_stages; i++)
		lsc_engine_close(engines[i]);
	free(x[0]);
	free(x[1]);
	free(got);
	return same;
}

/* Every way to cut the layers into 1, 2, 3 and as many stages as there can be. */
static void test_stages(const struct toy *toy, const uint32_t *ids, const float *want)
{
	uint32_t last = toy->image.n_units - 1, ends[8], n = 0;
	bool two = true, three = true;

	for (uint32_t unit = 0; unit <= last; unit++)
		if (unit == last || lsc_model_may_end(&toy->image.config, unit))
			ends[n++] = unit;
	is_int(n, toy->image.config.layers + 2, "that many stages at most");
	for (uint32_t a = 0; a + 1 < n; a++) {
		two &= pipeline_equals(toy, ids, want, (uint32_t[]){ends[a], last}, 2);
		for (uint32_t b = a + 1; b + 1 < n; b++)
			three &= pipeline_equals(toy, ids, want,
						 (uint32_t[]){ends[a], ends[b], last}, 3);
	}
	ok(pipeline_equals(toy, ids, want, &last, 1), "one stage with the answer's logits alone");
	ok(two, "two stages: the same bit for bit on every split");
	ok(three, "three stages: the same bit for bit on every split");
	ok(pipeline_equals(toy, ids, want, ends, n), "%u stages", n);
}

/* Requests in one batch, at different positions, one of them twice. */
static void test_batch(const struct toy *toy, const uint32_t *ids, const float *want)
{
	enum { REQUESTS = 7 };
	const uint32_t vocab = toy->image.config.vocab, last = toy->image.n_units - 1;
	struct lsc_engine *engine = open_engine(toy, 2, NULL, 0);
	struct lsc_work works[REQUESTS + 2];
	float *out = calloc((REQUESTS + 2) * (size_t)vocab, sizeof(*out));
	bool same = true;
	int r;

	for (uint32_t i = 0; i < REQUESTS; i++)
		r = run_local(engine, toy, i, ids, 0, 1 + 5 * i, NULL);
	for (uint32_t i = 0; i < REQUESTS + 2; i++) {
		uint32_t pos = i < REQUESTS ? 1 + 5 * i : i == REQUESTS ? 2 : 5;

		works[i] = (struct lsc_work){.key = key_of(i < REQUESTS ? i : 0),
					     .last = last,
					     .pos = pos,
					     .n = i == REQUESTS ? 3 : 1,
					     .ids = ids + pos,
					     .out = out + (size_t)i * vocab};
	}
	r = lsc_engine_run(engine, works, REQUESTS + 2, NULL);
	for (uint32_t i = 0; i < REQUESTS + 2; i++)
		same &= works[i].result == 0 &&
			!memcmp(works[i].out,
				want + (works[i].pos + works[i].n - 1) * (size_t)vocab,
				vocab * sizeof(float));
	ok(r == 0 && same, "nine works of seven requests: each as if alone");
	free(out);
	lsc_engine_close(engine);
}

/* Pages that no later position sees are given back; who goes back behind them has to begin again.
 */
static void test_window_pages(void)
{
	enum { LONG = 300, WINDOW = 50 };
	struct lsc_model_config c = toy_config();
	uint32_t ids[LONG];
	struct lsc_engine *engine;
	uint64_t page, most = 0;
	float *want, *got;
	struct toy toy;
	int r = 0;

	c.window = WINDOW;
	c.window_first = 1; /* the first layer keeps all of its pages */
	toy_init(&toy, &c, LSC_DTYPE_F32, 5);
	some_ids(ids, LONG, c.vocab, 11);
	want = plain_logits(&toy, ids, LONG, lsc_kernels()->name);
	got = calloc((size_t)LONG * c.vocab, sizeof(*got));
	engine = open_engine(&toy, 2, NULL, 0);
	run_local(engine, &toy, 1, ids, 0, 1, got);
	page = lsc_engine_kv_used(engine) / c.layers;
	run_local(engine, &toy, 1, ids, 1, 199, got);
	for (uint32_t pos = 200; pos < LONG; pos++) {
		r |= run_local(engine, &toy, 1, ids, pos, 1, got);
		most = LSC_MAX(most, lsc_engine_kv_used(engine) / page);
	}
	same_logits(&toy, want, got, LONG, "a prompt and a hundred tokens behind a window");
	ok(r == 0 && most <= 10 + (c.layers - 1) * 4, "with %u pages at most", (unsigned)most);
	is_int(run_local(engine, &toy, 1, ids, LONG - 1, 1, got), 0, "a step may be done again");
	is_int(run_local(engine, &toy, 1, ids, 150, 1, NULL), -ESTALE,
	       "where the window has passed there is nothing to go on from");
	memset(got, 0, (size_t)LONG * c.vocab * sizeof(*got));
	is_int(run_local(engine, &toy, 1, ids, 0, LONG, got), 0, "but from the start");
	same_logits(&toy, want, got, LONG, "a prompt at once");
	lsc_engine_drop(engine, &(struct lsc_request_key){{'c'}, 1});
	is_int((int)lsc_engine_kv_used(engine), 0, "all pages are given back");
	lsc_engine_close(engine);
	free(want);
	free(got);
	toy_release(&toy);
}

/* More rows than a chunk holds. */
static void test_long(struct lsc_model_config c)
{
	enum { LONG = 300 };
	uint32_t ids[LONG];
	struct lsc_engine *engine;
	struct toy toy;
	float *want, *got;

	c.layers = 2;
	toy_init(&toy, &c, LSC_DTYPE_BF16, 5);
	some_ids(ids, LONG, c.vocab, 11);
	want = plain_logits(&toy, ids, LONG, lsc_kernels()->name);
	got = calloc((size_t)LONG * c.vocab, sizeof(*got));
	engine = open_engine(&toy, 2, NULL, 0);
	run_local(engine, &toy, 1, ids, 0, LONG, got);
	same_logits(&toy, want, got, LONG, "300 positions at once");
	lsc_engine_close(engine);
	free(want);
	free(got);
	toy_release(&toy);
}

static void test_refusals(const struct toy *toy, const uint32_t *ids)
{
	uint32_t vocab = toy->image.config.vocab, wrong[2] = {1, vocab};
	struct lsc_engine *engine = open_engine(toy, 1, NULL, 0);
	struct lsc_engine_options options = {.threads = 1, .kv_bytes = 64};
	struct lsc_engine *none = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_work work = {.key = key_of(1), .first = 3, .last = 2, .n = 1, .ids = ids};

	is_int(run_local(engine, toy, 1, ids, 1, 1, NULL), -ESTALE, "no KV at all: stale");
	is_int(run_local(engine, toy, 1, ids, 0, 8, NULL), 0, "eight positions");
	is_int(run_local(engine, toy, 1, ids, 9, 1, NULL), -ESTALE, "a gap: stale");
	is_int(run_local(engine, toy, 1, ids, 4, 2, NULL), 0, "back to position 4");
	is_int(run_local(engine, toy, 1, ids, 7, 1, NULL), -ESTALE, "what was beyond is gone");
	is_int(run_local(engine, toy, 1, ids, 6, 1, NULL), 0, "and it goes on from there");
	is_int(run_local(engine, toy, 1, wrong, 0, 2, NULL), -EINVAL, "an id outside the words");
	is_int(run_local(engine, toy, 1, ids, 512, 1, NULL), -ERANGE, "past the context");
	is_int(run_local(engine, toy, 1, ids, 0, 0, NULL), -EINVAL, "no positions");
	lsc_engine_run(engine, &work, 1, NULL);
	is_int(work.result, -EINVAL, "units in the wrong order");
	is_int(lsc_engine_open(&none, &toy->image, toy->data, &options, &err), -EINVAL,
	       "room for no page: %s", err.text);
	lsc_engine_close(engine);
	lsc_engine_close(NULL);
}

/* A page of the toy is 2 heads x (8 + 16) x 32 numbers, a request needs one a layer. */
static void test_pages(const struct toy *toy, const uint32_t *ids, const float *want)
{
	const uint64_t number = exact || toy->image.dtype == LSC_DTYPE_F32 ? 4 : 2, layers = 4;
	const uint64_t page = 2ull * (8 + 16) * LSC_PAGE_POSITIONS * number;
	struct lsc_engine *engine = open_engine(toy, 1, NULL, 3 * layers * page);
	struct lsc_request_key key = key_of(2);
	float *got = calloc(N * (size_t)toy->image.config.vocab, sizeof(*got));

	is_int(run_local(engine, toy, 1, ids, 0, 64, NULL), 0, "two pages a layer");
	is_int(run_local(engine, toy, 2, ids, 0, 32, NULL), 0, "a third");
	is_int(lsc_engine_kv_used(engine), 3 * layers * page, "all are used");
	is_int(run_local(engine, toy, 3, ids, 0, 1, NULL), -ENOSPC, "no fourth");
	is_int(run_local(engine, toy, 2, ids, 32, 1, NULL), -ENOSPC, "nor for one that grows");
	is_int(lsc_engine_kv_used(engine), 3 * layers * page, "what failed holds none");
	lsc_engine_drop(engine, &key);
	is_int(run_local(engine, toy, 1, ids, 64, 1, NULL), 0, "one dropped, the other grows");
	key = key_of(1);
	lsc_engine_drop(engine, &key);
	is_int(lsc_engine_kv_used(engine), 0, "all are given back");
	run_local(engine, toy, 1, ids, 0, N, got);
	same_logits(toy, want, got, N, "on pages used before");
	lsc_engine_close(engine);
	free(got);
}

/* The same of a model with experts, and stages that would part a layer from them. */
static void test_experts(void)
{
	struct lsc_model_config c = experts_config();
	const struct lsc_work parted[] = {
		{.first = 0, .last = 1},  {.first = 0, .last = 5}, {.first = 2, .last = 25},
		{.first = 6, .last = 25}, {.first = 7, .last = 8}, {.first = 25, .last = 26},
	};
	struct lsc_engine *engine;
	struct toy toy;
	uint32_t ids[N];
	float *want, x[48] = {0}, out[128];
	unsigned wrong = 0;

	toy_init(&toy, &c, LSC_DTYPE_BF16, 43);
	some_ids(ids, N, c.vocab, 2);
	want = plain_logits(&toy, ids, N, lsc_kernels()->name);
	test_cuts(&toy, ids);
	test_stages(&toy, ids, want);
	test_batch(&toy, ids, want);
	engine = open_engine(&toy, 1, NULL, 0);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(parted); i++) {
		struct lsc_work work = parted[i];

		work.n = 1;
		work.ids = ids;
		work.in = x;
		work.out = out;
		wrong += lsc_engine_run(engine, &work, 1, NULL) < 0 || work.result != -EINVAL;
	}
	is_int(wrong, 0, "units that part a layer from its experts do not run");
	lsc_engine_close(engine);
	free(want);
	toy_release(&toy);
	c.experts = 80;
	c.experts_used = 40; /* 51 rows at once */
	test_long(c);
}

int main(void)
{
	struct lsc_model_config config = toy_config();
	uint32_t ids[N];
	struct toy toy;
	float *want;

	test_shapes();
	test_windows();
	test_window_pages();
	toy_init(&toy, &config, LSC_DTYPE_BF16, 42);
	some_ids(ids, N, config.vocab, 1);
	want = plain_logits(&toy, ids, N, lsc_kernels()->name);
	test_cuts(&toy, ids);
	test_stages(&toy, ids, want);
	test_batch(&toy, ids, want);
	test_refusals(&toy, ids);
	test_pages(&toy, ids, want);
	free(want);
	exact = true;
	test_cuts(&toy, ids);
	exact = false;
	toy_release(&toy);
	toy_init(&toy, &config, LSC_DTYPE_Q8, 43);
	test_cuts(&toy, ids);
	toy_release(&toy);
	test_long(config);
	test_experts();
	return done_testing();
}
