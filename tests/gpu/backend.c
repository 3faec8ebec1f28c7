/* Whole models through the row of CUDA, against the forward pass in double and the CPU's engine. */
#include "exec/engine.h"

#include "exec/kv.h"
#include "exec/sample.h"
#include "gpu.h"
#include "subject.h"

#define N 70 /* positions: three pages, the last not full */

static struct lsc_engine *open_engine(const struct subject *s, bool gpu, uint64_t kv_bytes)
{
	const struct lsc_engine_options options = {.threads = 1,
						   .exact = !gpu,
						   .kv_bytes = kv_bytes,
						   .device = gpu ? &s->device : NULL};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_engine *engine = NULL;

	if (lsc_engine_open(&engine, &s->toy.image, s->toy.data, &options, &err) < 0)
		ok(false, "engine opens: %s", err.text);
	return engine;
}

static void some_ids(uint32_t *ids, uint32_t n, uint32_t vocab, uint32_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		ids[i] = (seed + i * 7919 + i * i) % vocab;
}

static struct lsc_request_key key_of(uint64_t request)
{
	return (struct lsc_request_key){{'c'}, request};
}

static int run_local(struct lsc_engine *engine, const struct subject *s, uint64_t request,
		     const uint32_t *ids, uint32_t pos, uint32_t n, float *all)
{
	uint32_t vocab = s->toy.image.config.vocab;
	struct lsc_err err = LSC_ERR_INIT;
	float *out = malloc(vocab * sizeof(*out));
	struct lsc_work work = {.key = key_of(request),
				.last = s->toy.image.config.layers + 1,
				.pos = pos,
				.n = n,
				.ids = ids + pos,
				.out = out,
				.all_logits = all ? all + (size_t)pos * vocab : NULL};
	int r = lsc_engine_run(engine, &work, 1, &err);

	if (r < 0)
		printf("# %s\n", err.text);
	free(out);
	return r < 0 ? r : work.result;
}

/* --- shapes --- */

/* What 16 bits round in each layer adds up; f32 has only sums to differ by. */
static double tolerance(enum lsc_dtype dtype)
{
	return dtype == LSC_DTYPE_F32 ? 2e-5 : dtype == LSC_DTYPE_F16 ? 5e-3 : 4e-2;
}

static void test_shape(const char *name, const struct lsc_model_config *config,
		       enum lsc_dtype dtype)
{
	static const uint32_t parts[] = {N, 33, 1}; /* by one from position 48 on */
	uint32_t ids[N], vocab = config->vocab;
	float *got = malloc((size_t)N * vocab * sizeof(*got));
	float *cpu = malloc((size_t)N * vocab * sizeof(*cpu));
	double *want, worst = 0, from_cpu;
	struct lsc_engine *engine;
	struct subject s;

	subject_init(&s, config, dtype);
	some_ids(ids, N, vocab, 3);
	want = toy_forward(&s.toy, ids, N);
	engine = open_engine(&s, false, 0);
	run_local(engine, &s, 1, ids, 0, N, cpu);
	lsc_engine_close(engine);
	for (unsigned p = 0; p < LSC_ARRAY_SIZE(parts); p++) {
		int r = 0;

		memset(got, 0, (size_t)N * vocab * sizeof(*got));
		engine = open_engine(&s, true, 0);
		for (uint32_t pos = 0, n; pos < N && r == 0; pos += n) {
			n = parts[p] == 1 && pos == 0 ? 48 : LSC_MIN(parts[p], N - pos);
			r = run_local(engine, &s, 1, ids, pos, n, got);
		}
		lsc_engine_close(engine);
		worst = fmax(worst, r < 0 ? INFINITY : gpu_off(got, want, (size_t)N * vocab));
	}
	for (size_t i = 0; i < (size_t)N * vocab; i++)
		want[i] = cpu[i];
	from_cpu = gpu_off(got, want, (size_t)N * vocab);
	ok(worst < tolerance(dtype) && from_cpu < tolerance(dtype),
	   "%s: %s: logits are off by %.1g at most, by %.1g from the CPU's", GPU_WHERE, name, worst,
	   from_cpu);
	free(want);
	free(got);
	free(cpu);
	subject_release(&s);
}

static void test_shapes(void)
{
	struct lsc_model_config c = toy_config();

	test_shape("tied, grouped queries, f32", &c, LSC_DTYPE_F32);
	test_shape("tied, grouped queries, bf16", &c, LSC_DTYPE_BF16);
	c.tied = false;
	c.rope_scaling = LSC_ROPE_LINEAR;
	c.rope_factor = 4;
	test_shape("its own head, linear positions, bf16", &c, LSC_DTYPE_BF16);
	test_shape("tiles that gate ends within, q8", &c, LSC_DTYPE_Q8);
	c.ffn = 96;
	c.hidden = 100;
	test_shape("rows that are no whole blocks, q8", &c, LSC_DTYPE_Q8);
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
	test_shape("norms of queries and keys, wide heads, f16", &c, LSC_DTYPE_F16);
	c = toy_config();
	c.rope_theta = 500000;
	c.rope_scaling = LSC_ROPE_LLAMA3;
	c.rope_factor = 8;
	c.rope_low_freq_factor = 1;
	c.rope_high_freq_factor = 4;
	c.rope_original_context = 64;
	c.head_dim = 16;
	test_shape("llama 3 positions, f32", &c, LSC_DTYPE_F32);
	c = toy_config();
	c.window = 20;
	c.window_first = 1;
	test_shape("a window from layer 1 on, f32", &c, LSC_DTYPE_F32);
	c.rope_scaling = LSC_ROPE_YARN;
	c.rope_factor = 4;
	c.rope_attention = 1.2f;
	c.rope_ramp_low = 0;
	c.rope_ramp_high = 3;
	test_shape("a window, and YaRN, f16", &c, LSC_DTYPE_F16);
}

/* --- requests --- */

static float *plain_logits(const struct subject *s, const uint32_t *ids, uint32_t n)
{
	struct lsc_engine *engine = open_engine(s, false, 0);
	float *all = calloc((size_t)n * s->toy.image.config.vocab, sizeof(*all));

	run_local(engine, s, 1, ids, 0, n, all);
	lsc_engine_close(engine);
	return all;
}

static double off_from(const float *got, const float *want, size_t n)
{
	double *wide = malloc(n * sizeof(*wide)), off;

	for (size_t i = 0; i < n; i++)
		wide[i] = want[i];
	off = gpu_off(got, wide, n);
	free(wide);
	return off;
}

/* Several requests decode together, at positions of their own, while others come and go; tokens
 * are drawn where the logits are. */
static void test_decode(const struct subject *s, const uint32_t *ids, const float *want)
{
	enum { REQUESTS = 5, STEPS = 6 };
	const uint32_t vocab = s->toy.image.config.vocab, last = s->toy.image.config.layers + 1;
	struct lsc_engine *engine = open_engine(s, true, 0);
	struct lsc_sampler sampler = LSC_SAMPLER_INIT;
	float *out = malloc(REQUESTS * (size_t)vocab * sizeof(*out));
	unsigned same_tokens = 0, tokens = 0;
	struct lsc_work works[REQUESTS];
	struct lsc_draw draws[REQUESTS];
	bool fine = lsc_sampler_init(&sampler, vocab, NULL) == 0;
	double off = 0;
#ifdef LSC_EMULATED
	unsigned long graphs = emulated_graphs();
#endif

	for (uint32_t i = 0; i < REQUESTS; i++)
		fine &= run_local(engine, s, i, ids, 0, 1 + 9 * i, NULL) == 0;
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t n = step == 2 ? 3 : REQUESTS; /* two stay out for a step */

		for (uint32_t i = 0; i < n; i++) {
			uint32_t pos = 1 + 9 * i + step - (i >= 3 && step > 2);

			draws[i] = (struct lsc_draw){i % 2 ? 0.8f : 0, 0.9f, 5, pos, 0, true};
			works[i] = (struct lsc_work){.key = key_of(i),
						     .last = last,
						     .pos = pos,
						     .n = 1,
						     .ids = ids + pos,
						     .out = out + (size_t)i * vocab,
						     .draw = i == 2 ? NULL : &draws[i]};
		}
		fine &= lsc_engine_run(engine, works, n, NULL) == 0;
		for (uint32_t i = 0; i < n; i++) {
			const float *logits = want + (size_t)works[i].pos * vocab;

			fine &= works[i].result == 0;
			if (!works[i].draw) {
				off = fmax(off, off_from(works[i].out, logits, vocab));
				continue;
			}
			fine &= draws[i].drawn;
			tokens++;
			same_tokens += draws[i].token ==
				       gpu_cpu_token(&sampler, logits, draws[i].temp,
						     draws[i].top_p, draws[i].seed, draws[i].pos);
		}
	}
#ifdef LSC_EMULATED
	ok(emulated_graphs() > graphs, "emulated: as graphs");
#endif
	ok(fine && off < tolerance(s->toy.image.dtype), "%s: requests decode together, off by %.1g",
	   GPU_WHERE, off);
	is_int(same_tokens, tokens, "%s: the tokens are those that the CPU draws", GPU_WHERE);
	lsc_engine_close(engine);
	lsc_sampler_release(&sampler);
	free(out);
}

/* A stage for each unit, each with an engine of its own. */
static void test_stages(const struct subject *s, const uint32_t *ids, const float *want)
{
	const struct lsc_model_config *c = &s->toy.image.config;
	struct lsc_engine *engines[8];
	float *x = malloc(N * c->hidden * sizeof(*x)), *got = malloc(N * c->vocab * sizeof(*got));
	float *logits = malloc(c->vocab * sizeof(*logits));
	bool fine = true;

	for (uint32_t i = 0; i < c->layers + 2; i++)
		engines[i] = open_engine(s, true, 0);
	for (uint32_t pos = 0, n = 40; pos < N; pos += n, n = 1)
		for (uint32_t i = 0; i < c->layers + 2; i++) {
			bool head = i == c->layers + 1;
			struct lsc_work work = {.key = key_of(9),
						.first = i,
						.last = i,
						.pos = pos,
						.n = n,
						.ids = ids + pos,
						.in = x,
						.out = head ? logits : x,
						.all_logits =
							head ? got + (size_t)pos * c->vocab : NULL};

			fine &= lsc_engine_run(engines[i], &work, 1, NULL) == 0 && !work.result;
		}
	for (uint32_t i = 0; i < c->layers + 2; i++)
		lsc_engine_close(engines[i]);
	ok(fine && off_from(got, want, (size_t)N * c->vocab) < tolerance(s->toy.image.dtype),
	   "%s: a stage for each of %u units", GPU_WHERE, c->layers + 2);
	free(x);
	free(got);
	free(logits);
}

/* Blocks come one after another, and units run as theirs are there. */
static void test_arriving(struct subject *s, const uint32_t *ids, const float *want)
{
	struct lsc_image *image = &s->toy.image;
	const struct lsc_model_config *c = &image->config;
	uint8_t *whole = s->toy.data;
	float *x = malloc(N * c->hidden * sizeof(*x)), *got = malloc(N * c->vocab * sizeof(*got));
	float *logits = malloc(c->vocab * sizeof(*logits));
	struct lsc_engine *engine;
	bool fine = true;

	s->toy.data = calloc(1, image->bytes);
	engine = open_engine(s, true, 0);
	for (uint32_t u = 0; u < image->n_units; u++) {
		const bool head = u == c->layers + 1;
		struct lsc_work work = {.key = key_of(3),
					.first = u,
					.last = u,
					.n = N,
					.ids = ids,
					.in = x,
					.out = head ? logits : x,
					.all_logits = head ? got : NULL};

		for (int i = 0; i < 2; i++) {
			const struct lsc_need *need = &image->units[u].needs[i];

			for (uint32_t b = need->first; b < need->first + need->n; b++)
				memcpy(s->toy.data + s->blocks[b].offset,
				       whole + s->blocks[b].offset, s->blocks[b].bytes);
		}
		fine &= lsc_engine_load(engine, u, u, NULL) == 0;
		fine &= lsc_engine_run(engine, &work, 1, NULL) == 0 && work.result == 0;
	}
	ok(fine && off_from(got, want, (size_t)N * c->vocab) < tolerance(image->dtype),
	   "%s: units run as their blocks arrive", GPU_WHERE);
	lsc_engine_close(engine);
	free(s->toy.data);
	s->toy.data = whole;
	free(x);
	free(got);
	free(logits);
}

static void test_refusals(const struct subject *s, const uint32_t *ids)
{
	const struct lsc_model_config *c = &s->toy.image.config;
	const uint64_t page = lsc_align_up(2ull * c->kv_heads * LSC_PAGE_POSITIONS * 8 * 2, 256);
	struct lsc_engine *engine = open_engine(s, true, 3 * c->layers * page);
	struct lsc_engine_options options = {.kv_bytes = 64, .device = &s->device};
	struct lsc_request_key key = key_of(2);
	struct lsc_engine *none = NULL;
	struct lsc_err err = LSC_ERR_INIT;

	is_int(run_local(engine, s, 1, ids, 1, 1, NULL), -ESTALE, "%s: no KV: stale", GPU_WHERE);
	is_int(run_local(engine, s, 1, ids, 0, 64, NULL), 0, "two pages a layer");
	is_int(run_local(engine, s, 2, ids, 0, 32, NULL), 0, "a third");
	is_int(lsc_engine_kv_used(engine), 3 * c->layers * page, "all are used");
	is_int(run_local(engine, s, 3, ids, 0, 1, NULL), -ENOSPC, "no fourth");
	lsc_engine_drop(engine, &key);
	is_int(run_local(engine, s, 1, ids, 64, 1, NULL), 0, "one dropped, the other grows");
	is_int(run_local(engine, s, 1, ids, 4, 2, NULL), 0, "back to position 4");
	is_int(run_local(engine, s, 1, ids, 7, 1, NULL), -ESTALE, "what was beyond is gone");
	is_int(lsc_engine_open(&none, &s->toy.image, s->toy.data, &options, &err), -EINVAL,
	       "room for no page: %s", err.text);
	lsc_engine_close(engine);
}

/* Pages of one request serve the next, whatever is left in them. */
static void test_used_pages(const struct subject *s, const uint32_t *ids, const float *want)
{
	const uint32_t vocab = s->toy.image.config.vocab;
	struct lsc_engine *engine = open_engine(s, true, 0);
	struct lsc_request_key key = key_of(1);
	float *got = calloc(N * (size_t)vocab, sizeof(*got));
	uint32_t other[N];

	some_ids(other, N, vocab, 77);
	run_local(engine, s, 1, other, 0, N, NULL);
	lsc_engine_drop(engine, &key);
	run_local(engine, s, 2, ids, 0, 50, got);
	for (uint32_t pos = 50; pos < N; pos++)
		run_local(engine, s, 2, ids, pos, 1, got);
	ok(off_from(got, want, N * (size_t)vocab) < tolerance(s->toy.image.dtype),
	   "%s: on pages used before", GPU_WHERE);
	lsc_engine_close(engine);
	free(got);
}

/* More rows than a chunk holds, and more logits than are computed at once. */
static void test_long(void)
{
	enum { LONG = 1100 };
	struct lsc_model_config c = toy_config();
	uint32_t ids[LONG];
	struct lsc_engine *engine;
	struct subject s;
	float *want, *got;

	c.layers = 1;
	c.context = 2048;
	c.vocab = 31;
	subject_init(&s, &c, LSC_DTYPE_F16);
	some_ids(ids, LONG, c.vocab, 11);
	want = plain_logits(&s, ids, LONG);
	got = calloc((size_t)LONG * c.vocab, sizeof(*got));
	engine = open_engine(&s, true, 0);
	is_int(run_local(engine, &s, 1, ids, 0, LONG, got), 0, "%u positions at once", LONG);
	ok(off_from(got, want, (size_t)LONG * c.vocab) < tolerance(LSC_DTYPE_F16),
	   "%s: their logits", GPU_WHERE);
	lsc_engine_close(engine);
	free(want);
	free(got);
	subject_release(&s);
}

#ifdef LSC_EMULATED
/* Decoding starts graphs, and takes no memory. */
static void test_graphs(const struct subject *s, const uint32_t *ids)
{
	struct lsc_engine *engine = open_engine(s, true, 0);
	unsigned long graphs, allocations;

	run_local(engine, s, 1, ids, 0, 20, NULL);
	run_local(engine, s, 1, ids, 20, 1, NULL); /* warms up */
	run_local(engine, s, 1, ids, 21, 1, NULL); /* is captured */
	graphs = emulated_graphs();
	allocations = emulated_allocations();
	for (uint32_t pos = 22; pos < 30; pos++)
		run_local(engine, s, 1, ids, pos, 1, NULL);
	is_int(emulated_graphs() - graphs, 8, "emulated: a graph for each token");
	is_int(emulated_allocations() - allocations, 0, "emulated: and no memory");
	lsc_engine_close(engine);
	is_int(emulated_memory_used(), 0, "emulated: closing gives all memory back");
}

/* A step on a device of so many bytes, with an engine of its own; 1 where its keys have no room. */
static int run_within(const struct subject *s, const uint32_t *ids, size_t bytes,
		      struct lsc_err *err)
{
	const struct lsc_engine_options options = {
		.threads = 1, .kv_bytes = 1 << 20, .device = &s->device};
	struct lsc_work work = {
		.key = key_of(1), .last = s->toy.image.config.layers + 1, .n = 8, .ids = ids};
	struct lsc_engine *engine = NULL;
	int r;

	emulated_set_memory(bytes);
	work.out = malloc(s->toy.image.config.vocab * sizeof(float));
	r = lsc_engine_open(&engine, &s->toy.image, s->toy.data, &options, err);
	if (r == 0)
		r = lsc_engine_run(engine, &work, 1, err);
	lsc_engine_close(engine);
	free(work.out);
	return r ? r : work.result < 0;
}

/* Memory that ends at any point: a clear line, and nothing kept. */
static void test_no_memory(const struct subject *s, const uint32_t *ids)
{
	unsigned failed = 0, clear = 0, kept = 0, runs = 0, after = 0;

	for (size_t bytes = 0; bytes < 200 << 20; bytes += bytes < 1 << 20 ? 70001 : 9 << 20) {
		struct lsc_err err = LSC_ERR_INIT;
		int r = run_within(s, ids, bytes, &err);

		runs += r == 0;
		failed += r == -ENOMEM;
		clear += r == -ENOMEM && strstr(err.text, "memory") != NULL;
		kept += emulated_memory_used() != 0;
		/* A call that failed before says nothing of those after it. */
		after += run_within(s, ids, 1ul << 30, &err) != 0;
	}
	ok(failed > 0 && clear == failed && runs > 0, "emulated: without memory %u clear lines",
	   clear);
	is_int(kept, 0, "emulated: and none kept");
	is_int(after, 0, "emulated: with memory it runs again");
}

static void test_devices(void)
{
	struct lsc_err err = LSC_ERR_INIT;

	is_int(lsc_backend_plugin.ops->probe(0, &err), 0, "emulated: the device is there");
	is_int(lsc_backend_plugin.ops->probe(1, &err), -ENODEV, "no other: %s", err.text);
	emulated_set_devices(0);
	is_int(lsc_backend_plugin.ops->probe(0, &err), -ENODEV, "none: %s", err.text);
	emulated_set_devices(1);
}
#endif

/* What does not run on a GPU is said when it is opened. */
static void test_unable(void)
{
	struct lsc_engine_options options = {.kv_bytes = 1 << 20};
	struct lsc_model_config c = toy_config();
	struct lsc_engine *engine = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	struct subject s;

	subject_init(&s, &c, LSC_DTYPE_BF16);
	options.device = &s.device;
	options.exact = true;
	is_int(lsc_engine_open(&engine, &s.toy.image, s.toy.data, &options, &err), -EOPNOTSUPP,
	       "exact: %s", err.text);
	options.exact = false;
	s.toy.image.config.experts = 4;
	s.toy.image.config.experts_used = 2;
	s.toy.image.config.expert_ffn = 8;
	is_int(lsc_engine_open(&engine, &s.toy.image, s.toy.data, &options, &err), -EOPNOTSUPP,
	       "experts: %s", err.text);
	s.toy.image.config = c;
	s.toy.image.config.head_dim = 258;
	is_int(lsc_engine_open(&engine, &s.toy.image, s.toy.data, &options, &err), -EOPNOTSUPP,
	       "wide heads: %s", err.text);
	s.toy.image.config = c;
	s.toy.tensors[1].offset = s.toy.image.bytes;
	is_int(lsc_engine_open(&engine, &s.toy.image, s.toy.data, &options, &err), -EBADMSG,
	       "a tensor outside the image: %s", err.text);
	s.toy.tensors[1].offset = UINT64_MAX - 15;
	is_int(lsc_engine_open(&engine, &s.toy.image, s.toy.data, &options, &err), -EBADMSG,
	       "one that is far outside: %s", err.text);
	subject_release(&s);
}

static void test_requests(enum lsc_dtype dtype)
{
	struct lsc_model_config c = toy_config();
	uint32_t ids[N];
	struct subject s;
	float *want;

	subject_init(&s, &c, dtype);
	some_ids(ids, N, c.vocab, 1);
	want = plain_logits(&s, ids, N);
	test_decode(&s, ids, want);
	test_stages(&s, ids, want);
	test_arriving(&s, ids, want);
	test_used_pages(&s, ids, want);
	if (dtype != LSC_DTYPE_F32)
		test_refusals(&s, ids);
#ifdef LSC_EMULATED
	test_graphs(&s, ids);
	if (dtype == LSC_DTYPE_F32)
		test_no_memory(&s, ids);
#endif
	free(want);
	subject_release(&s);
}

int main(void)
{
	if (!gpu_start())
		return tap_failed != 0;
	cudaStreamDestroy(gpu_stream);
#ifdef LSC_EMULATED
	test_devices();
	emulated_set_order(EMULATED_SHUFFLED);
#endif
	test_unable();
	test_shapes();
	test_requests(LSC_DTYPE_F32);
	test_requests(LSC_DTYPE_F16);
	test_long();
	return done_testing();
}
