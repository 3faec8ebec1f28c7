/* fuzz json: any bytes as msgpack and as JSON; what is understood must survive the way back */
#include "stream/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* JSON that we wrote reads back, and is written the same again. */
static void there_and_back(const struct lsc_buf *text)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf bytes = LSC_BUF_INIT, again = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf bytes2 = LSC_BUF_INIT;

	if (lsc_json_read((char *)text->data, text->len, &bytes, NULL) < 0 ||
	    lsc_json_write(bytes.data, bytes.len, &again, NULL) < 0 || again.len != text->len ||
	    memcmp(again.data, text->data, text->len))
		abort();
	if (lsc_json_read((char *)again.data, again.len, &bytes2, NULL) < 0 ||
	    bytes2.len != bytes.len || memcmp(bytes2.data, bytes.data, bytes.len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT, bytes = LSC_BUF_INIT;

	if (lsc_json_write(data, len, &text, NULL) == 0)
		there_and_back(&text);
	text.len = 0;
	if (lsc_json_read((const char *)data, len, &bytes, NULL) == 0 &&
	    lsc_json_write(bytes.data, bytes.len, &text, NULL) == 0)
		there_and_back(&text);
	return 0;
}
