/* lsc-exec - executes images: `run` answers one prompt on this node, `serve` is a stage worker,
 * `bench` measures
 *
 * lib/exec/session.h computes a prompt, lib/stage/worker.h is what a stage worker does.  Each
 * subcommand is a file in tools/exec/.
 */
#include "base/macros.h"
#include "cli/tool.h"
#include "exec/commands.h"

int main(int argc, char **argv)
{
	static const struct lsc_command commands[] = {
		{"bench", lsc_exec_bench_main, "measure how fast this node executes an image"},
		{"run", lsc_exec_run_main, "answer one prompt on this node"},
		{"serve", lsc_exec_serve_main, "be a stage worker for pipelines"},
	};

	return lsc_tool_dispatch("lsc-exec", "Execute images.", commands, LSC_ARRAY_SIZE(commands),
				 argc, argv);
}
