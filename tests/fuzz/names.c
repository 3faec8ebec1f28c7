/* fuzz names: any text as a list of nodes; what comes out names itself, and is within the limits */
#include "send/names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A name is a list of one, itself. */
static void check_name(const char *name)
{
	LSC_CLEANUP(lsc_names_release) struct lsc_names again = {0};
	char host[LSC_NAMES_MAX_NAME + 1];

	check(strlen(name) <= LSC_NAMES_MAX_NAME && name[0] != '-');
	lsc_name_host(name, host);
	check(host[0] && !strncmp(host, name, strlen(host)));
	if (strncmp(name, "unix:", 5) == 0)
		return; /* a path may hold what means more in a list */
	check(lsc_names_parse(&again, name, NULL) == 0);
	check(again.n == 1 && !strcmp(again.names[0], name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_names_release) struct lsc_names names = {0}, without = {0};
	struct lsc_err err = LSC_ERR_INIT;
	LSC_CLEANUP_FREE char *text = strndup((const char *)data, len);
	int r = lsc_names_parse(&names, text, &err);

	check(r == 0 || err.text[0]);
	check(names.n <= LSC_NAMES_MAX);
	for (uint32_t i = 0; i < names.n && i < 64; i++)
		check_name(names.names[i]);
	if (r == 0 && names.n < 4096) {
		check(lsc_names_parse(&without, text, NULL) == 0 && without.n == names.n);
		check(lsc_names_set_port(&names, 7000, NULL) == 0);
		lsc_names_exclude(&names, &without);
		check(names.n == 0);
	}
	return 0;
}
