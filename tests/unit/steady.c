/* A token's forward pass and its draw allocate nothing and make no system call: both are counted.
 *
 * Allocations are counted by this program's own malloc() and its like, which all of the process
 * uses; system calls by a parent that traces the child that computes, threads included.  The child
 * says in shared memory which token it is at, so that the parent knows what belongs to one.
 *
 * Threads that wait for each other sleep in the end, where others want the processors too; and
 * where each call is stopped for a tracer they do nothing else.  So these futexes are counted in a
 * run that nobody traces, by this program's own syscall(), which the pool calls.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocations.h"
#include "exec/engine.h"
#include "exec/sample.h"
#include "tap.h"
#include "toy.h"

#define BEFORE 40  /* positions before the first token that counts */
#define TOKENS 300 /* ten pages of KV, and past what grows by a few hundred */

/* Between parent and child. */
static struct {
	_Atomic int token; /* 1 .. TOKENS while it computes, else 0 */
	_Atomic unsigned allocations[TOKENS + 1];
	_Atomic unsigned calls[TOKENS + 1];
	_Atomic unsigned futexes[TOKENS + 1];
	_Atomic long last_call;
	_Atomic int failed;
} * shared;

#ifndef SANITIZED /* which has its own */
static void count_allocation(void)
{
	int token = shared ? atomic_load(&shared->token) : 0;

	if (token)
		atomic_fetch_add(&shared->allocations[token], 1);
}
#endif

static long (*libc_syscall)(long nr, ...);

long syscall(long nr, ...)
{
	int token = shared ? atomic_load(&shared->token) : 0;
	long arg[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (token && nr == SYS_futex)
		atomic_fetch_add(&shared->futexes[token], 1);
	return libc_syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* --- the child --- */

static const struct lsc_model_config config = {
	.arch = "llama",
	.hidden = 192,
	.ffn = 512,
	.layers = 4,
	.heads = 6,
	.kv_heads = 2,
	.head_dim = 32,
	.vocab = 3000,
	.context = 4096,
	.norm_eps = 1e-5f,
	.rope_theta = 1e4f,
	.tied = true,
};

struct job {
	unsigned threads;
	uint32_t batch;
	void (*disturb)(void); /* what a token does that it should not; NULL */
};

static struct toy toy;
static float *logits; /* [batch][vocab] */
static struct lsc_sampler sampler;

/* By turns greedy, and with all there is. */
static const struct lsc_sampling samplings[] = {
	{.top_p = 1},
	{.temp = 0.8f, .top_p = 0.9f},
	{.temp = 0.8f,
	 .top_p = 0.9f,
	 .min_p = 0.01f,
	 .penalty = 1.2f,
	 .top_k = 500,
	 .logprobs = true,
	 .top = LSC_SAMPLING_MAX_TOP},
};

/* Positions pos .. pos + n - 1 of each request, and the tokens that follow. */
static void pass(const struct job *job, struct lsc_engine *engine, uint32_t pos, uint32_t n)
{
	static uint32_t ids[BEFORE] = {5, 6, 7};
	struct lsc_work works[16];
	struct lsc_drawn drawn;

	for (uint32_t i = 0; i < job->batch; i++)
		works[i] = (struct lsc_work){.key = {.request = i},
					     .last = toy.image.n_units - 1,
					     .pos = pos,
					     .n = n,
					     .ids = ids,
					     .out = logits + (size_t)i * config.vocab};
	if (lsc_engine_run(engine, works, job->batch, NULL) < 0)
		atomic_store(&shared->failed, 1);
	for (uint32_t i = 0; i < job->batch; i++) {
		if (works[i].result < 0)
			atomic_store(&shared->failed, 1);
		lsc_sampler_draw(&sampler, works[i].out, &samplings[pos % 3], ids, BEFORE, pos,
				 &drawn);
		ids[0] = drawn.token;
	}
	if (job->disturb)
		job->disturb();
}

static void compute(const struct job *job)
{
	struct lsc_engine_options options = {.threads = job->threads};
	struct lsc_engine *engine = NULL;

	if (lsc_engine_open(&engine, &toy.image, toy.data, &options, NULL) < 0 ||
	    lsc_sampler_init(&sampler, config.vocab, NULL) < 0) {
		atomic_store(&shared->failed, 1);
		return;
	}
	pass(job, engine, 0, BEFORE);
	pass(job, engine, BEFORE, 1);
	usleep(20000); /* its threads have begun */
	for (int token = 1; token <= TOKENS; token++) {
		atomic_store(&shared->token, token);
		pass(job, engine, BEFORE + (uint32_t)token, 1);
	}
	atomic_store(&shared->token, 0);
	lsc_sampler_release(&sampler);
	lsc_engine_close(engine);
}

/* --- the parent --- */

static void count_call(pid_t pid, bool without_futexes)
{
	struct __ptrace_syscall_info info;
	int token = atomic_load(&shared->token);

	if (token && ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
	    info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		if (info.entry.nr == SYS_futex && without_futexes)
			return;
		atomic_fetch_add(&shared->calls[token], 1);
		atomic_store(&shared->last_call, (long)info.entry.nr);
	}
}

static bool is_well(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Runs a stopped child to its end, from system call to system call. */
static bool trace(pid_t child, bool without_futexes)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
	int status, signal;
	pid_t pid;

	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, child, 0, options) < 0)
		return false;
	ptrace(PTRACE_SYSCALL, child, 0, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == child)
				return is_well(status);
			continue;
		}
		signal = WSTOPSIG(status);
		if (signal == (SIGTRAP | 0x80))
			count_call(pid, without_futexes);
		if (signal == (SIGTRAP | 0x80) || signal == SIGTRAP || signal == SIGSTOP)
			signal = 0;
		ptrace(PTRACE_SYSCALL, pid, 0, signal);
	}
	return false;
}

static bool run(const struct job *job, bool traced)
{
	pid_t child;
	int status;

	memset(shared, 0, sizeof(*shared));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		if (traced && ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
			_exit(2);
		if (traced)
			raise(SIGSTOP);
		compute(job);
		_exit(atomic_load(&shared->failed));
	}
	if (child > 0 && traced)
		return trace(child, job->threads > 1);
	return child > 0 && waitpid(child, &status, 0) == child && is_well(status);
}

struct count {
	unsigned total, tokens; /* of all tokens, and how many had any */
};

static struct count sum(const _Atomic unsigned *each)
{
	struct count count = {0};

	for (int token = 1; token <= TOKENS; token++) {
		unsigned n = atomic_load(&each[token]);

		count.total += n;
		count.tokens += n > 0;
	}
	return count;
}

static void test_steady(unsigned threads, uint32_t batch)
{
	struct job job = {threads, batch, NULL};
	unsigned allocations, calls;

	ok(run(&job, true), "%s%u threads, batch %u: runs to its end, traced",
	   toy.image.config.experts ? "with experts, " : "", threads, batch);
	allocations = sum(shared->allocations).total;
	calls = sum(shared->calls).total;
	ok(allocations == 0, "%u tokens: %u allocations", TOKENS, allocations);
	ok(calls == 0, "%u tokens: %u system calls", TOKENS, calls);
	if (calls)
		printf("# the last was number %ld\n", atomic_load(&shared->last_call));
}

/* On a busy machine threads sleep in many tokens, so the best of a few runs counts. */
static void test_awake(void)
{
	struct job job = {2, 1, NULL};
	struct count best = {0, TOKENS};

	for (int i = 0; i < 10 && best.tokens == TOKENS; i++) {
		if (!run(&job, false))
			break;
		best = sum(shared->futexes);
	}
	ok(best.tokens < TOKENS, "2 threads: in %u of %u tokens one slept or was woken, %u times",
	   best.tokens, TOKENS, best.total);
}

/* --- that it sees what it should --- */

static void *volatile sink;

static void disturb_memory(void)
{
	sink = malloc(40);
	free(sink);
}

static void disturb_kernel(void)
{
	static uint32_t word;

	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void test_sees(void)
{
	struct job job = {1, 1, disturb_memory};

	run(&job, true);
	is_int(sum(shared->allocations).total, 2 * TOKENS, "one malloc() a token is seen");
	job.disturb = disturb_kernel;
	run(&job, true);
	is_int(sum(shared->calls).total, TOKENS, "one system call a token is seen");
	run(&job, false);
	is_int(sum(shared->futexes).tokens, TOKENS, "and by syscall()");
}

/* Where nobody may trace, nothing can be counted. */
static bool may_trace(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0);
	return child > 0 && waitpid(child, &status, 0) == child && is_well(status);
}

int main(void)
{
	struct lsc_model_config experts = config;

#ifdef SANITIZED
	printf("1..0 # SKIP a sanitizer allocates and makes system calls of its own\n");
	return 0;
#endif
	*(void **)&libc_syscall = dlsym(RTLD_NEXT, "syscall");
	if (!may_trace()) {
		printf("1..0 # SKIP tracing is not allowed here\n");
		return 0;
	}
	toy_init(&toy, &config, LSC_DTYPE_BF16, 1);
	logits = calloc(16 * (size_t)config.vocab, sizeof(*logits));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	test_sees();
	test_steady(1, 1);
	test_steady(1, 16);
	test_steady(2, 1);
	test_steady(2, 16);
	test_awake();
	toy_release(&toy);
	experts.experts = 7;
	experts.experts_used = 3;
	experts.expert_ffn = 96;
	toy_init(&toy, &experts, LSC_DTYPE_BF16, 1);
	test_steady(1, 1);
	test_steady(2, 16);
	munmap(shared, sizeof(*shared));
	shared = NULL;
	free(logits);
	toy_release(&toy);
	return done_testing();
}
