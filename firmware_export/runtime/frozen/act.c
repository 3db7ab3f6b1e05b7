/* A policy in integers: counts in, counts out, no float on the way. */
#include "act.h"

#include "protocol.h"

int act_wanted(struct episode *episode, const float *parameters, int32_t *wanted)
{
    (void)parameters;
    if (policy_act_counts(&episode->policy, episode->sensors, wanted)) {
        episode->flags = (uint8_t)(episode->flags | FLAG_CLIPPED);
    }
    robot_clip(wanted); /* the policy keeps to the range already; what drives motors does not rely on it */
    return 1;
}
