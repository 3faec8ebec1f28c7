/* An image's blocks in GPU memory, each copied as it arrives.
 *
 * Blocks lie on the GPU as they do in the image; only those that are asked for take memory there.
 * Threads copy them while units run, in the order in which they were asked for; a unit waits for
 * its own blocks alone, on the GPU.
 */
#ifndef LSC_CUDA_WEIGHTS_H
#define LSC_CUDA_WEIGHTS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/image.h"

struct lsc_cuda_weights;

/* Borrows image and data. */
int lsc_cuda_weights_open(struct lsc_cuda_weights **ret_weights, const struct lsc_image *image,
			  const uint8_t *data, unsigned device, struct lsc_err *err);
void lsc_cuda_weights_close(struct lsc_cuda_weights *weights);

/* Begins to copy the blocks that these units need; they are in `data` already. */
int lsc_cuda_weights_load(struct lsc_cuda_weights *weights, uint32_t first, uint32_t last,
			  struct lsc_err *err);

/* What is put into the stream from now on comes after the unit's blocks, which were loaded.  One
 * stream uses the weights. */
int lsc_cuda_weights_await(struct lsc_cuda_weights *weights, uint32_t unit, cudaStream_t stream,
			   struct lsc_err *err);

/* Whether all that these units need has been waited for. */
bool lsc_cuda_weights_are_there(const struct lsc_cuda_weights *weights, uint32_t first,
				uint32_t last);

/* Where an offset of the image is on the GPU, in a block that was loaded. */
const void *lsc_cuda_weights_at(const struct lsc_cuda_weights *weights, uint32_t block,
				uint64_t offset);

/* The block that has this range whole; UINT32_MAX: none. */
uint32_t lsc_cuda_weights_block(const struct lsc_cuda_weights *weights, uint64_t offset,
				uint64_t bytes);

#endif
