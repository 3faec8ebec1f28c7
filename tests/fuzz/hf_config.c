/* hf_config - any text as config.json */
#include "model/hf_config.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_model_config config;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_hf_config_parse((const char *)data, len, (const char *)data, len, &config, &err) ==
		    0 &&
	    lsc_model_config_check(&config, &err) < 0)
		abort();
	return 0;
}
