/* weights - from the page cache to the GPU, block by block
 *
 * An image is a mapped file whose pages the receiver is still writing.  The GPU's copy engine reads
 * pinned memory alone.  Registering the mapping would pin pages of the file in place and save a
 * copy, but for pages of files that other processes write it is up to the kernel and the file
 * system (long-term pins of shared file pages are refused by some, and hold back writeback on
 * others), it costs a walk over 4 KiB pages that is about as dear as the copy, and what is pinned
 * cannot be evicted.  So threads copy to a ring of pinned buffers, two each, and the copy engine
 * takes them from there: the same on every system, 64 MiB of pinned memory at most, and host memory
 * is read faster by a few threads than the bus takes it.  The threads end with the image's last
 * block.
 *
 * All copies go into one stream.  A part is put into it under the lock, and the block's event after
 * its last part: so the event is behind all of them.
 */
#include "cuda/weights.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "cuda/runtime.h"
#include "exec/pool.h"

#define PART        (8ull << 20)
#define SLOTS       2
#define MAX_LOADERS 4u

enum state { ABSENT, COMING, PUT }; /* PUT: all its copies, and its event, are in the stream */

struct block {
	uint8_t *memory;
	cudaEvent_t ready;
	enum state state;
	uint64_t left; /* parts */
	bool awaited;  /* by the stream that computes: its own thread's business */
};

struct lsc_cuda_weights {
	const struct lsc_image *image;
	const uint8_t *data;
	unsigned device;
	cudaStream_t stream;
	pthread_t threads[MAX_LOADERS];
	unsigned n_threads;

	pthread_mutex_t lock;
	pthread_cond_t wake, put;
	struct block *blocks;     /* under lock, as is all below */
	uint32_t *order;          /* [n_blocks]: asked for */
	uint32_t n_asked, n_done; /* done: given out to loaders, all parts */
	uint64_t next;            /* byte of block order[n_done] */
	cudaError_t failed;
	bool stop;
};

/* --- loaders --- */

struct slot {
	void *memory;
	cudaEvent_t used; /* the copy out of it */
};

static cudaError_t slots_open(struct slot slots[SLOTS])
{
	cudaError_t e = cudaSuccess;

	for (int i = 0; i < SLOTS && e == cudaSuccess; i++) {
		e = cudaHostAlloc(&slots[i].memory, PART, cudaHostAllocDefault);
		if (e == cudaSuccess)
			e = cudaEventCreateWithFlags(&slots[i].used, cudaEventDisableTiming);
	}
	return e;
}

static void slots_close(struct slot slots[SLOTS])
{
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i].used) {
			cudaEventSynchronize(slots[i].used);
			cudaEventDestroy(slots[i].used);
		}
		cudaFreeHost(slots[i].memory);
	}
}

/* The next part to copy, under lock: false where there will be none. */
static bool take_part(struct lsc_cuda_weights *weights, uint32_t *ret_block, uint64_t *ret_at)
{
	while (!weights->stop && !weights->failed && weights->n_done == weights->n_asked) {
		if (weights->n_done == weights->image->n_blocks)
			return false;
		pthread_cond_wait(&weights->wake, &weights->lock);
	}
	if (weights->stop || weights->failed)
		return false;
	*ret_block = weights->order[weights->n_done];
	*ret_at = weights->next;
	weights->next += PART;
	if (weights->next >= weights->image->blocks[*ret_block].bytes) {
		weights->n_done++;
		weights->next = 0;
		/* The last one: who sleeps may go. */
		if (weights->n_done == weights->image->n_blocks)
			pthread_cond_broadcast(&weights->wake);
	}
	return true;
}

/* A part, in a slot now, to the GPU; under lock. */
static void put_part(struct lsc_cuda_weights *weights, uint32_t index, uint64_t at, uint64_t bytes,
		     const struct slot *slot)
{
	struct block *block = &weights->blocks[index];
	cudaError_t e = cudaMemcpyAsync(block->memory + at, slot->memory, bytes,
					cudaMemcpyHostToDevice, weights->stream);

	if (e == cudaSuccess)
		e = cudaEventRecord(slot->used, weights->stream);
	if (e == cudaSuccess && --block->left == 0) {
		e = cudaEventRecord(block->ready, weights->stream);
		block->state = PUT;
		pthread_cond_broadcast(&weights->put);
	}
	if (e != cudaSuccess) {
		weights->failed = e;
		pthread_cond_broadcast(&weights->put);
	}
}

static void *load(void *data)
{
	struct lsc_cuda_weights *weights = data;
	struct slot slots[SLOTS] = {{NULL, NULL}};
	cudaError_t e = cudaSetDevice((int)weights->device);
	unsigned turn = 0;
	uint32_t index;
	uint64_t at;

	if (e == cudaSuccess)
		e = slots_open(slots);
	pthread_mutex_lock(&weights->lock);
	if (e != cudaSuccess) {
		weights->failed = e;
		pthread_cond_broadcast(&weights->put);
	}
	while (take_part(weights, &index, &at)) {
		const struct lsc_block *block = &weights->image->blocks[index];
		const struct slot *slot = &slots[turn++ % SLOTS];
		uint64_t bytes = LSC_MIN(PART, block->bytes - at);

		pthread_mutex_unlock(&weights->lock);
		cudaEventSynchronize(slot->used);
		memcpy(slot->memory, weights->data + block->offset + at, bytes);
		pthread_mutex_lock(&weights->lock);
		put_part(weights, index, at, bytes, slot);
	}
	pthread_mutex_unlock(&weights->lock);
	slots_close(slots);
	return NULL;
}

static int start_loaders(struct lsc_cuda_weights *weights, struct lsc_err *err)
{
	unsigned want = LSC_MIN(MAX_LOADERS, lsc_pool_cpus());

	while (weights->n_threads < want) {
		int r = pthread_create(&weights->threads[weights->n_threads], NULL, load, weights);

		if (r)
			return weights->n_threads
				       ? 0
				       : lsc_err_set(err, r, "cannot start a thread: %m");
		weights->n_threads++;
	}
	return 0;
}

/* --- blocks --- */

/* A block is asked for the first time, under lock. */
static int ask(struct lsc_cuda_weights *weights, uint32_t index, struct lsc_err *err)
{
	const uint64_t bytes = weights->image->blocks[index].bytes;
	struct block *block = &weights->blocks[index];
	void *memory = NULL;
	cudaError_t e;

	if (block->state != ABSENT || bytes == 0)
		return 0;
	e = cudaMalloc(&memory, bytes);
	if (e != cudaSuccess)
		return lsc_err_set(err, ENOMEM, "no GPU memory for block %u of %llu bytes: %s",
				   index, (unsigned long long)bytes, cudaGetErrorString(e));
	block->memory = memory;
	block->left = lsc_div_up(bytes, PART);
	block->state = COMING;
	weights->order[weights->n_asked++] = index;
	pthread_cond_broadcast(&weights->wake);
	return 0;
}

int lsc_cuda_weights_load(struct lsc_cuda_weights *weights, uint32_t first, uint32_t last,
			  struct lsc_err *err)
{
	int r = 0;

	if (lsc_cuda_weights_are_there(weights, first, last))
		return 0;
	pthread_mutex_lock(&weights->lock);
	for (uint32_t unit = first; unit <= last && r == 0; unit++)
		for (int i = 0; i < 2; i++) {
			const struct lsc_need *need = &weights->image->units[unit].needs[i];

			for (uint32_t b = 0; b < need->n && r == 0; b++)
				r = ask(weights, need->first + b, err);
		}
	if (r == 0 && !weights->n_threads)
		r = start_loaders(weights, err);
	pthread_mutex_unlock(&weights->lock);
	return r;
}

static int await_block(struct lsc_cuda_weights *weights, uint32_t index, cudaStream_t stream,
		       struct lsc_err *err)
{
	struct block *block = &weights->blocks[index];
	cudaError_t e;

	if (block->awaited || weights->image->blocks[index].bytes == 0)
		return 0;
	pthread_mutex_lock(&weights->lock);
	while (block->state == COMING && !weights->failed)
		pthread_cond_wait(&weights->put, &weights->lock);
	e = weights->failed;
	if (e == cudaSuccess && block->state == ABSENT)
		e = cudaErrorInvalidValue;
	pthread_mutex_unlock(&weights->lock);
	if (e == cudaSuccess)
		e = cudaStreamWaitEvent(stream, block->ready, 0);
	block->awaited = e == cudaSuccess;
	return lsc_cuda_check(e, "cannot copy a block to the GPU", err);
}

int lsc_cuda_weights_await(struct lsc_cuda_weights *weights, uint32_t unit, cudaStream_t stream,
			   struct lsc_err *err)
{
	int r = 0;

	for (int i = 0; i < 2; i++) {
		const struct lsc_need *need = &weights->image->units[unit].needs[i];

		for (uint32_t b = 0; b < need->n && r == 0; b++)
			r = await_block(weights, need->first + b, stream, err);
	}
	return r;
}

bool lsc_cuda_weights_are_there(const struct lsc_cuda_weights *weights, uint32_t first,
				uint32_t last)
{
	for (uint32_t unit = first; unit <= last; unit++)
		for (int i = 0; i < 2; i++) {
			const struct lsc_need *need = &weights->image->units[unit].needs[i];

			for (uint32_t b = need->first; b < need->first + need->n; b++)
				if (!weights->blocks[b].awaited && weights->image->blocks[b].bytes)
					return false;
		}
	return true;
}

const void *lsc_cuda_weights_at(const struct lsc_cuda_weights *weights, uint32_t block,
				uint64_t offset)
{
	return weights->blocks[block].memory + (offset - weights->image->blocks[block].offset);
}

uint32_t lsc_cuda_weights_block(const struct lsc_cuda_weights *weights, uint64_t offset,
				uint64_t bytes)
{
	const struct lsc_image *image = weights->image;

	for (uint32_t i = 0; i < image->n_blocks; i++) {
		const struct lsc_block *block = &image->blocks[i];

		if (offset >= block->offset && bytes <= block->bytes &&
		    offset - block->offset <= block->bytes - bytes)
			return i;
	}
	return UINT32_MAX;
}

/* --- the whole --- */

int lsc_cuda_weights_open(struct lsc_cuda_weights **ret_weights, const struct lsc_image *image,
			  const uint8_t *data, unsigned device, struct lsc_err *err)
{
	struct lsc_cuda_weights *weights = calloc(1, sizeof(*weights));
	cudaError_t e;

	if (!weights)
		return lsc_err_set(err, ENOMEM, "no memory for an image's blocks");
	weights->image = image;
	weights->data = data;
	weights->device = device;
	pthread_mutex_init(&weights->lock, NULL);
	pthread_cond_init(&weights->wake, NULL);
	pthread_cond_init(&weights->put, NULL);
	weights->blocks = calloc(image->n_blocks + 1ul, sizeof(*weights->blocks));
	weights->order = calloc(image->n_blocks + 1ul, sizeof(*weights->order));
	if (!weights->blocks || !weights->order) {
		lsc_cuda_weights_close(weights);
		return lsc_err_set(err, ENOMEM, "no memory for an image's blocks");
	}
	e = cudaStreamCreateWithFlags(&weights->stream, cudaStreamNonBlocking);
	for (uint32_t i = 0; i < image->n_blocks && e == cudaSuccess; i++)
		e = cudaEventCreateWithFlags(&weights->blocks[i].ready, cudaEventDisableTiming);
	if (e != cudaSuccess) {
		lsc_cuda_weights_close(weights);
		return lsc_cuda_check(e, "cannot make a stream", err);
	}
	*ret_weights = weights;
	return 0;
}

void lsc_cuda_weights_close(struct lsc_cuda_weights *weights)
{
	if (!weights)
		return;
	pthread_mutex_lock(&weights->lock);
	weights->stop = true;
	pthread_cond_broadcast(&weights->wake);
	pthread_mutex_unlock(&weights->lock);
	for (unsigned i = 0; i < weights->n_threads; i++)
		pthread_join(weights->threads[i], NULL);
	if (weights->stream) {
		cudaStreamSynchronize(weights->stream);
		cudaStreamDestroy(weights->stream);
	}
	for (uint32_t i = 0; weights->blocks && i < weights->image->n_blocks; i++) {
		cudaFree(weights->blocks[i].memory);
		if (weights->blocks[i].ready)
			cudaEventDestroy(weights->blocks[i].ready);
	}
	pthread_mutex_destroy(&weights->lock);
	pthread_cond_destroy(&weights->wake);
	pthread_cond_destroy(&weights->put);
	free(weights->blocks);
	free(weights->order);
	free(weights);
}
