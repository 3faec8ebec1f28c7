/* costs - the table of lsc-cast send --stats
 *
 * The processor time of a node is divided by the bytes that it received and sent, since each of
 * these costs about as much as the other.
 */
#include "send/costs.h"

#define NAME_WIDTH 32

void lsc_costs_print(const struct lsc_cast *cast, FILE *file)
{
	fprintf(file, "%-*s %12s %12s %9s %9s %9s\n", NAME_WIDTH, "node", "received MB", "sent MB",
		"cpu s", "cpu s/GB", "memory MB");
	for (uint32_t i = 0; i < lsc_cast_n_nodes(cast); i++) {
		struct lsc_cast_node node = lsc_cast_node(cast, i);
		double moved = (double)(node.stats.received + node.stats.sent);

		if (!node.counted)
			continue;
		fprintf(file, "%-*.*s %12.1f %12.1f %9.3f ", NAME_WIDTH, NAME_WIDTH, node.name,
			(double)node.stats.received / 1e6, (double)node.stats.sent / 1e6,
			node.stats.cpu_s);
		if (moved > 0)
			fprintf(file, "%9.3f ", node.stats.cpu_s / moved * 1e9);
		else
			fprintf(file, "%9s ", "-");
		fprintf(file, "%9.1f\n", (double)node.stats.memory / 1e6);
	}
}
