/* amounts as people read them */
#include <math.h>

#include "base/amount.h"
#include "tap.h"

static void bytes(uint64_t value, const char *want)
{
	is_str(lsc_amount_bytes(value).text, want, "%llu bytes", (unsigned long long)value);
}

static void seconds(double value, const char *want)
{
	is_str(lsc_amount_seconds(value).text, want, "%g seconds", value);
}

int main(void)
{
	bytes(0, "0 bytes");
	bytes(1, "1 byte");
	bytes(1023, "1023 bytes");
	bytes(1024, "1.0 KiB");
	bytes((1 << 20) - 1, "1.0 MiB");
	bytes(3ull << 30, "3.0 GiB");
	bytes(102348ull << 20, "99.9 GiB");
	bytes(102349ull << 20, "100 GiB");
	bytes(UINT64_MAX, "16.0 EiB");
	is_str(lsc_amount_rate(25e6).text, "23.8 MiB/s", "a rate");
	is_str(lsc_amount_rate(-1).text, "0 bytes/s", "none");
	is_str(lsc_amount_rate(INFINITY).text, "867 EiB/s", "one without a limit has one here");
	seconds(0, "0 s");
	seconds(NAN, "0 s");
	seconds(0.0123, "0.012 s");
	seconds(9.94, "9.9 s");
	seconds(9.96, "10 s");
	seconds(119, "119 s");
	seconds(119.6, "2 min");
	seconds(7170, "2 h");
	seconds(7500, "2 h 5 min");
	seconds(2 * 86400, "2 days");
	seconds(INFINITY, "1000000000 days");
	return done_testing();
}
