/* What a stage worker gives to many requests at once: one that answers alone against 16 together,
 * and what a long prompt does to those that are being answered.
 *
 *	build/release/bench/serve [SHAPE [THREADS]]
 *
 * The worker is a process of its own, asked over a socket as a router asks it: every token comes
 * back as the next run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "net/frame.h"
#include "net/link.h"
#include "stage/worker.h"

#define MAX_REQUESTS 32
#define MAX_GAPS     20000
#define PROMPT       2000
#define PART         512 /* of a prompt, as routers send it */

struct request {
	uint64_t number;
	uint32_t pos, left; /* the next position; tokens that are wanted */
	uint64_t sent_ns, last_ns, first_ns;
	uint32_t body[PART];
};

static struct bench {
	struct lsc_loop *loop;
	struct lsc_link *link;
	struct lsc_image image;
	const char *shape;
	char address[LSC_FRAME_ENDPOINT];
	unsigned threads;
	bool open;
	struct request requests[MAX_REQUESTS];
	uint64_t numbers;
	double gaps[MAX_GAPS]; /* between tokens of a request, in ms */
	unsigned n_gaps, tokens;
	bool counting;
} bench;

/* --- the client --- */

static void send_run(struct request *request, uint32_t n, uint32_t reach)
{
	static struct lsc_run_frame run;
	struct lsc_pack pack = LSC_PACK_INIT;

	run = (struct lsc_run_frame){.image = bench.image.id,
				     .client = {{9}},
				     .request = request->number,
				     .pos = request->pos,
				     .n = n,
				     .n_stages = 1,
				     .reach = reach,
				     .since = request->number,
				     .sampling = LSC_SAMPLING_INIT};
	memcpy(run.route[0].endpoint, bench.address, sizeof(run.route[0].endpoint));
	run.route[0].last = bench.image.n_units - 1;
	if (lsc_frame_pack_run(&pack, &run, n * 4) == 0)
		lsc_link_send(bench.link, &pack, request->body, n * 4, NULL);
	lsc_pack_release(&pack);
	request->pos += n;
}

static void begin(unsigned slot, uint32_t n_prompt, uint32_t tokens)
{
	struct request *request = &bench.requests[slot];

	*request = (struct request){.number = ++bench.numbers, .left = tokens};
	for (uint32_t i = 0; i < PART; i++)
		request->body[i] = 3 + i * 7 % 1000;
	request->sent_ns = lsc_clock_ns();
	while (request->pos < n_prompt)
		send_run(request, LSC_MIN(n_prompt - request->pos, (uint32_t)PART), n_prompt);
}

static void drop(struct request *request)
{
	struct lsc_pack pack = LSC_PACK_INIT;

	if (lsc_frame_pack_drop(&pack, &(struct lsc_client_id){{9}}, request->number) == 0)
		lsc_link_send(bench.link, &pack, NULL, 0, NULL);
	lsc_pack_release(&pack);
}

static void take_token(const struct lsc_token_frame *token)
{
	struct request *request = bench.requests;
	uint64_t now = lsc_clock_ns();

	while (request->number != token->request)
		request++;
	if (token->pos != request->pos)
		return; /* of a part */
	if (!request->first_ns)
		request->first_ns = now;
	else if (bench.counting && bench.n_gaps < MAX_GAPS)
		bench.gaps[bench.n_gaps++] = (double)(now - request->last_ns) / 1e6;
	request->last_ns = now;
	bench.tokens++;
	if (--request->left) {
		request->body[0] = token->drawn.token;
		send_run(request, 1, 0);
	} else {
		drop(request);
	}
}

static void on_open(void *data, struct lsc_link *link)
{
	struct lsc_pack pack = LSC_PACK_INIT;

	(void)data;
	if (lsc_frame_pack_client(&pack, &(struct lsc_client_id){{9}}) == 0)
		lsc_link_send(link, &pack, NULL, 0, NULL);
	lsc_pack_release(&pack);
	bench.open = true;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_token_frame token;
	struct lsc_fail_frame fail;
	int r;

	(void)data;
	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (lsc_record_is(record, "fail") && lsc_frame_parse_fail(record, &fail, err) == 0) {
		fprintf(stderr, "serve: %s\n", fail.why);
		exit(1);
	}
	r = lsc_frame_parse_token(record, &token, err);
	if (r == 0)
		take_token(&token);
	return r;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)link;
	fprintf(stderr, "serve: the worker's link closed: %s\n", err->text);
	exit(1);
}

static bool any_left(void)
{
	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		if (bench.requests[i].left)
			return true;
	return false;
}

/* --- what is measured --- */

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return a < b ? -1 : a > b;
}

static double percentile(double share)
{
	qsort(bench.gaps, bench.n_gaps, sizeof(bench.gaps[0]), by_value);
	return bench.n_gaps ? bench.gaps[(unsigned)(share * (bench.n_gaps - 1))] : 0;
}

static double bench_together(unsigned n, double alone)
{
	enum { TOKENS = 64 };
	uint64_t start;
	double seconds;

	for (unsigned i = 0; i < n; i++)
		begin(i, 8, TOKENS);
	while (bench.tokens < n) /* the prompts */
		lsc_loop_turn(bench.loop, 100, NULL);
	bench.tokens = 0;
	start = lsc_clock_ns();
	while (any_left())
		lsc_loop_turn(bench.loop, 100, NULL);
	seconds = (double)(lsc_clock_ns() - start) / 1e9;
	printf("{\"name\":\"serve-together\",\"shape\":\"%s\",\"threads\":%u,\"requests\":%u,"
	       "\"tokens_s\":%.1f,\"times_one\":%.2f}\n",
	       bench.shape, bench.threads, n, bench.tokens / seconds,
	       alone > 0 ? bench.tokens / seconds / alone : 1);
	fflush(stdout);
	alone = bench.tokens / seconds;
	bench.tokens = 0;
	return alone;
}

/* A prompt alone; seconds. */
static double bench_prompt(void)
{
	struct request *request = &bench.requests[0];

	begin(0, PROMPT, 1);
	while (any_left())
		lsc_loop_turn(bench.loop, 100, NULL);
	return (double)(request->last_ns - request->sent_ns) / 1e9;
}

/* So many that decode; a long prompt comes while they do. */
static void bench_stall(unsigned n, double prompt_alone)
{
	struct request *prompt = &bench.requests[n];
	double median, median_then, p99, most, seconds;
	uint64_t start;

	for (unsigned i = 0; i < n; i++)
		begin(i, 8, 1000000);
	start = lsc_clock_ns();
	while (lsc_clock_ns() - start < 500000000u)
		lsc_loop_turn(bench.loop, 100, NULL);
	bench.n_gaps = 0;
	bench.counting = true;
	start = lsc_clock_ns();
	while (lsc_clock_ns() - start < 2000000000u)
		lsc_loop_turn(bench.loop, 100, NULL);
	median = percentile(0.5);
	bench.n_gaps = 0;
	begin(n, PROMPT, 1);
	while (prompt->left)
		lsc_loop_turn(bench.loop, 100, NULL);
	bench.counting = false;
	median_then = percentile(0.5);
	p99 = percentile(0.99);
	most = percentile(1);
	seconds = (double)(prompt->last_ns - prompt->sent_ns) / 1e9;
	printf("{\"name\":\"serve-stall\",\"shape\":\"%s\",\"threads\":%u,\"decodes\":%u,"
	       "\"prompt\":%d,\"gap_ms\":%.2f,\"gap_then_ms\":%.2f,\"p99_ms\":%.2f,"
	       "\"max_ms\":%.2f,\"p99_over_gap\":%.2f,\"prompt_s\":%.2f,\"prompt_alone_s\":%.2f,"
	       "\"prompt_over_alone\":%.2f}\n",
	       bench.shape, bench.threads, n, PROMPT, median, median_then, p99, most, p99 / median,
	       seconds, prompt_alone, seconds / prompt_alone);
	fflush(stdout);
	for (unsigned i = 0; i < n; i++)
		bench.requests[i].left = 1;
	while (any_left())
		lsc_loop_turn(bench.loop, 100, NULL);
	bench.tokens = 0;
}

/* --- the worker --- */

static void work(const char *dir, int fd)
{
	const struct lsc_worker_options options = {.dir = dir,
						   .engine = {.threads = bench.threads}};
	struct lsc_worker *worker = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	struct lsc_endpoint at;

	if (lsc_loop_new(&loop, &err) < 0 || lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
	    lsc_worker_open(&worker, loop, &at, &options, &err) < 0) {
		fprintf(stderr, "serve: %s\n", err.text);
		_exit(1);
	}
	dprintf(fd, "%s", lsc_worker_address(worker));
	close(fd);
	lsc_loop_run(loop, &err);
	_exit(0);
}

static bool open_link(void)
{
	static const struct lsc_link_events events = {
		.on_open = on_open, .on_record = on_record, .on_close = on_close};
	const struct lsc_link_options options = {.kind = "exec"};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	if (lsc_loop_new(&bench.loop, &err) < 0 ||
	    lsc_endpoint_parse(&at, bench.address, &err) < 0 ||
	    lsc_link_connect(&bench.link, bench.loop, &at, &options, &events, NULL, &err) < 0) {
		fprintf(stderr, "serve: %s\n", err.text);
		return false;
	}
	while (!bench.open)
		lsc_loop_turn(bench.loop, 100, NULL);
	return true;
}

static int measure(const char *dir, const char *path)
{
	struct lsc_err err = LSC_ERR_INIT;
	double alone;
	int fds[2];
	pid_t pid;

	if (lsc_image_open(&bench.image, path, &err) < 0 || pipe(fds) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "serve: %s\n", err.text);
		return 1;
	}
	if (pid == 0)
		work(dir, fds[1]);
	close(fds[1]);
	if (read(fds[0], bench.address, sizeof(bench.address) - 1) <= 0 || !open_link()) {
		kill(pid, SIGTERM);
		return 1;
	}
	bench_together(1, 0); /* warm */
	alone = bench_together(1, 0);
	bench_together(4, alone);
	bench_together(16, alone);
	bench_prompt();
	alone = bench_prompt();
	bench_stall(1, alone);
	bench_stall(4, alone);
	bench_stall(16, alone);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return 0;
}

int main(int argc, char **argv)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .seed = 1};
	const char *scratch = getenv("LSC_SCRATCH");
	const struct lsc_model_config *config;
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1000], path[1100];

	bench.shape = argc > 1 ? argv[1] : "smollm2-135m";
	bench.threads = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
	config = lsc_model_shape(bench.shape);
	if (!config) {
		fprintf(stderr, "serve: no shape '%s'\n", bench.shape);
		return 64;
	}
	snprintf(dir, sizeof(dir), "%s/lsc-serve.XXXXXX", scratch ? scratch : "/tmp");
	if (!mkdtemp(dir))
		return 71;
	snprintf(path, sizeof(path), "%s/model", dir);
	if (lsc_image_pack_dummy(config, path, &options, &err) < 0) {
		fprintf(stderr, "serve: %s\n", err.text);
		return 1;
	}
	int status = measure(dir, path);

	snprintf(path, sizeof(path), "rm -r '%s'", dir);
	return system(path) ? 71 : status;
}
