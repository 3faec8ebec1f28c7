/* fuzz_main - runs a fuzz target over the files named on the command line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct lsc_buf buf = LSC_BUF_INIT;
		uint8_t *exact;

		if (lsc_file_read(argv[i], 1u << 26, &buf, NULL) < 0) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		/* An allocation of just that size lets the sanitizers see one byte too far. */
		exact = malloc(buf.len ? buf.len : 1);
		if (!exact)
			return 1;
		for (size_t k = 0; k < buf.len; k++)
			exact[k] = buf.data[k];
		LLVMFuzzerTestOneInput(exact, buf.len);
		free(exact);
		lsc_buf_release(&buf);
	}
	return 0;
}
