/* The subcommands of lsc-exec, each a main() of its own. */
#ifndef LSC_TOOLS_EXEC_COMMANDS_H
#define LSC_TOOLS_EXEC_COMMANDS_H

int lsc_exec_bench_main(int argc, char **argv);
int lsc_exec_run_main(int argc, char **argv);
int lsc_exec_serve_main(int argc, char **argv);

#endif
