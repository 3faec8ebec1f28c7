/* lsc-plan - who sends which piece to whom, and where a model is started
 *
 * Options without a subcommand are those of schedule, which was all that there was.
 */
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"
#include "cli/tool.h"
#include "plan/commands.h"

/* What every tool answers, and not the subcommand. */
static bool is_common(const char *option)
{
	static const char *const common[] = {"--help", "-V", "--version", "--features",
					     "--dump-options"};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(common); i++)
		if (!strcmp(option, common[i]))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct lsc_command commands[] = {
		{"schedule", lsc_plan_schedule_main,
		 "who sends which piece to whom, and proofs of it"},
		{"start", lsc_plan_start_main, "where replicas of a model are ready soonest"},
	};

	if (argc < 2 || (argv[1][0] == '-' && !is_common(argv[1])))
		return lsc_plan_schedule_main(argc, argv);
	return lsc_tool_dispatch("lsc-plan", "Plan how images get to nodes.", commands,
				 LSC_ARRAY_SIZE(commands), argc, argv);
}
