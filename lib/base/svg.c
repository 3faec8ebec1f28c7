/* svg - the head of a document, and ticks */
#include "base/svg.h"

#include <math.h>

int lsc_svg_begin(struct lsc_buf *buf, int width, int height, const char *title,
		  const char *description, const char *style)
{
	return lsc_buf_printf(
		buf,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
		"height=\"%d\" role=\"img\" aria-labelledby=\"title desc\">\n<title id=\"title\">"
		"%s</title>\n<desc id=\"desc\">%s</desc>\n<style>\n"
		"svg{color:#1f2328}\n"
		"@media(prefers-color-scheme:dark){svg{color:#e6edf3}}\n"
		"path{fill:none}text{fill:currentColor;font:12px system-ui,sans-serif}\n"
		".dim{opacity:.75}\n%s</style>\n",
		width, height, width, height, title, description, style);
}

double lsc_svg_step(double range, int n)
{
	double step = pow(10, floor(log10(range / n)));

	for (int i = 0; i < 4 && range / step > n; i++)
		step *= i == 1 ? 2.5 : 2;
	return step;
}
