/* amount - numbers with units, for people */
#include "base/amount.h"

#include <math.h>
#include <stdio.h>

#include "base/macros.h"

/* Three digits; what would be rounded up to 1024 is one of the next unit. */
static struct lsc_amount scaled(double value, const char *per)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct lsc_amount amount;
	unsigned unit = 0;

	while (value >= 1023.5 && unit + 1 < LSC_ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	if (!unit && round(value) == 1)
		snprintf(amount.text, sizeof(amount.text), "1 byte%s", per);
	else
		snprintf(amount.text, sizeof(amount.text), "%.*f %s%s",
			 unit && value < 99.95 ? 1 : 0, value, units[unit], per);
	return amount;
}

struct lsc_amount lsc_amount_bytes(uint64_t bytes)
{
	return scaled((double)bytes, "");
}

struct lsc_amount lsc_amount_rate(double bytes_per_s)
{
	return scaled(bytes_per_s > 0 ? LSC_MIN(bytes_per_s, 1e21) : 0, "/s");
}

struct lsc_amount lsc_amount_seconds(double seconds)
{
	struct lsc_amount amount;
	char *text = amount.text;
	size_t room = sizeof(amount.text);
	double minutes = round(seconds / 60), hours = floor(minutes / 60);

	if (!(seconds > 0))
		snprintf(text, room, "0 s");
	else if (seconds < 9.95)
		snprintf(text, room, "%.2g s", seconds);
	else if (seconds < 119.5)
		snprintf(text, room, "%.0f s", seconds);
	else if (minutes < 120)
		snprintf(text, room, "%.0f min", minutes);
	else if (hours < 48 && minutes > hours * 60)
		snprintf(text, room, "%.0f h %.0f min", hours, minutes - hours * 60);
	else if (hours < 48)
		snprintf(text, room, "%.0f h", hours);
	else
		snprintf(text, room, "%.0f days", LSC_MIN(round(seconds / 86400), 1e9));
	return amount;
}
