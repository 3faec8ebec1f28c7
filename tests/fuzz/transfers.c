/* fuzz transfers: any bytes as a stream of plans; each is proven, refused, or malformed */
#include "cast/transfers.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_reader_release) struct lsc_reader reader;
	struct lsc_schedule schedule;
	static int fd = -1;
	uint32_t covered;
	int r;

	if (fd < 0)
		fd = memfd_create("plans", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || lsc_pwrite_full(fd, data, len, 0) < 0)
		abort();
	lseek(fd, 0, SEEK_SET);
	lsc_reader_init(&reader, fd);
	while ((r = lsc_transfers_prove(&reader, &schedule, &covered, NULL)) == LSC_PLAN_PROVEN)
		if (schedule.sources > schedule.nodes || covered > schedule.rounds)
			abort();
	if (r > LSC_PLAN_WRONG)
		abort();
	return 0;
}
