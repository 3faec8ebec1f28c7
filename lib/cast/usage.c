/* usage - what the kernel says of this process */
#include "cast/usage.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

double lsc_usage_cpu_s(void)
{
	struct rusage usage = {0};

	getrusage(RUSAGE_SELF, &usage);
	return seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
}

uint64_t lsc_usage_memory(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file) && !sscanf(line, "RssAnon: %llu", &kib))
		;
	if (file)
		fclose(file);
	return kib * 1024;
}
