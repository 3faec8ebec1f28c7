/* gguf - any bytes as a file, and its metadata as a configuration */
#include "model/gguf.h"

#include <stdlib.h>

#include "model/gguf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_gguf gguf = LSC_GGUF_INIT;
	struct lsc_model_config config;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_gguf_parse(&gguf, data, len, &err) < 0)
		return 0;
	for (size_t i = 0; i < gguf.n_tensors; i++)
		if (gguf.tensors[i].data < data ||
		    gguf.tensors[i].data + gguf.tensors[i].bytes > data + len)
			abort();
	for (size_t i = 0; i < gguf.n_kvs; i++) {
		const char *text;
		size_t at = 0, n;

		while (lsc_gguf_next_str(&gguf.kvs[i], &at, &text, &n))
			if ((const uint8_t *)text + n > data + len)
				abort();
	}
	lsc_gguf_config_parse(&gguf, &config, &err);
	lsc_gguf_release(&gguf);
	return 0;
}
