/* The subcommands of lsc-plan. */
#ifndef LSC_TOOLS_PLAN_COMMANDS_H
#define LSC_TOOLS_PLAN_COMMANDS_H

int lsc_plan_schedule_main(int argc, char **argv);
int lsc_plan_start_main(int argc, char **argv);

#endif
