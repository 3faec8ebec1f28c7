/* home - home.html, put into the program as it is, with a 0 behind it */
#include "home.h"

__asm__(".pushsection .rodata\n"
	".globl gate_home\n"
	".type gate_home, @object\n"
	"gate_home:\n"
	".incbin \"tools/gate/home.html\"\n"
	".byte 0\n"
	".size gate_home, . - gate_home\n"
	".popsection\n");
