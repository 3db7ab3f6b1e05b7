#include "act.h"

#include "protocol.h"

int act_wanted(struct episode *episode, const float *parameters, int32_t *wanted)
{
    float observation[POLICY_INPUTS];
    float action[POLICY_OUTPUTS];
    int i;

    robot_observe(episode->si, observation);
    policy_forward(parameters, &episode->policy, observation, action);
    if (!robot_counts(action, wanted)) {
        return 0;
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        if (action[i] >= 1.0f || action[i] <= -1.0f) {
            episode->flags = (uint8_t)(episode->flags | FLAG_CLIPPED);
        }
    }
    return 1;
}
