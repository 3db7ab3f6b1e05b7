#include "firmware.h"

#include <string.h>

#include "alone.h"
#include "answers.h"
#include "hal.h"
#include "store.h"

/* the longest messages of either direction must fit a frame: no array has a negative length */
typedef char frame_holds_telemetry[(LENGTH_TELEMETRY <= BRIDGE_MAX_PAYLOAD) ? 1 : -1];
typedef char frame_holds_readings[(LENGTH_READINGS <= BRIDGE_MAX_PAYLOAD) ? 1 : -1];
typedef char frame_holds_every_other_message[(PROTOCOL_LONGEST_FIXED <= BRIDGE_MAX_PAYLOAD) ? 1 : -1];

#define POLL_CHUNK 32 /* on the stack, below everything that a command does */
#define POLL_CHUNKS 32 /* a host that floods the line must not keep a control period waiting */

uint8_t *firmware_header(struct firmware *firmware, uint8_t *payload, uint8_t type, uint16_t session)
{
    struct protocol_header header;
    header.type = type;
    header.session = session;
    header.sequence = firmware->sent++;
    header.t_us = hal_now_us();
    return protocol_header_put(payload, &header);
}

void firmware_send(struct firmware *firmware, const uint8_t *payload, const uint8_t *end)
{
    uint8_t frame[BRIDGE_MAX_FRAME];
    const size_t length = bridge_frame(payload, (size_t)(end - payload), frame);
    if (length == 0 || !hal_uart_write(frame, length)) {
        firmware->unsent++;
    }
}

static void send_telemetry(struct firmware *firmware)
{
    const struct episode *episode = &firmware->episode;
    uint8_t payload[LENGTH_TELEMETRY];
    struct msg_telemetry message;

    message.episode_id = episode->id;
    message.tick = episode->tick;
    message.flags = episode->flags;
    memcpy(message.sensors, episode->sensors, sizeof message.sensors);
    memcpy(message.actuators, episode->command, sizeof message.actuators);
    firmware_send(firmware, payload,
                  msg_telemetry_put(firmware_header(firmware, payload, MSG_TELEMETRY, firmware->session), &message));
}

static void send_sensed(struct firmware *firmware)
{
    uint8_t payload[LENGTH_SENSED];
    struct msg_sensed message;

    message.episode_id = firmware->episode.id;
    message.tick = firmware->episode.tick;
    memcpy(message.sensors, firmware->episode.sensors, sizeof message.sensors);
    firmware_send(firmware, payload,
                  msg_sensed_put(firmware_header(firmware, payload, MSG_SENSED, firmware->session), &message));
}

void firmware_action(struct firmware *firmware, const int32_t *wanted)
{
    firmware->awaits = 0;
    firmware->alive_tick = firmware->episode.tick;
    firmware->alive_us = hal_now_us();
    episode_command(&firmware->episode, wanted);
    hal_actuate(firmware->episode.command, safety_torque(firmware->state));
    send_telemetry(firmware);
}

void firmware_fault(struct firmware *firmware, uint8_t fault, uint32_t detail)
{
    firmware->fault = fault;
    firmware->fault_detail = detail;
}

void firmware_release(struct firmware *firmware, uint8_t state)
{
    hal_actuate(robot_safe, 0);
    firmware->state = state;
}

void firmware_end_episode(struct firmware *firmware, uint8_t state, uint8_t reason)
{
    uint8_t payload[LENGTH_EPISODE_END];
    struct msg_episode_end message;

    episode_release(&firmware->episode);
    firmware_release(firmware, state);
    message.episode_id = firmware->episode.id;
    message.reason = reason;
    message.steps = firmware->episode.tick;
    message.episode_return = firmware->episode.total;
    message.abort_index = firmware->episode.abort_index;
    firmware_send(firmware, payload,
                  msg_episode_end_put(firmware_header(firmware, payload, MSG_EPISODE_END, firmware->session), &message));
}

/* The same at the end of a control period: its record goes first, marked as the last one. */
static void end_with_record(struct firmware *firmware, uint8_t event, uint8_t reason)
{
    episode_release(&firmware->episode);
    firmware_release(firmware, safety_next(firmware->state, event)); /* before the line is written to */
    firmware->episode.flags = (uint8_t)(firmware->episode.flags | FLAG_FINAL);
    send_telemetry(firmware);
    firmware_end_episode(firmware, firmware->state, reason);
}

static void watch(struct firmware *firmware)
{
    const uint32_t now = hal_now_us();
    const uint32_t silence = now - firmware->alive_us;

    /* latched, so that a clock that wraps cannot make an old session look fresh */
    if (now - firmware->heard_us >= (uint32_t)ROBOT_RELEASE_US) {
        firmware->link_silent = 1;
    }
    /* an adaptation on the controller alone needs no host; whoever started it has said so */
    if (firmware->state == STATE_RUN && !alone_active(firmware) && silence >= (uint32_t)ROBOT_HOLD_US) {
        firmware->watchdog_trips++;
        firmware_fault(firmware, FAULT_WATCHDOG, 0);
        firmware->state = safety_next(firmware->state, EVENT_HOLD);
        episode_hold(&firmware->episode);
        hal_actuate(firmware->episode.command, safety_torque(firmware->state));
    }
    if (firmware->state != STATE_RUN) {
        firmware->awaits = 0;
    }
    if (firmware->state == STATE_HOLD && silence >= (uint32_t)ROBOT_RELEASE_US) {
        firmware_end_episode(firmware, safety_next(firmware->state, EVENT_RELEASE), REASON_WATCHDOG);
    }
}

void firmware_init(struct firmware *firmware, const char *board, uint32_t firmware_id, uint32_t boot_id)
{
    float worst = 0.0f;

    memset(firmware, 0, sizeof *firmware);
    firmware->board = board;
    firmware->firmware_id = firmware_id;
    firmware->boot_id = boot_id;
    firmware->heard_us = hal_now_us();
    firmware_release(firmware, STATE_BOOT);
    if (strcmp(POLICY_SPEC_HASH, ROBOT_SPEC_HASH) != 0) {
        firmware->unfit = FAULT_OTHER_ROBOT;
    } else if (params_init(&firmware->params).result != RESULT_OK ||
               params_selftest(&firmware->params, &firmware->episode.policy, &worst) != 0) {
        firmware->unfit = FAULT_SELFTEST;
    } else {
        store_restore(&firmware->params); /* what was adapted before the power went off */
    }
    firmware->fault = firmware->unfit;
    firmware->state = safety_next(firmware->state, firmware->unfit == FAULT_NONE ? EVENT_BOOTED : EVENT_FAULT);
}

void firmware_unfit(struct firmware *firmware, uint8_t fault)
{
    if (firmware->unfit == FAULT_NONE) {
        firmware->unfit = fault;
        firmware->fault = fault;
        firmware_release(firmware, safety_next(firmware->state, EVENT_FAULT));
    }
}

void firmware_poll(struct firmware *firmware)
{
    uint8_t data[POLL_CHUNK];
    unsigned chunk;

    answers_owed(firmware);
    for (chunk = 0; chunk < POLL_CHUNKS; chunk++) {
        const size_t count = hal_uart_read(data, sizeof data);
        size_t i;
        for (i = 0; i < count; i++) {
            const size_t length = bridge_receive(&firmware->receiver, data[i]);
            if (length > 0) {
                firmware_command(firmware, firmware->receiver.buffer, length);
            }
        }
        if (count < sizeof data) {
            break;
        }
    }
    watch(firmware);
    alone_go_on(firmware);
}

void firmware_begin_episode(struct firmware *firmware, uint32_t id, uint32_t episode_seed)
{
    hal_episode_begin(episode_seed);
    episode_start(&firmware->episode, id);
    firmware->alive_us = hal_now_us();
    firmware->alive_tick = 0;
    firmware->hosted = 0;
    firmware->awaits = 0;
    firmware->state = safety_next(firmware->state, EVENT_RUN);
}

static void run_tick(struct firmware *firmware, const int32_t *sensors, uint8_t flags)
{
    enum episode_outcome outcome;

    if (firmware->awaits) { /* the period is over, and its record still missing */
        firmware->episode.flags = (uint8_t)(firmware->episode.flags | FLAG_LATE);
        send_telemetry(firmware);
        firmware->awaits = 0;
    }
    outcome = firmware->hosted ? episode_sense(&firmware->episode, sensors)
                               : episode_tick(&firmware->episode, params_in_force(&firmware->params), sensors);
    firmware->episode.flags = (uint8_t)(firmware->episode.flags | flags);
    switch (outcome) {
    case EPISODE_GOES_ON:
        if (firmware->hosted) {
            firmware->awaits = 1;
            send_sensed(firmware);
            break;
        }
        hal_actuate(firmware->episode.command, safety_torque(firmware->state));
        send_telemetry(firmware);
        break;
    case EPISODE_COMPLETE:
        end_with_record(firmware, EVENT_FINISHED, REASON_COMPLETED);
        break;
    case EPISODE_ABORT:
        end_with_record(firmware, EVENT_FINISHED, REASON_ABORTED);
        break;
    case EPISODE_NOT_FINITE:
    default:
        firmware_fault(firmware, FAULT_NOT_FINITE, 0);
        alone_end(firmware);
        end_with_record(firmware, EVENT_FAULT, REASON_FAULTED);
        break;
    }
    if (alone_active(firmware) && firmware->state == STATE_ARMED) {
        alone_tell(firmware);
    }
}

static void count_time(struct firmware *firmware, uint32_t begun_us)
{
    const uint32_t now = hal_now_us();
    const uint32_t late_us = now - firmware->first_tick_us -
                             ((uint32_t)firmware->episode.tick + 1u) * (uint32_t)ROBOT_CONTROL_PERIOD_US;

    if (late_us != 0 && late_us < (uint32_t)0x80000000UL) {
        firmware->overruns++;
    }
    if (now - begun_us > firmware->longest_tick_us) {
        firmware->longest_tick_us = now - begun_us;
    }
}

void firmware_tick(struct firmware *firmware)
{
    int32_t sensors[ROBOT_SENSORS];
    const uint32_t begun_us = hal_now_us();
    struct hal_devices devices;
    uint8_t flags;

    watch(firmware);
    if (firmware->state != STATE_RUN && firmware->state != STATE_HOLD) {
        return;
    }
    if (!firmware->episode.begun) {
        firmware->first_tick_us = begun_us;
    }
    hal_sense(sensors);
    hal_devices(0, &devices);
    flags = (uint8_t)(devices.reused != firmware->reused ? FLAG_REUSED : 0);
    firmware->reused = devices.reused;
    if (devices.fault != FAULT_NONE) { /* what is left of the robot must not go on */
        firmware_fault(firmware, devices.fault, devices.detail);
        alone_end(firmware);
        firmware_end_episode(firmware, safety_next(firmware->state, EVENT_FAULT), REASON_FAULTED);
        return;
    }
    if (firmware->state == STATE_RUN) {
        run_tick(firmware, sensors, flags);
    } else if (episode_tick_held(&firmware->episode, sensors) == EPISODE_GOES_ON) {
        send_telemetry(firmware);
    } else {
        end_with_record(firmware, EVENT_FINISHED, REASON_WATCHDOG);
    }
    count_time(firmware, begun_us);
}
