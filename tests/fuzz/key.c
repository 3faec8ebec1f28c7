/* fuzz key: any bytes as a key file; one that is taken is written as it was read */
#include "net/key.h"

#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
	struct lsc_key key;

	if (lsc_key_parse(&key, (const char *)data, len, NULL) < 0)
		return 0;
	check(lsc_key_line(&key, &line) == 0);
	check(line.len == len || line.len == len + 1);
	check(!memcmp(line.data, data, len));
	return 0;
}
