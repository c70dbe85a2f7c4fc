// The program muster-push.
#include "push/spear/program.h"

int main(int argc, char** argv) { return muster::push::RunProgram(argc, argv); }
