/* fuzz site: any text as a cluster; what comes out has nodes within the limits */
#include "sim/site.h"

#include <stdint.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_site site = LSC_SITE_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_site_parse(&site, (const char *)data, len, &err);

	check(r == 0 || err.text[0]);
	check(site.n_nodes <= LSC_SITE_MAX_NODES);
	check(site.payload > 0 && site.payload <= 1 && site.latency >= 0 && site.start >= 0);
	for (uint32_t i = 0; i < site.n_nodes; i++)
		check(lsc_site_up(&site, i) > 0 && lsc_site_down(&site, i) > 0 &&
		      site.nodes[i].disk >= 0);
	lsc_site_release(&site);
	return 0;
}
