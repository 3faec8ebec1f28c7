/* The subcommands of lsc-sim. */
#ifndef LSC_TOOLS_SIM_COMMANDS_H
#define LSC_TOOLS_SIM_COMMANDS_H

int lsc_sim_cast_main(int argc, char **argv);

#endif
