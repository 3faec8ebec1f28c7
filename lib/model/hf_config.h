/* config.json, as Hugging Face's transformers writes it. */
#ifndef LSC_MODEL_HF_CONFIG_H
#define LSC_MODEL_HF_CONFIG_H

#include <stddef.h>

#include "base/err.h"
#include "model/config.h"

/* Reads the text of config.json and, where there is one, of generation_config.json (whose
 * end-of-text tokens are added).  -EOPNOTSUPP names an architecture or feature we cannot run. */
int lsc_hf_config_parse(const char *text, size_t len, const char *generation, size_t generation_len,
			struct lsc_model_config *ret_config, struct lsc_err *err);

#endif
