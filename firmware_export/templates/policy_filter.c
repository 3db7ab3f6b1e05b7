/*
 * policy_filter.c - an exported policy as a program, to compare it with what it was exported from.
 *
 *   policy_filter act        rows of float32 on standard input: sensors, tick, last action of each output;
 *                            rows of POLICY_OUTPUTS commands on standard output
 *   policy_filter selftest   the result of policy_selftest, its largest error, and the hashes, one line each
 *
 * A program of its own, so that a fault in compiled code ends a child process and not the command that checks it.
 */
#include <stdio.h>
#include <string.h>

#include "policy.h"

static int act(void)
{
    float row[POLICY_INPUTS + 1 + POLICY_OUTPUTS];
    float actuators[POLICY_OUTPUTS];
    struct policy_state state;

    while (fread(row, sizeof row, 1, stdin) == 1) {
        state.tick = (uint16_t)row[POLICY_INPUTS];
        memcpy(state.action, &row[POLICY_INPUTS + 1], sizeof state.action);
        policy_act(&state, row, actuators);
        if (fwrite(actuators, sizeof actuators, 1, stdout) != 1) {
            return 3;
        }
    }
    return ferror(stdin) || fflush(stdout) != 0 ? 3 : 0;
}

static int selftest(void)
{
    float worst = 0.0f;
    const int result = policy_selftest(&worst);

    printf("%d\n%.9g\n", result, (double)worst);
    printf("%s\n%s\n%s\n", POLICY_SPEC_HASH, POLICY_LAYOUT_HASH, POLICY_HASH);
    return fflush(stdout) != 0 ? 3 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "act") == 0) {
        return act();
    }
    if (argc == 2 && strcmp(argv[1], "selftest") == 0) {
        return selftest();
    }
    fprintf(stderr, "usage: policy_filter act|selftest\n");
    return 2;
}
