/* emulate - a device made of the host: kernels' threads as coroutines, streams as queues
 *
 * A block's threads run in turn on stacks of their own, each until it waits at a barrier or a
 * shuffle, or ends; then the next goes on.  Waiting for a thread that has ended, or for one that
 * waits elsewhere, ends the program: on hardware it would hang, or worse.  Device memory is
 * malloc's, filled with rubbish, so that the address sanitizer sees what a kernel reads beyond it.
 */
#include "emulate.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unordered_map>
#include <utility>
#include <vector>

#ifndef __x86_64__
#include <ucontext.h>
#endif

#include "cublas_v2.h"
#include "cuda_runtime.h"

#if defined(__SANITIZE_THREAD__)
#define FIBERS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBERS 1
#endif
#endif
#ifdef FIBERS
#include <sanitizer/tsan_interface.h>
#endif

namespace
{
std::recursive_mutex lock; /* one thing happens at a time, and all below is under it */

[[noreturn]] void die(const char *what)
{
	fprintf(stderr, "emulated device: %s (block %u %u %u, thread %u)\n", what, blockIdx.x,
		blockIdx.y, blockIdx.z, threadIdx.x);
	abort();
}

/* --- coroutines --- */

constexpr size_t STACK = 128 << 10;
constexpr unsigned MAX_THREADS = 1024;

#ifdef __x86_64__
using context = void *;

extern "C" void emulated_switch(void **save, void *load);
asm(".text\n.globl emulated_switch\n.hidden emulated_switch\n.type emulated_switch,@function\n"
    "emulated_switch:\n"
    "	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
    "	mov %rsp, (%rdi)\n	mov %rsi, %rsp\n"
    "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop "
    "%rbp\n	ret\n"
    ".size emulated_switch,.-emulated_switch\n");
#else
using context = ucontext_t;

void emulated_switch(context *save, context &load)
{
	swapcontext(save, &load);
}
#endif

struct warp {
	unsigned arrived = 0;
	uint64_t generation = 0;
	uint64_t slots[2][32];
};

struct thread {
	context at;
	bool made = false;
	bool done;
	const uint64_t *waits; /* for this generation to pass; NULL: it can go on */
	uint64_t generation;
	unsigned exchanges;
	void *fiber = nullptr;
};

struct machine {
	unsigned char *stacks = nullptr;
	thread threads[MAX_THREADS];
	std::vector<warp> warps;
	unsigned n = 0, current = 0, arrived = 0, ended = 0;
	uint64_t generation = 0;
	context home;
	void *home_fiber = nullptr;
	const std::function<void()> *fn = nullptr;
	unsigned char *shared = nullptr; /* exactly as large as was asked for */
	size_t shared_bytes = 0;
	emulated_order order = EMULATED_FORWARD;
	uint32_t random = 1;
} m;

void go_home()
{
#ifdef FIBERS
	__tsan_switch_to_fiber(m.home_fiber, 0);
#endif
	emulated_switch(&m.threads[m.current].at, m.home);
}

/* A coroutine is a thread of one block, then of the next. */
void enter()
{
	for (;;) {
		(*m.fn)();
		m.threads[m.current].done = true;
		m.ended++;
		go_home();
	}
}

void make_thread(unsigned i)
{
	thread &t = m.threads[i];
	unsigned char *top = m.stacks + (i + 1) * STACK;

	t.made = true;
#ifdef __x86_64__
	void **sp = (void **)top;

	*--sp = nullptr; /* so that enter() finds the stack as a call leaves it */
	*--sp = (void *)enter;
	for (int k = 0; k < 6; k++)
		*--sp = nullptr;
	t.at = sp;
#else
	getcontext(&t.at);
	t.at.uc_stack.ss_sp = top - STACK;
	t.at.uc_stack.ss_size = STACK;
	t.at.uc_link = nullptr;
	makecontext(&t.at, enter, 0);
#endif
#ifdef FIBERS
	t.fiber = __tsan_create_fiber(0);
#endif
}

void resume(unsigned i)
{
	m.current = i;
	threadIdx = {i, 0, 0};
#ifdef FIBERS
	__tsan_switch_to_fiber(m.threads[i].fiber, 0);
#endif
	emulated_switch(&m.home, m.threads[i].at);
}

/* Waits until `count` have come here. */
void barrier(unsigned &arrived, uint64_t &generation, unsigned count)
{
	thread &t = m.threads[m.current];

	if (++arrived == count) {
		arrived = 0;
		generation++;
		return;
	}
	t.waits = &generation;
	t.generation = generation;
	go_home();
	t.waits = nullptr;
}

unsigned in_order(unsigned i, unsigned n)
{
	if (m.order == EMULATED_BACKWARD)
		return n - 1 - i;
	if (m.order == EMULATED_SHUFFLED)
		return (unsigned)(((uint64_t)i * 7919 + m.random) % n); /* a prime: all are met */
	return i;
}

void run_block()
{
	for (unsigned i = 0; i < m.n; i++) {
		thread &t = m.threads[i];

		if (!t.made)
			make_thread(i);
		t.done = false;
		t.waits = nullptr;
		t.exchanges = 0;
	}
	m.warps.assign(m.n / 32, warp());
	m.arrived = m.ended = 0;
	memset(m.shared, 0xff, m.shared_bytes);
#ifdef FIBERS
	m.home_fiber = __tsan_get_current_fiber();
#endif
	while (m.ended < m.n) {
		bool moved = false;

		m.random = m.random * 1664525 + 1013904223;
		for (unsigned i = 0; i < m.n; i++) {
			thread &t = m.threads[in_order(i, m.n)];

			if (t.done || (t.waits && *t.waits == t.generation))
				continue;
			resume((unsigned)(&t - m.threads));
			moved = true;
		}
		if (!moved)
			die("threads wait for others that have ended, or wait elsewhere");
	}
}

void run_grid(dim3 grid, unsigned threads, size_t shared, const std::function<void()> &fn)
{
	const size_t blocks = (size_t)grid.x * grid.y * grid.z;

	if (!m.stacks)
		m.stacks =
			(unsigned char *)mmap(nullptr, MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	m.n = threads;
	m.fn = &fn;
	if (posix_memalign((void **)&m.shared, 128, shared ? shared : 1))
		die("no memory");
	m.shared_bytes = shared;
	gridDim = grid;
	blockDim = dim3(threads);
	for (size_t b = 0; b < blocks; b++) {
		const size_t at = m.order == EMULATED_FORWARD ? b : blocks - 1 - b;

		blockIdx = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
			    (unsigned)(at / grid.x / grid.y)};
		run_block();
	}
	free(m.shared);
}

/* --- the device --- */

struct allocation {
	size_t bytes;
	bool device;
};

struct device {
	int count = 1, cores = 4;
	size_t memory = 1 << 30, shared = 227 << 10, used = 0;
	unsigned long launches = 0, graphs = 0, allocations = 0;
	std::unordered_map<void *, allocation> of;
	std::unordered_map<const void *, size_t> may_share; /* kernels that may ask for more */
	cudaStream_t capturing = nullptr;
} d;
} // namespace

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

struct emulated_graph {
	std::vector<std::function<void()>> nodes;
};

struct emulated_stream {
	std::deque<std::function<void()>> queue;
	std::unique_ptr<emulated_graph> capture;
	uint64_t put = 0, ran = 0;
};

struct emulated_event {
	cudaStream_t stream = nullptr; /* NULL: never recorded */
	uint64_t at = 0;
};

struct emulated_cublas {
	cudaStream_t stream;
};

namespace
{
void run_until(cudaStream_t stream, uint64_t at)
{
	while (stream->ran < at) {
		std::function<void()> fn = std::move(stream->queue.front());

		stream->queue.pop_front();
		stream->ran++;
		fn();
	}
}

thread_local cudaError_t last = cudaSuccess;

/* What is not success stays for cudaGetLastError(), dealt with or not. */
cudaError_t keep(cudaError_t e)
{
	if (e != cudaSuccess)
		last = e;
	return e;
}

cudaError_t put(cudaStream_t stream, std::function<void()> fn)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (stream->capture) {
		stream->capture->nodes.push_back(std::move(fn));
	} else {
		stream->queue.push_back(std::move(fn));
		stream->put++;
	}
	return cudaSuccess;
}

cudaError_t allocate(void **ret, size_t bytes, bool device)
{
	std::lock_guard<std::recursive_mutex> guard(lock);
	void *memory = nullptr;

	if (d.capturing && device)
		return keep(cudaErrorStreamCaptureUnsupported);
	if (device && bytes > d.memory - std::min(d.used, d.memory))
		return keep(cudaErrorMemoryAllocation);
	if (posix_memalign(&memory, 256, bytes ? bytes : 1))
		return keep(cudaErrorMemoryAllocation);
	memset(memory, 0xa5, bytes);
	d.of[memory] = {bytes, device};
	d.used += bytes;
	d.allocations++;
	*ret = memory;
	return cudaSuccess;
}

cudaError_t release(void *memory, bool device)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (!memory)
		return cudaSuccess;
	auto found = d.of.find(memory);
	if (found == d.of.end() || found->second.device != device)
		return keep(cudaErrorInvalidValue);
	d.used -= found->second.bytes;
	d.of.erase(found);
	free(memory);
	return cudaSuccess;
}
} // namespace

unsigned char *emulated_shared(void)
{
	return m.shared;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute, int value)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (value < 0 || (size_t)value > d.shared)
		return keep(cudaErrorInvalidValue);
	d.may_share[kernel] = (size_t)value;
	return cudaSuccess;
}

cudaError_t emulated_launch(const cudaLaunchConfig_t *config, const void *kernel,
			    std::function<void()> fn)
{
	std::lock_guard<std::recursive_mutex> guard(lock);
	const dim3 grid = config->gridDim, block = config->blockDim;
	const size_t shared = config->dynamicSmemBytes;
	const unsigned threads = block.x;

	if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535 ||
	    grid.x > 0x7fffffff || !threads || threads > MAX_THREADS || threads % 32 ||
	    block.y != 1 || block.z != 1 ||
	    shared > std::max((size_t)48 << 10, d.may_share[kernel]))
		return keep(cudaErrorInvalidValue);
	return put(config->stream, [=] {
		d.launches++;
		run_grid(grid, threads, shared, fn);
	});
}

extern "C" {
void emulated_sync_block(void)
{
	barrier(m.arrived, m.generation, m.n);
}

void emulated_sync_warp(void)
{
	warp &w = m.warps[m.current / 32];

	barrier(w.arrived, w.generation, 32);
}

uint64_t emulated_exchange(uint64_t bits, unsigned from)
{
	warp &w = m.warps[m.current / 32];
	uint64_t(&slots)[32] = w.slots[m.threads[m.current].exchanges++ % 2];

	slots[m.current % 32] = bits;
	barrier(w.arrived, w.generation, 32);
	return slots[from];
}

void emulated_set_order(enum emulated_order order)
{
	m.order = order;
}

void emulated_set_devices(int n)
{
	d.count = n;
}

void emulated_set_memory(size_t bytes)
{
	d.memory = bytes;
}

void emulated_set_shared(size_t bytes)
{
	d.shared = bytes;
}

void emulated_set_cores(int n)
{
	d.cores = n;
}

size_t emulated_memory_used(void)
{
	return d.used;
}

unsigned long emulated_launches(void)
{
	return d.launches;
}

unsigned long emulated_graphs(void)
{
	return d.graphs;
}

unsigned long emulated_allocations(void)
{
	return d.allocations;
}

/* --- runtime --- */

const char *cudaGetErrorString(cudaError_t error)
{
	static char text[32];

	if (error == cudaErrorNoDevice)
		return "no CUDA-capable device is detected";
	if (error == cudaErrorMemoryAllocation)
		return "out of memory";
	snprintf(text, sizeof(text), "emulated error %d", error);
	return text;
}

cudaError_t cudaGetLastError(void)
{
	return std::exchange(last, cudaSuccess);
}

cudaError_t cudaGetDeviceCount(int *count)
{
	*count = d.count;
	return keep(d.count ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
	return keep(device < d.count ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int)
{
	*value = attribute == cudaDevAttrMultiProcessorCount      ? d.cores
		 : attribute == cudaDevAttrComputeCapabilityMajor ? 8
								  : (int)d.shared;
	return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
	*free_bytes = d.memory - std::min(d.used, d.memory);
	*total = d.memory;
	return cudaSuccess;
}

cudaError_t cudaMalloc(void **ret, size_t bytes)
{
	return allocate(ret, bytes, true);
}

cudaError_t cudaFree(void *memory)
{
	return release(memory, true);
}

cudaError_t cudaHostAlloc(void **ret, size_t bytes, unsigned)
{
	return allocate(ret, bytes, false);
}

cudaError_t cudaFreeHost(void *memory)
{
	return release(memory, false);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind,
			    cudaStream_t stream)
{
	return put(stream, [=] { memcpy(to, from, bytes); });
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
			      size_t width, size_t height, enum cudaMemcpyKind, cudaStream_t stream)
{
	if (width > to_pitch || width > from_pitch)
		return keep(cudaErrorInvalidValue);
	return put(stream, [=] {
		for (size_t i = 0; i < height; i++)
			memcpy((char *)to + i * to_pitch, (const char *)from + i * from_pitch,
			       width);
	});
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
	return put(stream, [=] { memset(to, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret, unsigned)
{
	*ret = new emulated_stream;
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	cudaStreamSynchronize(stream);
	delete stream;
	return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (stream->capture)
		return keep(cudaErrorStreamCaptureUnsupported);
	run_until(stream, stream->put);
	return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
	std::lock_guard<std::recursive_mutex> guard(lock);
	const cudaStream_t of = event->stream;
	const uint64_t at = event->at;

	if (stream->capture)
		return keep(cudaErrorStreamCaptureIsolation);
	return of ? put(stream, [=] { run_until(of, at); }) : cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned)
{
	*ret = new emulated_event;
	return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	delete event;
	return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (stream->capture)
		return keep(cudaErrorStreamCaptureUnsupported);
	*event = {stream, stream->put};
	return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	return keep(!event->stream || event->stream->ran >= event->at ? cudaSuccess
								      : cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (event->stream)
		run_until(event->stream, event->at);
	return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	stream->capture = std::make_unique<emulated_graph>();
	d.capturing = stream;
	return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret)
{
	std::lock_guard<std::recursive_mutex> guard(lock);

	if (!stream->capture)
		return keep(cudaErrorInvalidValue);
	*ret = stream->capture.release();
	d.capturing = nullptr;
	return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph, unsigned long long)
{
	*ret = new emulated_graph(*graph);
	return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
	const auto nodes = graph->nodes;

	return put(stream, [=] {
		d.graphs++;
		for (const auto &node : nodes)
			node();
	});
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return cudaSuccess;
}

/* --- cuBLAS --- */

static float number_at(const void *data, cudaDataType type, size_t i)
{
	if (type == CUDA_R_32F)
		return ((const float *)data)[i];
	return type == CUDA_R_16F ? __half2float(((const __half *)data)[i])
				  : __bfloat162float(((const __nv_bfloat16 *)data)[i]);
}

const char *cublasGetStatusString(cublasStatus_t status)
{
	return status ? "emulated cuBLAS: invalid value" : "success";
}

cublasStatus_t cublasCreate(cublasHandle_t *ret)
{
	*ret = new emulated_cublas{nullptr};
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
	delete handle;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
	handle->stream = stream;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t)
{
	return CUBLAS_STATUS_SUCCESS;
}

/* Column-major, as cuBLAS has it: c[n][m] = a[m][k] . b[n][k], a transposed. */
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa,
			    cublasOperation_t transb, int rows, int n, int k, const void *alpha,
			    const void *a, cudaDataType a_type, int lda, const void *b,
			    cudaDataType b_type, int ldb, const void *beta, void *c,
			    cudaDataType c_type, int ldc, cublasComputeType_t compute,
			    cublasGemmAlgo_t)
{
	const float by = *(const float *)alpha, keep = *(const float *)beta;

	if (transa != CUBLAS_OP_T || transb != CUBLAS_OP_N || a_type != b_type ||
	    c_type != CUDA_R_32F || compute != CUBLAS_COMPUTE_32F || lda < k || ldb < k ||
	    ldc < rows || rows < 1 || n < 1 || k < 1)
		return CUBLAS_STATUS_INVALID_VALUE;
	put(handle->stream, [=] {
		d.launches++;
		for (int j = 0; j < n; j++)
			for (int i = 0; i < rows; i++) {
				float *to = (float *)c + (size_t)j * ldc + i;
				double sum = 0;

				for (int l = 0; l < k; l++)
					sum += (double)number_at(a, a_type, (size_t)i * lda + l) *
					       number_at(b, b_type, (size_t)j * ldb + l);
				*to = (float)(by * sum + (keep ? (double)keep * *to : 0));
			}
	});
	return CUBLAS_STATUS_SUCCESS;
}
}
