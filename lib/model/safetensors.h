/* safetensors: a JSON header and raw tensors (the format is Hugging Face's; its README is the
 * specification).  Stricter than some readers, as that text asks: no tensor twice, no byte of the
 * data outside of exactly one tensor.
 */
#ifndef LSC_MODEL_SAFETENSORS_H
#define LSC_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/checkpoint.h"

#define LSC_SAFETENSORS_MAX_HEADER (100u << 20)

/* Appends a file's tensors to *tensors (an array of *n, from realloc; names are copies to free).
 * They point into data.  On failure the array is as long as it got. */
int lsc_safetensors_parse(const uint8_t *data, size_t len, struct lsc_tensor_source **tensors,
			  size_t *n, struct lsc_err *err);

#endif
