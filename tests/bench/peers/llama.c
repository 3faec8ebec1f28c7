/* llama.cpp, doing what lsc-exec does: for tests/bench/exec.sh, against the libllama of somebody's
 * llama-cpp-python or llama.cpp.
 *
 *	llama bench MODEL THREADS FLASH PROMPT DEPTH TOKENS RUNS BATCH...
 *	llama run MODEL THREADS FLASH TOKENS PROMPT
 *
 * bench prints lines as lsc-exec bench --json does: the same made-up tokens, requests at the same
 * positions, one run that warms up.  run prints the ids of a greedy answer as they come.  The model
 *is mapped; FLASH is 0 or 1.  Nothing but llama_decode() is timed.
 */
#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEP 8 /* positions from one request of a batch to the next, as in exec/measure.h */

struct peer {
	struct llama_model *model;
	struct llama_context *context;
	const struct llama_vocab *vocab;
	int n_vocab, threads, flash;
};

static void quiet(enum ggml_log_level level, const char *text, void *data)
{
	(void)data;
	if (level >= GGML_LOG_LEVEL_ERROR && level < GGML_LOG_LEVEL_CONT)
		fputs(text, stderr);
}

static void fail(const char *what)
{
	fprintf(stderr, "llama: %s failed\n", what);
	exit(1);
}

static void load(struct peer *peer, const char *path)
{
	struct llama_model_params params = llama_model_default_params();

	llama_log_set(quiet, NULL);
	llama_backend_init();
	params.n_gpu_layers = 0;
	peer->model = llama_model_load_from_file(path, params);
	if (!peer->model)
		fail("loading the model");
	peer->vocab = llama_model_get_vocab(peer->model);
	peer->n_vocab = llama_vocab_n_tokens(peer->vocab);
}

/* For so many requests of so many positions each. */
static void open_context(struct peer *peer, int requests, int positions)
{
	struct llama_context_params params = llama_context_default_params();

	params.n_ctx = (uint32_t)(requests * positions);
	params.n_seq_max = (uint32_t)requests;
	params.n_batch = 2048;
	params.n_ubatch = 512;
	params.n_threads = params.n_threads_batch = peer->threads;
	params.flash_attn_type =
		peer->flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
	params.no_perf = true;
	peer->context = llama_init_from_model(peer->model, params);
	if (!peer->context)
		fail("making a context");
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static llama_token made_up(const struct peer *peer, uint64_t i)
{
	return (llama_token)((i * 2654435761u + 12345) % (uint64_t)peer->n_vocab);
}

static void add(struct llama_batch *batch, llama_token token, int pos, int request, bool logits)
{
	int i = batch->n_tokens++;

	batch->token[i] = token;
	batch->pos[i] = pos;
	batch->n_seq_id[i] = 1;
	batch->seq_id[i][0] = request;
	batch->logits[i] = logits;
}

static void decode(struct peer *peer, struct llama_batch batch)
{
	if (llama_decode(peer->context, batch))
		fail("llama_decode()");
	llama_synchronize(peer->context);
}

/* Positions from .. to - 1 of one request. */
static void feed(struct peer *peer, int request, int to)
{
	struct llama_batch batch = llama_batch_init(2048, 0, 1);

	for (int pos = 0; pos < to;) {
		batch.n_tokens = 0;
		for (; pos < to && batch.n_tokens < 2048; pos++)
			add(&batch, made_up(peer, (uint64_t)pos), pos, request, pos + 1 == to);
		decode(peer, batch);
	}
	llama_batch_free(batch);
}

static void put(const struct peer *peer, const char *what, int batch, int tokens, int depth,
		const double *rates, int runs, double per_pass)
{
	double sum = 0, squares = 0;

	for (int i = 1; i <= runs; i++)
		sum += rates[i];
	for (int i = 1; i <= runs; i++)
		squares += pow(rates[i] - sum / runs, 2);
	printf("{\"name\":\"exec-%s\",\"threads\":%d,\"flash\":%d,\"batch\":%d,\"tokens\":%d,"
	       "\"depth\":%d,\"runs\":%d,\"tokens_s\":%.3f,\"deviation_tokens_s\":%.3f}\n",
	       what, peer->threads, peer->flash, batch, tokens, depth, runs, sum / runs * per_pass,
	       runs > 1 ? sqrt(squares / (runs - 1)) * per_pass : 0);
	fflush(stdout);
}

static void bench_prompt(struct peer *peer, int n, int runs)
{
	double rates[runs + 1];

	open_context(peer, 1, n);
	for (int run = 0; run <= runs; run++) {
		double start = now();

		llama_memory_clear(llama_get_memory(peer->context), false);
		feed(peer, 0, n);
		rates[run] = 1 / (now() - start);
	}
	put(peer, "prompt", 1, n, 0, rates, runs, n);
	llama_free(peer->context);
}

static void bench_tokens(struct peer *peer, int batch, int depth, int n, int runs)
{
	struct llama_batch each = llama_batch_init(batch, 0, 1);
	double rates[runs + 1];

	open_context(peer, batch, depth + (batch - 1) * STEP + n);
	for (int i = 0; i < batch; i++)
		feed(peer, i, depth + i * STEP);
	for (int run = 0; run <= runs; run++) {
		llama_memory_t memory = llama_get_memory(peer->context);
		double start;

		for (int i = 0; i < batch; i++)
			llama_memory_seq_rm(memory, i, depth + i * STEP, -1);
		start = now();
		for (int t = 0; t < n; t++) {
			each.n_tokens = 0;
			for (int i = 0; i < batch; i++) {
				int pos = depth + i * STEP + t;

				add(&each, made_up(peer, (uint64_t)pos), pos, i, true);
			}
			decode(peer, each);
		}
		rates[run] = n / (now() - start);
	}
	put(peer, "generate", batch, n, depth, rates, runs, batch);
	llama_free(peer->context);
	llama_batch_free(each);
}

static int bench(struct peer *peer, char **arg)
{
	int prompt = atoi(arg[0]), depth = atoi(arg[1]), tokens = atoi(arg[2]), runs = atoi(arg[3]);

	if (prompt)
		bench_prompt(peer, prompt, runs);
	for (arg += 4; *arg && tokens; arg++)
		bench_tokens(peer, atoi(*arg), depth, tokens, runs);
	return 0;
}

static llama_token best(const struct peer *peer)
{
	const float *logits = llama_get_logits_ith(peer->context, -1);
	llama_token id = 0;

	for (int i = 1; i < peer->n_vocab; i++)
		if (logits[i] > logits[id])
			id = i;
	return id;
}

static int run(struct peer *peer, int tokens, const char *prompt)
{
	static llama_token ids[8192];
	struct llama_batch batch = llama_batch_init(8192, 0, 1);
	int n = llama_tokenize(peer->vocab, prompt, (int)strlen(prompt), ids, 8192, true, false);
	int pos = 0;
	llama_token token;

	if (n <= 0)
		fail("llama_tokenize()");
	open_context(peer, 1, n + tokens);
	for (; pos < n; pos++)
		add(&batch, ids[pos], pos, 0, pos + 1 == n);
	for (int i = 0; i < tokens; i++) {
		decode(peer, batch);
		token = best(peer);
		printf("%s%d", i ? " " : "", token);
		fflush(stdout);
		batch.n_tokens = 0;
		add(&batch, token, pos++, 0, true);
	}
	printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct peer peer = {0};

	if (argc >= 9 && !strcmp(argv[1], "bench")) {
		peer.threads = atoi(argv[3]);
		peer.flash = atoi(argv[4]);
		load(&peer, argv[2]);
		return bench(&peer, argv + 5);
	}
	if (argc == 7 && !strcmp(argv[1], "run")) {
		peer.threads = atoi(argv[3]);
		peer.flash = atoi(argv[4]);
		load(&peer, argv[2]);
		return run(&peer, atoi(argv[5]), argv[6]);
	}
	fprintf(stderr,
		"usage: llama bench MODEL THREADS FLASH PROMPT DEPTH TOKENS RUNS BATCH... | "
		"run MODEL THREADS FLASH TOKENS PROMPT\n");
	return 64;
}
