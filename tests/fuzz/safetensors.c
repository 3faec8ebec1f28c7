/* safetensors - any bytes as a file */
#include <stdlib.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_tensor_source *tensors = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	size_t n = 0;

	if (lsc_safetensors_parse(data, len, &tensors, &n, &err) == 0)
		for (size_t i = 0; i < n; i++)
			if (tensors[i].data < data ||
			    tensors[i].data + tensors[i].bytes > data + len)
				abort();
	for (size_t i = 0; i < n; i++)
		free((char *)tensors[i].name);
	free(tensors);
	return 0;
}
