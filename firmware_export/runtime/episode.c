#include "episode.h"

#include <string.h>

#include "act.h"
#include "protocol.h"

#if POLICY_OUTPUTS != ROBOT_ACTUATORS
#error "the policy has another number of outputs than the robot has actuators: generate policy.h and robot_model.h anew"
#endif
#if defined(ROBOT_OBSERVED) && POLICY_INPUTS != ROBOT_OBSERVED
#error "the policy has another number of inputs than the robot has observed sensors: generate both headers anew"
#endif

void episode_start(struct episode *episode, uint32_t id)
{
    memset(episode, 0, sizeof *episode);
    episode->id = id;
    memcpy(episode->command, robot_safe, sizeof episode->command);
    policy_reset(&episode->policy);
}

void episode_release(struct episode *episode)
{
    memcpy(episode->command, robot_safe, sizeof episode->command);
    episode->flags = (uint8_t)(episode->flags | FLAG_RELEASED);
}

void episode_hold(struct episode *episode)
{
    int32_t held[ROBOT_ACTUATORS];
    robot_hold(episode->command, held);
    memcpy(episode->command, held, sizeof episode->command);
}

static void next_tick(struct episode *episode, const int32_t *sensors)
{
    if (episode->begun) {
        episode->tick++;
    }
    episode->begun = 1;
    episode->flags = 0;
    memcpy(episode->sensors, sensors, sizeof episode->sensors);
}

/* The policy in charge. Returns 0 where it gave NaN. */
static int drive(struct episode *episode, const float *parameters)
{
    int32_t wanted[ROBOT_ACTUATORS];
    int32_t command[ROBOT_ACTUATORS];

    if (!act_wanted(episode, parameters, wanted)) {
        return 0;
    }
    robot_limit(wanted, episode->command, command);
    if (memcmp(command, wanted, sizeof command) != 0) {
        episode->flags = (uint8_t)(episode->flags | FLAG_RATE_LIMITED);
    }
    memcpy(episode->command, command, sizeof episode->command);
    return 1;
}

void episode_command(struct episode *episode, const int32_t *wanted)
{
    int32_t clipped[ROBOT_ACTUATORS];
    int32_t command[ROBOT_ACTUATORS];

    memcpy(clipped, wanted, sizeof clipped);
    robot_clip(clipped);
    robot_limit(clipped, episode->command, command);
    if (memcmp(clipped, wanted, sizeof clipped) != 0) {
        episode->flags = (uint8_t)(episode->flags | FLAG_CLIPPED);
    }
    if (memcmp(command, clipped, sizeof command) != 0) {
        episode->flags = (uint8_t)(episode->flags | FLAG_RATE_LIMITED);
    }
    memcpy(episode->command, command, sizeof episode->command);
}

enum episode_outcome episode_sense(struct episode *episode, const int32_t *sensors)
{
    float previous_si[ROBOT_SENSORS];

    memcpy(previous_si, episode->si, sizeof previous_si);
    next_tick(episode, sensors);
    robot_sensors_si(sensors, episode->si);
    if (episode->tick > 0) {
        const float reward = robot_reward(episode->si, previous_si, episode->command);
        const int aborted = robot_aborted(episode->si);
        episode->total = episode->total + reward;
        if (aborted) {
            uint16_t left;
            episode->abort_index = (uint8_t)aborted;
            /* one by one and not as a product: the same roundings as a simulator that ran them */
            for (left = episode->tick; left < ROBOT_EPISODE_STEPS; left++) {
                episode->total = episode->total + robot_after_abort;
            }
            return EPISODE_ABORT;
        }
    }
    return episode->tick >= ROBOT_EPISODE_STEPS ? EPISODE_COMPLETE : EPISODE_GOES_ON;
}

enum episode_outcome episode_tick(struct episode *episode, const float *parameters, const int32_t *sensors)
{
    const enum episode_outcome outcome = episode_sense(episode, sensors);

    if (outcome != EPISODE_GOES_ON) {
        return outcome;
    }
    if (!drive(episode, parameters)) {
        episode_release(episode);
        return EPISODE_NOT_FINITE;
    }
    return EPISODE_GOES_ON;
}

enum episode_outcome episode_tick_held(struct episode *episode, const int32_t *sensors)
{
    next_tick(episode, sensors);
    robot_sensors_si(sensors, episode->si);
    episode->flags = (uint8_t)(episode->flags | FLAG_HELD);
    episode->abort_index = (uint8_t)robot_aborted(episode->si);
    if (episode->abort_index) {
        return EPISODE_ABORT;
    }
    return episode->tick >= ROBOT_EPISODE_STEPS ? EPISODE_COMPLETE : EPISODE_GOES_ON;
}
