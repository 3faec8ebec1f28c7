/* A decoder's configuration from a GGUF file's metadata and tensors. */
#ifndef LSC_MODEL_GGUF_CONFIG_H
#define LSC_MODEL_GGUF_CONFIG_H

#include "base/err.h"
#include "model/config.h"
#include "model/gguf.h"

/* -EOPNOTSUPP names an architecture or feature we cannot run. */
int lsc_gguf_config_parse(const struct lsc_gguf *gguf, struct lsc_model_config *ret_config,
			  struct lsc_err *err);

#endif
