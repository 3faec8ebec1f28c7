/* lsc-sim - what a cluster would do that is not there */
#include "base/macros.h"
#include "cli/tool.h"
#include "sim/commands.h"

int main(int argc, char **argv)
{
	static const struct lsc_command commands[] = {
		{"cast", lsc_sim_cast_main,
		 "how soon a model is on many nodes, by our way and by others'"},
	};

	return lsc_tool_dispatch("lsc-sim", "Simulate a cluster, event by event.", commands,
				 LSC_ARRAY_SIZE(commands), argc, argv);
}
